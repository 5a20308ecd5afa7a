//! Operators that contend for one lease.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used)]

mod fake;

use std::{sync::Arc, time::Duration};

use fake::{api_server::ApiServer, store::Place};
use folkmoot_operator::lease::{DURATION, Elector, Leadership, LeaseOptions};
use serde_json::json;
use tokio::{
    task::AbortHandle,
    time::{Instant, timeout},
};

struct Contender {
    elector: Arc<Elector>,
    leadership: Leadership,
    task: AbortHandle,
}

fn contender(server: &ApiServer, holder: &str) -> Contender {
    let options = LeaseOptions { namespace: "ops".into(), name: "lease".into(), holder: holder.into() };
    let elector = Elector::new(server.client(), options);
    let leadership = elector.leadership();
    let task = tokio::spawn(Arc::clone(&elector).run()).abort_handle();
    Contender { elector, leadership, task }
}

fn place() -> Place {
    Place::new("apis/coordination.k8s.io/v1/leases", "ops", "lease")
}

#[tokio::test]
async fn one_of_two_leads_and_another_takes_over_when_it_crashes_but_not_before_its_lease_ended() {
    let server = ApiServer::start().await;
    let mut ada = contender(&server, "ada");
    ada.leadership.acquired().await;
    let mut bob = contender(&server, "bob");
    // It is killed: nothing is given back.
    ada.task.abort();
    let crashed = Instant::now();
    let takes_over = async {
        bob.leadership.acquired().await;
        assert!(ada.leadership.check().is_err(), "two lead");
    };
    timeout(DURATION + Duration::from_secs(5), takes_over)
        .await
        .expect("bob takes over within the lease's time");
    assert!(crashed.elapsed() > DURATION - Duration::from_secs(3), "{:?}", crashed.elapsed());
}

#[tokio::test]
async fn a_lease_that_is_given_back_is_taken_at_once() {
    let server = ApiServer::start().await;
    let mut ada = contender(&server, "ada");
    ada.leadership.acquired().await;
    let mut bob = contender(&server, "bob");
    ada.task.abort();
    ada.elector.release().await;
    assert!(ada.leadership.check().is_err());
    timeout(Duration::from_secs(5), bob.leadership.acquired()).await.expect("bob need not wait for the end");
}

#[tokio::test]
async fn who_finds_another_in_its_lease_stops_at_once() {
    let server = ApiServer::start().await;
    let mut ada = contender(&server, "ada");
    ada.leadership.acquired().await;
    server.act(|store| {
        let mut lease = (*store.get(&place()).unwrap()).clone();
        lease["spec"]["holderIdentity"] = json!("mallory");
        store.put(&place(), lease);
    });
    timeout(Duration::from_secs(5), ada.leadership.lost()).await.expect("ada looks every two seconds");
    assert!(ada.leadership.check().is_err());
}
