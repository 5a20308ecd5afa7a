//! Whoever has shown no authority yet: many of them keep nobody out, take no memory, and each of their phases ends.

use std::time::Duration;

use chat_protocol::{CloseCode, rest::TokenResponse};
use reqwest::{Client, StatusCode};
use serde_json::json;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::harness;
use crate::harness::{
    PASSWORD, TestServer,
    process::ServerProcess,
    raw::{KEY, Raw, upgrade_request},
    wait::{DEADLINE, until_so},
    ws::TestSocket,
};

const STRANGERS: usize = 250;
const MIB: f64 = 1024.0 * 1024.0;

/// What one of the strangers does, again and again, until the server ends it.
async fn bother(base_url: &str, n: usize) {
    let begun = match n % 5 {
        0 => Vec::new(),
        1 => b"PRI * HTTP/2.0\r\n\r\nSM".to_vec(),
        2 => b"GET / HTTP/1.1\r\nHost: a\r\nX-Long: ".to_vec(),
        3 => b"POST /v1/auth/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n{"
            .to_vec(),
        _ => upgrade_request(&format!("Host: a\r\nSec-WebSocket-Key: {KEY}\r\n")).into_bytes(),
    };
    let address = base_url.strip_prefix("http://").expect("an http URL");
    let Ok(stream) = tokio::net::TcpStream::connect(address).await else { return };
    let mut raw = Raw(stream);
    if raw.write(begun).await.is_err() {
        return;
    }
    loop {
        let dripped = async {
            sleep(Duration::from_millis(300)).await;
            match n % 5 {
                0 | 1 => Ok(()),
                2 | 3 => raw.write(b" ").await,
                _ => raw.frame(0x89, &[]).await,
            }
        };
        if dripped.await.is_err() || raw.has_ended() {
            return;
        }
    }
}

/// Signs in and opens a socket, as a client does: again, when a connection breaks.
async fn sign_in(http: &Client, base_url: &str) -> TestSocket {
    loop {
        let login = json!({ "handle": "ada", "password": PASSWORD, "device": "test" });
        let Ok(answer) = http.post(format!("{base_url}/v1/auth/login")).json(&login).send().await else {
            continue;
        };
        // On a machine that is held up, the crowd may push it out between its head and its body: the answer says to come again.
        if answer.status() == StatusCode::SERVICE_UNAVAILABLE {
            continue;
        }
        assert_eq!(answer.status(), StatusCode::OK);
        let Ok(session) = answer.json::<TokenResponse>().await else { continue };
        if let Ok(mut socket) = TestSocket::upgrade(base_url, None, None).await {
            socket.hello(&session.access_token).await;
            if matches!(
                socket.next().await,
                harness::ws::Incoming::Frame(chat_protocol::ServerFrame::Welcome { .. })
            ) {
                return socket;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_says_nothing_drips_or_pings_keeps_nobody_out() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let settings = [
        "auth.login_per_minute_account=100000",
        "auth.login_per_minute_address=100000",
        "auth.register_per_hour_address=100000",
    ];
    let server = ServerProcess::start_limited(dir.path(), &settings, Some(256));
    let _ = rustls::crypto::ring::default_provider().install_default();
    // Nothing is kept open between two requests, so that each of them has to get in.
    let http =
        Client::builder().timeout(DEADLINE).no_proxy().pool_max_idle_per_host(0).build().expect("a client");
    let ada = json!({ "handle": "ada", "password": PASSWORD, "device": "test" });
    let made = http.post(format!("{}/v1/auth/register", server.base_url)).json(&ada).send().await;
    assert_eq!(made.expect("answers").status(), StatusCode::CREATED);

    let mut alone = Duration::ZERO;
    for _ in 0..4 {
        let began = Instant::now();
        sign_in(&http, &server.base_url).await;
        alone = alone.max(began.elapsed());
    }
    // On a machine that is held up, the same is not to be expected as on one that is not.
    let allowed = Duration::from_secs(2).max(alone * 4);
    let resident = async || server.metric("folkmoot_process_resident_memory_bytes").await;
    let before = resident().await;

    let mut strangers = JoinSet::new();
    for n in 0..STRANGERS {
        let base_url = server.base_url.clone();
        strangers.spawn(async move {
            loop {
                bother(&base_url, n).await;
                sleep(Duration::from_secs(1)).await;
            }
        });
    }
    until_so("the crowd is there", async || {
        server.metric("folkmoot_http_closed_total{reason=\"address_full\"}").await >= STRANGERS as f64 / 2.0
    })
    .await;
    for _ in 0..15 {
        let began = Instant::now();
        let socket = timeout(allowed, sign_in(&http, &server.base_url)).await;
        assert!(socket.is_ok(), "a person signs in within {allowed:?}");
        let health = timeout(allowed, http.get(format!("{}/healthz", server.admin_url)).send()).await;
        assert_eq!(health.expect("in time").expect("answers").status(), StatusCode::OK);
        sleep(Duration::from_secs(1).saturating_sub(began.elapsed())).await;
    }
    until_so("memory is what it was, within 16 MiB", async || resident().await < before + 16.0 * MIB).await;
    assert!(server.metric("folkmoot_http_strangers").await <= 48.0);
    strangers.shutdown().await;
}

/// Sends `head`, then `drip` now and then, until the server ends it.
async fn outlasted(server: &TestServer, head: &str, drip: &str) {
    let mut raw = Raw::send(&server.base_url, head).await;
    let ended = async {
        while !raw.has_ended() {
            sleep(Duration::from_millis(200)).await;
            if raw.write(drip).await.is_err() {
                return;
            }
        }
    };
    timeout(DEADLINE, ended).await.unwrap_or_else(|_| panic!("still open: {head:?}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_phase_ends_though_something_comes() {
    let server = TestServer::start().await;
    let ada = server.register("ada").await;
    let channel = server.channel_of(&ada, &[], "den").await;
    let upload = format!(
        "POST /v1/files?channel={channel}&name=x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/octet-stream\r\nContent-Length: 1000000\r\n\r\n",
        ada.access_token
    );
    let json = "POST /v1/auth/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n";
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0";
    let ping = "\0\0\u{8}\u{6}\0\0\0\0\0abcdefgh";
    tokio::join!(
        outlasted(&server, "", ""),
        outlasted(&server, "PRI * HTTP/2.0\r\n", ""),
        outlasted(&server, preface, ping),
        outlasted(&server, "GET / HTTP/1.1\r\n", "X-Y: z\r\n"),
        outlasted(&server, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", ""),
        outlasted(&server, json, " "),
        outlasted(&server, &upload, " "),
    );
    for (reason, least) in [("no_request", 4.0), ("idle", 1.0), ("slow_body", 2.0)] {
        let name = format!("folkmoot_http_closed_total{{reason=\"{reason}\"}}");
        assert!(server.metric(&name).await >= least, "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_drips_is_answered_with_what_is_expected() {
    let server = TestServer::start().await;
    let head = "POST /v1/auth/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
    let mut raw = Raw::send(&server.base_url, head).await;
    let (status, _) = raw.head().await.expect("is answered");
    assert_eq!(status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_floods_without_asking_for_anything_ends() {
    let server = TestServer::start().await;
    let mut raw = Raw::send(&server.base_url, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0").await;
    let (mut reader, mut writer) = raw.0.split();
    let pings = "\0\0\u{8}\u{6}\0\0\0\0\0abcdefgh".repeat(1_000);
    let flood = async {
        use tokio::io::AsyncWriteExt as _;
        let mut sent = 0_u64;
        while writer.write_all(pings.as_bytes()).await.is_ok() {
            sent += 1_000;
        }
        sent
    };
    let mut nowhere = tokio::io::sink();
    let read = tokio::io::copy(&mut reader, &mut nowhere);
    let (sent, _) = timeout(DEADLINE, async { tokio::join!(flood, read) }).await.expect("ends");
    assert!(sent < 1_000_000, "{sent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_office_behind_one_address_is_not_locked_out() {
    let server = TestServer::with(|config| config.server.max_strangers_per_address = 4).await;
    let mut sockets = Vec::new();
    for n in 0..12 {
        let person = server.register(&format!("person{n}")).await;
        sockets.push((TestSocket::connect(&server.base_url, &person.access_token).await, person));
    }
    let mut crowd = Vec::new();
    for _ in 0..20 {
        crowd.push(Raw::upgrade(&server.base_url, "").await);
    }
    // The oldest of them went, with a code that says to come back.
    assert_eq!(crowd[0].close_code().await, Some(CloseCode::TryLater.code()));
    for (mut socket, person) in sockets {
        let channel = server.channel_of(&person, &[], &format!("den of {}", person.user.handle)).await;
        let id = socket.say(channel, "hi").await;
        socket.acked(id).await;
    }
    assert!(server.metric("folkmoot_gateway_strangers").await <= 4.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_proxy_each_client_is_counted_and_not_the_proxy() {
    let server = TestServer::with(|config| {
        config.server.max_strangers_per_address = 4;
        config.server.trusted_proxies = vec!["127.0.0.1".into()];
    })
    .await;
    let mut quiet = Vec::new();
    for n in 1..=10 {
        quiet.push(Raw::upgrade(&server.base_url, &format!("X-Forwarded-For: 192.0.2.{n}\r\n")).await);
    }
    let mut crowd = Vec::new();
    for _ in 0..6 {
        crowd.push(Raw::upgrade(&server.base_url, "X-Forwarded-For: 198.51.100.1\r\n").await);
    }
    assert_eq!(crowd[0].close_code().await, Some(CloseCode::TryLater.code()));
    assert_eq!(crowd[1].close_code().await, Some(CloseCode::TryLater.code()));
    for mut one in crowd.into_iter().skip(2).chain(quiet) {
        one.frame(0x89, b"there?").await.expect("is sent");
        assert_eq!(one.next_frame().await, Some((0x8A, b"there?".to_vec())));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_without_hello_take_no_place_of_peoples() {
    let server = TestServer::with(|config| config.gateway.max_sockets = 2).await;
    let ada = server.register("ada").await;
    let mut crowd = Vec::new();
    for _ in 0..20 {
        crowd.push(Raw::upgrade(&server.base_url, "").await);
    }
    let _first = TestSocket::connect(&server.base_url, &ada.access_token).await;
    let second = TestSocket::connect(&server.base_url, &ada.access_token).await;
    assert_eq!(server.metric("folkmoot_gateway_connections").await, 2.0);
    assert!(server.metric("folkmoot_gateway_strangers").await >= 20.0);
    assert!(TestSocket::upgrade(&server.base_url, None, None).await.is_err(), "it is full");
    // Full meanwhile: told when it says hello.
    drop(second);
    until_so("a place is free", async || server.metric("folkmoot_gateway_connections").await == 1.0).await;
    let mut late = TestSocket::upgrade(&server.base_url, None, None).await.expect("upgrades");
    let _third = TestSocket::connect(&server.base_url, &ada.access_token).await;
    late.hello(&ada.access_token).await;
    assert_eq!(late.closed().await, Some(CloseCode::TryLater.code()));
}
