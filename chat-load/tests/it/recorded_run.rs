//! A recorded run against the real server, judged again from its file.

use std::{
    io::BufReader,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use chat_load::{
    history::record::{Record, replay},
    options::Options,
    run::{Clock, run_during},
};

/// The server beside this test. A whole test run has built it; a test of this package alone builds it now.
fn server() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_chat-load")).with_file_name("chat-server");
    if !program.is_file() {
        let arguments = ["build", "--quiet", "--locked", "-p", "chat-server", "--bin", "chat-server"];
        assert!(Command::new(env!("CARGO")).args(arguments).status().unwrap().success());
    }
    program
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A server with 40 users in 4 channels; its URL and the file of tokens.
fn serve(directory: &Path) -> (Running, String, PathBuf) {
    let (data, tokens) = (directory.join("data"), directory.join("tokens.jsonl"));
    let seeded = Command::new(server())
        .args(["seed", "--users", "40", "--channels", "4", "--members", "10", "--data-dir"])
        .args([data.as_os_str(), "--tokens".as_ref(), tokens.as_os_str()])
        .output()
        .unwrap();
    assert!(seeded.status.success(), "{seeded:?}");
    let (listen, admin) = (free_address(), free_address());
    let child = Command::new(server())
        .args(["dev", "--no-demo", "--listen", &listen.to_string(), "--admin-listen", &admin.to_string()])
        .arg("--data-dir")
        .arg(&data)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect(listen).is_err() {
        assert!(Instant::now() < until, "the server does not listen");
        std::thread::yield_now();
    }
    (Running(child), format!("http://{listen}"), tokens)
}

#[test]
fn one_total_order_explains_what_a_real_server_did() {
    let directory = tempfile::tempdir().unwrap();
    let (_server, url, tokens) = serve(directory.path());
    let history = directory.path().join("history.jsonl");
    let mut options = Options::new(url, 40);
    (options.tokens, options.history) = (Some(tokens), Some(history.clone()));
    (options.rate, options.churn, options.read_rate) = (100.0, 600.0, 20.0);
    (options.seconds, options.watch) = (4.0, Some(2));
    let script = |clock: &Clock| clock.now_us();
    let run = run_during(&options, None::<fn(&Clock)>).unwrap();
    let report = &run.report;
    assert!(report.is_clean(), "{report:#?}");
    assert_eq!((report.acked, report.delivered), (report.sent, report.expected), "{report:#?}");
    assert!(report.resumed > 0 && run.timeline.reads.iter().any(|read| read.ok), "{run:#?}");

    let again = replay(BufReader::new(std::fs::File::open(&history).unwrap())).unwrap();
    assert!(again.is_clean(), "{again:?}");
    assert_eq!((again.delivered, again.expected), (report.delivered, report.expected));

    // The times are really there: with two acks of a channel given each other's positions, it is no order any more.
    let text = std::fs::read_to_string(&history).unwrap();
    let mut records: Vec<Record> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let timed = |record: &Record| matches!(record, Record::Ack { times: Some(_), .. });
    assert_eq!(records.iter().filter(|record| timed(record)).count() as u64, report.acked);
    let last = records.iter().rposition(timed).unwrap();
    if let Record::Ack { times: Some(times), .. } = &mut records[last] {
        (times.sent_us, times.acked_us) = (0, 1);
    }
    let lines: Vec<String> = records.iter().map(|record| serde_json::to_string(record).unwrap()).collect();
    assert!(replay(lines.join("\n").as_bytes()).unwrap().out_of_order > 0);

    options.history = None;
    (options.seconds, options.warmup) = (60.0, 0.0);
    let ended = run_during(&options, Some(script)).unwrap();
    assert!(ended.report.details.window_seconds < 30.0, "a script ends the window");
    assert!(ended.script.is_some_and(|at_us| at_us < ended.timeline.end_us));
}
