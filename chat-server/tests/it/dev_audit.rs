//! `chat-server dev` is a server for people: it has the limits of any server, and its log says who was refused what.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use chat_protocol::{
    ClientFrame, ClientId, ErrorCode, ServerFrame,
    rest::{Channel, Committed, TokenResponse},
};
use chat_server::{config::Config, dev};
use parking_lot::Mutex;
use reqwest::StatusCode;
use serde_json::json;

use crate::harness::{PASSWORD, TestServer, read, wait::until, ws::TestSocket};

/// `chat-server dev` as README has it, and the lines of its log so far.
struct Dev {
    child: Child,
    base_url: String,
    log: Arc<Mutex<Vec<String>>>,
}

impl Dev {
    fn start(data: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_chat-server"))
            .args([
                "dev",
                "--no-demo",
                "--listen",
                "127.0.0.1:0",
                "--admin-listen",
                "127.0.0.1:0",
                "--data-dir",
            ])
            .arg(data)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        let log = Arc::<Mutex<Vec<String>>>::default();
        let (errors, kept) = (child.stderr.take().expect("is piped"), Arc::clone(&log));
        std::thread::spawn(move || {
            BufReader::new(errors).lines().map_while(Result::ok).for_each(|line| kept.lock().push(line));
        });
        let mut out = BufReader::new(child.stdout.take().expect("is piped")).lines().map_while(Result::ok);
        let web = out.find_map(|line| Some(line.trim().strip_prefix("web ")?.trim().to_owned()));
        // Whoever prints must find somebody who reads.
        std::thread::spawn(move || out.for_each(drop));
        let base_url = web.expect("says where it is").trim_end_matches('/').to_owned();
        Self { child, base_url, log }
    }

    /// Waits for an audit line with a time in UTC and all of these in it.
    async fn until_logged(&self, parts: &[&str]) {
        let says = |line: &String| {
            let is_timed = line
                .split_once('T')
                .is_some_and(|(_, time)| time.split(' ').next().is_some_and(|t| t.ends_with('Z')));
            is_timed && line.contains(" audit: ") && parts.iter().all(|part| line.contains(part))
        };
        until(&format!("the log says {parts:?}"), || self.log.lock().iter().any(says)).await;
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn dev_has_the_limits_of_any_server() {
    let default = Config::default();
    let mut dev = dev::config();
    assert!(dev.log.level.split(',').any(|directive| directive == "audit=info"), "{}", dev.log.level);
    // What it differs in.
    dev.log = default.log.clone();
    dev.gateway.drain_window = default.gateway.drain_window;
    assert_eq!(dev, default);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_in_the_log_of_dev() {
    // For its HTTP client.
    let http = TestServer::start().await.http.clone();
    let dir = tempfile::tempdir().expect("a folder");
    let dev = Dev::start(&dir.path().join("data"));
    let url = |path: &str| format!("{}{path}", dev.base_url);
    let register = async |handle: &str| -> TokenResponse {
        let body = json!({ "handle": handle, "password": PASSWORD });
        let answer = http.post(url("/v1/auth/register")).json(&body).send().await.expect("answers");
        read(answer, StatusCode::CREATED).await
    };
    let (ada, grace) = (register("ada").await, register("grace").await);
    let (ada_id, grace_id) = (ada.user.id.to_string(), grace.user.id.to_string());
    dev.until_logged(&["account made", &ada_id]).await;

    // Not permitted, over REST and on a socket.
    let invitations = http.get(url("/v1/invitations")).bearer_auth(&grace.access_token);
    assert_eq!(invitations.send().await.expect("answers").status(), StatusCode::FORBIDDEN);
    dev.until_logged(&["refused", &grace_id, "127.0.0.1", "GET /v1/invitations", "not permitted"]).await;
    let body = json!({ "kind": "private", "name": "den", "members": [grace.user.id] });
    let made = http.post(url("/v1/channels")).bearer_auth(&ada.access_token).json(&body);
    let den: Channel = read(made.send().await.expect("answers"), StatusCode::CREATED).await;
    let sent = http.post(url(&format!("/v1/channels/{}/messages", den.id))).json(&json!({ "text": "mine" }));
    let sent =
        sent.bearer_auth(&ada.access_token).header("Idempotency-Key", uuid::Uuid::new_v4().to_string());
    let sent: Committed = read(sent.send().await.expect("answers"), StatusCode::CREATED).await;
    let mut socket = TestSocket::connect(&dev.base_url, &grace.access_token).await;
    let id = ClientId(uuid::Uuid::new_v4());
    let (channel, target) = (den.id, sent.seq);
    socket.send(&ClientFrame::Edit { id, channel, target, text: "yours".into() }).await;
    let code = socket
        .until(|frame| match frame {
            ServerFrame::Error { id: Some(got), code, .. } if got == id => Some(code),
            _ => None,
        })
        .await;
    assert_eq!(code, ErrorCode::Forbidden);
    dev.until_logged(&["refused", &grace_id, "socket", "not permitted"]).await;

    // Too often: ten wrong passwords a minute, as everywhere.
    let guess = async || {
        let body = json!({ "handle": "ada", "password": "wrong horse" });
        http.post(url("/v1/auth/login")).json(&body).send().await.expect("answers").status()
    };
    let mut taken = 0;
    while guess().await == StatusCode::UNAUTHORIZED {
        taken += 1;
        assert!(taken < 1_000, "nothing is refused");
    }
    assert!(taken >= 10, "{taken}");
    dev.until_logged(&["refused", "127.0.0.1", "POST /v1/auth/login", "too many requests"]).await;
}
