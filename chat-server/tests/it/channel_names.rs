//! What a private channel is called shows to nobody but its members: its name stands in nobody's way.

use chat_protocol::{
    ErrorCode, Problem,
    rest::{Channel, TokenResponse},
};
use reqwest::{Response, StatusCode};
use serde_json::json;

use crate::harness::{TestServer, read};

async fn create(server: &TestServer, who: &TokenResponse, kind: &str, name: &str) -> Response {
    let body = json!({ "kind": kind, "name": name });
    server.post("/v1/channels").bearer_auth(&who.access_token).json(&body).send().await.expect("answers")
}

async fn rename(server: &TestServer, who: &TokenResponse, channel: &Channel, name: &str) -> Response {
    let request = server.http.patch(server.url(&format!("/v1/channels/{}", channel.id)));
    request.bearer_auth(&who.access_token).json(&json!({ "name": name })).send().await.expect("answers")
}

#[tokio::test]
async fn the_name_of_a_private_channel_is_free_for_all() {
    let server = TestServer::start().await;
    let (owner, stranger) = (server.register("owner").await, server.register("stranger").await);
    server.channel_of(&owner, &[], "Layoffs").await;
    for kind in ["private", "private", "public"] {
        let made: Channel =
            read(create(&server, &stranger, kind, "layoffs").await, StatusCode::CREATED).await;
        // It can be renamed to what others are called in private, too.
        for name in ["elsewhere", "LAYOFFS"] {
            let renamed: Channel = read(rename(&server, &stranger, &made, name).await, StatusCode::OK).await;
            assert_eq!(renamed.name.as_deref(), Some(name));
        }
    }
    // Public ones have their names to themselves.
    let taken: Problem = read(create(&server, &owner, "public", "Layoffs").await, StatusCode::CONFLICT).await;
    assert_eq!(taken.code, ErrorCode::Conflict);
}
