//! A process that lacks a role hands requests of that role to one that has it, and is not noticed in between.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use chat_http::{
    HardenOptions, TrustedProxies,
    connection::Admission,
    forward::{ForwardMetrics, ForwardOptions, Forwarder, api_routes, auth_routes},
    harden,
};
use chat_protocol::{
    ErrorCode, FileRef, Problem,
    limits::MAX_FILE_BYTES,
    rest::{TokenResponse, User},
};
use chat_server::{
    app::{App, Role},
    config::Config,
    http_server,
    metrics::Metrics,
};
use futures_util::stream;
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::harness;
use crate::harness::{
    PASSWORD, TestServer,
    http2::Http2,
    read,
    wait::{DEADLINE, until, until_so},
    ws::TestSocket,
};

const MAX: usize = 25 * 1024 * 1024;
const _: () = assert!(MAX as u64 == MAX_FILE_BYTES);

fn networks(list: &[&str]) -> TrustedProxies {
    TrustedProxies::new(list.iter().map(|network| network.parse().expect("a network")))
}

/// A process that has no role and hands everything over.
struct Front {
    base_url: String,
    http: Client,
    metrics: Metrics,
    stop: CancellationToken,
}

impl Front {
    async fn before(url: &str, trusted: &[&str]) -> Self {
        Self::with(url, trusted, |_| {}).await
    }

    async fn with(url: &str, trusted: &[&str], change: impl Fn(&mut ForwardOptions)) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        Self::on(listener, url, trusted, change)
    }

    fn on(listener: TcpListener, url: &str, trusted: &[&str], change: impl Fn(&mut ForwardOptions)) -> Self {
        let (metrics, counted) = (Metrics::new(), ForwardMetrics::default());
        metrics.register(|registry| counted.register(registry));
        let trusted_proxies = networks(trusted);
        let forwarder = |role| {
            let mut options = ForwardOptions::new(role, url, trusted_proxies.clone()).expect("a URL");
            change(&mut options);
            Forwarder::new(options, &counted)
        };
        let router = harden(
            auth_routes(forwarder("auth")).merge(api_routes(forwarder("api"))),
            &HardenOptions {
                allowed_origins: vec!["https://app.example".into()],
                trusted_proxies: trusted_proxies.clone(),
            },
        );
        let base_url = format!("http://{}", listener.local_addr().expect("an address"));
        let stop = CancellationToken::new();
        tokio::spawn(http_server::serve(listener, router, Admission::default(), stop.clone()));
        Self { base_url, http: client("127.0.0.1"), metrics, stop }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base_url)
    }

    fn metric(&self, name: &str) -> u64 {
        self.metric_of("api", name)
    }

    fn metric_of(&self, role: &str, name: &str) -> u64 {
        let (text, label) = (self.metrics.text(), format!("{{role=\"{role}\"}} "));
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(&*label));
        value.map_or(0, |value| value.parse().expect("a number"))
    }

    async fn until_in_flight(&self, expected: u64) {
        let under_way = || self.metric("folkmoot_forward_in_flight") == expected;
        until(&format!("{expected} are under way"), under_way).await;
    }

    async fn register(&self, handle: &str) -> TokenResponse {
        let body = json!({ "handle": handle, "password": PASSWORD });
        let answer = self.http.post(self.url("/v1/auth/register")).json(&body).send().await;
        read(answer.expect("answers"), StatusCode::CREATED).await
    }

    /// A connection on which the head of a request was sent.
    async fn begin(&self, head: &str) -> TcpStream {
        let host = self.base_url.strip_prefix("http://").expect("an http URL");
        let mut stream = TcpStream::connect(host).await.expect("connects");
        stream.write_all(format!("{head}\r\nHost: {host}\r\n\r\n").as_bytes()).await.expect("is sent");
        stream
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A client at this address.
fn client(address: &str) -> Client {
    // Without it, reqwest does not know which of its TLS providers to take, though no test speaks TLS.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .timeout(DEADLINE)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .local_address(Some(address.parse().expect("an address")))
        .build()
        .expect("a client")
}

async fn problem(answer: Response, status: StatusCode) -> Problem {
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let again = answer.headers().contains_key("retry-after");
    let problem: Problem = read(answer, status).await;
    assert_eq!(again, status == StatusCode::SERVICE_UNAVAILABLE, "{problem:?}");
    problem
}

/// Takes one connection after the other, answers each request head with these bytes, and ends the connection. Answers what it
/// was sent.
fn scripted(answer: &'static [u8]) -> (String, tokio::sync::mpsc::Receiver<String>) {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    listener.set_nonblocking(true).expect("is set");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let listener = TcpListener::from_std(listener).expect("a listener");
    let (heads, received) = tokio::sync::mpsc::channel(8);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.expect("a head"));
            }
            let _ = heads.send(String::from_utf8(head).expect("is text").to_lowercase()).await;
            stream.write_all(answer).await.expect("is sent");
        }
    });
    (url, received)
}

/// Takes connections and says nothing on them.
async fn silent() -> (String, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let holding = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    (url, holding)
}

#[tokio::test]
async fn what_a_client_does_over_rest_works_through_it() {
    let server = TestServer::start().await;
    let front = Front::before(&server.base_url, &[]).await;
    let ada = front.register("ada").await;
    let body = json!({ "handle": "ada", "password": PASSWORD });
    let login = front.http.post(front.url("/v1/auth/login")).json(&body).send().await.expect("answers");
    assert_eq!(login.headers()["cache-control"], "no-store");
    let again: TokenResponse = read(login, StatusCode::OK).await;
    let me = front.http.get(front.url("/v1/users/me")).bearer_auth(&again.access_token);
    let me: User = read(me.send().await.expect("answers"), StatusCode::OK).await;
    assert_eq!(me.id, ada.user.id);

    let refused = front.http.get(front.url("/v1/users/me")).send().await.expect("answers");
    assert_eq!(refused.headers()["www-authenticate"], "Bearer");
    assert_eq!(refused.status(), 401);
    let missing = front.http.get(front.url("/v1/nothing?a=%20b")).send().await.expect("answers");
    assert_eq!(problem(missing, StatusCode::NOT_FOUND).await.code, ErrorCode::NotFound);
    let jwks = front.http.get(front.url("/.well-known/jwks.json")).send().await.expect("answers");
    let jwks: Value = read(jwks, StatusCode::OK).await;
    assert_eq!(jwks["keys"].as_array().map(Vec::len), Some(1));

    // The web client, whole, not again when it is known, and its head alone.
    let page = front.http.get(front.url("/")).send().await.expect("answers");
    assert_eq!(page.status(), 200);
    let (etag, policy) = (page.headers()["etag"].clone(), page.headers()["content-security-policy"].clone());
    assert!(policy.to_str().expect("is text").contains("script-src"), "{policy:?}");
    let length = page.text().await.expect("is text").len();
    assert!(length > 100);
    let known = front.http.get(front.url("/")).header("if-none-match", etag).send().await.expect("answers");
    assert_eq!(known.status(), 304);
    let head = front.http.head(front.url("/")).send().await.expect("answers");
    assert_eq!(head.headers()["content-length"].to_str().expect("is text"), length.to_string());

    // Pages of other origins: the answer says once who may read it.
    let foreign = front.http.get(front.url("/v1/users/me")).header("origin", "https://app.example");
    let foreign = foreign.bearer_auth(&ada.access_token).send().await.expect("answers");
    let allowed: Vec<_> = foreign.headers().get_all("access-control-allow-origin").iter().collect();
    assert_eq!(allowed, ["https://app.example"]);
    front.until_in_flight(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_file_goes_both_ways_and_one_byte_more_does_not() {
    let server = TestServer::start().await;
    let front = Front::before(&server.base_url, &[]).await;
    let ada = front.register("ada").await;
    let channel = server.channel_of(&ada, &[], "den").await;
    let upload = async |body: reqwest::Body| {
        let url = front.url(&format!("/v1/files?channel={channel}&name=a.bin"));
        front.http.post(url).bearer_auth(&ada.access_token).body(body).send().await.expect("answers")
    };
    let bytes: Bytes = (0..MAX).map(|n| u8::try_from(n % 251).expect("is small")).collect();
    let chunks: Vec<_> =
        bytes.chunks(64 * 1024).map(|chunk| Ok::<_, std::io::Error>(Bytes::copy_from_slice(chunk))).collect();
    for body in [bytes.clone().into(), reqwest::Body::wrap_stream(stream::iter(chunks))] {
        let file: FileRef = read(upload(body).await, StatusCode::CREATED).await;
        assert_eq!(file.size, MAX_FILE_BYTES);
        let get = || {
            front
                .http
                .get(front.url(&format!("/v1/files/{}/content", file.id)))
                .bearer_auth(&ada.access_token)
        };
        let whole = get().send().await.expect("answers");
        assert_eq!(whole.status(), 200);
        assert_eq!(whole.content_length(), Some(MAX_FILE_BYTES));
        assert!(whole.bytes().await.expect("a body") == bytes, "not the bytes that were sent");
        let part = get().header("range", "bytes=1000000-1000009").send().await.expect("answers");
        assert_eq!(part.status(), 206);
        assert_eq!(part.bytes().await.expect("a body"), bytes[1_000_000..1_000_010]);
    }
    let refused = upload(vec![7; MAX + 1].into()).await;
    assert_eq!(problem(refused, StatusCode::PAYLOAD_TOO_LARGE).await.code, ErrorCode::TooLarge);
    front.until_in_flight(0).await;
}

#[tokio::test]
async fn limits_count_by_the_address_of_the_client() {
    // The front is at 127.0.0.1, a load balancer before it at 127.0.0.4.
    let trusted = ["127.0.0.1", "127.0.0.4"];
    let server = TestServer::with(|config| {
        config.server.trusted_proxies = trusted.map(str::to_owned).to_vec();
        config.auth.login_per_minute_address = 2;
    })
    .await;
    let front = Front::before(&server.base_url, &trusted).await;
    let login = async |from: &Client, said: &str, handle: &str| {
        let body = json!({ "handle": handle, "password": "wrong" });
        let request = from.post(front.url("/v1/auth/login")).json(&body).header("x-forwarded-for", said);
        request.send().await.expect("answers").status().as_u16()
    };
    let (one, other, balancer) = (client("127.0.0.2"), client("127.0.0.3"), client("127.0.0.4"));
    // What a client says of itself counts for nothing.
    assert_eq!(login(&one, "198.51.100.1", "a").await, 401);
    assert_eq!(login(&one, "198.51.100.2", "b").await, 401);
    assert_eq!(login(&one, "198.51.100.3", "c").await, 429);
    assert_eq!(login(&other, "127.0.0.2", "d").await, 401, "another client");
    for (said, status) in [
        ("203.0.113.1", 401),
        ("203.0.113.2", 401),
        ("203.0.113.1", 401),
        ("6.6.6.6, 203.0.113.1", 429),
        ("203.0.113.1, 127.0.0.4", 429),
        ("203.0.113.2", 401),
    ] {
        assert_eq!(login(&balancer, said, "e").await, status, "{said}");
    }
}

#[tokio::test]
async fn while_nobody_is_there_clients_learn_when_to_come_back() {
    let address: SocketAddr = {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        listener.local_addr().expect("an address")
    };
    let front = Front::before(&format!("http://{address}"), &[]).await;
    for path in ["/", "/v1/users/me", "/v1/auth/sessions"] {
        let answer = front.http.get(front.url(path)).send().await.expect("answers");
        let problem = problem(answer, StatusCode::SERVICE_UNAVAILABLE).await;
        assert_eq!(problem.code, ErrorCode::Overloaded, "nothing was done: {problem:?}");
        assert!(problem.retryable && problem.retry_after_ms.is_some(), "{problem:?}");
    }
    assert_eq!(front.metric("folkmoot_forward_failed_total"), 2);
    let _server = TestServer::with(|config| config.server.listen = address).await;
    front.register("ada").await;
}

#[tokio::test]
async fn more_than_there_are_places_for_are_sent_away_at_once() {
    let (url, upstream) = silent().await;
    let front = Front::with(&url, &[], |options| options.places = 2).await;
    let mut held = vec![front.begin("GET /1 HTTP/1.1").await, front.begin("GET /2 HTTP/1.1").await];
    front.until_in_flight(2).await;
    let answer = front.http.get(front.url("/3")).send().await.expect("answers");
    assert_eq!(problem(answer, StatusCode::SERVICE_UNAVAILABLE).await.code, ErrorCode::Overloaded);
    assert_eq!(front.metric("folkmoot_forward_refused_total"), 1);
    // The other role has places of its own, and a client that goes gives its one back.
    let other = front.begin("POST /v1/auth/login HTTP/1.1").await;
    drop(held.pop());
    front.until_in_flight(1).await;
    held.push(front.begin("GET /4 HTTP/1.1").await);
    front.until_in_flight(2).await;
    assert_eq!(front.metric("folkmoot_forward_refused_total"), 1);
    drop((held, other));
    front.until_in_flight(0).await;
    upstream.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_strangers_hold_back_leave_places_for_others() {
    let server = TestServer::start().await;
    server.register("ada").await;
    let front = Front::with(&server.base_url, &[], |options| options.places = 40).await;
    let head = "POST /v1/auth/login HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 100";
    let mut held = Vec::new();
    for _ in 0..60 {
        held.push(front.begin(head).await);
    }
    // Of an address the oldest goes for the newest, with an answer.
    let mut answer = [0; 12];
    timeout(DEADLINE, held[0].read_exact(&mut answer)).await.expect("in time").expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 503");
    let under_way = || front.metric_of("auth", "folkmoot_forward_in_flight") >= 30;
    until("as many are under way as may be", under_way).await;
    let login = json!({ "handle": "ada", "password": PASSWORD });
    let answer = front.http.post(front.url("/v1/auth/login")).json(&login).send().await.expect("answers");
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(front.metric_of("auth", "folkmoot_forward_refused_total"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_of_one_address_leave_places_for_those_of_others() {
    let (url, upstream) = silent().await;
    let dir = tempfile::tempdir().expect("a folder");
    let mut config = Config::default();
    config.data.dir = dir.path().join("data");
    config.server.listen = ([127, 0, 0, 1], 0).into();
    config.server.admin_listen = ([127, 0, 0, 1], 0).into();
    config.server.api_url = url;
    let gateway = App::start_roles(&config, &[Role::Gateway]).await.expect("starts");
    let (base_url, admin) = (format!("http://{}", gateway.address()), gateway.admin_address().port());
    let metric = async |name: &str| harness::process::metric(admin, name).await.unwrap_or(0.0);
    let mut connections = Vec::new();
    for _ in 0..2 {
        let mut connection = Http2::connect(&base_url, 0).await;
        for _ in 0..60 {
            connection.get("/", "nothing").await;
        }
        connections.push(connection);
    }
    let in_flight = "folkmoot_forward_in_flight{role=\"api\"}";
    until_so("each is handed over or waits", async || {
        metric(in_flight).await + metric("folkmoot_http_waiting").await == 120.0
    })
    .await;
    assert_eq!(metric(in_flight).await, 64.0);
    let other = tokio::spawn(client("127.0.0.2").get(format!("{base_url}/")).send());
    until_so("another one is handed over", async || metric(in_flight).await == 65.0).await;
    other.abort();
    drop(connections);
    until_so("all are gone", async || metric(in_flight).await == 0.0).await;
    upstream.abort();
    gateway.drain().await;
}

#[tokio::test]
async fn what_does_not_move_any_more_is_given_up() {
    let (url, upstream) = silent().await;
    let front = Front::with(&url, &[], |options| options.idle = Duration::from_millis(200)).await;
    let answer = front.http.post(front.url("/v1/channels")).body("{}").send().await.expect("answers");
    let problem = problem(answer, StatusCode::SERVICE_UNAVAILABLE).await;
    assert_eq!(problem.code, ErrorCode::Unavailable, "nobody knows what became of it: {problem:?}");
    front.until_in_flight(0).await;
    upstream.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_drips_is_its_senders_fault() {
    let server = TestServer::start().await;
    let front = Front::before(&server.base_url, &[]).await;
    let head = "POST /v1/auth/login HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 100000";
    let (mut reader, mut writer) = front.begin(head).await.into_split();
    let drip = async {
        while writer.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let mut status = [0; 12];
    let answered = async {
        tokio::select! { read = reader.read_exact(&mut status) => read.map(drop), () = drip => Ok(()) }
    };
    timeout(DEADLINE, answered).await.expect("in time").expect("answers");
    assert_eq!(String::from_utf8_lossy(&status), "HTTP/1.1 400");
    assert_eq!(front.metric("folkmoot_forward_failed_total"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_nothing_keeps_no_place() {
    let server = TestServer::start().await;
    // Long enough for answers that do move, on a machine that has other things to do.
    let front = Front::with(&server.base_url, &[], |options| options.idle = Duration::from_secs(3)).await;
    let ada = server.register("ada").await;
    let channel = server.channel_of(&ada, &[], "den").await;
    let upload = server.post(&format!("/v1/files?channel={channel}&name=a.bin")).body(vec![7; MAX]);
    let upload = upload.bearer_auth(&ada.access_token).send().await.expect("answers");
    let file: FileRef = read(upload, StatusCode::CREATED).await;
    let token = &ada.access_token;
    let head = format!("GET /v1/files/{}/content HTTP/1.1\r\nAuthorization: Bearer {token}", file.id);
    let mut stream = front.begin(&head).await;
    let mut status = [0; 12];
    timeout(DEADLINE, stream.read_exact(&mut status)).await.expect("in time").expect("an answer");
    assert_eq!(&status, b"HTTP/1.1 200");
    front.until_in_flight(0).await;
    // What it gets, when it reads after all, is not taken for the whole.
    let mut rest = Vec::new();
    let _ = timeout(DEADLINE, stream.read_to_end(&mut rest)).await.expect("it ends");
    assert!(rest.len() < MAX);
}

#[tokio::test]
async fn an_answer_that_is_cut_off_is_not_taken_for_whole() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"[..],
        &b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n"[..],
    ] {
        let (url, _heads) = scripted(answer);
        let front = Front::before(&url, &[]).await;
        let cut = front.http.get(front.url("/")).send().await.expect("answers");
        assert_eq!(cut.status(), 200);
        assert!(cut.bytes().await.is_err());
        front.until_in_flight(0).await;
    }
    let (url, _heads) = scripted(b"");
    let front = Front::before(&url, &[]).await;
    let none = front.http.post(front.url("/v1/channels")).body("{}").send().await.expect("answers");
    assert_eq!(problem(none, StatusCode::SERVICE_UNAVAILABLE).await.code, ErrorCode::Unavailable);
}

#[tokio::test]
async fn nothing_is_upgraded_or_followed_and_what_is_for_one_hop_stays_there() {
    let answer =
        b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\nconnection: close, x-hop\r\nx-hop: 1\r\n\
                   keep-alive: timeout=5\r\ncontent-length: 0\r\n\r\n";
    let (url, mut heads) = scripted(answer);
    let front = Front::before(&url, &[]).await;
    let socket = TestSocket::upgrade(&front.base_url, None, None).await.map(drop).expect_err("is refused");
    let tokio_tungstenite::tungstenite::Error::Http(refused) = *socket else { panic!("{socket}") };
    assert_eq!(refused.status(), 404);

    let request = front.http.get(front.url("/v1/elsewhere?q=1"));
    let request = request.header("connection", "upgrade, x-mine").header("upgrade", "websocket");
    let found =
        request.header("x-mine", "1").header("x-forwarded-proto", "https").send().await.expect("answers");
    assert_eq!(found.status(), 302);
    assert_eq!(found.headers()["location"], "http://127.0.0.1:1/");
    assert!(!found.headers().contains_key("x-hop") && !found.headers().contains_key("keep-alive"));
    let head = heads.recv().await.expect("a head");
    assert!(head.starts_with("get /v1/elsewhere?q=1 http/1.1\r\n"), "{head}");
    let host = front.base_url.strip_prefix("http://").expect("an http URL");
    for line in [&format!("host: {host}"), "x-forwarded-for: 127.0.0.1"] {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{line} in {head}");
    }
    assert!(head.contains("\r\nvia: 1.1 folkmoot-"), "{head}");
    for name in ["upgrade", "connection", "x-mine", "x-forwarded-proto"] {
        assert!(!head.contains(&format!("\r\n{name}:")), "{name} in {head}");
    }
    assert!(heads.try_recv().is_err(), "nothing else was asked for");
}

#[tokio::test]
async fn a_process_that_is_named_as_its_own_upstream_does_not_ask_itself_for_ever() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let front = Front::on(listener, &url, &[], |_| {});
    let answer = front.http.get(front.url("/v1/users/me")).send().await.expect("answers");
    assert_eq!(problem(answer, StatusCode::INTERNAL_SERVER_ERROR).await.code, ErrorCode::Internal);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_alone_is_a_whole_server_to_its_clients() {
    let server = TestServer::start().await;
    let dir = tempfile::tempdir().expect("a folder");
    let mut config = Config::default();
    config.data.dir = dir.path().join("data");
    config.server.listen = ([127, 0, 0, 1], 0).into();
    config.server.admin_listen = ([127, 0, 0, 1], 0).into();
    config.server.api_url = server.base_url.clone();
    config.server.auth_url = server.base_url.clone();
    let gateway = App::start_roles(&config, &[Role::Gateway]).await.expect("starts");
    let base_url = format!("http://{}", gateway.address());
    let http = client("127.0.0.1");
    let body = json!({ "handle": "ada", "password": PASSWORD });
    let ada = http.post(format!("{base_url}/v1/auth/register")).json(&body).send().await.expect("answers");
    let ada: TokenResponse = read(ada, StatusCode::CREATED).await;
    let me = http.get(format!("{base_url}/v1/users/me")).bearer_auth(&ada.access_token);
    let me: User = read(me.send().await.expect("answers"), StatusCode::OK).await;
    assert_eq!(me.id, ada.user.id);
    // Sockets are its own.
    TestSocket::upgrade(&base_url, None, None).await.expect("upgrades");
    assert!(gateway.drain().await);

    // Without URLs there is nothing but sockets.
    config.server.api_url.clear();
    config.server.auth_url.clear();
    config.data.dir = dir.path().join("other");
    let gateway = App::start_roles(&config, &[Role::Gateway]).await.expect("starts");
    let answer = http.get(format!("http://{}/", gateway.address())).send().await.expect("answers");
    assert_eq!(answer.status(), 404);
    gateway.drain().await;
}
