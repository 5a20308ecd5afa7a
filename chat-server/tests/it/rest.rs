//! The REST API as a client sees it.

use std::collections::BTreeSet;

use chat_protocol::{
    ChannelId, ChannelKind, ClientId, ErrorCode, EventBody, Problem,
    rest::{Channel, Committed, Member, Message, Page, ReadMarker, Role, TokenResponse, User},
};
use reqwest::{Method, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::harness;
use crate::harness::{TestServer, read};

/// Requests in the name of one user.
struct Caller<'a> {
    server: &'a TestServer,
    who: &'a TokenResponse,
}

impl Caller<'_> {
    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Response {
        let request =
            self.server.http.request(method, self.server.url(path)).bearer_auth(&self.who.access_token);
        let request = request.header("idempotency-key", ClientId(uuid::Uuid::new_v4()).to_string());
        let request = body.iter().fold(request, reqwest::RequestBuilder::json);
        request.send().await.expect("is answered")
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> T {
        read(self.call(Method::GET, path, None).await, StatusCode::OK).await
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, body: Value) -> T {
        let answer = self.call(Method::POST, path, Some(body)).await;
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        let status = answer.status();
        read(answer, status).await
    }

    async fn refused(&self, method: Method, path: &str, body: Option<Value>) -> ErrorCode {
        refusal(self.call(method, path, body).await).await
    }

    /// All items of a listing, read in pages of `limit`.
    async fn all<T: DeserializeOwned>(&self, path: &str, limit: usize) -> Vec<T> {
        let (mut items, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let request =
                self.server.get(path).bearer_auth(&self.who.access_token).query(&[("limit", limit)]);
            let request = cursor.iter().fold(request, |request, cursor| request.query(&[("cursor", cursor)]));
            let page: Page<T> = read(request.send().await.expect("is answered"), StatusCode::OK).await;
            assert!(page.items.len() <= limit);
            items.extend(page.items);
            match page.next {
                Some(next) => cursor = Some(next),
                None => return items,
            }
        }
    }
}

/// The code of an answer that is a problem, whole and consistent.
async fn refusal(answer: Response) -> ErrorCode {
    let status = answer.status().as_u16();
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let problem: Problem = answer.json().await.expect("a problem");
    assert_eq!((problem.status, problem.code.status()), (status, status), "{problem:?}");
    assert!(
        !problem.detail.is_empty() && problem.kind.starts_with("https://folkmoot.dev/problems/"),
        "{problem:?}"
    );
    problem.code
}

#[tokio::test]
async fn whatever_goes_wrong_is_a_problem() {
    let server = TestServer::start().await;
    let ada = server.register("ada").await;
    let ada = Caller { server: &server, who: &ada };

    assert_eq!(ada.refused(Method::GET, "/v1/nothing", None).await, ErrorCode::NotFound);
    let wrong_method = ada.call(Method::DELETE, "/v1/channels", None).await;
    let allowed = wrong_method.headers()["allow"].to_str().expect("text").to_owned();
    assert!(allowed.contains("GET") && allowed.contains("POST"), "{allowed}");
    assert_eq!(refusal(wrong_method).await, ErrorCode::MethodNotAllowed);

    let nobody = server.get("/v1/users/me").send().await.expect("is answered");
    assert_eq!(nobody.headers()["www-authenticate"], "Bearer");
    assert_eq!(refusal(nobody).await, ErrorCode::Unauthenticated);

    let raw = |media_type: &'static str, body: String| {
        let request = server.post("/v1/channels").bearer_auth(&ada.who.access_token);
        async move {
            refusal(request.header("content-type", media_type).body(body).send().await.expect("is answered"))
                .await
        }
    };
    assert_eq!(raw("application/json", "{".into()).await, ErrorCode::Malformed);
    assert_eq!(raw("text/plain", "{}".into()).await, ErrorCode::UnsupportedMediaType);
    assert_eq!(raw("application/json", r#"{"kind":"public"}"#.into()).await, ErrorCode::Malformed);
    assert_eq!(
        raw("application/json", format!(r#"{{"name":"{}"}}"#, "x".repeat(128 * 1024))).await,
        ErrorCode::TooLarge
    );

    let unknown = ChannelId::new();
    assert_eq!(ada.refused(Method::GET, "/v1/channels/not-a-uuid", None).await, ErrorCode::Malformed);
    assert_eq!(ada.refused(Method::GET, &format!("/v1/channels/{unknown}"), None).await, ErrorCode::NotFound);
    let send = server.post(&format!("/v1/channels/{unknown}/messages")).bearer_auth(&ada.who.access_token);
    let keyless = send.json(&json!({ "text": "hi" })).send().await.expect("is answered");
    assert_eq!(refusal(keyless).await, ErrorCode::Malformed);
}

#[tokio::test]
async fn every_listing_refuses_what_is_not_its_cursor_or_a_limit() {
    let server = TestServer::start().await;
    let ada = server.register("ada").await;
    let den = server.channel_of(&ada, &[], "den").await;
    let ada = Caller { server: &server, who: &ada };
    for path in [
        "/v1/users?".to_owned(),
        "/v1/channels?".to_owned(),
        "/v1/channels?scope=public&".to_owned(),
        format!("/v1/channels/{den}/members?"),
        format!("/v1/channels/{den}/events?"),
        format!("/v1/channels/{den}/messages?"),
    ] {
        for (query, code) in [
            ("cursor=No+such+cursor!", ErrorCode::Malformed),
            ("limit=0", ErrorCode::Invalid),
            ("limit=201", ErrorCode::Invalid),
            ("limit=many", ErrorCode::Malformed),
            ("limits=1", ErrorCode::Malformed),
            ("limit=1&limit=1", ErrorCode::Malformed),
        ] {
            assert_eq!(
                ada.refused(Method::GET, &format!("{path}{query}"), None).await,
                code,
                "{path}{query}"
            );
        }
    }
    assert_eq!(ada.refused(Method::GET, "/v1/channels?scope=secret", None).await, ErrorCode::Malformed);
}

#[tokio::test]
async fn people_are_listed_found_and_changed() {
    let server = TestServer::start().await;
    let owner = server.register("ada").await;
    let mut others = Vec::new();
    for handle in ["grace", "grace.hopper", "linus", "margaret"] {
        others.push(server.register(handle).await);
    }
    let ada = Caller { server: &server, who: &owner };
    let grace = Caller { server: &server, who: &others[0] };
    let handles = |users: Vec<User>| users.into_iter().map(|user| user.handle).collect::<Vec<_>>();

    let everybody = ["ada", "grace", "grace.hopper", "linus", "margaret"];
    for limit in [1, 2, 5, 200] {
        assert_eq!(handles(ada.all("/v1/users", limit).await), everybody);
    }
    assert_eq!(handles(grace.all("/v1/users?q=GRA", 1).await), ["grace", "grace.hopper"]);
    let (one, two) = (others[2].user.id, owner.user.id);
    let some: Page<User> = grace.get(&format!("/v1/users?ids={one},{two},{}", ChannelId::new())).await;
    assert_eq!(handles(some.items), ["ada", "linus"]);
    assert_eq!(grace.get::<User>("/v1/users/me").await, others[0].user);
    assert_eq!(grace.get::<User>(&format!("/v1/users/{one}")).await, others[2].user);
    let too_many = [one.to_string().as_str(); 101].join(",");
    assert_eq!(
        grace.refused(Method::GET, &format!("/v1/users?ids={too_many}"), None).await,
        ErrorCode::Invalid
    );

    let (me, linus) = (format!("/v1/users/{}", others[0].user.id), format!("/v1/users/{one}"));
    let renamed: User = read(
        grace.call(Method::PATCH, &me, Some(json!({ "display_name": "Admiral" }))).await,
        StatusCode::OK,
    )
    .await;
    assert_eq!(renamed.display_name, "Admiral");
    assert_eq!(handles(ada.all("/v1/users?q=admi", 50).await), ["grace"]);
    assert_eq!(
        grace.refused(Method::PATCH, &linus, Some(json!({ "deactivated": true }))).await,
        ErrorCode::Forbidden
    );
    let closed: User =
        read(ada.call(Method::PATCH, &linus, Some(json!({ "deactivated": true }))).await, StatusCode::OK)
            .await;
    assert!(closed.deactivated);
    let gone = Caller { server: &server, who: &others[2] };
    assert_eq!(gone.refused(Method::GET, "/v1/users/me", None).await, ErrorCode::Unauthenticated);
    let login = json!({ "handle": "linus", "password": harness::PASSWORD });
    let login = server.post("/v1/auth/login").json(&login).send().await.expect("is answered");
    assert!(login.status().is_client_error());
}

#[tokio::test]
async fn guests_see_what_they_were_added_to() {
    let server = TestServer::start().await;
    let owner = server.register("ada").await;
    let guest = server.register("guest").await;
    let path = format!("/v1/users/{}", guest.user.id);
    let ada = Caller { server: &server, who: &owner };
    let made: User =
        read(ada.call(Method::PATCH, &path, Some(json!({ "role": "guest" }))).await, StatusCode::OK).await;
    assert_eq!(made.role, Role::Guest);
    let open: Channel = ada.post("/v1/channels", json!({ "kind": "public", "name": "open" })).await;
    let den = server.channel_of(&owner, &[&guest], "den").await;

    // The role is in the token: a new one has it.
    let login = json!({ "handle": "guest", "password": harness::PASSWORD });
    let login = server.post("/v1/auth/login").json(&login).send().await.expect("is answered");
    let guest: TokenResponse = read(login, StatusCode::OK).await;
    let guest = Caller { server: &server, who: &guest };
    assert_eq!(guest.refused(Method::GET, "/v1/users", None).await, ErrorCode::Forbidden);
    assert_eq!(guest.refused(Method::GET, "/v1/channels?scope=public", None).await, ErrorCode::Forbidden);
    assert_eq!(
        guest.refused(Method::GET, &format!("/v1/channels/{}", open.id), None).await,
        ErrorCode::NotFound
    );
    let mine: Vec<Channel> = guest.all("/v1/channels", 50).await;
    assert!(mine.iter().any(|channel| channel.id == den));
    let names: Page<User> = guest.get(&format!("/v1/users?ids={}", owner.user.id)).await;
    assert_eq!(names.items.len(), 1);
}

#[tokio::test]
async fn channels_live() {
    let server = TestServer::start().await;
    let (owner, other) = (server.register("ada").await, server.register("grace").await);
    let (ada, grace) = (Caller { server: &server, who: &owner }, Caller { server: &server, who: &other });
    let mut public = BTreeSet::new();
    for n in 0..5 {
        let request = json!({ "kind": "public", "name": format!("Room {n}") });
        public.insert(ada.post::<Channel>("/v1/channels", request).await.id);
    }
    for limit in [1, 2, 200] {
        let listed: Vec<Channel> = grace.all("/v1/channels?scope=public", limit).await;
        let ids: BTreeSet<ChannelId> = listed.iter().map(|channel| channel.id).collect();
        assert!(ids.len() == listed.len() && ids.is_superset(&public), "each once, in pages of {limit}");
    }
    let room = *public.first().expect("a room");
    let path = format!("/v1/channels/{room}");
    assert_eq!(grace.get::<Channel>(&path).await.read, None, "readable, not a member");
    assert!(!grace.all::<Channel>("/v1/channels", 50).await.iter().any(|channel| channel.id == room));
    let joined: Channel =
        read(grace.call(Method::POST, &format!("{path}/join"), None).await, StatusCode::OK).await;
    assert!(joined.read.is_some());
    assert_eq!(grace.all::<Member>(&format!("{path}/members"), 1).await.len(), 2);

    let taken = ada.refused(Method::PATCH, &path, Some(json!({ "name": "ROOM 1" }))).await;
    let own = ada.get::<Channel>(&path).await.name;
    assert_eq!(taken, ErrorCode::Conflict, "{own:?}");
    let change = json!({ "name": "Lobby", "topic": "Come in" });
    let changed: Channel = read(ada.call(Method::PATCH, &path, Some(change)).await, StatusCode::OK).await;
    assert_eq!((changed.name.as_deref(), changed.topic.as_str()), (Some("Lobby"), "Come in"));

    assert_eq!(grace.call(Method::POST, &format!("{path}/leave"), None).await.status(), 204);
    assert_eq!(ada.all::<Member>(&format!("{path}/members"), 50).await.len(), 1);
    let add = json!({ "users": [other.user.id] });
    assert_eq!(ada.call(Method::POST, &format!("{path}/members"), Some(add)).await.status(), 204);
    let remove = format!("{path}/members/{}", other.user.id);
    assert_eq!(ada.call(Method::DELETE, &remove, None).await.status(), 204);

    let archived = ada.call(Method::PATCH, &path, Some(json!({ "archived": true }))).await;
    assert!(read::<Channel>(archived, StatusCode::OK).await.archived);
    let send = json!({ "text": "too late" });
    let code = ada.refused(Method::POST, &format!("{path}/messages"), Some(send)).await;
    assert_eq!(code, ErrorCode::Archived);

    let with_grace: Channel = ada.post("/v1/dms", json!({ "users": [other.user.id] })).await;
    let with_ada: Channel = grace.post("/v1/dms", json!({ "users": [owner.user.id] })).await;
    assert_eq!((with_grace.id, with_grace.kind), (with_ada.id, ChannelKind::Direct));
    assert_eq!(with_grace.users.len(), 2);
}

#[tokio::test]
async fn messages_are_sent_once_changed_and_paged() {
    let server = TestServer::start().await;
    let (owner, other) = (server.register("ada").await, server.register("grace").await);
    let den = server.channel_of(&owner, &[&other], "den").await;
    let ada = Caller { server: &server, who: &owner };
    let path = format!("/v1/channels/{den}/messages");

    let key = uuid::Uuid::new_v4().to_string();
    let mut outcomes = Vec::new();
    for _ in 0..2 {
        let request = server.post(&path).bearer_auth(&owner.access_token).header("idempotency-key", &key);
        let answer = request.json(&json!({ "text": "once" })).send().await.expect("is answered");
        outcomes.push(read::<Committed>(answer, StatusCode::CREATED).await);
    }
    assert_eq!((outcomes[0].seq, outcomes[0].at), (outcomes[1].seq, outcomes[1].at));
    assert_eq!([outcomes[0].duplicate, outcomes[1].duplicate], [false, true]);
    let first = outcomes[0].seq;

    for n in 0..9 {
        ada.post::<Committed>(&path, json!({ "text": format!("message {n}") })).await;
    }
    let edited = ada.call(Method::PATCH, &format!("{path}/{first}"), Some(json!({ "text": "edited" }))).await;
    read::<Committed>(edited, StatusCode::OK).await;
    let secret: Committed = ada.post(&path, json!({ "text": "a secret" })).await;
    let deleted = ada.call(Method::DELETE, &format!("{path}/{}", secret.seq), None).await;
    let deleted: Committed = read(deleted, StatusCode::OK).await;
    let again = ada.refused(Method::DELETE, &format!("{path}/{}", secret.seq), None).await;
    assert!(matches!(again, ErrorCode::NotFound | ErrorCode::Conflict), "{again:?}");

    for limit in [1, 3, 200] {
        let messages: Vec<Message> = ada.all(&path, limit).await;
        let seqs: Vec<u64> = messages.iter().map(|message| message.seq).collect();
        assert_eq!(
            seqs,
            (first..=secret.seq)
                .filter(|seq| seq - first < 10 || *seq == secret.seq)
                .rev()
                .collect::<Vec<_>>()
        );
        let (newest, oldest) = (&messages[0], &messages[messages.len() - 1]);
        assert!(newest.deleted && newest.text.is_empty());
        assert!(oldest.text == "edited" && oldest.edited_at.is_some());
        let events: Vec<chat_protocol::Event> = ada.all(&format!("/v1/channels/{den}/events"), limit).await;
        let seqs: Vec<u64> = events.iter().map(|event| event.seq).collect();
        assert_eq!(seqs, (1..=deleted.seq).collect::<Vec<_>>(), "dense and ascending, in pages of {limit}");
    }
    let after = format!("/v1/channels/{den}/events?after={}", secret.seq - 1);
    let tail: Vec<chat_protocol::Event> = ada.all(&after, 50).await;
    assert_eq!(tail[0].body, EventBody::Message { text: String::new(), files: vec![], deleted: true });
    assert_eq!(tail[1].body, EventBody::Deleted { target: secret.seq });

    let grace = Caller { server: &server, who: &other };
    let marker = format!("/v1/channels/{den}/read");
    let joined = grace.get::<ReadMarker>(&marker).await.seq;
    for (seq, now) in [(joined + 2, joined + 2), (joined, joined + 2), (999, deleted.seq)] {
        let set = grace.call(Method::PUT, &marker, Some(json!({ "seq": seq }))).await;
        assert_eq!(read::<ReadMarker>(set, StatusCode::OK).await.seq, now);
        assert_eq!(grace.get::<ReadMarker>(&marker).await.seq, now);
    }
}

#[tokio::test]
async fn a_change_of_a_channel_that_is_refused_changes_nothing() {
    let server = TestServer::start().await;
    let who = server.register("ada").await;
    let ada = Caller { server: &server, who: &who };
    for name in ["taken", "own"] {
        ada.post::<Channel>("/v1/channels", json!({ "kind": "public", "name": name })).await;
    }
    let mine: Vec<Channel> = ada.all("/v1/channels", 50).await;
    let own = mine.iter().find(|channel| channel.name.as_deref() == Some("own")).expect("is there");
    let path = format!("/v1/channels/{}", own.id);
    for body in [
        json!({ "name": "taken", "topic": "changed", "archived": true }),
        json!({ "name": "taken", "topic": "changed" }),
        json!({ "name": "taken", "archived": true }),
    ] {
        assert_eq!(
            ada.refused(Method::PATCH, &path, Some(body.clone())).await,
            ErrorCode::Conflict,
            "{body}"
        );
        assert_eq!(ada.get::<Channel>(&path).await, *own, "{body}");
    }
    let all = json!({ "name": "free", "topic": "changed", "archived": true });
    let changed: Channel = read(ada.call(Method::PATCH, &path, Some(all)).await, StatusCode::OK).await;
    assert_eq!(
        (changed.name.as_deref(), changed.topic.as_str(), changed.archived),
        (Some("free"), "changed", true)
    );
    // Neither does one that would have brought it back.
    let back = json!({ "name": "taken", "archived": false });
    assert_eq!(ada.refused(Method::PATCH, &path, Some(back)).await, ErrorCode::Conflict);
    assert_eq!(ada.get::<Channel>(&path).await, changed);
}

#[tokio::test]
async fn a_key_that_was_used_for_something_else_is_refused() {
    let server = TestServer::start().await;
    let who = server.register("ada").await;
    let ada = Caller { server: &server, who: &who };
    let channel: Channel = ada.post("/v1/channels", json!({ "kind": "public", "name": "den" })).await;
    let path = format!("/v1/channels/{}/messages", channel.id);
    let key = ClientId(uuid::Uuid::new_v4()).to_string();
    let call = async |method: Method, path: &str, body: Option<Value>| {
        let request = server.http.request(method, server.url(path)).bearer_auth(&who.access_token);
        let request =
            body.iter().fold(request.header("idempotency-key", &key), reqwest::RequestBuilder::json);
        request.send().await.expect("is answered")
    };
    let text = json!({ "text": "hi" });
    let sent: Committed =
        read(call(Method::POST, &path, Some(text.clone())).await, StatusCode::CREATED).await;
    let again: Committed = read(call(Method::POST, &path, Some(text)).await, StatusCode::CREATED).await;
    assert_eq!((again.seq, again.duplicate), (sent.seq, true));
    let message = format!("{path}/{}", sent.seq);
    for (method, path, body) in [
        (Method::POST, &path, Some(json!({ "text": "something else" }))),
        (Method::PATCH, &message, Some(json!({ "text": "better" }))),
        (Method::DELETE, &message, None),
    ] {
        assert_eq!(refusal(call(method.clone(), path, body).await).await, ErrorCode::Invalid, "{method}");
    }
    let shown: Vec<Message> = ada.all(&path, 50).await;
    assert_eq!(shown.iter().map(|message| message.text.as_str()).collect::<Vec<_>>(), ["hi"]);
}
