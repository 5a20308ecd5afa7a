//! Answers that their reader does not take: of one person there are so many, of so many bytes, and they end. Nobody else notices.

use std::{fs, path::Path, time::Duration};

use chat_protocol::{
    ChannelId, FileId, FileRef,
    rest::{Committed, TokenResponse},
};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::json;
use tokio::{
    io::AsyncWriteExt as _,
    sync::mpsc::{Receiver, channel},
    task::JoinSet,
};

use crate::harness::{
    PASSWORD,
    http2::{Http2, Part},
    process::ServerProcess,
    read,
    wait::{DEADLINE, until_so, until_within},
};

/// More than is kept of one answer for a reader who takes nothing.
const FILE_BYTES: usize = 200_000;
const WAITING: &str = "folkmoot_http_waiting";
const UNTAKEN: &str = r#"folkmoot_http_closed_total{reason="untaken"}"#;
const SLOW_READER: &str = r#"folkmoot_http_closed_total{reason="slow_reader"}"#;

/// A server with a channel of two people, a file, and messages of a MiB in it.
struct Scene {
    server: ServerProcess,
    http: Client,
    ada: TokenResponse,
    mallory: TokenResponse,
    /// Others in the channel.
    crowd: Vec<TokenResponse>,
    channel: ChannelId,
    file: FileId,
    dir: tempfile::TempDir,
}

impl Scene {
    async fn new() -> Self {
        Self::with(&[], None, 0).await
    }

    /// With these settings, so many files that may be open, and so many others in the channel.
    async fn with(settings: &[&str], open_files: Option<u32>, others: usize) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().expect("a temporary folder");
        let limits = ["auth.login_per_minute_account=1000", "auth.login_per_minute_address=1000"];
        let server = ServerProcess::start_limited(dir.path(), &[&limits[..], settings].concat(), open_files);
        let http = Client::builder().no_proxy().build().expect("a client");
        let register = async |handle: &str| {
            let body = json!({ "handle": handle, "password": PASSWORD, "device": "test" });
            let request = http.post(format!("{}/v1/auth/register", server.base_url)).json(&body);
            read::<TokenResponse>(request.send().await.expect("answers"), StatusCode::CREATED).await
        };
        let (ada, mallory) = (register("ada").await, register("mallory").await);
        let mut crowd = Vec::new();
        for n in 0..others {
            crowd.push(register(&format!("other{n}")).await);
        }
        let ada_token = ada.access_token.clone();
        let post =
            |path: &str| http.post(format!("{}{path}", server.base_url)).bearer_auth(ada_token.clone());
        let members: Vec<_> = crowd.iter().chain([&mallory]).map(|one| one.user.id).collect();
        let den = json!({ "kind": "private", "name": "den", "members": members });
        let den = post("/v1/channels").json(&den).send().await.expect("answers");
        let channel = read::<chat_protocol::rest::Channel>(den, StatusCode::CREATED).await.id;
        let upload = post(&format!("/v1/files?channel={channel}&name=noise.bin")).body(vec![7; FILE_BYTES]);
        let file = read::<FileRef>(upload.send().await.expect("answers"), StatusCode::CREATED).await.id;
        for n in 0..64 {
            let files = if n == 0 { vec![file] } else { Vec::new() };
            let message = json!({ "text": "y".repeat(16 * 1024), "files": files });
            let send = post(&format!("/v1/channels/{channel}/messages")).json(&message);
            let send = send.header("Idempotency-Key", uuid::Uuid::new_v4().to_string());
            read::<Committed>(send.send().await.expect("answers"), StatusCode::CREATED).await;
        }
        Self { server, http, ada, mallory, crowd, channel, file, dir }
    }

    fn content(&self) -> String {
        format!("/v1/files/{}/content", self.file)
    }

    /// Of a MiB.
    fn page(&self) -> String {
        format!("/v1/channels/{}/messages?limit=64", self.channel)
    }

    fn get(&self, path: &str, who: &TokenResponse) -> RequestBuilder {
        self.http.get(format!("{}{path}", self.server.base_url)).bearer_auth(&who.access_token)
    }

    /// Asks for this 60 times on a connection for each of these windows, and takes nothing of it. What is answered, and whether with 200.
    async fn ask_and_take_nothing(
        &self,
        path: &str,
        windows: &[u32],
        asking: &mut JoinSet<()>,
    ) -> Receiver<bool> {
        let (heads, answered) = channel(1_000);
        for window in windows {
            let mut connection = Http2::connect(&self.server.base_url, *window).await;
            for _ in 0..60 {
                connection.get(path, &self.mallory.access_token).await;
            }
            let heads = heads.clone();
            asking.spawn(async move {
                while let Some((_, parts)) = connection.next().await {
                    if let Some(Part::Head { is_ok }) = parts.first() {
                        let _ = heads.send(*is_ok).await;
                    }
                }
            });
        }
        answered
    }

    /// Waits until each of so many requests is answered or waits for its turn; how many were answered with 200.
    async fn settled(&self, requests: u32, answered: &mut Receiver<bool>) -> usize {
        let (mut heads, mut good) = (0_u32, 0);
        until_so("every request is answered or waits", async || {
            while let Ok(is_ok) = answered.try_recv() {
                heads += 1;
                good += usize::from(is_ok);
            }
            f64::from(heads) + self.server.metric(WAITING).await == f64::from(requests)
        })
        .await;
        good
    }

    /// Files that the process has open below its folder, other than the store's.
    fn open_downloads(&self) -> usize {
        let open = fs::read_dir(format!("/proc/{}/fd", self.server.pid())).expect("can be listed");
        let files = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        let is_file =
            |path: &Path| path.ends_with(self.file.to_string()) && path.starts_with(self.dir.path());
        files.filter(|path| is_file(path)).count()
    }

    /// Somebody else signs in, downloads and reads: each is answered.
    async fn others_are_served(&self) {
        let login = json!({ "handle": "ada", "password": PASSWORD, "device": "test" });
        let login = self.http.post(format!("{}/v1/auth/login", self.server.base_url)).json(&login);
        assert_eq!(login.send().await.expect("answers").status(), StatusCode::OK);
        let file = self.get(&self.content(), &self.ada).send().await.expect("answers");
        assert_eq!(file.status(), StatusCode::OK);
        assert_eq!(file.bytes().await.expect("comes").len(), FILE_BYTES);
        let page = self.get(&self.page(), &self.ada).send().await.expect("answers");
        assert_eq!(page.status(), StatusCode::OK);
        assert!(page.bytes().await.expect("comes").len() > 1024 * 1024);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn downloads_that_nobody_takes_hold_few_files() {
    let scene = Scene::new().await;
    let mut asking = JoinSet::new();
    let mut answered = scene.ask_and_take_nothing(&scene.content(), &[0; 4], &mut asking).await;
    let good = scene.settled(4 * 60, &mut answered).await;
    let open = scene.open_downloads();
    assert!(good <= 16 && open <= 16, "{good} downloads are answered, {open} files are open");
    scene.others_are_served().await;
    // Whoever asks for yet more is sent away at once.
    let mut more = scene.ask_and_take_nothing(&scene.content(), &[0], &mut asking).await;
    assert_eq!(more.recv().await, Some(false));
    asking.shutdown().await;
    until_so("its files are closed", async || scene.open_downloads() == 0).await;
    let again = scene.get(&scene.content(), &scene.mallory).send().await.expect("answers");
    assert_eq!(again.bytes().await.expect("comes").len(), FILE_BYTES);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_nobody_takes_have_few_bytes() {
    let scene = Scene::new().await;
    let mut asking = JoinSet::new();
    // Who lets one byte come has the server hand over all of an answer to be sent.
    let mut answered = scene.ask_and_take_nothing(&scene.page(), &[0, 1, 1], &mut asking).await;
    let good = scene.settled(3 * 60, &mut answered).await;
    assert!(good <= 8, "{good} pages of a MiB wait for their reader");
    let held = scene.server.metric("folkmoot_http_page_bytes").await;
    assert!(held > 1024.0 * 1024.0 && held <= 8.0 * 1024.0 * 1024.0, "{held} bytes");
    scene.others_are_served().await;
    asking.shutdown().await;
    let free = async || scene.server.metric("folkmoot_http_page_bytes").await == 0.0;
    until_so("nothing is held any more", free).await;
    let again = scene.get(&scene.page(), &scene.mallory).send().await.expect("answers");
    assert_eq!(again.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_takes_what_comes_gets_sixty_at_once() {
    let scene = Scene::new().await;
    for path in [scene.content(), scene.page()] {
        let mut connection = Http2::connect(&scene.server.base_url, 10_000_000).await;
        for _ in 0..60 {
            connection.get(&path, &scene.mallory.access_token).await;
        }
        let (mut bytes, mut good, mut ended) = (0, 0, 0);
        while ended < 60 {
            let next = connection.next();
            let (_, parts) = tokio::time::timeout(DEADLINE, next)
                .await
                .expect("something comes")
                .expect("the connection goes on");
            for part in parts {
                match part {
                    Part::Head { is_ok } => good += usize::from(is_ok),
                    Part::Data(length) => bytes += length,
                    Part::End => ended += 1,
                    Part::Reset => panic!("a stream is reset"),
                }
            }
        }
        assert_eq!(good, 60, "{path}");
        assert!(bytes >= 60 * FILE_BYTES, "{bytes}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_is_not_taken_ends_though_its_connection_is_used() {
    let scene = Scene::new().await;
    let mut connection = Http2::connect(&scene.server.base_url, 0).await;
    for _ in 0..20 {
        connection.get(&scene.content(), &scene.mallory.access_token).await;
    }
    until_so("they are under way", async || scene.open_downloads() == 16).await;
    until_within(Duration::from_secs(100), "the connection ends", async || {
        // Much is asked for and taken meanwhile: to the connection as a whole its client is a good one.
        let stream = connection.get(&scene.page(), &scene.mallory.access_token).await;
        connection.open(stream, 10_000_000).await;
        loop {
            let Some((from, parts)) = connection.next().await else { return Some(()) };
            if from == stream && parts.contains(&Part::End) {
                break;
            }
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        None
    })
    .await;
    assert!(scene.server.metric(UNTAKEN).await >= 1.0);
    until_so("its files are closed", async || scene.open_downloads() == 0).await;
    let again = scene.get(&scene.content(), &scene.mallory).send().await.expect("answers");
    assert_eq!(again.bytes().await.expect("comes").len(), FILE_BYTES);
}

/// With so few files there are 32 downloads.
const FEW_FILES: u32 = 256;

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_nothing_is_served_though_others_take_nothing() {
    let scene = Scene::with(&[], Some(FEW_FILES), 20).await;
    let mut asking = JoinSet::new();
    for one in &scene.crowd {
        let (url, path) = (scene.server.base_url.clone(), scene.content());
        let token = one.access_token.clone();
        // Whoever is sent away comes again.
        asking.spawn(async move {
            loop {
                let mut connection = Http2::connect(&url, 0).await;
                for _ in 0..16 {
                    connection.get(&path, &token).await;
                }
                while connection.next().await.is_some() {}
            }
        });
    }
    // How much of the rest somebody gets depends on who comes first.
    until_so("each of them has something, or some was given up already", async || {
        scene.server.metric("folkmoot_http_downloads").await >= 20.0
            || scene.server.metric(UNTAKEN).await + scene.server.metric(SLOW_READER).await > 0.0
    })
    .await;
    for _ in 0..3 {
        let mut tries = 0;
        // On a busy machine what was given up may not be free within the time that one waits.
        let file = loop {
            let file = scene.get(&scene.content(), &scene.ada).send().await.expect("answers");
            tries += 1;
            if file.status() == StatusCode::OK || tries == 3 {
                break file;
            }
        };
        assert_eq!(file.status(), StatusCode::OK);
        assert_eq!(file.bytes().await.expect("comes").len(), FILE_BYTES);
    }
    asking.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_proxys_connection_what_is_not_taken_is_reset() {
    let scene = Scene::with(&["server.trusted_proxies=127.0.0.1"], None, 0).await;
    // A byte of each: some of it is on its way.
    let mut connection = Http2::connect(&scene.server.base_url, 1).await;
    let mut downloads = Vec::new();
    for _ in 0..4 {
        downloads.push(connection.get(&scene.content(), &scene.mallory.access_token).await);
    }
    until_so("they are under way", async || scene.open_downloads() == 4).await;
    let mut reset = Vec::new();
    until_within(Duration::from_secs(100), "all of them are reset", async || {
        // Others use the connection meanwhile.
        let other = connection.get("/v1/users/me", &scene.ada.access_token).await;
        connection.open(other, 10_000).await;
        loop {
            let (stream, parts) = connection.next().await.expect("the connection goes on");
            if parts.contains(&Part::Reset) {
                reset.push(stream);
            }
            if stream == other && parts.contains(&Part::End) {
                break;
            }
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        (reset.len() == downloads.len()).then_some(())
    })
    .await;
    reset.sort_unstable();
    assert_eq!(reset, downloads);
    let free = async || scene.server.metric("folkmoot_http_downloads").await == 0.0;
    until_so("their person has all places again", free).await;
}

/// What the system has of what is to be sent to a connection from this port, in bytes.
fn not_taken(server: u16, client: u16) -> Option<usize> {
    let table = fs::read_to_string("/proc/net/tcp").expect("is readable");
    let (server, client) = (format!(":{server:04X}"), format!(":{client:04X}"));
    table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).find_map(|columns| {
        let is_it = columns[1].ends_with(&server) && columns[2].ends_with(&client);
        let sends = columns[4].split(':').next().filter(|_| is_it)?;
        usize::from_str_radix(sends, 16).ok()
    })
}

#[tokio::test]
async fn of_an_answer_that_nobody_reads_little_waits_in_the_system() {
    const LARGE: usize = 16 * 1024 * 1024;
    let scene = Scene::new().await;
    let upload = scene
        .http
        .post(format!("{}/v1/files?channel={}&name=large.bin", scene.server.base_url, scene.channel));
    let upload =
        upload.bearer_auth(&scene.ada.access_token).body(vec![7; LARGE]).send().await.expect("answers");
    let file = read::<FileRef>(upload, StatusCode::CREATED).await.id;
    let address: std::net::SocketAddr =
        scene.server.base_url.strip_prefix("http://").expect("an http URL").parse().expect("an address");
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(8 * 1024).expect("is set");
    let mut stream = socket.connect(address).await.expect("connects");
    let port = stream.local_addr().expect("has one").port();
    let request = format!(
        "GET /v1/files/{file}/content HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\r\n",
        scene.ada.access_token
    );
    stream.write_all(request.as_bytes()).await.expect("is sent");
    let (mut before, mut looks) = (0, 0);
    let waits = until_within(DEADLINE, "the system takes no more", async || {
        let now = not_taken(address.port(), port).unwrap_or(0);
        looks = if now > 0 && now == before { looks + 1 } else { 0 };
        before = now;
        (looks > 100).then_some(now)
    })
    .await;
    assert!(waits < 1024 * 1024, "{waits} bytes wait");
}
