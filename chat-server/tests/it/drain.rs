//! Going away: nobody new, what was sent is finished, everybody is given the time to come back. By a signal, by the operator's
//! order, and each socket for itself when it is old.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use chat_protocol::{
    CloseCode, ServerFrame,
    rest::{Channel, TokenResponse},
};
use chat_server::app::{App, Role};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use crate::harness::{
    PASSWORD, TestServer,
    process::{ServerProcess, seed},
    raw::Raw,
    read,
    wait::{DEADLINE, until_so},
    ws::{Incoming, TestSocket},
};

const TOKEN: &str = "c2VjcmV0LXNlY3JldC1zZWNyZXQ";

fn token_file(dir: &Path) -> String {
    let file = dir.join("admin-token");
    std::fs::write(&file, format!("{TOKEN}\n")).expect("is written");
    file.display().to_string()
}

/// Sends `POST /drain`.
async fn order(http: &Client, admin_url: &str, query: &str, token: &str) -> reqwest::Response {
    http.post(format!("{admin_url}/drain{query}")).bearer_auth(token).send().await.expect("answers")
}

/// Waits for the order to leave, and then for the close; when the first came, and what it said.
async fn asked_to_leave(mut socket: TestSocket) -> (Instant, u64) {
    let mut asked = None;
    loop {
        match socket.next().await {
            Incoming::Frame(ServerFrame::Reconnect { after_ms }) => {
                assert!(asked.is_none(), "a socket is asked once");
                asked = Some((Instant::now(), after_ms));
            }
            Incoming::Frame(_) => {}
            Incoming::Closed(code) => {
                assert_eq!(code, Some(CloseCode::Restart.code()));
                return asked.expect("is asked before it is closed");
            }
        }
    }
}

#[tokio::test]
async fn sockets_are_sent_away_with_a_hint_and_acks_in_flight_are_finished() {
    let server = TestServer::with(|config| config.gateway.drain_window = Duration::from_millis(300)).await;
    let ada = server.register("ada").await;
    let channel = server.channel_of(&ada, &[], "drain").await;
    let mut sockets = Vec::new();
    for _ in 0..5 {
        sockets.push(TestSocket::connect(&server.base_url, &ada.access_token).await);
    }
    let mut sent = Vec::new();
    for socket in &mut sockets {
        sent.push(socket.say(channel, "last words").await);
    }
    let mut silent = TestSocket::upgrade(&server.base_url, None, None).await.expect("upgrades");
    assert_eq!(server.metric("folkmoot_gateway_draining").await, 0.0);
    let draining = server.begin_drain();
    let refused = loop {
        // The drain begins a moment after it was asked for.
        if let Err(error) = TestSocket::upgrade(&server.base_url, None, None).await {
            break error;
        }
    };
    let tokio_tungstenite::tungstenite::Error::Http(response) = *refused else {
        panic!("expected an HTTP answer, got {refused}")
    };
    assert_eq!(response.status(), 503);
    assert!(response.headers().contains_key("retry-after"));
    assert_eq!(server.metric("folkmoot_gateway_draining").await, 1.0);
    let version = format!("folkmoot_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(server.metric(&version).await, 1.0);

    for (mut socket, id) in sockets.into_iter().zip(sent) {
        let (mut acked, mut hinted) = (false, false);
        let code = loop {
            match socket.next().await {
                Incoming::Frame(ServerFrame::Ack { id: acked_id, .. }) => acked |= acked_id == id,
                Incoming::Frame(ServerFrame::Reconnect { .. }) => hinted = true,
                Incoming::Frame(_) => {}
                Incoming::Closed(code) => break code,
            }
        };
        assert_eq!(code, Some(CloseCode::Restart.code()));
        assert!(acked, "what was sent before is acknowledged");
        assert!(hinted, "a reconnect frame comes before the close");
    }
    assert_eq!(silent.closed().await, Some(CloseCode::Restart.code()), "nobody waits for a hello");
    drop(silent);
    assert!(draining.await.expect("the drain ends"), "all have gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_are_asked_one_by_one_over_the_window_and_come_back_so() {
    const SOCKETS: usize = 60;
    const WINDOW: Duration = Duration::from_secs(3);
    let server = TestServer::with(|config| {
        config.gateway.drain_window = WINDOW;
        config.gateway.max_sockets_per_user = SOCKETS;
    })
    .await;
    let ada = server.register("ada").await;
    let mut sockets = Vec::new();
    for _ in 0..SOCKETS {
        sockets.push(tokio::spawn(asked_to_leave(
            TestSocket::connect(&server.base_url, &ada.access_token).await,
        )));
    }
    let began = Instant::now();
    let draining = server.begin_drain();
    let mut back = Vec::new();
    for socket in sockets {
        let (asked, after_ms) = socket.await.expect("is asked");
        assert!(after_ms <= 100, "nobody stays away for long: {after_ms} ms");
        back.push(asked - began + Duration::from_millis(after_ms));
    }
    assert!(draining.await.expect("the drain ends"), "all have gone");
    assert_eq!(server.metric("folkmoot_gateway_sent_away_total{reason=\"drain\"}").await, 60.0);
    back.sort();
    // Nobody is asked before the turn that is theirs when the window is shared evenly. That nobody is asked much later, and how
    // lateness is made up for, is tested beside `Pace`, with a clock that does not depend on the machine.
    let sockets = u32::try_from(SOCKETS).expect("a handful");
    for (turn, back) in (0..).zip(&back) {
        assert!(*back >= WINDOW * turn / sockets, "turn {turn} came after {back:?}");
    }
}

#[tokio::test]
async fn a_drain_is_ordered_by_who_has_the_token_and_the_process_stays() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = token_file(dir.path());
    let server = TestServer::with(|config| config.server.admin_token_file = (&file).into()).await;
    let order =
        |query: &'static str, token: &'static str| order(&server.http, &server.admin_url, query, token);
    let status = async |path: &str| {
        server.http.get(format!("{}{path}", server.admin_url)).send().await.expect("answers").status()
    };
    for token in ["", "wrong", "c2VjcmV0"] {
        assert_eq!(order("", token).await.status(), StatusCode::UNAUTHORIZED, "{token:?}");
    }
    for query in ["?after=301", "?after=-1", "?after=soon"] {
        assert_eq!(order(query, TOKEN).await.status(), StatusCode::BAD_REQUEST, "{query}");
    }
    assert_eq!(status("/readyz/process").await, StatusCode::OK);

    let ada = server.register("ada").await;
    let socket = TestSocket::connect(&server.base_url, &ada.access_token).await;
    for _ in 0..2 {
        let answer: Value = read(order("?after=300", TOKEN).await, StatusCode::ACCEPTED).await;
        assert_eq!(answer, json!({ "draining": true, "connections": 1 }));
    }
    for path in ["/readyz", "/readyz/process"] {
        assert_eq!(status(path).await, StatusCode::SERVICE_UNAVAILABLE, "balancers hear of it at once");
    }
    assert_eq!(server.metric("folkmoot_gateway_draining").await, 1.0);
    // Until they have, nobody is refused.
    let second = TestSocket::connect(&server.base_url, &ada.access_token).await;

    let answer: Value = read(order("?after=0", TOKEN).await, StatusCode::ACCEPTED).await;
    assert_eq!(answer["connections"], 2);
    asked_to_leave(socket).await;
    asked_to_leave(second).await;
    until_so("all have gone", async || server.metric("folkmoot_gateway_connections").await == 0.0).await;
    assert!(TestSocket::upgrade(&server.base_url, None, None).await.is_err(), "nobody comes back to it");
    assert_eq!(status("/healthz").await, StatusCode::OK);
    let answer: Value = read(order("", TOKEN).await, StatusCode::ACCEPTED).await;
    assert_eq!(answer, json!({ "draining": true, "connections": 0 }));
    assert!(server.begin_drain().await.expect("ends"), "a signal finds nothing left to do");
}

#[tokio::test]
async fn without_a_token_or_sockets_there_is_nothing_to_order() {
    let server = TestServer::start().await;
    assert_eq!(order(&server.http, &server.admin_url, "", TOKEN).await.status(), StatusCode::NOT_FOUND);

    let dir = tempfile::tempdir().expect("a folder");
    let mut config = server.config.clone();
    config.data.dir = dir.path().join("data");
    config.server.listen.set_port(0);
    config.server.admin_listen.set_port(0);
    config.server.admin_token_file = token_file(dir.path()).into();
    let app = App::start_roles(&config, &[Role::Api, Role::Auth]).await.expect("starts");
    let admin_url = format!("http://{}", app.admin_address());
    assert_eq!(order(&server.http, &admin_url, "", TOKEN).await.status(), StatusCode::CONFLICT);
    std::fs::remove_file(&config.server.admin_token_file).expect("is removed");
    let answer = order(&server.http, &admin_url, "", TOKEN).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "a token that cannot be read is nobody's");
    assert!(app.drain().await);
}

/// The first token of a seeded store.
fn seeded(data: &Path) -> String {
    let accounts = std::fs::read_to_string(seed(data, 1, 1, 1)).expect("is readable");
    let account: Value = serde_json::from_str(accounts.lines().next().expect("a line")).expect("is JSON");
    account["token"].as_str().expect("a token").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_carries_on_with_the_drain_that_was_ordered() {
    const SOCKETS: u64 = 12;
    let dir = tempfile::tempdir().expect("a folder");
    let token = seeded(dir.path());
    let file = format!("server.admin_token_file={}", token_file(dir.path()));
    let mut server = ServerProcess::start_with(dir.path(), &[&file, "gateway.drain_window_seconds=3"]);
    let http = Client::builder().no_proxy().build().expect("a client");
    let mut sockets = Vec::new();
    for _ in 0..SOCKETS {
        sockets.push(tokio::spawn(asked_to_leave(TestSocket::connect(&server.base_url, &token).await)));
    }
    let began = Instant::now();
    let answer: Value =
        read(order(&http, &server.admin_url, "?after=0", TOKEN).await, StatusCode::ACCEPTED).await;
    assert_eq!(answer["connections"], SOCKETS);
    server.wait_for_metric("folkmoot_gateway_sent_away_total{reason=\"drain\"}", 6.0).await;
    server.terminate();
    for socket in sockets {
        socket.await.expect("each is asked once");
    }
    assert!(server.ended().await);
    // Those who were left kept the turns that they had; that a drain is never begun anew is tested beside `Stage`.
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(2_750), "the last of twelve turns was not awaited: {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_after_the_drain_ends_the_process_at_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let token = seeded(dir.path());
    let file = format!("server.admin_token_file={}", token_file(dir.path()));
    let mut server = ServerProcess::start_with(dir.path(), &[&file, "gateway.drain_window_seconds=300"]);
    let http = Client::builder().no_proxy().build().expect("a client");
    let socket = TestSocket::connect(&server.base_url, &token).await;
    assert_eq!(order(&http, &server.admin_url, "?after=0", TOKEN).await.status(), StatusCode::ACCEPTED);
    asked_to_leave(socket).await;
    until_so("all have gone", async || {
        let answer: Value =
            read(order(&http, &server.admin_url, "", TOKEN).await, StatusCode::ACCEPTED).await;
        answer["connections"] == 0
    })
    .await;
    drop(http);
    server.terminate();
    assert!(server.ended().await, "long before another window would be over");
}

#[tokio::test]
async fn sockets_that_are_old_are_asked_to_reconnect_and_what_they_sent_is_finished() {
    let server = TestServer::with(|config| {
        config.gateway.max_connection_age = Some(Duration::from_secs(2));
    })
    .await;
    let ada = server.register("ada").await;
    let channel = server.channel_of(&ada, &[], "old").await;
    let began = Instant::now();
    let mut old = TestSocket::connect(&server.base_url, &ada.access_token).await;
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    let (mut sent, mut acked) = (vec![old.say(channel, "first").await], 0);
    let code = loop {
        match old.next().await {
            Incoming::Frame(ServerFrame::Ack { id, .. }) => {
                assert_eq!(sent.last(), Some(&id));
                acked += 1;
                pace.tick().await;
                sent.push(old.say(channel, "next").await);
            }
            // What is on its way to the server now may not be read any more; what it took is answered.
            Incoming::Frame(_) => {}
            Incoming::Closed(code) => break code,
        }
    };
    assert_eq!(code, Some(CloseCode::Restart.code()));
    // 1.6 s at the least, to the second in which it is found.
    assert!(began.elapsed() >= Duration::from_millis(600), "{:?}", began.elapsed());
    assert!(acked >= sent.len() - 1, "{acked} of {} acked", sent.len());
    assert_eq!(server.metric("folkmoot_gateway_sent_away_total{reason=\"age\"}").await, 1.0);
    assert_eq!(server.metric("folkmoot_gateway_draining").await, 0.0);
    let mut back = TestSocket::connect(&server.base_url, &ada.access_token).await;
    assert!(back.sync(channel, 0).await.0.len() > acked, "it resumes");
    assert!(server.begin_drain().await.expect("ends"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_address_says_draining_until_the_last_upload_has_ended() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut server = ServerProcess::start_with(dir.path(), &["gateway.drain_window_seconds=0"]);
    let http = Client::builder().timeout(DEADLINE).no_proxy().build().expect("a client");
    let ada = json!({ "handle": "ada", "password": PASSWORD, "device": "test" });
    let made = http.post(format!("{}/v1/auth/register", server.base_url)).json(&ada).send().await;
    let ada: TokenResponse = read(made.expect("answers"), StatusCode::CREATED).await;
    let den = json!({ "kind": "private", "name": "den", "members": [] });
    let made =
        http.post(format!("{}/v1/channels", server.base_url)).bearer_auth(&ada.access_token).json(&den);
    let den: Channel = read(made.send().await.expect("answers"), StatusCode::CREATED).await;
    let channel = den.id;
    // It waits for a body that is held back.
    let head = format!(
        "POST /v1/files?channel={channel}&name=x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/octet-stream\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n",
        ada.access_token
    );
    let mut upload = Raw::send(&server.base_url, head).await;
    assert_eq!(upload.head().await.expect("is asked for").0, 100);
    server.terminate();
    let ready = format!("{}/readyz", server.admin_url);
    until_so("it drains", async || {
        let answer = http.get(&ready).send().await.expect("it is there");
        answer.status() == StatusCode::SERVICE_UNAVAILABLE
    })
    .await;
    loop {
        match http.get(&ready).send().await {
            Ok(answer) => {
                assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
                assert_eq!(answer.text().await.expect("text"), "draining\n");
            }
            Err(_) => break,
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(upload.has_ended(), "it was silent while a request was still served");
    server.ended().await;
}
