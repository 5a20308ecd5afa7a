//! To a guest only those people exist whom they share a channel with, through every door; anybody else is as one who was never there.

use std::collections::HashMap;

use chat_protocol::{
    ChannelId, ClientFrame, ErrorCode, PresenceStatus, Problem, ServerFrame, UserId,
    rest::{Channel, Page, TokenResponse, User},
};
use http::Method;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use crate::harness::{PASSWORD, TestServer, read, ws::TestSocket};

async fn call(
    server: &TestServer,
    who: &TokenResponse,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> Response {
    let request = server.http.request(method, server.url(path)).bearer_auth(&who.access_token);
    let request = match body {
        Some(body) => request.json(&body),
        None => request,
    };
    request.send().await.expect("answers")
}

/// A guest, signed in.
async fn guest(server: &TestServer, owner: &TokenResponse, handle: &str) -> TokenResponse {
    let member = server.register(handle).await;
    let path = format!("/v1/users/{}", member.user.id);
    let demoted = call(server, owner, Method::PATCH, &path, Some(json!({ "role": "guest" }))).await;
    read::<User>(demoted, StatusCode::OK).await;
    let login = json!({ "handle": handle, "password": PASSWORD });
    read(server.post("/v1/auth/login").json(&login).send().await.expect("answers"), StatusCode::OK).await
}

/// What a guest gets of somebody, through every request that names a person.
async fn answers(server: &TestServer, guest: &TokenResponse, user: UserId) -> Vec<(StatusCode, String)> {
    let path = format!("/v1/users/{user}");
    let requests = [
        (Method::GET, path.clone(), None),
        (Method::PATCH, path.clone(), Some(json!({ "display_name": "Changed" }))),
        (Method::PATCH, path.clone(), Some(json!({ "role": "member" }))),
        (Method::PATCH, path.clone(), Some(json!({ "deactivated": true }))),
        (Method::POST, format!("{path}/password-reset"), None),
        (Method::GET, format!("/v1/users?ids={user}"), None),
        (Method::POST, "/v1/dms".to_owned(), Some(json!({ "users": [user] }))),
        (
            Method::POST,
            "/v1/channels".to_owned(),
            Some(json!({ "kind": "private", "name": "x", "members": [user] })),
        ),
    ];
    let mut answers = Vec::new();
    for (method, path, body) in requests {
        let answer = call(server, guest, method, &path, body).await;
        let status = answer.status();
        let text = answer.text().await.expect("a body").replace(&user.to_string(), "THEM");
        answers.push((status, text));
    }
    answers
}

#[tokio::test]
async fn a_guest_finds_and_writes_to_those_they_share_a_channel_with() {
    let server = TestServer::start().await;
    let owner = server.register("owner").await;
    let (ada, grace) = (server.register("ada").await, server.register("grace").await);
    let guest = guest(&server, &owner, "guest").await;
    let nobody = UserId::new();
    let nothing = answers(&server, &guest, nobody).await;
    let codes: Vec<u16> = nothing.iter().map(|(status, _)| status.as_u16()).collect();
    assert_eq!(codes, [404, 404, 404, 404, 403, 200, 422, 403]);
    for hidden in [&owner, &ada, &grace] {
        assert_eq!(answers(&server, &guest, hidden.user.id).await, nothing, "{}", hidden.user.handle);
    }
    let me: User = read(call(&server, &guest, Method::GET, "/v1/users/me", None).await, StatusCode::OK).await;
    assert_eq!(me.id, guest.user.id);

    // In one channel with Ada, who writes to the guest as well; Grace is in neither.
    let den = server.channel_of(&ada, &[&guest], "den").await;
    server.channel_of(&ada, &[&grace], "elsewhere").await;
    let path = format!("/v1/users/{}", ada.user.id);
    let found: User = read(call(&server, &guest, Method::GET, &path, None).await, StatusCode::OK).await;
    assert_eq!(found.handle, "ada");
    let refused: Problem = read(
        call(&server, &guest, Method::PATCH, &path, Some(json!({ "deactivated": true }))).await,
        StatusCode::FORBIDDEN,
    )
    .await;
    assert_eq!(refused.code, ErrorCode::Forbidden);
    let ids = format!("/v1/users?ids={},{},{}", ada.user.id, grace.user.id, guest.user.id);
    let names: Page<User> = read(call(&server, &guest, Method::GET, &ids, None).await, StatusCode::OK).await;
    let handles: Vec<&str> = names.items.iter().map(|user| user.handle.as_str()).collect();
    assert_eq!(handles, ["ada", "guest"]);
    assert_eq!(answers(&server, &guest, grace.user.id).await, nothing);
    let both = json!({ "users": [ada.user.id, grace.user.id] });
    let refused = call(&server, &guest, Method::POST, "/v1/dms", Some(both)).await;
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);

    // It ends with the channel, at once.
    let leave = format!("/v1/channels/{den}/leave");
    assert_eq!(call(&server, &ada, Method::POST, &leave, None).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(answers(&server, &guest, ada.user.id).await, nothing);
    // Who writes to a guest shares a channel with them.
    let dm = json!({ "users": [guest.user.id] });
    let dm: Channel =
        read(call(&server, &ada, Method::POST, "/v1/dms", Some(dm)).await, StatusCode::OK).await;
    read::<User>(call(&server, &guest, Method::GET, &path, None).await, StatusCode::OK).await;
    let again = json!({ "users": [ada.user.id] });
    let again: Channel =
        read(call(&server, &guest, Method::POST, "/v1/dms", Some(again)).await, StatusCode::OK).await;
    assert_eq!(again.id, dm.id);
}

/// Takes presence frames until somebody is reported like this; answers all that was reported until then.
async fn until(
    socket: &mut TestSocket,
    who: UserId,
    status: PresenceStatus,
) -> HashMap<UserId, Vec<PresenceStatus>> {
    let mut reported: HashMap<UserId, Vec<PresenceStatus>> = HashMap::new();
    socket
        .until(|frame| {
            let ServerFrame::Presence { users } = frame else { return None };
            for user in &users {
                reported.entry(user.user).or_default().push(user.status);
            }
            users.iter().any(|user| user.user == who && user.status == status).then_some(())
        })
        .await;
    reported
}

async fn watch(socket: &mut TestSocket, users: &[UserId]) {
    socket.send(&ClientFrame::Watch { id: None, users: users.to_vec() }).await;
}

async fn leave(server: &TestServer, who: &TokenResponse, channel: ChannelId) {
    let leave = format!("/v1/channels/{channel}/leave");
    assert_eq!(call(server, who, Method::POST, &leave, None).await.status(), StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_guest_watches_those_they_share_a_channel_with() {
    use PresenceStatus::{Offline, Online};
    let server = TestServer::start().await;
    let owner = server.register("owner").await;
    let (ada, grace) = (server.register("ada").await, server.register("grace").await);
    let guest = guest(&server, &owner, "guest").await;
    let den = server.channel_of(&ada, &[&guest], "den").await;
    let (a, g) = (ada.user.id, grace.user.id);
    let _ada = TestSocket::connect(&server.base_url, &ada.access_token).await;
    let at_grace = TestSocket::connect(&server.base_url, &grace.access_token).await;
    // A member who watches both sees when they are.
    let mut member = TestSocket::connect(&server.base_url, &owner.access_token).await;
    watch(&mut member, &[a]).await;
    until(&mut member, a, Online).await;
    watch(&mut member, &[g]).await;
    until(&mut member, g, Online).await;

    let mut socket = TestSocket::connect(&server.base_url, &guest.access_token).await;
    watch(&mut socket, &[a, g]).await;
    let first = until(&mut socket, a, Online).await;
    assert_eq!(first[&g], [Offline], "as of somebody who does not exist");
    // Neither that Grace goes nor that she comes.
    drop(at_grace);
    until(&mut member, g, Offline).await;
    let _grace = TestSocket::connect(&server.base_url, &grace.access_token).await;
    until(&mut member, g, Online).await;

    // Ada leaves: from then on she is where nobody is.
    leave(&server, &ada, den).await;
    let since = until(&mut socket, a, Offline).await;
    assert!(!since.get(&g).is_some_and(|reported| reported.contains(&Online)), "{since:?}");
    let _again = TestSocket::connect(&server.base_url, &ada.access_token).await;
    // Whoever comes into a channel with the guest is seen without asking again.
    let other = server.channel_of(&grace, &[&guest], "other").await;
    let since = until(&mut socket, g, Online).await;
    assert!(!since.get(&a).is_some_and(|reported| reported.contains(&Online)), "{since:?}");
    // The guest leaves.
    leave(&server, &guest, other).await;
    until(&mut socket, g, Offline).await;
}
