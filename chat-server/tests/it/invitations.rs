//! A closed organisation grows by those whom somebody vouches for.

use chat_auth::Registration;
use chat_protocol::{
    ErrorCode, Problem,
    rest::{CreatedUser, Invitation, NewInvitation, Page, Role, TokenResponse, User},
};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use crate::harness::{PASSWORD, TestServer, read};

const NEW_PASSWORD: &str = "another horse";

async fn closed() -> (TestServer, TokenResponse) {
    let server = TestServer::with(|config| config.auth.registration = Registration::Closed).await;
    let owner = server.register("owner").await;
    (server, owner)
}

async fn post(server: &TestServer, path: &str, by: Option<&TokenResponse>, body: Value) -> Response {
    let request = server.post(path).json(&body);
    let request = match by {
        Some(by) => request.bearer_auth(&by.access_token),
        None => request,
    };
    request.send().await.expect("answers")
}

async fn invite(server: &TestServer, by: &TokenResponse, body: Value) -> NewInvitation {
    read(post(server, "/v1/invitations", Some(by), body).await, StatusCode::CREATED).await
}

async fn register(server: &TestServer, handle: &str, code: Option<&str>) -> Response {
    let mut body = json!({ "handle": handle, "password": PASSWORD });
    if let Some(code) = code {
        body["invitation"] = code.into();
    }
    post(server, "/v1/auth/register", None, body).await
}

async fn joined(server: &TestServer, handle: &str, code: &str) -> TokenResponse {
    read(register(server, handle, Some(code)).await, StatusCode::CREATED).await
}

async fn refused(answer: Response) {
    let problem: Problem = read(answer, StatusCode::FORBIDDEN).await;
    assert_eq!(problem.code, ErrorCode::Forbidden);
}

async fn redeem(server: &TestServer, code: &str, password: &str) -> Response {
    post(server, "/v1/auth/redeem", None, json!({ "code": code, "password": password })).await
}

async fn login(server: &TestServer, handle: &str, password: &str) -> Response {
    let body = json!({ "handle": handle, "password": password, "device": "test" });
    post(server, "/v1/auth/login", None, body).await
}

async fn sign_in(server: &TestServer, handle: &str, password: &str) -> StatusCode {
    post(server, "/v1/auth/login", None, json!({ "handle": handle, "password": password })).await.status()
}

async fn listed(server: &TestServer, by: &TokenResponse) -> Vec<Invitation> {
    let answer = server.get("/v1/invitations").bearer_auth(&by.access_token).send().await.expect("answers");
    read::<Page<Invitation>>(answer, StatusCode::OK).await.items
}

async fn patch(server: &TestServer, by: &TokenResponse, user: &User, body: Value) {
    let request = server.http.patch(server.url(&format!("/v1/users/{}", user.id)));
    let answer = request.bearer_auth(&by.access_token).json(&body).send().await.expect("answers");
    assert_eq!(answer.status(), StatusCode::OK);
}

#[tokio::test]
async fn an_invitation_makes_as_many_accounts_of_its_role_as_it_says() {
    let (server, owner) = closed().await;
    refused(register(&server, "grace", None).await).await;
    let made = invite(&server, &owner, json!({ "role": "guest", "uses": 2, "note": "workshop" })).await;
    assert_eq!((made.invitation.role, made.invitation.uses_left), (Role::Guest, 2));
    assert_eq!(joined(&server, "grace", &made.code).await.user.role, Role::Guest);
    // A handle that is taken costs nothing.
    let taken = register(&server, "grace", Some(&made.code)).await;
    assert_eq!(taken.status(), StatusCode::CONFLICT);
    let [left] = listed(&server, &owner).await.try_into().expect("one");
    assert_eq!((left.id, left.uses_left, left.note.as_str()), (made.invitation.id, 1, "workshop"));
    joined(&server, "linus", &made.code).await;
    refused(register(&server, "ken", Some(&made.code)).await).await;
    assert_eq!(listed(&server, &owner).await, []);
}

#[tokio::test]
async fn of_many_who_come_at_once_as_many_get_in_as_there_are_uses() {
    let (server, owner) = closed().await;
    let made = invite(&server, &owner, json!({ "uses": 3 })).await;
    let mut attempts = tokio::task::JoinSet::new();
    for n in 0..8 {
        let request = server.post("/v1/auth/register");
        let body = json!({ "handle": format!("user-{n}"), "password": PASSWORD, "invitation": made.code });
        attempts.spawn(async move { request.json(&body).send().await.expect("answers").status() });
    }
    let answers = attempts.join_all().await;
    let count = |wanted| answers.iter().filter(|status| **status == wanted).count();
    assert_eq!((count(StatusCode::CREATED), count(StatusCode::FORBIDDEN)), (3, 5), "{answers:?}");
}

#[tokio::test]
async fn nobody_invites_above_themselves_and_what_they_may_not_do_any_more_ends() {
    let (server, owner) = closed().await;
    let code = invite(&server, &owner, json!({ "role": "admin" })).await.code;
    let admin = joined(&server, "admin", &code).await;
    for role in ["owner", "admin"] {
        refused(post(&server, "/v1/invitations", Some(&admin), json!({ "role": role })).await).await;
    }
    let code = invite(&server, &admin, json!({})).await.code;
    let member = joined(&server, "member", &code).await;
    refused(post(&server, "/v1/invitations", Some(&member), json!({})).await).await;
    refused(post(&server, "/v1/users", Some(&member), json!({ "handle": "friend" })).await).await;
    let list = server.get("/v1/invitations").bearer_auth(&member.access_token).send().await.expect("answers");
    refused(list).await;
    let reset = format!("/v1/users/{}/password-reset", owner.user.id);
    // Nobody sets their own without the old one either.
    for by in [&admin, &member, &owner] {
        refused(post(&server, &reset, Some(by), json!(null)).await).await;
    }

    let code = invite(&server, &admin, json!({})).await.code;
    patch(&server, &owner, &admin.user, json!({ "role": "member" })).await;
    refused(register(&server, "late", Some(&code)).await).await;
}

#[tokio::test]
async fn what_its_maker_may_not_do_any_more_is_not_good_again_later() {
    let (server, owner) = closed().await;
    let code = invite(&server, &owner, json!({ "role": "admin" })).await.code;
    let admin = joined(&server, "admin", &code).await;
    let code = invite(&server, &owner, json!({})).await.code;
    let grace = joined(&server, "grace", &code).await;
    let again = async || read::<TokenResponse>(login(&server, "admin", PASSWORD).await, StatusCode::OK).await;
    let to = async |user: &User, role: &str| patch(&server, &owner, user, json!({ "role": role })).await;

    // Its maker falls and rises.
    let codes = [invite(&server, &admin, json!({})).await.code, reset(&server, &admin, &grace.user).await];
    let kept = reset(&server, &owner, &grace.user).await;
    to(&admin.user, "member").await;
    assert_eq!(listed(&server, &owner).await.len(), 1, "the owner's");
    to(&admin.user, "admin").await;
    refused(register(&server, "late", Some(&codes[0])).await).await;
    refused(redeem(&server, &codes[1], NEW_PASSWORD).await).await;

    // The account that it is for rises and falls.
    let admin = again().await;
    let (code, invitation) =
        (reset(&server, &admin, &grace.user).await, invite(&server, &admin, json!({})).await);
    to(&grace.user, "admin").await;
    to(&grace.user, "member").await;
    refused(redeem(&server, &code, NEW_PASSWORD).await).await;
    joined(&server, "early", &invitation.code).await;

    // Its maker's account is closed and opened.
    let codes = [invite(&server, &admin, json!({})).await.code, reset(&server, &admin, &grace.user).await];
    patch(&server, &owner, &admin.user, json!({ "deactivated": true })).await;
    patch(&server, &owner, &admin.user, json!({ "deactivated": false })).await;
    refused(register(&server, "later", Some(&codes[0])).await).await;
    refused(redeem(&server, &codes[1], NEW_PASSWORD).await).await;

    let _: TokenResponse = read(redeem(&server, &kept, NEW_PASSWORD).await, StatusCode::OK).await;
}

#[tokio::test]
async fn an_invitation_that_was_ended_is_not_good() {
    let (server, owner) = closed().await;
    let made = invite(&server, &owner, json!({ "uses": 5 })).await;
    let path = format!("/v1/invitations/{}", made.invitation.id);
    for _ in 0..2 {
        let ended = server.http.delete(server.url(&path)).bearer_auth(&owner.access_token).send().await;
        assert_eq!(ended.expect("answers").status(), StatusCode::NO_CONTENT);
    }
    refused(register(&server, "grace", Some(&made.code)).await).await;
    for code in ["", "x", ".", "0190b6a47c1e7d529f3a2b6c1d8e4f60.x", &format!("{}x", made.code)] {
        refused(register(&server, "grace", Some(code)).await).await;
        refused(redeem(&server, code, NEW_PASSWORD).await).await;
    }
    for body in [
        json!({ "uses": 0 }),
        json!({ "uses": 1_001 }),
        json!({ "expires_in": 59 }),
        json!({ "role": "bot" }),
    ] {
        let answer = post(&server, "/v1/invitations", Some(&owner), body.clone()).await;
        assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY, "{body}");
    }
}

#[tokio::test]
async fn an_account_that_an_admin_made_gets_its_password_from_its_person() {
    let (server, owner) = closed().await;
    let body = json!({ "handle": "Grace", "display_name": "Grace Hopper" });
    let made: CreatedUser =
        read(post(&server, "/v1/users", Some(&owner), body.clone()).await, StatusCode::CREATED).await;
    assert_eq!((made.user.handle.as_str(), made.user.role), ("grace", Role::Member));
    assert_eq!(post(&server, "/v1/users", Some(&owner), body).await.status(), StatusCode::CONFLICT);
    let code = &made.password.code;
    assert_eq!(sign_in(&server, "grace", code).await, StatusCode::UNAUTHORIZED);
    // It makes no account.
    refused(register(&server, "other", Some(code)).await).await;
    assert_eq!(redeem(&server, code, "short").await.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let grace: TokenResponse = read(redeem(&server, code, PASSWORD).await, StatusCode::OK).await;
    assert_eq!(grace.user.id, made.user.id);
    refused(redeem(&server, code, NEW_PASSWORD).await).await;
    assert_eq!(sign_in(&server, "grace", PASSWORD).await, StatusCode::OK);
}

#[tokio::test]
async fn a_forgotten_password_is_set_again_and_ends_all_sessions() {
    let (server, owner) = closed().await;
    let code = invite(&server, &owner, json!({})).await.code;
    let grace = joined(&server, "grace", &code).await;
    let path = format!("/v1/users/{}/password-reset", grace.user.id);
    let reset: NewInvitation =
        read(post(&server, &path, Some(&owner), json!(null)).await, StatusCode::CREATED).await;
    assert_eq!(reset.invitation.account, Some(grace.user.id));
    // Nothing ends until it is used.
    assert_eq!(sign_in(&server, "grace", PASSWORD).await, StatusCode::OK);
    let again: TokenResponse = read(redeem(&server, &reset.code, NEW_PASSWORD).await, StatusCode::OK).await;
    let me = async |token: &str| {
        server.get("/v1/users/me").bearer_auth(token).send().await.expect("answers").status()
    };
    assert_eq!(me(&grace.access_token).await, StatusCode::UNAUTHORIZED);
    assert_eq!(me(&again.access_token).await, StatusCode::OK);
    assert_eq!(sign_in(&server, "grace", PASSWORD).await, StatusCode::UNAUTHORIZED);
    assert_eq!(sign_in(&server, "grace", NEW_PASSWORD).await, StatusCode::OK);

    let reset: NewInvitation =
        read(post(&server, &path, Some(&owner), json!(null)).await, StatusCode::CREATED).await;
    patch(&server, &owner, &grace.user, json!({ "deactivated": true })).await;
    refused(redeem(&server, &reset.code, NEW_PASSWORD).await).await;
    assert_eq!(post(&server, &path, Some(&owner), json!(null)).await.status(), StatusCode::CONFLICT);
}

async fn reset(server: &TestServer, by: &TokenResponse, user: &User) -> String {
    let path = format!("/v1/users/{}/password-reset", user.id);
    let made = post(server, &path, Some(by), json!(null)).await;
    read::<NewInvitation>(made, StatusCode::CREATED).await.code
}

#[tokio::test]
async fn a_code_is_of_the_password_that_it_was_made_for() {
    let (mut server, owner) = closed().await;
    let code = invite(&server, &owner, json!({})).await.code;
    let grace = joined(&server, "grace", &code).await;

    // The password is set with another code.
    let [first, second] =
        [reset(&server, &owner, &grace.user).await, reset(&server, &owner, &grace.user).await];
    let grace: TokenResponse = read(redeem(&server, &second, NEW_PASSWORD).await, StatusCode::OK).await;
    refused(redeem(&server, &first, PASSWORD).await).await;
    assert_eq!(listed(&server, &owner).await, [], "what is not good is not listed");

    // Its person changes it.
    let code = reset(&server, &owner, &grace.user).await;
    let change = json!({ "current": NEW_PASSWORD, "new": PASSWORD });
    let changed = post(&server, "/v1/auth/password", Some(&grace), change).await;
    assert_eq!(changed.status(), StatusCode::NO_CONTENT);
    refused(redeem(&server, &code, NEW_PASSWORD).await).await;
    assert_eq!(listed(&server, &owner).await, []);

    // The server's command line makes codes of the same kind.
    let store = server.app().store();
    let of_command_line = chat_auth::password_code(&**store, &grace.user).await.expect("is made").code;
    let code = reset(&server, &owner, &grace.user).await;
    let _: TokenResponse = read(redeem(&server, &of_command_line, NEW_PASSWORD).await, StatusCode::OK).await;
    server.restart().await;
    refused(redeem(&server, &code, PASSWORD).await).await;

    // The first password of an account.
    let made = post(&server, "/v1/users", Some(&owner), json!({ "handle": "linus" })).await;
    let made: CreatedUser = read(made, StatusCode::CREATED).await;
    let code = reset(&server, &owner, &made.user).await;
    let _: TokenResponse = read(redeem(&server, &code, PASSWORD).await, StatusCode::OK).await;
    refused(redeem(&server, &made.password.code, NEW_PASSWORD).await).await;
    // A role does not end it: nothing about who signs in has changed.
    let code = reset(&server, &owner, &made.user).await;
    patch(&server, &owner, &made.user, json!({ "role": "guest" })).await;
    let _: TokenResponse = read(redeem(&server, &code, NEW_PASSWORD).await, StatusCode::OK).await;
}

#[tokio::test]
async fn a_code_does_not_outlive_the_closing_of_its_account() {
    let (mut server, owner) = closed().await;
    let code = invite(&server, &owner, json!({})).await.code;
    let grace = joined(&server, "grace", &code).await;
    let code = reset(&server, &owner, &grace.user).await;
    let made = post(&server, "/v1/users", Some(&owner), json!({ "handle": "linus" })).await;
    let made: CreatedUser = read(made, StatusCode::CREATED).await;
    for user in [&grace.user, &made.user] {
        patch(&server, &owner, user, json!({ "deactivated": true })).await;
    }
    assert_eq!(listed(&server, &owner).await, []);
    server.restart().await;
    for user in [&grace.user, &made.user] {
        patch(&server, &owner, user, json!({ "deactivated": false })).await;
    }
    for code in [&code, &made.password.code] {
        refused(redeem(&server, code, NEW_PASSWORD).await).await;
    }
    let code = reset(&server, &owner, &made.user).await;
    let _: TokenResponse = read(redeem(&server, &code, NEW_PASSWORD).await, StatusCode::OK).await;
}

#[tokio::test]
async fn nobody_owns_the_organisation_without_a_password() {
    let (server, owner) = closed().await;
    let conflict = async |answer: Response| {
        let problem: Problem = read(answer, StatusCode::CONFLICT).await;
        assert_eq!(problem.code, ErrorCode::Conflict);
        problem.detail
    };
    let body = json!({ "handle": "grace", "role": "owner" });
    let problem: Problem =
        read(post(&server, "/v1/users", Some(&owner), body).await, StatusCode::UNPROCESSABLE_ENTITY).await;
    assert!(problem.code == ErrorCode::Invalid && problem.detail.contains("another role"), "{problem:?}");
    let body = json!({ "handle": "grace", "role": "admin" });
    let made: CreatedUser =
        read(post(&server, "/v1/users", Some(&owner), body).await, StatusCode::CREATED).await;
    let change = async |by: &TokenResponse, user: &User, body: Value| {
        let request = server.http.patch(server.url(&format!("/v1/users/{}", user.id)));
        request.bearer_auth(&by.access_token).json(&body).send().await.expect("answers")
    };
    let detail = conflict(change(&owner, &made.user, json!({ "role": "owner" })).await).await;
    assert!(detail.contains("password-reset"), "{detail}");
    // Nor by being opened as one, in the same request or later.
    patch(&server, &owner, &made.user, json!({ "deactivated": true })).await;
    conflict(change(&owner, &made.user, json!({ "role": "owner", "deactivated": false })).await).await;
    conflict(change(&owner, &made.user, json!({ "role": "owner" })).await).await;
    patch(&server, &owner, &made.user, json!({ "deactivated": false })).await;
    for gone in [json!({ "role": "member" }), json!({ "deactivated": true })] {
        let detail = conflict(change(&owner, &owner.user, gone).await).await;
        assert!(detail.contains("the last owner"), "{detail}");
    }
    let code = reset(&server, &owner, &made.user).await;
    let _: TokenResponse = read(redeem(&server, &code, NEW_PASSWORD).await, StatusCode::OK).await;
    patch(&server, &owner, &made.user, json!({ "role": "owner" })).await;
    patch(&server, &owner, &owner.user, json!({ "role": "member" })).await;
}

#[tokio::test]
async fn what_is_no_code_at_all_is_a_guess_too() {
    let (server, _owner) = closed().await;
    for path in ["redeem", "register"] {
        let limited = loop {
            let answer = match path {
                "redeem" => redeem(&server, "not a code", PASSWORD).await,
                _ => register(&server, "grace", Some("not a code")).await,
            };
            if answer.status() != StatusCode::FORBIDDEN {
                break answer;
            }
        };
        assert_eq!(limited.status(), StatusCode::TOO_MANY_REQUESTS, "{path}");
    }
}
