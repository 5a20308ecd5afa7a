//! A revoked session is over everywhere: its sockets close long before its tokens expire, and those open nothing.

use chat_protocol::{CloseCode, rest::TokenResponse};
use reqwest::StatusCode;
use serde_json::json;

use crate::harness::{PASSWORD, TestServer, read, ws::TestSocket};

async fn login(server: &TestServer, handle: &str) -> TokenResponse {
    let body = json!({ "handle": handle, "password": PASSWORD });
    read(server.post("/v1/auth/login").json(&body).send().await.expect("answers"), StatusCode::OK).await
}

#[tokio::test]
async fn revoking_a_session_closes_its_sockets_and_no_others() {
    let server = TestServer::start().await;
    let laptop = server.register("ada").await;
    let phone = login(&server, "ada").await;
    let channel = server.channel_of(&laptop, &[], "mine").await;
    let mut lost = [
        TestSocket::connect(&server.base_url, &phone.access_token).await,
        TestSocket::connect(&server.base_url, &phone.access_token).await,
    ];
    let mut kept = TestSocket::connect(&server.base_url, &laptop.access_token).await;

    let url = server.url(&format!("/v1/auth/sessions/{}", phone.session));
    let answer = server.http.delete(url).bearer_auth(&laptop.access_token).send().await.expect("answers");
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    for socket in &mut lost {
        assert_eq!(socket.closed().await, Some(CloseCode::SessionRevoked.code()));
    }

    let id = kept.say(channel, "still here").await;
    kept.acked(id).await;
    let mut again = TestSocket::upgrade(&server.base_url, None, None).await.expect("upgrades");
    again.hello(&phone.access_token).await;
    assert_eq!(
        again.closed().await,
        Some(CloseCode::Unauthenticated.code()),
        "the token opens no new socket"
    );
}

#[tokio::test]
async fn closing_an_account_closes_its_sockets_and_a_new_password_those_of_other_devices() {
    let server = TestServer::start().await;
    let owner = server.register("ada").await;
    let (here, there) = (server.register("grace").await, login(&server, "grace").await);
    let mut here_socket = TestSocket::connect(&server.base_url, &here.access_token).await;
    let mut there_socket = TestSocket::connect(&server.base_url, &there.access_token).await;

    let body = json!({ "current": PASSWORD, "new": "another password" });
    let request = server.post("/v1/auth/password").bearer_auth(&here.access_token).json(&body);
    assert_eq!(request.send().await.expect("answers").status(), StatusCode::NO_CONTENT);
    assert_eq!(there_socket.closed().await, Some(CloseCode::SessionRevoked.code()));

    let url = server.url(&format!("/v1/users/{}", here.user.id));
    let body = json!({ "deactivated": true });
    let request = server.http.patch(url).bearer_auth(&owner.access_token).json(&body);
    assert_eq!(request.send().await.expect("answers").status(), StatusCode::OK);
    assert_eq!(here_socket.closed().await, Some(CloseCode::SessionRevoked.code()));
    let body = json!({ "handle": "grace", "password": "another password" });
    let answer = server.post("/v1/auth/login").json(&body).send().await.expect("answers");
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn what_was_revoked_stays_so_after_a_restart() {
    let mut server = TestServer::start().await;
    let ada = server.register("ada").await;
    let phone = login(&server, "ada").await;
    let logout =
        server.post("/v1/auth/logout").bearer_auth(&phone.access_token).send().await.expect("answers");
    assert_eq!(logout.status(), StatusCode::NO_CONTENT);
    server.restart().await;
    for (tokens, status) in [(&phone, StatusCode::UNAUTHORIZED), (&ada, StatusCode::OK)] {
        let answer =
            server.get("/v1/users/me").bearer_auth(&tokens.access_token).send().await.expect("answers");
        assert_eq!(answer.status(), status);
    }
}
