//! Names of people and channels show something, and change nothing of the text around them.

mod harness;

use chat_protocol::{
    ErrorCode, Problem,
    rest::{Channel, User},
};
use harness::{PASSWORD, TestServer, read};
use reqwest::StatusCode;
use serde_json::json;

const BAD: [&str; 6] =
    ["ada\u{202e}gpj", "\u{2066}ada", "ada\u{200f}", "\u{200b}", "\u{ad}\u{fe0f}", "\u{3164}"];
const GOOD: [&str; 4] = ["Ada 👩\u{200d}🚀", "עדה", "می\u{200c}خواهم", "Zoë"];

#[tokio::test]
async fn names_that_turn_text_around_or_show_nothing_are_refused() {
    let server = TestServer::start().await;
    let ada = server.register("ada").await;
    for name in BAD {
        let me = server.http.patch(server.url(&format!("/v1/users/{}", ada.user.id)));
        let register = server.post("/v1/auth/register");
        let channel = server.post("/v1/channels");
        for (request, body) in [
            (me, json!({ "display_name": name })),
            (register, json!({ "handle": "grace", "password": PASSWORD, "display_name": name })),
            (channel, json!({ "kind": "public", "name": name })),
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
