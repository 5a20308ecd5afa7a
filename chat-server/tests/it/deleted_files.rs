//! Files go with the last message that has them, and uploads that are in no message go after a while; what they take is limited.

use std::path::{Path, PathBuf};

use chat_domain::{
    chat::now_ms,
    store::{Appended, Authority, FileHold, FileTask, FileWork, NewEvent},
};
use chat_protocol::{
    ChannelId, ClientFrame, ClientId, ErrorCode, EventBody, FileId, FileRef, Problem, Seq, ServerFrame,
    rest::{Committed, Role, TokenResponse},
};
use chat_server::config::Config;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::json;

use crate::harness::{TestServer, read, wait::until, ws::TestSocket};

const HOUR: u64 = 3_600_000;

struct Scene {
    server: TestServer,
    ada: TokenResponse,
    grace: TokenResponse,
    channel: ChannelId,
    folder: PathBuf,
}

/// All files below a directory.
fn files_in(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files_in(&path) } else { vec![path] }).collect()
}

fn new_id() -> ClientId {
    ClientId(uuid::Uuid::new_v4())
}

impl Scene {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut folder = PathBuf::new();
        let server = TestServer::with(|config| {
            folder = config.data.dir.join("files");
            change(config);
        })
        .await;
        let (ada, grace) = (server.register("ada").await, server.register("grace").await);
        let channel = server.channel_of(&ada, &[&grace], "den").await;
        Self { server, ada, grace, channel, folder }
    }

    async fn ask(&self, by: &TokenResponse, request: RequestBuilder) -> Response {
        request.bearer_auth(&by.access_token).send().await.expect("is answered")
    }

    async fn post_file(&self, by: &TokenResponse, body: impl Into<reqwest::Body>) -> Response {
        let path = format!("/v1/files?channel={}&name=a.txt", self.channel);
        self.ask(by, self.server.post(&path).body(body)).await
    }

    async fn upload(&self) -> FileId {
        let file: FileRef = read(self.post_file(&self.ada, "some text").await, StatusCode::CREATED).await;
        file.id
    }

    fn message(&self, files: &[FileId]) -> RequestBuilder {
        self.message_as(new_id(), "see", files)
    }

    fn message_as(&self, id: ClientId, text: &str, files: &[FileId]) -> RequestBuilder {
        let request = self.server.post(&format!("/v1/channels/{}/messages", self.channel));
        request.header("Idempotency-Key", id.to_string()).json(&json!({ "text": text, "files": files }))
    }

    async fn send(&self, files: &[FileId]) -> Seq {
        let committed: Committed =
            read(self.ask(&self.ada, self.message(files)).await, StatusCode::CREATED).await;
        committed.seq
    }

    async fn delete(&self, seq: Seq) {
        let url = self.server.url(&format!("/v1/channels/{}/messages/{seq}", self.channel));
        let request = self.server.http.delete(url).header("Idempotency-Key", new_id().to_string());
        let _: Committed = read(self.ask(&self.ada, request).await, StatusCode::OK).await;
    }

    /// The statuses of its description and its content, for each of the two.
    async fn served(&self, file: FileId) -> Vec<u16> {
        let mut statuses = Vec::new();
        for by in [&self.ada, &self.grace] {
            for path in [format!("/v1/files/{file}"), format!("/v1/files/{file}/content")] {
                for method in [Method::GET, Method::HEAD] {
                    let request = self.server.http.request(method, self.server.url(&path));
                    statuses.push(self.ask(by, request).await.status().as_u16());
                }
            }
        }
        statuses
    }

    async fn is_there(&self, file: FileId) {
        assert_eq!(self.served(file).await, [200; 8]);
    }

    /// Nobody gets it, and nobody can attach it again.
    async fn is_gone(&self, file: FileId) {
        assert_eq!(self.served(file).await, [404; 8]);
        let problem: Problem =
            read(self.ask(&self.ada, self.message(&[file])).await, StatusCode::UNPROCESSABLE_ENTITY).await;
        assert_eq!(problem.code, ErrorCode::Invalid);
        let mut socket = TestSocket::connect(&self.server.base_url, &self.ada.access_token).await;
        let (sent, channel) = (new_id(), self.channel);
        let files = vec![file];
        socket.send(&ClientFrame::Send { id: sent, channel, text: String::new(), files, seen: None }).await;
        let code = socket
            .until(|frame| match frame {
                ServerFrame::Error { id: Some(id), code, .. } if id == sent => Some(Some(code)),
                ServerFrame::Ack { id, .. } if id == sent => Some(None),
                _ => None,
            })
            .await;
        assert_eq!(code, Some(ErrorCode::Invalid));
    }

    async fn until_kept(&self, expected: usize) {
        until(&format!("{expected} files are kept"), || files_in(&self.folder).len() == expected).await;
    }

    /// What a sweep does so many hours from now.
    async fn sweep_in(&self, hours: u64) {
        let files = self.server.app().files().expect("has the role api");
        files.sweep(now_ms() + hours * HOUR).await.expect("sweeps");
    }
}

#[tokio::test]
async fn the_files_of_a_deleted_message_are_gone_at_once() {
    let mut scene = Scene::new().await;
    // Sent over one door, deleted over the other.
    let (one, other) = (scene.upload().await, scene.upload().await);
    let mut socket = TestSocket::connect(&scene.server.base_url, &scene.ada.access_token).await;
    let (id, channel) = (new_id(), scene.channel);
    let files = vec![one, other];
    socket.send(&ClientFrame::Send { id, channel, text: String::new(), files, seen: None }).await;
    let (first, _) = socket.acked(id).await;
    let third = scene.upload().await;
    let second = scene.send(&[third]).await;
    for file in [one, other, third] {
        scene.is_there(file).await;
    }
    scene.delete(first).await;
    scene.is_gone(one).await;
    scene.is_gone(other).await;
    scene.is_there(third).await;
    let id = new_id();
    socket.send(&ClientFrame::Delete { id, channel, target: second }).await;
    socket.acked(id).await;
    scene.is_gone(third).await;
    scene.until_kept(0).await;
    scene.server.restart().await;
    for file in [one, other, third] {
        scene.is_gone(file).await;
    }
}

#[tokio::test]
async fn a_file_in_two_messages_lives_as_long_as_one_of_them() {
    let scene = Scene::new().await;
    let file = scene.upload().await;
    let (first, second) = (scene.send(&[file, file]).await, scene.send(&[file]).await);
    scene.delete(first).await;
    scene.is_there(file).await;
    scene.sweep_in(48).await;
    scene.is_there(file).await;
    scene.delete(second).await;
    scene.is_gone(file).await;
    scene.until_kept(0).await;
}

#[tokio::test]
async fn a_refused_message_holds_no_file() {
    let scene = Scene::new().await;
    let file = scene.upload().await;
    let (used, seq) = (new_id(), scene.send(&[file]).await);
    let first = scene.ask(&scene.ada, scene.message_as(used, "the first", &[])).await;
    let _: Committed = read(first, StatusCode::CREATED).await;
    // The id is that of another message, which the file is not to belong to.
    let refused = scene.ask(&scene.ada, scene.message_as(used, "the second", &[file])).await;
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    // Of two files one is gone.
    let gone = scene.upload().await;
    scene.delete(scene.send(&[gone]).await).await;
    let refused = scene.ask(&scene.ada, scene.message(&[file, gone])).await;
    assert!(refused.status().is_client_error(), "{}", refused.status());
    scene.is_there(file).await;
    scene.delete(seq).await;
    scene.is_gone(file).await;
    scene.sweep_in(1).await;
    scene.is_gone(file).await;
}

#[tokio::test]
async fn an_upload_in_no_message_goes_after_a_day() {
    let scene = Scene::new().await;
    let (kept, forgotten) = (scene.upload().await, scene.upload().await);
    scene.send(&[kept]).await;
    scene.sweep_in(24).await;
    scene.is_there(forgotten).await;
    scene.sweep_in(26).await;
    scene.is_gone(forgotten).await;
    scene.is_there(kept).await;
    scene.until_kept(1).await;
}

#[tokio::test]
async fn an_upload_that_may_be_removed_soon_is_not_attached() {
    let scene = Scene::with(|config| config.files.unattached = std::time::Duration::ZERO).await;
    let file = scene.upload().await;
    let uploaded = now_ms();
    until("its time is over", || now_ms() > uploaded).await;
    let refused = scene.ask(&scene.ada, scene.message(&[file])).await;
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn what_a_process_left_undone_is_done_by_whoever_looks_later() {
    let scene = Scene::new().await;
    let (store, channel, ada) = (scene.server.app().store(), scene.channel, scene.ada.user.id);
    let file = scene.upload().await;
    let row = store.file(file).await.expect("answers").expect("is there");
    let reference =
        FileRef { id: file, name: row.name.clone(), media_type: row.media_type.clone(), size: row.size };
    let append = async |body: EventBody, id: ClientId| {
        let authority = Authority { role: Role::Owner, auth_version: 0 };
        let event =
            NewEvent { id: Some(id), authority: Some(authority), ..NewEvent::of_server(ada, now_ms(), body) };
        match store.append(channel, vec![event]).await.expect("answers")[..] {
            [Appended::New { seq }] => seq,
            ref other => panic!("expected a new event, got {other:?}"),
        }
    };
    // A message was committed, another one was not, and their process died before it wrote what follows.
    let (committed, lost) = (new_id(), new_id());
    let due = now_ms() + 1;
    for id in [committed, lost] {
        let task = FileTask::Sent { channel, by: ada, id };
        store.add_file_work(&[FileWork { due, file, task }]).await.expect("is noted");
    }
    let body = EventBody::Message { text: String::new(), files: vec![reference], deleted: false };
    let seq = append(body, committed).await;
    scene.sweep_in(48).await;
    scene.is_there(file).await;
    // A deletion that never came changes nothing.
    let deleted = FileWork { due: now_ms(), file, task: FileTask::Deleted { channel, seq } };
    store.add_file_work(std::slice::from_ref(&deleted)).await.expect("is noted");
    scene.sweep_in(48).await;
    scene.is_there(file).await;
    store.add_file_work(std::slice::from_ref(&deleted)).await.expect("is noted");
    append(EventBody::Deleted { target: seq }, new_id()).await;
    scene.sweep_in(48).await;
    scene.is_gone(file).await;
    scene.until_kept(0).await;

    // What was sent and never committed is in no message.
    let file = scene.upload().await;
    let task = FileTask::Sent { channel, by: ada, id: new_id() };
    store.add_file_work(&[FileWork { due, file, task }]).await.expect("is noted");
    scene.sweep_in(48).await;
    scene.is_gone(file).await;

    // Of what was sent a day ago nobody knows any more whether it was committed.
    let file = scene.upload().await;
    let due = now_ms() - 24 * HOUR;
    store.add_file_work(&[FileWork { due, file, task }]).await.expect("is noted");
    scene.sweep_in(48).await;
    scene.is_there(file).await;
}

/// Whether a download that is under way when something happens comes to its end.
async fn comes_to_its_end(scene: &Scene, file: FileId, size: usize, happens: impl AsyncFnOnce()) -> bool {
    let request =
        scene.server.get(&format!("/v1/files/{file}/content")).bearer_auth(&scene.grace.access_token);
    let mut answer = request.send().await.expect("is answered");
    assert_eq!(answer.status(), StatusCode::OK);
    let first = answer.chunk().await.expect("comes").expect("is there");
    happens().await;
    let mut got = first.len();
    while let Ok(Some(chunk)) = answer.chunk().await {
        got += chunk.len();
    }
    got == size
}

#[tokio::test]
async fn a_download_under_way_ends_with_the_right_to_it() {
    const SIZE: usize = 25 * 1024 * 1024;
    let scene = Scene::new().await;
    let mut files = Vec::new();
    for _ in 0..2 {
        let file: FileRef = read(scene.post_file(&scene.ada, vec![7; SIZE]).await, StatusCode::CREATED).await;
        files.push(file.id);
    }
    let (first, second) = (scene.send(&files[..1]).await, scene.send(&files[1..]).await);
    assert!(comes_to_its_end(&scene, files[0], SIZE, async || {}).await);
    assert!(!comes_to_its_end(&scene, files[0], SIZE, async || scene.delete(first).await).await);
    let leave = async || {
        let path = format!("/v1/channels/{}/members/{}", scene.channel, scene.grace.user.id);
        let removed = scene.ask(&scene.ada, scene.server.http.delete(scene.server.url(&path))).await;
        assert!(removed.status().is_success());
    };
    assert!(!comes_to_its_end(&scene, files[1], SIZE, leave).await);
    scene.delete(second).await;
}

#[tokio::test]
async fn who_signs_out_gets_no_more_of_a_file() {
    const SIZE: usize = 25 * 1024 * 1024;
    let scene = Scene::new().await;
    let file: FileRef = read(scene.post_file(&scene.ada, vec![7; SIZE]).await, StatusCode::CREATED).await;
    let sign_out = async || {
        let done = scene.ask(&scene.grace, scene.server.post("/v1/auth/logout")).await;
        assert!(done.status().is_success(), "{}", done.status());
    };
    assert!(!comes_to_its_end(&scene, file.id, SIZE, sign_out).await);
}

#[tokio::test]
async fn who_is_removed_gets_no_file_any_more() {
    let scene = Scene::new().await;
    let file = scene.upload().await;
    scene.send(&[file]).await;
    scene.is_there(file).await;
    let path = format!("/v1/channels/{}/members/{}", scene.channel, scene.grace.user.id);
    let removed = scene.ask(&scene.ada, scene.server.http.delete(scene.server.url(&path))).await;
    assert!(removed.status().is_success());
    assert_eq!(scene.served(file).await, [200, 200, 200, 200, 404, 404, 404, 404]);
    let path = format!("/v1/users/{}", scene.grace.user.id);
    let close = scene.server.http.patch(scene.server.url(&path)).json(&json!({ "deactivated": true }));
    assert!(scene.ask(&scene.ada, close).await.status().is_success());
    assert_eq!(scene.served(file).await[4..], [401; 4]);
}

#[tokio::test]
async fn a_person_stores_so_much() {
    let scene = Scene::with(|config| {
        config.files.max_bytes_per_person = 300_000;
        config.files.max_unattached_per_person = 2;
    })
    .await;
    let no_space = async |answer: Response| {
        let problem: Problem = read(answer, StatusCode::INSUFFICIENT_STORAGE).await;
        assert_eq!((problem.code, problem.retryable), (ErrorCode::NoSpace, false));
        problem.detail
    };
    let chunked = |length: usize| {
        let chunks = vec![Ok::<_, std::io::Error>(vec![7_u8; length])];
        reqwest::Body::wrap_stream(futures_util::stream::iter(chunks))
    };
    let first: FileRef = read(scene.post_file(&scene.ada, vec![7; 200_000]).await, StatusCode::CREATED).await;
    // Announced and not.
    no_space(scene.post_file(&scene.ada, vec![7; 100_001]).await).await;
    no_space(scene.post_file(&scene.ada, chunked(100_001)).await).await;
    scene.until_kept(1).await;
    let small = scene.upload().await;
    assert!(no_space(scene.post_file(&scene.ada, "x").await).await.contains("in no message"));
    let seq = scene.send(&[first.id, small]).await;
    no_space(scene.post_file(&scene.ada, vec![7; 100_000]).await).await;
    assert_eq!(scene.post_file(&scene.grace, vec![7; 100_000]).await.status(), StatusCode::CREATED);
    scene.delete(seq).await;
    assert_eq!(scene.post_file(&scene.ada, vec![7; 200_000]).await.status(), StatusCode::CREATED);
}

#[tokio::test]
async fn a_disk_that_is_almost_full_is_kept_for_messages() {
    let scene = Scene::with(|config| config.files.keep_free_bytes = u64::MAX / 2).await;
    let problem: Problem =
        read(scene.post_file(&scene.ada, "x").await, StatusCode::INSUFFICIENT_STORAGE).await;
    assert_eq!(problem.code, ErrorCode::NoSpace);
    assert!(scene.server.app().files().is_some() && files_in(&scene.folder).is_empty());
    scene.send(&[]).await;
}

#[tokio::test]
async fn a_file_that_is_held_for_a_message_that_never_came_goes_later() {
    let scene = Scene::new().await;
    let (store, channel, ada) = (scene.server.app().store(), scene.channel, scene.ada.user.id);
    // As a process leaves it that dies before it commits.
    let held = async |file: FileId, due: u64| {
        let id = new_id();
        let row = store.file(file).await.expect("answers").expect("is there");
        let task = FileTask::Sent { channel, by: ada, id };
        store.add_file_work(&[FileWork { due, file, task }]).await.expect("is noted");
        assert_eq!(store.hold(&[row], FileHold { id, due }).await.expect("answers"), []);
    };
    let file = scene.upload().await;
    let seq = scene.send(&[file]).await;
    held(file, now_ms() + 1).await;
    scene.delete(seq).await;
    scene.is_there(file).await;
    scene.sweep_in(1).await;
    scene.is_gone(file).await;
    scene.until_kept(0).await;

    // An upload whose time ends while it is held.
    let file = scene.upload().await;
    held(file, now_ms() + 30 * HOUR).await;
    scene.sweep_in(26).await;
    scene.is_there(file).await;
    scene.sweep_in(31).await;
    scene.is_gone(file).await;
    scene.until_kept(0).await;
}
