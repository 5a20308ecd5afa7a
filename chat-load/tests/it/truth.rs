//! Whole runs over real sockets: what the protocol allows passes, and a broken promise is found.

use std::io::BufReader;

use chat_load::{
    bars::Bars,
    broadcaster::Broadcaster,
    history::record::replay,
    options::{Options, Protocol},
    reconnects::Reconnects,
    report::Report,
    run::run,
};

use crate::fake;
use crate::fake::Fault;

/// A short run against a server with this fault. Churn of 600 % a minute drops 20 sockets 3 times a second or so.
async fn run_against(fault: Fault, adjust: impl FnOnce(&mut Options)) -> Report {
    let directory = tempfile::tempdir().unwrap();
    let (urls, accounts) = fake::serve(fault, 20, 10).await;
    let tokens = directory.path().join("tokens.jsonl");
    let lines: Vec<String> = accounts.iter().map(|a| serde_json::to_string(a).unwrap()).collect();
    std::fs::write(&tokens, lines.join("\n")).unwrap();
    let history = directory.path().join("history.jsonl");
    let mut options = Options::new(&urls[0], 20);
    options.urls.push(urls[1].clone());
    options.api = Some(urls[1].clone());
    options.read_rate = 20.0;
    options.tokens = Some(tokens);
    options.history = Some(history.clone());
    options.rate = 150.0;
    options.seconds = 1.5;
    options.warmup = 0.3;
    // It ends when nothing is missing any more.
    options.drain = 60.0;
    adjust(&mut options);
    let report = tokio::task::spawn_blocking(move || run(&options)).await.unwrap().unwrap();
    let again = replay(BufReader::new(std::fs::File::open(history).unwrap())).unwrap();
    assert_eq!(
        (again.lost, again.duplicated, again.out_of_order, again.delivered),
        (report.lost, report.duplicated, report.out_of_order, report.delivered),
        "the recorded run is judged as the live one"
    );
    report
}

fn assert_clean(report: &Report) {
    assert!(report.is_clean(), "{report:#?}");
    assert_eq!(report.delivered, report.expected);
    assert_eq!(report.acked, report.sent);
    assert_eq!(report.details.unacked, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_server_is_clean_and_everything_is_measured() {
    let report = run_against(Fault::None, |_| {}).await;
    assert_clean(&report);
    assert_eq!(report.connections, 20);
    assert_eq!(report.sent, 270, "150 a second for 1.8 s, whatever the server does");
    assert_eq!(report.expected, 2_700, "each to the 10 members of its channel");
    assert!(report.ack_ms.is_some_and(|q| q.p50 <= q.p99 && q.p99 <= q.max));
    assert!(report.delivery_ms.is_some());
    assert_eq!(report.presence_ms, None);
    assert!(report.details.trouble.is_empty(), "{:?}", report.details.trouble);
    assert_eq!(report.reconnects, Reconnects::default());
    // Those of the window, each once unless the machine was so slow that it was asked again.
    assert_eq!(report.sends.tries == 225, report.sends.most_tries == 1, "{:?}", report.sends);
    let slowest = report.ack_ms.map(|q| q.max);
    assert!(
        report.sends.prompt_percent == Some(100.0) || slowest > Some(500.0),
        "{:?}, the slowest {slowest:?} ms",
        report.sends
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn churn_loses_nothing() {
    let report = run_against(Fault::None, |options| {
        options.churn = 1_500.0;
        options.watch = Some(0);
    })
    .await;
    assert_clean(&report);
    assert!(report.resumed > 3 && report.details.recovered > 0, "{report:#?}");
    assert_eq!(report.resumed, report.details.dropped);
    assert_eq!(report.reconnects, Reconnects::default(), "who was dropped on purpose did not have to");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_threads_do_as_well_as_one() {
    let report = run_against(Fault::None, |options| {
        options.churn = 1_500.0;
        options.threads = 2;
        options.watch = Some(0);
    })
    .await;
    assert_clean(&report);
    assert_eq!(report.sent, 270);
}

#[tokio::test(flavor = "multi_thread")]
async fn presence_is_measured_by_watchers() {
    let report = run_against(Fault::None, |options| {
        options.watch = Some(3);
        options.seconds = 5.0;
        options.rate = 20.0;
    })
    .await;
    assert_clean(&report);
    assert!(report.presence_ms.is_some() && report.details.presence_heard > 0, "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_sync_does_not_recover_is_read_over_rest() {
    let report = run_against(Fault::NeverRecovers, |options| options.churn = 1_500.0).await;
    assert_clean(&report);
    assert!(report.details.paged > 0 && report.details.recovered == 0, "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_is_asked_for() {
    let report = run_against(Fault::Skip, |_| {}).await;
    assert_clean(&report);
    assert!(report.details.gaps > 0, "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_sends_are_sent_again_with_the_same_id() {
    let report = run_against(Fault::Overloaded, |_| {}).await;
    assert_clean(&report);
    assert!(report.details.resent >= 9, "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_send_whose_socket_is_lost_is_sent_again_when_it_may() {
    // Nobody has a second message that would send the first one along.
    let report =
        run_against(Fault::RefuseAndCut, |options| (options.rate, options.seconds) = (12.0, 1.0)).await;
    assert_clean(&report);
    assert!(report.resumed >= 9 && report.details.resent >= 9, "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_drops_everybody_is_come_back_to() {
    let report = run_against(Fault::Crash, |_| {}).await;
    assert_clean(&report);
    assert!(report.resumed >= 20 && report.details.resent > 0, "{report:#?}");
    let reconnects = &report.reconnects;
    assert_eq!((reconnects.most_by_client, reconnects.clients, reconnects.lost_sockets), (1, 20, 20));
    assert_eq!(reconnects.attempts, 20, "{reconnects:?}");
    assert!(
        report.sends.tries > report.sends.prompt_tries,
        "a try was lost with its socket: {:?}",
        report.sends
    );
    assert!(report.sends.most_tries >= 2 && report.sends.not_acked == 0, "{:?}", report.sends);
}

#[tokio::test(flavor = "multi_thread")]
async fn bars_that_are_missed_are_reported_and_make_the_run_a_bad_one() {
    let bars = Bars {
        max_reconnects: Some(0),
        drain_window: Some(10.0),
        max_reconnect_peak: Some(2.0),
        min_prompt: Some(100.0),
        max_unacked: Some(0),
    };
    let report = run_against(Fault::Crash, |options| options.bars = bars).await;
    let missed = &report.details.missed;
    assert!(!report.is_clean());
    assert_eq!(missed.len(), 3, "{missed:?}");
    for what in ["had to reconnect 1 times", "times their mean rate", "acked within 500 ms"] {
        assert!(missed.iter().any(|missed| missed.contains(what)), "{what}: {missed:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_gateway_dies_its_sockets_go_to_the_next() {
    let report = run_against(Fault::Gateway, |options| options.churn = 600.0).await;
    assert_clean(&report);
    assert!(report.resumed >= 10 && report.details.resent > 0, "{report:#?}");
    let refused = report.details.trouble.keys().any(|what| what.contains("close frame"));
    assert!(refused, "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_promises_are_found_and_distinguished() {
    for (fault, kind) in [
        (Fault::Mute, "lost"),
        (Fault::Forget, "lost"),
        (Fault::Double, "duplicated"),
        (Fault::KeepTwice, "duplicated"),
        (Fault::Swap, "out_of_order"),
        (Fault::WrongAck, "out_of_order"),
    ] {
        let report = run_against(fault, |options| options.drain = 0.5).await;
        let found =
            [("lost", report.lost), ("duplicated", report.duplicated), ("out_of_order", report.out_of_order)];
        for (name, count) in found {
            assert_eq!(count > 0, name == kind, "{fault:?}: {report:#?}");
        }
        assert!(!report.is_clean());
        assert!(!report.details.findings.is_empty());
    }
}

#[test]
fn the_broadcaster_is_driven_by_the_same_engine() {
    let broadcaster = Broadcaster::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}", broadcaster.local_addr().unwrap());
    std::thread::spawn(move || broadcaster.serve());
    let mut options = Options::new(url, 50);
    options.protocol = Protocol::Bare;
    options.rate = 200.0;
    options.seconds = 1.0;
    options.warmup = 0.0;
    options.server_pid = Some(std::process::id());
    for _ in 0..2 {
        let report = run(&options).unwrap();
        assert!(report.is_clean(), "{report:#?}");
        assert_eq!((report.sent, report.delivered), (200, 10_000));
        assert!(report.server_cpu_us_per_delivery.is_some());
    }
}

#[test]
fn a_server_that_does_not_answer_is_an_error() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut options = Options::new(format!("http://{}", listener.local_addr().unwrap()), 2);
    options.protocol = Protocol::Bare;
    options.connect_timeout = 0.3;
    let error = run(&options).unwrap_err();
    assert!(error.to_string().starts_with("the server welcomed nobody"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_a_log_and_should_have_been_refused_is_found() {
    let report = run_against(Fault::Left, |_| {}).await;
    assert!(!report.is_clean(), "{report:#?}");
    let found = report.details.violations.keys().any(|what| what.contains("should have been refused"));
    assert!(found, "{:?}", report.details.violations);
}
