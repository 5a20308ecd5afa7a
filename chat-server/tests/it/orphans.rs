//! A private channel that its last member left, or whose members' accounts are closed, can be reached again: by an owner.

use chat_protocol::{
    ChannelId, ErrorCode, EventBody, Problem,
    rest::{Channel, Page, TokenResponse},
};
use reqwest::{Response, StatusCode};
use serde_json::json;

use crate::harness::{TestServer, read};

async fn orphaned(server: &TestServer, who: &TokenResponse) -> Vec<ChannelId> {
    let (mut found, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let mut request = server.get("/v1/channels").query(&[("scope", "orphaned"), ("limit", "1")]);
        if let Some(cursor) = &cursor {
            request = request.query(&[("cursor", cursor)]);
        }
        let answer = request.bearer_auth(&who.access_token).send().await.expect("answers");
        let page: Page<Channel> = read(answer, StatusCode::OK).await;
        assert!(page.items.len() <= 1, "{:?}", page.items);
        found.extend(page.items.iter().map(|channel| channel.id));
        match page.next {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    found.sort_unstable();
    found
}

async fn post(server: &TestServer, who: &TokenResponse, channel: ChannelId, what: &str) -> Response {
    let request = server.post(&format!("/v1/channels/{channel}/{what}"));
    request.bearer_auth(&who.access_token).send().await.expect("answers")
}

#[tokio::test]
async fn an_owner_takes_over_what_nobody_is_in() {
    let server = TestServer::start().await;
    let owner = server.register("owner").await;
    let [ada, grace, linus] = ["ada", "grace", "linus"].map(|handle| server.register(handle));
    let (ada, grace, linus) = (ada.await, grace.await, linus.await);
    let left = server.channel_of(&ada, &[], "left").await;
    let closed = server.channel_of(&ada, &[&grace], "closed").await;
    let alive = server.channel_of(&ada, &[&linus], "alive").await;
    let public = json!({ "kind": "public", "name": "public" });
    let public = server.post("/v1/channels").bearer_auth(&ada.access_token).json(&public);
    let public: Channel = read(public.send().await.expect("answers"), StatusCode::CREATED).await;
    for channel in [left, public.id] {
        assert_eq!(post(&server, &ada, channel, "leave").await.status(), StatusCode::NO_CONTENT);
    }
    assert_eq!(orphaned(&server, &owner).await, [left]);
    for somebody in [&ada, &grace] {
        let close = server.http.patch(server.url(&format!("/v1/users/{}", somebody.user.id)));
        let close = close.bearer_auth(&owner.access_token).json(&json!({ "deactivated": true }));
        assert_eq!(close.send().await.expect("answers").status(), StatusCode::OK);
    }
    let mut expected = [left, closed];
    expected.sort_unstable();
    assert_eq!(orphaned(&server, &owner).await, expected);

    // Nobody else finds or takes one, nor learns that there is one.
    let listed = server.get("/v1/channels?scope=orphaned").bearer_auth(&linus.access_token);
    let refused: Problem = read(listed.send().await.expect("answers"), StatusCode::FORBIDDEN).await;
    assert_eq!(refused.code, ErrorCode::Forbidden);
    for channel in [left, closed, ChannelId::new()] {
        let hidden: Problem =
            read(post(&server, &linus, channel, "take-over").await, StatusCode::NOT_FOUND).await;
        assert_eq!(hidden.code, ErrorCode::NotFound);
    }
    // An owner takes nothing that others are in.
    for channel in [alive, public.id, ChannelId::new()] {
        let hidden: Problem =
            read(post(&server, &owner, channel, "take-over").await, StatusCode::NOT_FOUND).await;
        let nowhere = post(&server, &owner, ChannelId::new(), "take-over").await;
        let nowhere: Problem = read(nowhere, StatusCode::NOT_FOUND).await;
        assert_eq!(hidden.detail, nowhere.detail, "it says nothing of what is there");
    }
    for channel in [left, closed] {
        for _again in 0..2 {
            let taken: Channel =
                read(post(&server, &owner, channel, "take-over").await, StatusCode::OK).await;
            assert_eq!(taken.id, channel);
        }
        let last = server.events(&owner, channel, 0).await.pop().expect("has events");
        assert_eq!((last.by, last.body), (owner.user.id, EventBody::MemberJoined { user: owner.user.id }));
    }
    assert_eq!(orphaned(&server, &owner).await, []);
}
