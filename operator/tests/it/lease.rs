//! Operators that contend for one lease.

use std::{convert::Infallible, sync::Arc};

use folkmoot_operator::lease::{DURATION, Elector, Leadership, LeaseOptions, SPARE};
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    task::AbortHandle,
    time::{Instant, timeout},
};

use crate::fake::{DEADLINE, api_server::ApiServer, store::Place, until};

struct Contender {
    elector: Arc<Elector>,
    leadership: Leadership,
    task: AbortHandle,
}

fn contender(client: Client, holder: &str) -> Contender {
    let options = LeaseOptions { namespace: "ops".into(), name: "lease".into(), holder: holder.into() };
    let elector = Elector::new(client, options);
    let leadership = elector.leadership();
    let task = tokio::spawn(Arc::clone(&elector).run()).abort_handle();
    Contender { elector, leadership, task }
}

fn place() -> Place {
    Place::new("apis/coordination.k8s.io/v1/leases", "ops", "lease")
}

fn change_lease(server: &ApiServer, field: &str, value: &Value) {
    server.act(|store| {
        let mut lease = (*store.get(&place()).unwrap()).clone();
        lease["spec"][field] = value.clone();
        store.put(&place(), lease);
    });
}

/// A client whose requests get no answer while `cut` is true.
fn client_that_can_be_cut_off(server: &ApiServer, cut: watch::Receiver<bool>) -> Client {
    let client = server.client();
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let (client, mut cut) = (client.clone(), cut.clone());
        async move {
            let _ = cut.wait_for(|cut| !cut).await;
            Ok::<_, Infallible>(client.send(request).await.unwrap())
        }
    });
    Client::new(service, "ops")
}

#[tokio::test]
async fn one_of_two_leads_and_another_takes_over_when_it_crashes_within_its_lease_but_not_while_it_might_write()
 {
    let server = ApiServer::start().await;
    let began = Instant::now();
    let mut ada = contender(server.client(), "ada");
    ada.leadership.acquired().await;
    let mut bob = contender(server.client(), "bob");
    // It is killed: nothing is given back.
    ada.task.abort();
    let takes_over = async {
        bob.leadership.acquired().await;
        assert!(ada.leadership.check().is_err(), "two lead");
    };
    timeout(DEADLINE, takes_over).await.expect("bob takes over");
    // Not before: the lease was ada's for so long from when it was taken. Not much later: beside `Elector::decide`, on a clock
    // that does not depend on the machine.
    assert!(began.elapsed() >= DURATION - SPARE, "{:?}", began.elapsed());
}

#[tokio::test]
async fn one_that_is_cut_off_stops_before_another_begins_and_stays_out_when_it_is_back() {
    let server = ApiServer::start().await;
    let (cut, is_cut) = watch::channel(false);
    let mut ada = contender(client_that_can_be_cut_off(&server, is_cut), "ada");
    ada.leadership.acquired().await;
    let mut bob = contender(server.client(), "bob");
    cut.send_replace(true);
    // How long before: beside `Elector`, on a clock that does not depend on the machine.
    let begins = async {
        bob.leadership.acquired().await;
        assert!(ada.leadership.check().is_err(), "two lead");
    };
    timeout(DEADLINE, begins).await.expect("bob takes over");
    timeout(DEADLINE, ada.leadership.lost()).await.expect("ada hears of it");

    cut.send_replace(false);
    let looked = server.leases();
    until("both look at the lease again", || {
        assert!(ada.leadership.check().is_err() && bob.leadership.check().is_ok());
        server.leases() >= looked + 6
    })
    .await;
    let holder = server.act(|store| store.get(&place()).unwrap()["spec"]["holderIdentity"].clone());
    assert_eq!(holder, "bob");
}

#[tokio::test]
async fn a_lease_that_is_given_back_is_taken_at_once() {
    let server = ApiServer::start().await;
    let mut ada = contender(server.client(), "ada");
    ada.leadership.acquired().await;
    // So long that bob would not see its end.
    change_lease(&server, "leaseDurationSeconds", &json!(3_600));
    let mut bob = contender(server.client(), "bob");
    ada.task.abort();
    ada.elector.release().await;
    assert!(ada.leadership.check().is_err());
    timeout(DEADLINE, bob.leadership.acquired()).await.expect("bob need not wait for the end");
}

#[tokio::test]
async fn who_finds_another_in_its_lease_stops_at_once() {
    let server = ApiServer::start().await;
    let mut ada = contender(server.client(), "ada");
    ada.leadership.acquired().await;
    change_lease(&server, "holderIdentity", &json!("mallory"));
    timeout(DEADLINE, ada.leadership.lost()).await.expect("ada looks every two seconds");
    assert!(ada.leadership.check().is_err());
    let holder = server.act(|store| store.get(&place()).unwrap()["spec"]["holderIdentity"].clone());
    assert_eq!(holder, "mallory", "and takes nothing back");
}
