//! Names of people and channels show something, and change nothing of the text around them.

use chat_protocol::{
    ClientFrame, ClientId, ErrorCode, Problem, ServerFrame,
    rest::{Channel, Page, TokenResponse, User},
};
use http::Method;
use reqwest::StatusCode;
use serde_json::json;

use crate::harness::{PASSWORD, TestServer, read, ws::TestSocket};

const BAD: [&str; 22] = [
    "Ada \u{e000}",
    "Ada \u{378}",
    "Ada \u{fdd0}",
    "Ada \u{600}",
    "Ada\u{1d159}",
    "\u{301}Ada",
    "Ada \u{301}",
    "ada\u{202e}gpj",
    "\u{2066}ada",
    "ada\u{200f}",
    "\u{200b}",
    "\u{ad}\u{fe0f}",
    "\u{3164}",
    "\u{2800}",
    "\u{202e}",
    "Ada Lovelace\u{200b}",
    "\u{2060}Ada Lovelace",
    "Ada\u{200d}",
    "a\u{200c}da",
    "Ada\u{13441}",
    "Ada\u{20e3}",
    "Ada 🏴\u{e0067}\u{e0062}\u{e007f}",
];
const GOOD: [&str; 4] = ["Ada 👩\u{200d}🚀", "עדה", "می\u{200c}خواهم", "Zoë"];

#[tokio::test]
async fn names_that_turn_text_around_or_show_nothing_are_refused() {
    let server = TestServer::start().await;
    let ada = server.register("ada").await;
    for name in BAD {
        let me = server.http.patch(server.url(&format!("/v1/users/{}", ada.user.id)));
        let register = server.post("/v1/auth/register");
        let channel = server.post("/v1/channels");
        let topic = server.post("/v1/channels");
        let invitation = server.post("/v1/invitations");
        for (request, body) in [
            (me, json!({ "display_name": name })),
            (register, json!({ "handle": "grace", "password": PASSWORD, "display_name": name })),
            (channel, json!({ "kind": "public", "name": name })),
            (topic, json!({ "kind": "public", "name": "den", "topic": format!("about {name}") })),
            (invitation, json!({ "note": format!("for {name}") })),
        ] {
            let answer = request.bearer_auth(&ada.access_token).json(&body).send().await.expect("answers");
            let problem: Problem = read(answer, StatusCode::UNPROCESSABLE_ENTITY).await;
            assert_eq!(problem.code, ErrorCode::Invalid, "{body}");
        }
    }
    for name in GOOD {
        let me = server.http.patch(server.url(&format!("/v1/users/{}", ada.user.id)));
        let me = me.bearer_auth(&ada.access_token).json(&json!({ "display_name": name }));
        let user: User = read(me.send().await.expect("answers"), StatusCode::OK).await;
        assert_eq!(user.display_name, name);
        let channel = json!({ "kind": "public", "name": name });
        let channel = server.post("/v1/channels").bearer_auth(&ada.access_token).json(&channel);
        let channel: Channel = read(channel.send().await.expect("answers"), StatusCode::CREATED).await;
        assert_eq!(channel.name.as_deref(), Some(name));
    }
}

#[tokio::test]
async fn names_are_kept_composed_and_with_single_spaces() {
    let server = TestServer::start().await;
    let ada = server.register("ada").await;
    let rename = |name: &str| {
        let me = server.http.patch(server.url(&format!("/v1/users/{}", ada.user.id)));
        me.bearer_auth(&ada.access_token).json(&json!({ "display_name": name }))
    };
    let user: User =
        read(rename(" Zoe\u{308} \u{3000} \u{a0}Lovelace ").send().await.expect("answers"), StatusCode::OK)
            .await;
    assert_eq!(user.display_name, "Zo\u{eb} Lovelace");
    let create = |name: &str| {
        let body = json!({ "kind": "public", "name": name });
        server.post("/v1/channels").bearer_auth(&ada.access_token).json(&body)
    };
    let channel: Channel =
        read(create("cafe\u{301}").send().await.expect("answers"), StatusCode::CREATED).await;
    assert_eq!(channel.name.as_deref(), Some("caf\u{e9}"));
    for same in ["caf\u{e9}", "CAFE\u{301}", "ｃａｆ\u{e9}", " caf\u{e9} "] {
        let taken = create(same).send().await.expect("answers");
        assert_eq!(read::<Problem>(taken, StatusCode::CONFLICT).await.code, ErrorCode::Conflict, "{same}");
    }
    read::<Channel>(create("cafe").send().await.expect("answers"), StatusCode::CREATED).await;
}

#[tokio::test]
async fn names_that_look_alike_are_one_too_many() {
    let server = TestServer::start().await;
    let ada = server.register("alice").await;
    let create = |name: &str| {
        let body = json!({ "kind": "public", "name": name });
        server.post("/v1/channels").bearer_auth(&ada.access_token).json(&body)
    };
    let register = |handle: &str| {
        server.post("/v1/auth/register").json(&json!({ "handle": handle, "password": PASSWORD }))
    };
    read::<Channel>(create("my team").send().await.expect("answers"), StatusCode::CREATED).await;
    for alike in [
        create("my t\u{435}\u{430}m"),
        create("rny team"),
        create("MY T\u{415}\u{410}M"),
        register("a1ice"),
        register("ALICE"),
    ] {
        let taken = alike.send().await.expect("answers");
        assert_eq!(read::<Problem>(taken, StatusCode::CONFLICT).await.code, ErrorCode::Conflict);
    }
    let request = json!({ "handle": "a1ice", "password": PASSWORD });
    let login = server.post("/v1/auth/login").json(&request).send().await.expect("answers");
    assert_eq!(login.status(), StatusCode::UNAUTHORIZED, "it is not another way to write alice");
    read::<Channel>(create("c1").send().await.expect("answers"), StatusCode::CREATED).await;
    let taken = create("cI").send().await.expect("answers");
    assert_eq!(read::<Problem>(taken, StatusCode::CONFLICT).await.code, ErrorCode::Conflict);
    for beside in ["mail", "mall"] {
        read::<Channel>(create(beside).send().await.expect("answers"), StatusCode::CREATED).await;
    }
    read::<TokenResponse>(register("alicia").send().await.expect("answers"), StatusCode::CREATED).await;
}

#[tokio::test]
async fn people_are_found_by_each_word_of_their_names() {
    let server = TestServer::start().await;
    let register =
        json!({ "handle": "countess", "password": PASSWORD, "display_name": "Ada Love\u{301}lace" });
    let answer = server.post("/v1/auth/register").json(&register).send().await.expect("answers");
    let ada: TokenResponse = read(answer, StatusCode::CREATED).await;
    for (sought, finds) in
        [("love\u{301}lace", true), ("LOV\u{c9}", true), ("ada l", true), ("count", true), ("lace", false)]
    {
        let request = server.get("/v1/users").query(&[("q", sought)]).bearer_auth(&ada.access_token);
        let page: Page<User> = read(request.send().await.expect("answers"), StatusCode::OK).await;
        assert_eq!(page.items.iter().any(|user| user.id == ada.user.id), finds, "{sought:?}");
    }
}

#[tokio::test]
async fn a_message_of_which_nothing_shows_is_empty() {
    let server = TestServer::start().await;
    let ada = server.register("ada").await;
    let channel = server.channel_of(&ada, &[], "den").await;
    let mut socket = TestSocket::connect(&server.base_url, &ada.access_token).await;
    let id = socket.say(channel, "something").await;
    let (target, _) = socket.acked(id).await;
    let path = format!("/v1/channels/{channel}/messages");
    let request = |method, path: &str, text: &str| {
        let key = uuid::Uuid::new_v4().to_string();
        let request = server.http.request(method, server.url(path)).bearer_auth(&ada.access_token);
        request.header("Idempotency-Key", key).json(&json!({ "text": text }))
    };
    for nothing in ["\u{2800}", "\u{200b}\u{200d}", " \u{3164}\n", "\u{202e}", "\u{fe0f}", "\u{e0041}\t"] {
        for (method, path) in [(Method::POST, path.clone()), (Method::PATCH, format!("{path}/{target}"))] {
            let answer = request(method, &path, nothing).send().await.expect("answers");
            let problem: Problem = read(answer, StatusCode::UNPROCESSABLE_ENTITY).await;
            assert_eq!(problem.code, ErrorCode::Invalid, "{nothing:?}");
        }
        let id = ClientId(uuid::Uuid::new_v4());
        for frame in [
            ClientFrame::Send { id, channel, text: nothing.into(), files: vec![], seen: None },
            ClientFrame::Edit { id, channel, target, text: nothing.into() },
        ] {
            socket.send(&frame).await;
            let code = socket.until(|frame| match frame {
                ServerFrame::Error { id: Some(of), code, .. } if of == id => Some(code),
                _ => None,
            });
            assert_eq!(code.await, ErrorCode::Invalid, "{nothing:?}");
        }
    }
    let id = socket.say(channel, "⠓⠊ ❤\u{fe0f}").await;
    socket.acked(id).await;
}
