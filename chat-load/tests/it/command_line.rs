//! The exit codes and output that scripts rely on.

use std::process::{Command, Output};

use chat_load::{broadcaster::Broadcaster, report::Report};

fn chat_load(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_chat-load")).args(arguments).output().unwrap()
}

fn bare_url() -> String {
    let broadcaster = Broadcaster::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}", broadcaster.local_addr().unwrap());
    std::thread::spawn(move || broadcaster.serve());
    url
}

#[test]
fn a_clean_run_prints_one_object_and_exits_with_0() {
    let directory = tempfile::tempdir().unwrap();
    let (history, json) = (directory.path().join("history.jsonl"), directory.path().join("report.json"));
    let url = bare_url();
    let common =
        ["--url", &url, "--protocol", "bare", "--connections", "5", "--rate", "50", "--seconds", "0.5"];
    let files = ["--quiet", "--history", history.to_str().unwrap(), "--json", json.to_str().unwrap()];
    let output = chat_load(&[&common[..], &files[..]].concat());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report: Report = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((report.connections, report.delivered), (5, report.sent * 5));
    assert_eq!(std::fs::read(json).unwrap(), output.stdout);
    let object: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    for key in [
        "connections",
        "sent",
        "acked",
        "delivered",
        "expected",
        "lost",
        "duplicated",
        "out_of_order",
        "resumed",
        "ack_ms",
        "delivery_ms",
        "presence_ms",
        "server_cpu_us_per_delivery",
        "server_rss_bytes_per_connection",
        "reconnects",
        "sends",
    ] {
        assert!(object.get(key).is_some(), "{key} is promised");
    }
}

#[test]
fn a_recorded_run_with_a_fault_exits_with_1() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("run.jsonl");
    let id = "00000000-0000-4000-8000-000000000001";
    let ack = format!(r#"{{"record":"ack","channel":"{id}","seq":1,"id":"{id}"}}"#);
    let log = format!(r#"{{"record":"log","channel":"{id}","seq":1,"at":1,"by":"{id}","id":"{id}"}}"#);
    std::fs::write(&file, format!("{ack}\n{log}\n")).unwrap();
    assert_eq!(chat_load(&["check", file.to_str().unwrap()]).status.code(), Some(0));
    std::fs::write(&file, ack).unwrap();
    let output = chat_load(&["check", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains(r#""lost":1"#), "{output:?}");
}

#[test]
fn a_server_that_is_not_there_exits_with_1() {
    let arguments =
        ["--url", "http://127.0.0.1:1", "--protocol", "bare", "--connect-timeout", "0.2", "--quiet"];
    assert_eq!(chat_load(&arguments).status.code(), Some(1));
}

#[test]
fn options_that_make_no_sense_exit_with_2() {
    for arguments in [
        &["--url", "http://127.0.0.1:1"][..],
        &["--url", "https://127.0.0.1:1", "--protocol", "bare"],
        &["--url", "http://127.0.0.1:1", "--protocol", "bare", "--churn", "-1"],
        &["--url", "http://127.0.0.1:1", "--protocol", "bare", "--max-reconnect-peak", "2"],
        &["--nonsense"],
    ] {
        let output = chat_load(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert!(!output.stderr.is_empty());
    }
}
