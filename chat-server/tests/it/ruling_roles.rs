//! Nothing that was decided by somebody's role lands behind the change of that role, whatever was under way at the same time.
//! On SQLite, whose role and log change in transactions that are one behind the other.

use chat_domain::{
    chat::Actor,
    store::{Standing, StandingChange},
};
use chat_protocol::{ClientId, ErrorCode, EventBody, rest::Role};
use futures_util::future::join_all;

use crate::harness::cluster::TestCluster;

const ROUNDS: u64 = 200;
/// Sends of one round through each process.
const SENDS: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_somebody_lands_behind_a_change_of_their_role_on_sqlite() {
    let cluster = TestCluster::new();
    let (a, b) = (cluster.gateway("a").await, cluster.gateway("b").await);
    let (ada, mut grace) = (cluster.user("ada").await, cluster.user("grace").await);
    let channel = a.channel(&ada, &[&grace], "den").await;
    let store = &cluster.store;
    let (mut acked, mut refused) = (0, 0);
    for round in 0..ROUNDS {
        let author = &grace;
        let under_way = [&a, &b].into_iter().flat_map(|process| {
            (0..SENDS).map(move |n| {
                let (id, text) = (ClientId(uuid::Uuid::new_v4()), format!("{round} {n}"));
                process.chat.send(author, channel, id, text, vec![], None)
            })
        });
        let role = if round % 2 == 0 { Role::Guest } else { Role::Member };
        let change = async {
            let to = Standing { role, deactivated: false };
            // The processes learn of it from the store only, as if what they are sent were late.
            let changed = store.change_standing(grace.user, grace.auth_version, to, round).await.unwrap();
            let head = store.heads(&[channel]).await.unwrap()[0].1;
            (changed, head)
        };
        let (sent, (changed, head)) = tokio::join!(join_all(under_way), change);
        let StandingChange::Changed { auth_version } = changed else { panic!("{changed:?}") };
        for outcome in sent {
            match outcome {
                Ok(committed) => {
                    assert!(
                        committed.seq <= head,
                        "{} stands behind the change in round {round}",
                        committed.seq
                    );
                    acked += 1;
                }
                Err(error) => {
                    assert_eq!(error.code, ErrorCode::Unauthenticated, "{error:?}");
                    refused += 1;
                }
            }
        }
        let before = grace;
        grace = Actor { role, auth_version, ..grace };
        let id = ClientId(uuid::Uuid::new_v4());
        let late = a.chat.send(&before, channel, id, "late".into(), vec![], None).await;
        assert_eq!(late.map_err(|error| error.code), Err(ErrorCode::Unauthenticated), "in round {round}");
        let id = ClientId(uuid::Uuid::new_v4());
        b.chat.send(&grace, channel, id, "in time".into(), vec![], None).await.unwrap();
    }
    let mut after = 0;
    loop {
        let page = store.events(channel, after, 1_000).await.unwrap();
        let Some(last) = page.last() else { break };
        after = last.seq;
        for event in page {
            let late =
                matches!(event.parsed().unwrap().body, EventBody::Message { text, .. } if text == "late");
            assert!(!late, "{} is late", event.seq);
        }
    }
    println!("{acked} in time, {refused} refused");
}
