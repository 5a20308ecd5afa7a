//! A role that changed holds at once, everywhere: for requests, for open sockets, and whatever else happens to the account.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use chat_domain::chat::Actor;
use chat_protocol::{
    ClientId, CloseCode, ErrorCode, Problem, ServerFrame,
    rest::{Role, TokenResponse, User},
};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::{
    TestServer, read,
    wait::until,
    ws::{Incoming, TestSocket},
};

async fn patch(server: &TestServer, by: &TokenResponse, whom: &TokenResponse, change: Value) -> Response {
    let url = server.url(&format!("/v1/users/{}", whom.user.id));
    server.http.patch(url).bearer_auth(&by.access_token).json(&change).send().await.expect("answers")
}

async fn refresh(server: &TestServer, tokens: &TokenResponse) -> TokenResponse {
    let body = json!({ "refresh_token": tokens.refresh_token });
    read(server.post("/v1/auth/refresh").json(&body).send().await.expect("answers"), StatusCode::OK).await
}

async fn user(server: &TestServer, whom: &TokenResponse) -> User {
    server.app().store().user(whom.user.id).await.expect("is read").expect("is there")
}

#[tokio::test]
async fn renames_undo_neither_a_closed_account_nor_a_role() {
    let server = Arc::new(TestServer::start().await);
    let (owner, ada) = (server.register("owner").await, server.register("ada").await);
    let grace = server.register("grace").await;
    let made = patch(&server, &owner, &ada, json!({ "role": "admin" })).await;
    assert_eq!(made.status(), StatusCode::OK);
    let ada = refresh(&server, &ada).await;

    let (stop, renames) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let mut loops = JoinSet::new();
    for who in 0..4 {
        let (server, stop, renames) = (Arc::clone(&server), Arc::clone(&stop), Arc::clone(&renames));
        let (ada, grace) = (ada.clone(), grace.clone());
        loops.spawn(async move {
            for n in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let name = json!({ "display_name": format!("Grace {who}.{n}") });
                let answer = patch(&server, &ada, &grace, name).await;
                assert_eq!(answer.status(), StatusCode::OK);
                renames.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    for round in 0..12 {
        let (deactivated, role) = (round % 2 == 0, if round % 4 < 2 { Role::Guest } else { Role::Member });
        let change = json!({ "deactivated": deactivated, "role": role });
        let changed: User = read(patch(&server, &owner, &grace, change).await, StatusCode::OK).await;
        assert_eq!((changed.deactivated, changed.role), (deactivated, role));
        let done = renames.load(Ordering::Relaxed);
        until("renames go on", || renames.load(Ordering::Relaxed) >= done + 8).await;
        let now = user(&server, &grace).await;
        assert_eq!((now.deactivated, now.role), (deactivated, role), "undone in round {round}");
    }
    stop.store(true, Ordering::Relaxed);
    loops.join_all().await;
}

#[tokio::test]
async fn a_demoted_owner_does_nothing_more_with_the_token_from_before() {
    let server = TestServer::start().await;
    let (ada, grace) = (server.register("ada").await, server.register("grace").await);
    let linus = server.register("linus").await;
    read::<User>(patch(&server, &ada, &grace, json!({ "role": "owner" })).await, StatusCode::OK).await;
    let grace = refresh(&server, &grace).await;
    assert_eq!(grace.user.role, Role::Owner);
    read::<User>(patch(&server, &grace, &ada, json!({ "role": "member" })).await, StatusCode::OK).await;

    for change in [json!({ "role": "admin" }), json!({ "deactivated": true }), json!({ "display_name": "X" })]
    {
        for whom in [&linus, &grace] {
            let answer = patch(&server, &ada, whom, change.clone()).await;
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{change}");
        }
    }
    let ada = refresh(&server, &ada).await;
    assert_eq!(ada.user.role, Role::Member);
    let answer = patch(&server, &ada, &linus, json!({ "role": "admin" })).await;
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    assert_eq!(user(&server, &grace).await.role, Role::Owner);
}

#[tokio::test]
async fn the_last_owner_stays_whoever_demotes_whom() {
    let server = TestServer::start().await;
    let (mut ada, mut grace) = (server.register("ada").await, server.register("grace").await);
    for change in [json!({ "role": "admin" }), json!({ "deactivated": true })] {
        let problem: Problem = read(patch(&server, &ada, &ada, change).await, StatusCode::CONFLICT).await;
        assert_eq!(problem.code, ErrorCode::Conflict);
    }
    for round in 0..10 {
        read::<User>(patch(&server, &ada, &grace, json!({ "role": "owner" })).await, StatusCode::OK).await;
        grace = refresh(&server, &grace).await;
        let admin = json!({ "role": "admin" });
        let (a, b) = tokio::join!(
            patch(&server, &ada, &grace, admin.clone()),
            patch(&server, &grace, &ada, admin.clone())
        );
        let statuses = [a.status(), b.status()];
        assert_eq!(
            statuses.iter().filter(|status| status.is_success()).count(),
            1,
            "{statuses:?} in {round}"
        );
        // The other one came too late, or is no owner any more.
        let refused = statuses.into_iter().find(|status| !status.is_success());
        assert!(matches!(refused, Some(StatusCode::CONFLICT | StatusCode::UNAUTHORIZED)), "{statuses:?}");
        if b.status().is_success() {
            std::mem::swap(&mut ada, &mut grace);
        }
        assert_eq!(user(&server, &ada).await.role, Role::Owner, "in round {round}");
        assert_eq!(user(&server, &grace).await.role, Role::Admin, "in round {round}");
        grace = refresh(&server, &grace).await;
    }
}

#[tokio::test]
async fn a_new_role_closes_the_sockets_of_its_person_who_come_back_with_it() {
    let server = TestServer::start().await;
    let (ada, grace) = (server.register("ada").await, server.register("grace").await);
    let channel = server.channel_of(&ada, &[&grace], "den").await;
    let mut lost = [
        TestSocket::connect(&server.base_url, &grace.access_token).await,
        TestSocket::connect(&server.base_url, &grace.access_token).await,
    ];
    let mut kept = TestSocket::connect(&server.base_url, &ada.access_token).await;

    read::<User>(patch(&server, &ada, &grace, json!({ "role": "guest" })).await, StatusCode::OK).await;
    for socket in &mut lost {
        assert_eq!(socket.closed().await, Some(CloseCode::Unauthenticated.code()));
    }
    // Long before the tokens expire.
    let id = kept.say(channel, "still here").await;
    kept.acked(id).await;

    let mut again = TestSocket::upgrade(&server.base_url, None, None).await.expect("upgrades");
    again.hello(&grace.access_token).await;
    assert_eq!(again.closed().await, Some(CloseCode::Unauthenticated.code()), "with the token from before");
    let answer = server.get("/v1/users").bearer_auth(&grace.access_token).send().await.expect("answers");
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);

    // The session goes on.
    let grace = refresh(&server, &grace).await;
    let mut back = TestSocket::connect(&server.base_url, &grace.access_token).await;
    let id = back.say(channel, "back").await;
    back.acked(id).await;
    let answer = server.get("/v1/users").bearer_auth(&grace.access_token).send().await.expect("answers");
    assert_eq!(answer.status(), StatusCode::FORBIDDEN, "guests do not list people");
}

/// A command that waited for its commit while the role changed is not committed, whatever is in the same batch.
#[tokio::test]
async fn what_was_under_way_with_the_role_from_before_is_not_committed() {
    let server = TestServer::start().await;
    let (ada, grace) = (server.register("ada").await, server.register("grace").await);
    let channel = server.channel_of(&ada, &[&grace], "den").await;
    let mut socket = TestSocket::connect(&server.base_url, &grace.access_token).await;
    let chat = server.app().chat();
    let actor = |of: &TokenResponse, auth_version| Actor {
        user: of.user.id,
        role: of.user.role,
        auth_version,
        session: of.session,
    };
    // As if it changed behind the door's check.
    chat.auth_versions().raise(grace.user.id, 1);
    let say = async |actor: Actor, text: &str| {
        chat.send(&actor, channel, ClientId::new(), text.into(), Vec::new(), None)
            .await
            .map_err(|error| error.code)
    };
    let (mine, old, others, new) = tokio::join!(
        say(actor(&ada, 0), "one"),
        say(actor(&grace, 0), "old"),
        say(actor(&ada, 0), "two"),
        say(actor(&grace, 1), "new"),
    );
    assert_eq!(old.map(drop), Err(ErrorCode::Unauthenticated));
    let mut seqs = [mine, others, new].map(|done| done.expect("is committed").seq);
    seqs.sort_unstable();
    let head = server.events(&ada, channel, 0).await.last().map(|event| event.seq);
    assert_eq!((head, seqs), (Some(seqs[2]), [seqs[2] - 2, seqs[2] - 1, seqs[2]]));

    // A socket gets no answer, for its client sends it again, but a close.
    socket.say(channel, "from the socket").await;
    let closed = loop {
        match socket.next().await {
            Incoming::Frame(ServerFrame::Error { code, .. }) => panic!("refused for good: {code:?}"),
            Incoming::Frame(_) => {}
            Incoming::Closed(code) => break code,
        }
    };
    assert_eq!(closed, Some(CloseCode::Unauthenticated.code()));
    let last = server.events(&ada, channel, 0).await.last().map(|event| event.seq);
    assert_eq!(last, head);
}

#[tokio::test]
async fn a_role_that_changed_holds_after_a_restart() {
    let mut server = TestServer::start().await;
    let (ada, grace) = (server.register("ada").await, server.register("grace").await);
    read::<User>(patch(&server, &ada, &grace, json!({ "role": "guest" })).await, StatusCode::OK).await;
    server.restart().await;
    for (tokens, status) in [(&grace, StatusCode::UNAUTHORIZED), (&ada, StatusCode::OK)] {
        let answer =
            server.get("/v1/users/me").bearer_auth(&tokens.access_token).send().await.expect("answers");
        assert_eq!(answer.status(), status);
    }
}
