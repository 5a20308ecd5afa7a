//! Reactions through both doors: who may, to what, with what; what everybody sees of it, and what it leaves alone.

use std::collections::{BTreeMap, BTreeSet};

use chat_protocol::{
    ChannelId, ClientFrame, ClientId, ErrorCode, Event, EventBody, Problem, Reactions, Seq, ServerFrame,
    rest::{Channel, Committed, Message, Page, ReadMarker, TokenResponse},
};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::harness::{TestServer, read, ws::TestSocket};

/// A member of a channel, at both doors.
struct Person<'a> {
    server: &'a TestServer,
    who: &'a TokenResponse,
    socket: TestSocket,
}

fn new_id() -> ClientId {
    ClientId(uuid::Uuid::new_v4())
}

/// As it stands in a path: every byte is written as `%` and two digits.
fn encoded(emoji: &str) -> String {
    emoji.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

impl<'a> Person<'a> {
    async fn new(server: &'a TestServer, who: &'a TokenResponse) -> Self {
        let socket = TestSocket::connect(&server.base_url, &who.access_token).await;
        Self { server, who, socket }
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Response {
        self.call_as(method, path, body, new_id()).await
    }

    async fn call_as(&self, method: Method, path: &str, body: Option<Value>, id: ClientId) -> Response {
        let request =
            self.server.http.request(method, self.server.url(path)).bearer_auth(&self.who.access_token);
        let request = request.header("idempotency-key", id.to_string());
        body.iter().fold(request, reqwest::RequestBuilder::json).send().await.expect("is answered")
    }

    async fn write(&self, channel: ChannelId, text: &str) -> Seq {
        let path = format!("/v1/channels/{channel}/messages");
        let answer = self.call(Method::POST, &path, Some(json!({ "text": text }))).await;
        read::<Committed>(answer, StatusCode::CREATED).await.seq
    }

    /// Reacts over REST, with an emoji as it stands in the path.
    async fn rest(
        &self,
        channel: ChannelId,
        target: Seq,
        raw: &str,
        removed: bool,
        id: ClientId,
    ) -> Response {
        let method = if removed { Method::DELETE } else { Method::PUT };
        let path = format!("/v1/channels/{channel}/messages/{target}/reactions/{raw}");
        self.call_as(method, &path, None, id).await
    }

    /// What a new command is answered, over REST.
    async fn over_rest(
        &self,
        channel: ChannelId,
        target: Seq,
        emoji: &str,
        removed: bool,
    ) -> Result<Seq, ErrorCode> {
        let answer = self.rest(channel, target, &encoded(emoji), removed, new_id()).await;
        if answer.status() == StatusCode::OK {
            return Ok(answer.json::<Committed>().await.expect("is committed").seq);
        }
        let status = answer.status().as_u16();
        let problem: Problem = answer.json().await.expect("a problem");
        assert_eq!((problem.status, problem.code.status()), (status, status), "{problem:?}");
        Err(problem.code)
    }

    /// What a new command is answered, over the socket.
    async fn over_socket(
        &mut self,
        channel: ChannelId,
        target: Seq,
        emoji: &str,
        removed: bool,
    ) -> Result<Seq, ErrorCode> {
        let id = new_id();
        self.socket.send(&ClientFrame::React { id, channel, target, emoji: emoji.into(), removed }).await;
        self.socket
            .until(|frame| match frame {
                ServerFrame::Ack { id: of, seq, .. } if of == id => Some(Ok(seq)),
                ServerFrame::Error { id: Some(of), code, .. } if of == id => Some(Err(code)),
                _ => None,
            })
            .await
    }

    /// Both doors refuse it alike.
    async fn refused(&mut self, channel: ChannelId, target: Seq, emoji: &str, removed: bool) -> ErrorCode {
        let rest = self.over_rest(channel, target, emoji, removed).await;
        let socket = self.over_socket(channel, target, emoji, removed).await;
        assert_eq!(rest, socket, "{emoji} on {target}");
        rest.expect_err("is refused")
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> T {
        read(self.call(Method::GET, path, None).await, StatusCode::OK).await
    }

    /// The reactions of all messages of a channel that have some.
    async fn shown(&self, channel: ChannelId) -> BTreeMap<Seq, Reactions> {
        let page: Page<Message> = self.get(&format!("/v1/channels/{channel}/messages")).await;
        let messages = page.items.into_iter().map(|message| (message.seq, message.reactions));
        messages.filter(|(_, reactions)| !reactions.is_empty()).collect()
    }
}

fn by(people: &[&TokenResponse]) -> BTreeSet<chat_protocol::UserId> {
    people.iter().map(|person| person.user.id).collect()
}

#[tokio::test]
async fn both_doors_react_and_take_back_and_everybody_sees_it() {
    let server = TestServer::start().await;
    let (ada, grace) = (server.register("ada").await, server.register("grace").await);
    let channel = server.channel_of(&ada, &[&grace], "both").await;
    let mut a = Person::new(&server, &ada).await;
    let mut g = Person::new(&server, &grace).await;
    let target = a.write(channel, "who comes?").await;

    let first = g.over_socket(channel, target, "👍", false).await.expect("is committed");
    assert_eq!(first, target + 1);
    assert_eq!(a.over_rest(channel, target, "👍", false).await, Ok(target + 2));
    assert_eq!(a.over_rest(channel, target, "🎉", false).await, Ok(target + 3));
    let expected = Reactions::from([("👍".into(), by(&[&ada, &grace])), ("🎉".into(), by(&[&ada]))]);
    assert_eq!(a.shown(channel).await, BTreeMap::from([(target, expected)]));

    // What one door did the other one takes back; only one's own is gone.
    assert_eq!(g.over_rest(channel, target, "👍", true).await, Ok(target + 4));
    assert_eq!(a.over_socket(channel, target, "🎉", true).await, Ok(target + 5));
    let expected = Reactions::from([("👍".into(), by(&[&ada]))]);
    assert_eq!(g.shown(channel).await, BTreeMap::from([(target, expected)]));

    // Live and in the log it is the same events.
    let reaction = |emoji: &str, removed| EventBody::Reaction { target, emoji: emoji.into(), removed };
    let expected = [
        (grace.user.id, reaction("👍", false)),
        (ada.user.id, reaction("👍", false)),
        (ada.user.id, reaction("🎉", false)),
        (grace.user.id, reaction("👍", true)),
        (ada.user.id, reaction("🎉", true)),
    ];
    let of = |event: &Event| (event.by, event.body.clone());
    let log = server.events(&ada, channel, target).await;
    assert_eq!(log.iter().map(of).collect::<Vec<_>>(), expected);
    let mut other = Person::new(&server, &grace).await;
    let (synced, _, recovered) = other.socket.sync(channel, target).await;
    assert!(recovered);
    assert_eq!(synced, log);
    let last = a.over_rest(channel, target, "👀", false).await.expect("is committed");
    assert_eq!(of(&other.socket.event().await), (ada.user.id, reaction("👀", false)));

    let deleted = a.call(Method::DELETE, &format!("/v1/channels/{channel}/messages/{target}"), None).await;
    assert_eq!(read::<Committed>(deleted, StatusCode::OK).await.seq, last + 1);
    assert_eq!(g.shown(channel).await, BTreeMap::new());
    assert_eq!(g.refused(channel, target, "👍", false).await, ErrorCode::NotFound);
}

#[tokio::test]
async fn it_is_so_already_is_a_conflict_and_too_many_has_a_code_of_its_own() {
    let server = TestServer::start().await;
    let ada = server.register("ada").await;
    let channel = server.channel_of(&ada, &[], "full").await;
    let mut a = Person::new(&server, &ada).await;
    let target = a.write(channel, "hi").await;
    assert_eq!(a.refused(channel, target, "👍", true).await, ErrorCode::Conflict);
    a.over_rest(channel, target, "👍", false).await.expect("is committed");
    assert_eq!(a.refused(channel, target, "👍", false).await, ErrorCode::Conflict);
    for emoji in ["🎉", "👀", "🚀", "🙏", "😀", "😂", "🤔", "💯", "✅"] {
        a.over_socket(channel, target, emoji, false).await.expect("is committed");
    }
    let answer = a.rest(channel, target, &encoded("❌"), false, new_id()).await;
    let problem: Problem = read(answer, StatusCode::CONFLICT).await;
    assert!(problem.detail.contains("20 different") && problem.detail.contains("1,000"), "{problem:?}");
    assert_eq!(a.refused(channel, target, "❌", false).await, ErrorCode::TooManyReactions);
}

#[tokio::test]
async fn who_may_not_write_does_not_react_and_learns_nothing() {
    let server = TestServer::start().await;
    let (ada, grace) = (server.register("ada").await, server.register("grace").await);
    let a = Person::new(&server, &ada).await;
    let mut g = Person::new(&server, &grace).await;
    let secret = server.channel_of(&ada, &[], "secret").await;
    let target = a.write(secret, "hi").await;
    // There or not, readable or not: the answer is the same.
    for target in [target, target + 9] {
        assert_eq!(g.refused(secret, target, "👍", false).await, ErrorCode::NotFound);
        assert_eq!(g.refused(secret, target, "not an emoji", false).await, ErrorCode::NotFound);
    }
    assert_eq!(g.refused(ChannelId::new(), 1, "👍", false).await, ErrorCode::NotFound);

    let open = a.call(Method::POST, "/v1/channels", Some(json!({ "kind": "public", "name": "open" }))).await;
    let open = read::<Channel>(open, StatusCode::CREATED).await.id;
    let target = a.write(open, "hi").await;
    assert_eq!(g.refused(open, target, "👍", false).await, ErrorCode::Forbidden);
    let joined = g.call(Method::POST, &format!("/v1/channels/{open}/join"), None).await;
    read::<Channel>(joined, StatusCode::OK).await;
    let id = new_id();
    let first: Committed = read(g.rest(open, target, &encoded("👍"), false, id).await, StatusCode::OK).await;

    let archive = Some(json!({ "archived": true }));
    let archived = a.call(Method::PATCH, &format!("/v1/channels/{open}"), archive).await;
    assert!(read::<Channel>(archived, StatusCode::OK).await.archived);
    assert_eq!(g.refused(open, target, "🎉", false).await, ErrorCode::Archived);
    assert_eq!(g.refused(open, target, "👍", true).await, ErrorCode::Archived);
    // What was committed before is learnt by sending it again.
    let again: Committed = read(g.rest(open, target, &encoded("👍"), false, id).await, StatusCode::OK).await;
    assert_eq!((again.seq, again.duplicate), (first.seq, true));

    let nobody = server.http.put(server.url(&format!("/v1/channels/{open}/messages/{target}/reactions/x")));
    assert_eq!(nobody.send().await.expect("is answered").status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn only_messages_and_only_emoji() {
    let server = TestServer::start().await;
    let ada = server.register("ada").await;
    let channel = server.channel_of(&ada, &[], "only").await;
    let mut a = Person::new(&server, &ada).await;
    let target = a.write(channel, "hi").await;
    for nothing in [0, 1, 2, target + 1, Seq::from(u32::MAX)] {
        assert_eq!(a.refused(channel, nothing, "👍", false).await, ErrorCode::NotFound, "{nothing}");
    }
    let long = "👍".repeat(17);
    let invisible = ["\u{fe0f}", "\u{ad}", "\u{200d}", "\u{2063}", "\u{e0067}\u{e007f}", "👍\u{ad}"];
    for bad in ["x", ":+1:", "👍 👍", "👍👍", "½/¼", "👍\n", "👍\u{0}", "\u{2003}", &long]
        .into_iter()
        .chain(invisible)
    {
        assert_eq!(a.refused(channel, target, bad, false).await, ErrorCode::Invalid, "{bad:?}");
        assert_eq!(a.refused(channel, target, bad, true).await, ErrorCode::Invalid, "{bad:?}");
    }
    assert_eq!(a.over_socket(channel, target, "", false).await, Err(ErrorCode::Invalid));

    // However a client writes it in the path, it is the same emoji.
    let woman_technologist = "👩🏽\u{200d}💻";
    for emoji in ["❤\u{fe0f}", "🇪🇺", woman_technologist, "1\u{fe0f}\u{20e3}", "#\u{fe0f}\u{20e3}", "±", "→"]
    {
        let added = a.rest(channel, target, &encoded(emoji), false, new_id()).await;
        read::<Committed>(added, StatusCode::OK).await;
        assert!(a.shown(channel).await[&target].contains_key(emoji), "{emoji}");
        let plain: String = url_path(emoji);
        let removed = a.rest(channel, target, &plain, true, new_id()).await;
        read::<Committed>(removed, StatusCode::OK).await;
        assert_eq!(a.shown(channel).await, BTreeMap::new(), "{emoji}");
    }
    for broken in ["%F0%9F", "%FF"] {
        let answer = a.rest(channel, target, broken, false, new_id()).await;
        assert_eq!(read::<Problem>(answer, StatusCode::BAD_REQUEST).await.code, ErrorCode::Malformed);
    }
    let keyless = server
        .http
        .put(server.url(&format!("/v1/channels/{channel}/messages/{target}/reactions/{}", encoded("👍"))))
        .bearer_auth(&ada.access_token);
    let answer = keyless.send().await.expect("is answered");
    assert_eq!(read::<Problem>(answer, StatusCode::BAD_REQUEST).await.code, ErrorCode::Malformed);
    assert_eq!(a.shown(channel).await, BTreeMap::new());
}

/// As `encodeURIComponent` writes it.
fn url_path(text: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte);
    let write = |byte: u8| if keep(byte) { char::from(byte).to_string() } else { format!("%{byte:02x}") };
    text.bytes().map(write).collect()
}

#[tokio::test]
async fn a_reaction_is_committed_once_through_whatever_door() {
    let mut server = TestServer::start().await;
    let ada = server.register("ada").await;
    let channel = server.channel_of(&ada, &[], "once").await;
    let id = new_id();
    let (target, seq) = {
        let mut a = Person::new(&server, &ada).await;
        let target = a.write(channel, "hi").await;
        let frame = ClientFrame::React { id, channel, target, emoji: "👍".into(), removed: false };
        a.socket.send(&frame).await;
        let (seq, duplicate) = a.socket.acked(id).await;
        assert!(!duplicate);
        a.socket.send(&frame).await;
        assert_eq!(a.socket.acked(id).await, (seq, true));
        (target, seq)
    };
    server.restart().await;
    let a = Person::new(&server, &ada).await;
    let again: Committed =
        read(a.rest(channel, target, &encoded("👍"), false, id).await, StatusCode::OK).await;
    assert_eq!((again.seq, again.duplicate), (seq, true));
    // Also when it is not so any more.
    a.over_rest(channel, target, "👍", true).await.expect("is committed");
    let again: Committed =
        read(a.rest(channel, target, &encoded("👍"), false, id).await, StatusCode::OK).await;
    assert_eq!((again.seq, again.duplicate), (seq, true));
    assert_eq!(a.shown(channel).await, BTreeMap::new());
}

#[tokio::test]
async fn reactions_are_not_unread_and_move_no_marker() {
    let server = TestServer::start().await;
    let (ada, grace) = (server.register("ada").await, server.register("grace").await);
    let channel = server.channel_of(&ada, &[&grace], "quiet").await;
    let a = Person::new(&server, &ada).await;
    let mut g = Person::new(&server, &grace).await;
    let target = a.write(channel, "hi").await;
    let path = format!("/v1/channels/{channel}");
    let before: Channel = a.get(&path).await;
    let marker: ReadMarker = g.get(&format!("{path}/read")).await;
    assert_eq!(g.get::<Channel>(&path).await.unread, Some(1));

    g.over_rest(channel, target, "👍", false).await.expect("is committed");
    g.over_socket(channel, target, "👍", true).await.expect("is committed");
    let after: Channel = a.get(&path).await;
    assert_eq!((after.head, after.read, after.unread), (target + 2, before.read, before.unread));
    assert_eq!(g.get::<Channel>(&path).await.unread, Some(1));
    assert_eq!(g.get::<ReadMarker>(&format!("{path}/read")).await, marker);
    let welcomed = Person::new(&server, &ada).await.socket.channels[0];
    assert_eq!((welcomed.head, welcomed.unread), (target + 2, before.unread));
}
