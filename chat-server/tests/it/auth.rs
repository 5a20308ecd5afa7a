//! Accounts, sessions and tokens over real sockets.

use std::{collections::HashSet, time::Duration};

use chat_domain::store::{Standing, StandingChange};
use chat_protocol::{
    Problem,
    rest::{Channel, Page, Role, SessionInfo, TokenResponse},
};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, jwk::JwkSet};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::harness::{PASSWORD, TestServer, read};

async fn post(server: &TestServer, path: &str, body: Value) -> Response {
    server.post(path).json(&body).send().await.expect("answers")
}

async fn login(server: &TestServer, handle: &str, password: &str) -> Response {
    post(server, "/v1/auth/login", json!({ "handle": handle, "password": password })).await
}

async fn refresh(server: &TestServer, token: &str) -> Response {
    post(server, "/v1/auth/refresh", json!({ "refresh_token": token })).await
}

/// The status that a token gets.
async fn me(server: &TestServer, token: &str) -> StatusCode {
    server.get("/v1/users/me").bearer_auth(token).send().await.expect("answers").status()
}

#[tokio::test]
async fn the_first_account_owns_the_server_and_handles_are_unique_and_folded() {
    let server = TestServer::start().await;
    let ada = server.register("Ada").await;
    assert_eq!((ada.user.handle.as_str(), ada.user.role), ("ada", Role::Owner));
    assert_eq!((ada.token_type.as_str(), ada.expires_in), ("Bearer", 600));
    assert_eq!(server.register("grace").await.user.role, Role::Member);

    let cases = [
        (json!({ "handle": "ADA", "password": PASSWORD }), StatusCode::CONFLICT),
        (json!({ "handle": "a", "password": PASSWORD }), StatusCode::UNPROCESSABLE_ENTITY),
        (json!({ "handle": "_ada", "password": PASSWORD }), StatusCode::UNPROCESSABLE_ENTITY),
        (json!({ "handle": "linus", "password": "short" }), StatusCode::UNPROCESSABLE_ENTITY),
        (json!({ "handle": "linus", "password": "x".repeat(257) }), StatusCode::UNPROCESSABLE_ENTITY),
        (json!({ "handle": "linus" }), StatusCode::BAD_REQUEST),
    ];
    for (body, status) in cases {
        let answer = post(&server, "/v1/auth/register", body.clone()).await;
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        let problem: Problem = read(answer, status).await;
        assert!(!problem.detail.is_empty(), "{body}");
    }
    let tokens: TokenResponse = read(login(&server, "ADA", PASSWORD).await, StatusCode::OK).await;
    assert_eq!(tokens.user, ada.user);
}

#[tokio::test]
async fn two_first_accounts_at_once_make_one_owner() {
    let server = TestServer::start().await;
    let (a, b) = tokio::join!(server.register("ada"), server.register("grace"));
    let owners = [a, b].iter().filter(|tokens| tokens.user.role == Role::Owner).count();
    assert_eq!(owners, 1);
}

#[tokio::test]
async fn what_is_wrong_with_a_login_is_not_revealed() {
    let server = TestServer::start().await;
    let ada = server.register("ada").await;
    let (bot, gone) = (server.register("bot").await.user, server.register("gone").await.user);
    for (user, role, deactivated) in [(bot, Role::Bot, false), (gone, Role::Member, true)] {
        let to = Standing { role, deactivated };
        let changed = server.app().store().change_standing(user.id, 0, to, 1).await;
        assert_eq!(changed.expect("is stored"), StandingChange::Changed { auth_version: 1 });
    }

    let mut answers = HashSet::new();
    for (handle, password) in [
        ("ada", "wrong horse"),
        ("nobody", PASSWORD),
        ("bot", PASSWORD),
        ("gone", PASSWORD),
        ("no such!", PASSWORD),
    ] {
        let problem: Problem = read(login(&server, handle, password).await, StatusCode::UNAUTHORIZED).await;
        answers.insert(serde_json::to_string(&problem).expect("serialises"));
    }
    // Nor by the time that it takes: beside `Auth::login`.
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(me(&server, &ada.access_token).await, StatusCode::OK);
}

#[tokio::test]
async fn refresh_tokens_work_once_and_reuse_ends_the_session() {
    let server = TestServer::start().await;
    let first = server.register("ada").await;
    let other: TokenResponse = read(login(&server, "ada", PASSWORD).await, StatusCode::OK).await;

    let second: TokenResponse = read(refresh(&server, &first.refresh_token).await, StatusCode::OK).await;
    assert_eq!(second.session, first.session);
    assert_ne!(second.refresh_token, first.refresh_token);
    assert_eq!(me(&server, &second.access_token).await, StatusCode::OK);
    let third: TokenResponse = read(refresh(&server, &second.refresh_token).await, StatusCode::OK).await;

    assert_eq!(refresh(&server, &first.refresh_token).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(
        refresh(&server, &third.refresh_token).await.status(),
        StatusCode::UNAUTHORIZED,
        "the family is over"
    );
    assert_eq!(me(&server, &third.access_token).await, StatusCode::UNAUTHORIZED);
    assert_eq!(me(&server, &other.access_token).await, StatusCode::OK, "other sessions go on");
}

#[tokio::test]
async fn a_refresh_whose_answer_was_lost_may_be_repeated_by_the_same_client_only() {
    let server = TestServer::start().await;
    let first = server.register("ada").await;
    let second: TokenResponse = read(refresh(&server, &first.refresh_token).await, StatusCode::OK).await;
    let again: TokenResponse = read(refresh(&server, &first.refresh_token).await, StatusCode::OK).await;
    assert_eq!(again.refresh_token, second.refresh_token, "the same successor");
    assert_eq!(me(&server, &again.access_token).await, StatusCode::OK);
    let third: TokenResponse = read(refresh(&server, &second.refresh_token).await, StatusCode::OK).await;

    let body = json!({ "refresh_token": second.refresh_token });
    let stolen = server.post("/v1/auth/refresh").header("user-agent", "another one").json(&body);
    assert_eq!(stolen.send().await.expect("answers").status(), StatusCode::UNAUTHORIZED);
    assert_eq!(me(&server, &third.access_token).await, StatusCode::UNAUTHORIZED, "the session ends");
}

#[tokio::test]
async fn what_never_was_a_refresh_token_ends_nothing() {
    let server = TestServer::start().await;
    let ada = server.register("ada").await;
    let other = server.register("grace").await;
    let (_, foreign) = other.refresh_token.split_once('.').expect("two parts");
    let session = ada.session;
    for rubbish in [
        String::new(),
        ".".into(),
        "x.y".into(),
        "00000000-0000-0000-0000-000000000000.x".into(),
        format!("{session}."),
        format!("{session}.rubbish"),
        format!("{session}.{foreign}"),
        format!("{session}.{}", "A".repeat(64)),
        format!("{}A", ada.refresh_token),
        format!("{} ", ada.refresh_token),
        ada.refresh_token.to_uppercase(),
        ada.refresh_token[..ada.refresh_token.len() - 1].to_owned(),
    ] {
        assert_eq!(refresh(&server, &rubbish).await.status(), StatusCode::UNAUTHORIZED, "{rubbish}");
        assert_eq!(me(&server, &ada.access_token).await, StatusCode::OK, "{rubbish}");
    }
    assert_eq!(refresh(&server, &ada.refresh_token).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn of_two_refreshes_at_once_both_get_the_same() {
    let server = TestServer::start().await;
    let tokens = server.register("ada").await;
    let (a, b) =
        tokio::join!(refresh(&server, &tokens.refresh_token), refresh(&server, &tokens.refresh_token));
    let (a, b): (TokenResponse, TokenResponse) =
        (read(a, StatusCode::OK).await, read(b, StatusCode::OK).await);
    assert_eq!(a.refresh_token, b.refresh_token);
    assert_eq!(me(&server, &tokens.access_token).await, StatusCode::OK);
}

#[tokio::test]
async fn a_session_ends_however_much_it_is_used() {
    let server = TestServer::with(|config| config.auth.session = Duration::from_secs(2)).await;
    let mut tokens = server.register("ada").await;
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = refresh(&server, &tokens.refresh_token).await;
        if answer.status() == StatusCode::UNAUTHORIZED {
            break;
        }
        tokens = read(answer, StatusCode::OK).await;
        assert!(Instant::now() < deadline, "it goes on");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_password_is_the_same_however_it_was_typed() {
    const COMPOSED: &str = "caf\u{e9} au lait";
    const DECOMPOSED: &str = "cafe\u{301} au lait";
    let server = TestServer::start().await;
    let body = json!({ "handle": "ada", "password": DECOMPOSED });
    let ada: TokenResponse = read(post(&server, "/v1/auth/register", body).await, StatusCode::CREATED).await;
    for typed in [COMPOSED, DECOMPOSED] {
        assert_eq!(login(&server, "ada", typed).await.status(), StatusCode::OK, "{typed}");
    }
    let change = json!({ "current": COMPOSED, "new": "cafe\u{301} noir" });
    let changed = server.post("/v1/auth/password").bearer_auth(&ada.access_token).json(&change).send().await;
    assert_eq!(changed.expect("answers").status(), StatusCode::NO_CONTENT);
    assert_eq!(login(&server, "ada", "caf\u{e9} noir").await.status(), StatusCode::OK);
    assert_eq!(login(&server, "ada", COMPOSED).await.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn sessions_are_listed_and_revoked_by_their_owner_only() {
    let server = TestServer::start().await;
    let ada = server.register("ada").await;
    let body = json!({ "handle": "ada", "password": PASSWORD, "device": "phone\u{7}" });
    let phone: TokenResponse = read(post(&server, "/v1/auth/login", body).await, StatusCode::OK).await;
    let grace = server.register("grace").await;

    let list = async |token: &str| -> Vec<SessionInfo> {
        let request = server.get("/v1/auth/sessions").bearer_auth(token);
        read::<Page<SessionInfo>>(request.send().await.expect("answers"), StatusCode::OK).await.items
    };
    let sessions = list(&ada.access_token).await;
    let seen: Vec<_> = sessions.iter().map(|s| (s.id, s.device.as_str(), s.current)).collect();
    assert_eq!(seen, [(phone.session, "phone", false), (ada.session, "test", true)]);

    let revoke = async |token: &str, session: String| {
        let url = server.url(&format!("/v1/auth/sessions/{session}"));
        server.http.delete(url).bearer_auth(token).send().await.expect("answers").status()
    };
    assert_eq!(revoke(&grace.access_token, phone.session.to_string()).await, StatusCode::NOT_FOUND);
    assert_eq!(revoke(&ada.access_token, "not-a-uuid".into()).await, StatusCode::BAD_REQUEST);
    assert_eq!(me(&server, &phone.access_token).await, StatusCode::OK);
    assert_eq!(revoke(&ada.access_token, phone.session.to_string()).await, StatusCode::NO_CONTENT);
    assert_eq!(me(&server, &phone.access_token).await, StatusCode::UNAUTHORIZED);
    assert_eq!(refresh(&server, &phone.refresh_token).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(list(&ada.access_token).await.len(), 1);

    let logout = server.post("/v1/auth/logout").bearer_auth(&ada.access_token).send().await.expect("answers");
    assert_eq!(logout.status(), StatusCode::NO_CONTENT);
    assert_eq!(me(&server, &ada.access_token).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_new_password_ends_all_other_sessions() {
    const NEW: &str = "battery staple horse";
    let server = TestServer::start().await;
    let ada = server.register("ada").await;
    let other: TokenResponse = read(login(&server, "ada", PASSWORD).await, StatusCode::OK).await;
    let change = async |current: &str, new: &str| {
        let body = json!({ "current": current, "new": new });
        let request = server.post("/v1/auth/password").bearer_auth(&ada.access_token).json(&body);
        request.send().await.expect("answers").status()
    };
    assert_eq!(change("wrong horse", NEW).await, StatusCode::FORBIDDEN);
    assert_eq!(change(PASSWORD, "short").await, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(me(&server, &other.access_token).await, StatusCode::OK);

    assert_eq!(change(PASSWORD, NEW).await, StatusCode::NO_CONTENT);
    assert_eq!(me(&server, &other.access_token).await, StatusCode::UNAUTHORIZED);
    assert_eq!(me(&server, &ada.access_token).await, StatusCode::OK);
    assert_eq!(login(&server, "ada", PASSWORD).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(login(&server, "ada", NEW).await.status(), StatusCode::OK);
}

async fn jwks(server: &TestServer) -> JwkSet {
    read(server.get("/.well-known/jwks.json").send().await.expect("answers"), StatusCode::OK).await
}

fn key_id(token: &str) -> String {
    jsonwebtoken::decode_header(token).expect("is a token").kid.expect("names its key")
}

/// Verifies as any other program would, on the published keys alone.
async fn verify(server: &TestServer, token: &str) -> Value {
    let keys = jwks(server).await;
    let key = keys.find(&key_id(token)).expect("the key is published");
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.set_audience(&["folkmoot"]);
    validation.set_issuer(&["folkmoot"]);
    let key = DecodingKey::from_jwk(key).expect("is a key");
    jsonwebtoken::decode::<Value>(token, &key, &validation).expect("verifies").claims
}

#[tokio::test]
async fn tokens_verify_with_the_published_keys_and_keys_overlap_when_rotated() {
    let mut server = TestServer::start().await;
    let before = server.register("ada").await;
    let claims = verify(&server, &before.access_token).await;
    assert_eq!(claims["sub"], before.user.id.to_string());
    assert_eq!(claims["sid"], before.session.to_string());
    assert_eq!(claims["role"], "owner");
    let life = claims["exp"].as_u64().zip(claims["iat"].as_u64()).map(|(exp, iat)| exp - iat);
    assert_eq!(life, Some(600));

    let kid =
        server.app().auth().verifier().keys().rotate().await.expect("rotates").expect("is ours to rotate");
    let after: TokenResponse = read(login(&server, "ada", PASSWORD).await, StatusCode::OK).await;
    assert_eq!(key_id(&after.access_token), kid);
    assert_ne!(key_id(&before.access_token), kid);
    for tokens in [&before, &after] {
        assert_eq!(me(&server, &tokens.access_token).await, StatusCode::OK);
        verify(&server, &tokens.access_token).await;
    }
    server.restart().await;
    assert_eq!(me(&server, &before.access_token).await, StatusCode::OK, "keys outlive the process");
    assert_eq!(jwks(&server).await.keys.len(), 2);
    let fresh = server.app().auth().verifier().keys().rotate_when_older(Duration::from_secs(3_600)).await;
    assert!(!fresh.expect("is asked"), "a young key stays");
}

#[tokio::test]
async fn forged_tokens_are_refused() {
    let server = TestServer::start().await;
    let ada = server.register("ada").await;
    let kid = key_id(&ada.access_token);
    let claims = verify(&server, &ada.access_token).await;
    let public = serde_json::to_value(jwks(&server).await).expect("serialises")["keys"][0]["x"].clone();
    let public = public.as_str().expect("is text").to_owned();

    // The public key as an HMAC secret: the classic confusion of algorithms.
    let confused = Header { kid: Some(kid.clone()), ..Header::new(Algorithm::HS256) };
    let confused = jsonwebtoken::encode(&confused, &claims, &EncodingKey::from_secret(public.as_bytes()));
    let parts: Vec<&str> = ada.access_token.split('.').collect();
    let other = server.register("grace").await;
    let other_parts: Vec<&str> = other.access_token.split('.').collect();
    // {"alg":"none","typ":"JWT"}
    let unsigned = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{}.", parts[1]);
    for forged in [
        String::new(),
        "x".repeat(10_000),
        unsigned,
        confused.expect("encodes"),
        format!("{}.{}.{}", parts[0], other_parts[1], parts[2]),
        format!("{}.{}.", parts[0], parts[1]),
        ada.refresh_token.clone(),
    ] {
        assert_eq!(me(&server, &forged).await, StatusCode::UNAUTHORIZED, "{forged}");
    }
    assert_eq!(me(&server, &ada.access_token).await, StatusCode::OK);
}

#[tokio::test]
async fn logins_and_registrations_are_limited_with_a_hint_when_to_come_back() {
    let server = TestServer::with(|config| {
        config.auth.login_per_minute_account = 2;
        config.auth.register_per_hour_address = 2;
    })
    .await;
    server.register("ada").await;
    server.register("grace").await;
    let limited = async |answer: Response, most: u64| {
        let wait =
            answer.headers()["retry-after"].to_str().expect("is text").parse::<u64>().expect("is a number");
        assert!((1..=most).contains(&wait), "{wait} s");
        let problem: Problem = read(answer, StatusCode::TOO_MANY_REQUESTS).await;
        assert!(problem.retryable && problem.retry_after_ms.is_some_and(|ms| ms.div_ceil(1_000) == wait));
    };
    let third = post(&server, "/v1/auth/register", json!({ "handle": "linus", "password": PASSWORD })).await;
    limited(third, 1_800).await;

    for _ in 0..2 {
        assert_eq!(login(&server, "ada", "wrong horse").await.status(), StatusCode::UNAUTHORIZED);
    }
    limited(login(&server, "ada", PASSWORD).await, 30).await;
    assert_eq!(
        login(&server, "grace", PASSWORD).await.status(),
        StatusCode::OK,
        "other accounts are not affected"
    );
}

#[tokio::test]
async fn strangers_who_guess_lock_nobody_out_of_where_they_are_known() {
    let server = TestServer::with(|config| {
        config.auth.login_per_minute_account = 1;
        config.server.trusted_proxies = vec!["127.0.0.0/8".into()];
    })
    .await;
    let sign_in = async |address: &str, password: &str| {
        let body = json!({ "handle": "ada", "password": password });
        let request = server.post("/v1/auth/login").header("x-forwarded-for", address).json(&body);
        request.send().await.expect("answers")
    };
    server.register("ada").await;
    let home = "198.51.100.1";
    let ada: TokenResponse = read(sign_in(home, PASSWORD).await, StatusCode::OK).await;
    for n in 0..10 {
        let guess = sign_in(&format!("203.0.113.{n}"), "wrong horse").await;
        assert_eq!(guess.status(), StatusCode::UNAUTHORIZED);
    }
    // From everywhere together that was enough.
    assert_eq!(sign_in("203.0.113.99", PASSWORD).await.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(sign_in(home, PASSWORD).await.status(), StatusCode::OK);
    let change = async |current: &str, new: &str| {
        let change = json!({ "current": current, "new": new });
        let request = server.post("/v1/auth/password").header("x-forwarded-for", home);
        request.bearer_auth(&ada.access_token).json(&change).send().await.expect("answers").status()
    };
    assert_eq!(change(PASSWORD, "another horse").await, StatusCode::NO_CONTENT);
    // Who is signed in may not guess without end either.
    assert_eq!(change(PASSWORD, "one more horse").await, StatusCode::FORBIDDEN);
    assert_eq!(change("another horse", "one more horse").await, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn an_address_is_limited_for_all_accounts_together() {
    let server = TestServer::with(|config| config.auth.login_per_minute_address = 3).await;
    for n in 0..3 {
        assert_eq!(login(&server, &format!("user{n}"), PASSWORD).await.status(), StatusCode::UNAUTHORIZED);
    }
    assert_eq!(login(&server, "user3", PASSWORD).await.status(), StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn a_session_that_asks_for_new_tokens_without_end_waits() {
    let server = TestServer::start().await;
    let [mut ada, grace] = [server.register("ada").await, server.register("grace").await];
    let refused = loop {
        let answer = refresh(&server, &ada.refresh_token).await;
        if answer.status() != StatusCode::OK {
            break answer;
        }
        ada = read(answer, StatusCode::OK).await;
    };
    assert!(refused.headers().contains_key("retry-after"));
    read::<Problem>(refused, StatusCode::TOO_MANY_REQUESTS).await;
    assert_eq!(me(&server, &ada.access_token).await, StatusCode::OK, "the session goes on");
    let grace: TokenResponse = read(refresh(&server, &grace.refresh_token).await, StatusCode::OK).await;
    assert_eq!(me(&server, &grace.access_token).await, StatusCode::OK);
}

#[tokio::test]
async fn refused_refresh_tokens_hold_up_nobody_who_has_a_good_one() {
    let server = TestServer::start().await;
    let ada = server.register("ada").await;
    let bad = || refresh(&server, "no-session.no-secret");
    let limited = loop {
        let answers = futures_util::future::join_all((0..50).map(|_| bad())).await;
        if let Some(limited) = answers.into_iter().find(|answer| answer.status() != StatusCode::UNAUTHORIZED)
        {
            break limited;
        }
    };
    read::<Problem>(limited, StatusCode::TOO_MANY_REQUESTS).await;
    read::<TokenResponse>(refresh(&server, &ada.refresh_token).await, StatusCode::OK).await;
}

#[tokio::test]
async fn a_password_is_changed_so_often() {
    let server = TestServer::start().await;
    let ada = server.register("ada").await;
    let (mut current, mut new) = (PASSWORD, "another horse");
    let limited = loop {
        let body = json!({ "current": current, "new": new });
        let answer = server.post("/v1/auth/password").bearer_auth(&ada.access_token).json(&body).send().await;
        let answer = answer.expect("answers");
        if answer.status() != StatusCode::NO_CONTENT {
            break answer;
        }
        (current, new) = (new, current);
    };
    read::<Problem>(limited, StatusCode::TOO_MANY_REQUESTS).await;
    assert_eq!(login(&server, "ada", current).await.status(), StatusCode::OK, "what it was changed to last");
}

#[tokio::test]
async fn a_closed_server_takes_its_owner_and_nobody_else() {
    let server = TestServer::with(|config| {
        config.auth.registration = chat_auth::Registration::Closed;
    })
    .await;
    assert_eq!(server.register("ada").await.user.role, Role::Owner);
    let second = post(&server, "/v1/auth/register", json!({ "handle": "grace", "password": PASSWORD })).await;
    assert_eq!(second.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn new_accounts_join_the_default_channels_that_exist() {
    let server = TestServer::start().await;
    let ada = server.register("ada").await;
    let body = json!({ "kind": "public", "name": "General" });
    let made =
        server.post("/v1/channels").bearer_auth(&ada.access_token).json(&body).send().await.expect("answers");
    let general: Channel = read(made, StatusCode::CREATED).await;

    let grace = server.register("grace").await;
    let mine = server.get("/v1/channels").bearer_auth(&grace.access_token).send().await.expect("answers");
    let mine: Page<Channel> = read(mine, StatusCode::OK).await;
    assert_eq!(mine.items.iter().map(|channel| channel.id).collect::<Vec<_>>(), [general.id]);
}

#[tokio::test]
async fn behind_a_proxy_each_client_has_an_address_of_its_own_and_cannot_make_one_up() {
    let statuses = async |server: &TestServer, forwarded: &[&str]| {
        let mut statuses = Vec::new();
        for value in forwarded {
            let body = json!({ "handle": "nobody", "password": "x" });
            let request = server.post("/v1/auth/login").header("x-forwarded-for", *value).json(&body);
            statuses.push(request.send().await.expect("answers").status().as_u16());
        }
        statuses
    };
    let one_a_minute = |config: &mut chat_server::config::Config| config.auth.login_per_minute_address = 1;

    let server = TestServer::with(|config| {
        one_a_minute(config);
        config.server.trusted_proxies = vec!["127.0.0.0/8".into(), "10.0.0.0/8".into()];
    })
    .await;
    let got = statuses(
        &server,
        &["198.51.100.1", "198.51.100.1", "198.51.100.2", "203.0.113.1, 198.51.100.2, 10.1.1.1"],
    );
    assert_eq!(got.await, [401, 429, 401, 429]);

    // Nobody's word is taken unless somebody said so.
    let server = TestServer::with(one_a_minute).await;
    assert_eq!(statuses(&server, &["198.51.100.1", "198.51.100.2"]).await, [401, 429]);
}
