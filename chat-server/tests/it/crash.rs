//! `kill -9` of the server under load, and a restart on the same data: what was acknowledged is there, once, in
//! order; clients resume by themselves; a send retried across the kill keeps its first position.

use chat_load::{options::Options, run::run};
use chat_protocol::{ClientFrame, ClientId};

use crate::harness::{
    process::{ServerProcess, seed},
    ws::TestSocket,
};

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_doubled_or_reordered_by_kills_under_load() {
    rlimit::increase_nofile_limit(u64::MAX).expect("the limit of open files");
    let dir = tempfile::tempdir().expect("a directory");
    let tokens = seed(dir.path(), 2_000, 40, 50);
    let mut server = ServerProcess::start(dir.path());
    let options = Options {
        tokens: Some(tokens),
        rate: 100.0,
        seconds: 15.0,
        churn: 10.0,
        drain: 60.0,
        ..Options::new(&server.base_url, 2_000)
    };
    let load = tokio::task::spawn_blocking(move || run(&options));
    for _ in 0..2 {
        // The load is under way once messages have been acked since the last start.
        server.wait_for_metric("folkmoot_gateway_ack_seconds_count", 200.0).await;
        server.kill();
        server.restart();
    }
    let report = load.await.expect("the load ends").expect("the run is valid");
    assert_eq!((report.lost, report.duplicated, report.out_of_order), (0, 0, 0), "{report:?}");
    assert_eq!(report.connections, 2_000);
    assert!(report.resumed >= 2_000, "everybody resumed after the last kill: {report:?}");
    assert_eq!(report.acked, report.sent, "every send got through in the end: {report:?}");
    assert!(report.acked > 1_000, "{report:?}");
}

#[tokio::test]
async fn a_send_retried_across_a_kill_keeps_its_first_position() {
    let dir = tempfile::tempdir().expect("a directory");
    let tokens = seed(dir.path(), 2, 1, 2);
    let account = std::fs::read_to_string(tokens).expect("is readable");
    let account: serde_json::Value =
        serde_json::from_str(account.lines().next().expect("a line")).expect("is JSON");
    let token = account["token"].as_str().expect("a token").to_owned();
    let mut server = ServerProcess::start(dir.path());
    let mut socket = TestSocket::connect(&server.base_url, &token).await;
    let channel = socket.channels[0].channel;

    let acked = socket.say(channel, "acknowledged before the kill").await;
    let (seq, _) = socket.acked(acked).await;
    // Nobody knows what became of these.
    let mut unknown = Vec::new();
    for n in 0..20 {
        let text = format!("unknown {n}");
        unknown.push((socket.say(channel, &text).await, text));
    }
    server.kill();
    server.restart();

    let mut socket = TestSocket::connect(&server.base_url, &token).await;
    let resend = |id: ClientId, text: &str| ClientFrame::Send {
        id,
        channel,
        text: text.into(),
        files: vec![],
        seen: None,
    };
    socket.send(&resend(acked, "acknowledged before the kill")).await;
    assert_eq!(socket.acked(acked).await, (seq, true));
    let mut positions = Vec::new();
    for (id, text) in &unknown {
        socket.send(&resend(*id, text)).await;
        positions.push(socket.acked(*id).await.0);
    }
    assert_eq!(positions, (seq + 1..=seq + 20).collect::<Vec<_>>(), "each once, in the order they were sent");
    let mut again = TestSocket::connect(&server.base_url, &token).await;
    let (events, head, recovered) = again.sync(channel, seq).await;
    assert!(recovered);
    assert_eq!(head, seq + 20);
    assert_eq!(events.iter().map(|event| event.id).collect::<Vec<_>>(), {
        unknown.iter().map(|(id, _)| Some(*id)).collect::<Vec<_>>()
    });
}
