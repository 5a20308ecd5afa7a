//! Tokens: refreshed once, kept before they are used, shared with other processes.

use std::{any::Any, sync::Arc};

use chat_client::{Auth, Client, ConnectionState, End, Rest, RestError, StoreError, TokenStore, Tokens};
use chat_protocol::{ClientFrame, CloseCode, ServerFrame};
use futures_util::future::join_all;
use parking_lot::Mutex;

use crate::{CHANNEL, after, event, events, head, options, server::Server, state, within};

/// A store that other "processes" see too.
#[derive(Clone, Default)]
struct Shared {
    tokens: Arc<Mutex<Option<Tokens>>>,
    saved: Arc<Mutex<Vec<String>>>,
    broken: Arc<Mutex<bool>>,
}

impl Shared {
    fn holding(access: &str, refresh: &str, refresh_at: u64) -> Self {
        let (access_token, refresh_token) = (access.to_owned(), refresh.to_owned());
        let shared = Self::default();
        *shared.tokens.lock() = Some(Tokens { access_token, refresh_token, refresh_at });
        shared
    }
}

impl TokenStore for Shared {
    fn load(&self) -> Result<Option<Tokens>, StoreError> {
        Ok(self.tokens.lock().clone())
    }

    fn save(&self, tokens: &Tokens) -> Result<(), StoreError> {
        if *self.broken.lock() {
            return Err("disk full".into());
        }
        *self.tokens.lock() = Some(tokens.clone());
        self.saved.lock().push(tokens.refresh_token.clone());
        Ok(())
    }

    fn try_lock(&self) -> Result<Option<Box<dyn Any + Send>>, StoreError> {
        Ok(Some(Box::new(())))
    }
}

async fn rest(server: &Server, store: &Shared) -> Rest {
    Rest::connect(server.url(), Auth::Session(Box::new(store.clone()))).await.unwrap()
}

#[tokio::test]
async fn all_who_need_a_token_share_one_refresh_that_is_saved_first() {
    let server = Server::start().await;
    let store = Shared::holding("stale", "refresh-0", 0);
    let rest = rest(&server, &store).await;
    let tokens = within(join_all((0..20).map(|_| rest.access_token()))).await;
    assert!(tokens.iter().all(|token| token.as_deref().is_ok_and(|token| token == "access-1")));
    assert_eq!(*server.rest.refreshes.lock(), ["refresh-0"]);
    assert_eq!(*store.saved.lock(), ["refresh-1"]);
}

#[tokio::test]
async fn a_request_that_is_not_authenticated_is_repeated_with_a_new_token() {
    let server = Server::start().await;
    *server.rest.rejected.lock() = vec!["revoked".into()];
    let store = Shared::holding("revoked", "refresh-0", u64::MAX);
    assert_eq!(within(rest(&server, &store).await.me()).await.unwrap().handle, "ada");
    assert_eq!(*server.rest.refreshes.lock(), ["refresh-0"]);
}

#[tokio::test]
async fn what_another_process_refreshed_is_taken_over_and_not_refreshed_again() {
    let server = Server::start().await;
    let store = Shared::holding("stale", "refresh-0", 0);
    let rest = rest(&server, &store).await;
    let other = Shared::holding("theirs", "refresh-9", u64::MAX);
    *store.tokens.lock() = other.tokens.lock().clone();
    assert_eq!(within(rest.access_token()).await.unwrap(), "theirs");
    assert!(server.rest.refreshes.lock().is_empty(), "refresh-0 is spent: using it would revoke the session");
}

#[tokio::test]
async fn tokens_that_could_not_be_saved_are_not_used_and_not_lost() {
    let server = Server::start().await;
    let store = Shared::holding("stale", "refresh-0", 0);
    let rest = rest(&server, &store).await;
    *store.broken.lock() = true;
    let error = within(rest.access_token()).await.unwrap_err();
    assert!(matches!(error, RestError::Store(_)), "got {error:?}");
    *store.broken.lock() = false;
    assert_eq!(within(rest.access_token()).await.unwrap(), "access-1");
    assert_eq!(*server.rest.refreshes.lock(), ["refresh-0"], "it works once, so it went once");
}

#[tokio::test]
async fn a_caller_that_gives_up_does_not_interrupt_a_refresh() {
    let server = Server::start().await;
    let store = Shared::holding("stale", "refresh-0", 0);
    let rest = rest(&server, &store).await;
    let cancelled = tokio::time::timeout(std::time::Duration::from_millis(1), rest.access_token());
    let _ = cancelled.await;
    assert_eq!(within(rest.access_token()).await.unwrap(), "access-1");
    assert_eq!(*server.rest.refreshes.lock(), ["refresh-0"]);
    assert_eq!(*store.saved.lock(), ["refresh-1"]);
}

#[tokio::test]
async fn a_socket_whose_token_is_not_accepted_comes_back_with_a_new_one() {
    let mut server = Server::start().await;
    let store = Shared::holding("access-0", "refresh-0", u64::MAX);
    let (_client, mut updates) = Client::start(rest(&server, &store).await, options());
    let mut socket = server.accept().await;
    assert_eq!(socket.hello().await, "access-0");
    socket.close(CloseCode::Unauthenticated).await;
    let mut socket = server.accept().await;
    assert_eq!(socket.hello().await, "access-1");
    // It was a good one: not accepted any more means that the role has changed, again.
    socket.welcome(head(0)).await;
    socket.close(CloseCode::Unauthenticated).await;
    // New ones that are not even welcomed: the role may have changed once more. In the end refreshing does not help, so it ends
    // instead of going round for ever.
    for n in 2..=6 {
        let mut socket = server.accept().await;
        assert_eq!(socket.hello().await, format!("access-{n}"));
        socket.close(CloseCode::Unauthenticated).await;
    }
    let end = state(&mut updates, |state| match state {
        ConnectionState::Ended(end) => Some(end),
        _ => None,
    })
    .await;
    assert_eq!(end, End::SignedOut);
}

#[tokio::test]
async fn a_role_that_changes_costs_a_refresh_and_no_event() {
    let mut server = Server::start().await;
    let store = Shared::holding("access-0", "refresh-0", u64::MAX);
    let (client, mut updates) = Client::start(rest(&server, &store).await, after(5));
    let mut socket = server.welcome(head(5)).await;
    socket.send(ServerFrame::Event(event(6))).await;
    assert_eq!(events(&mut updates, 1).await, [6]);
    let pending = client.submit(CHANNEL, "hello", vec![]).await;
    let first = socket.receive().await;
    socket.close(CloseCode::Unauthenticated).await;

    let mut socket = server.accept().await;
    assert_eq!(socket.hello().await, "access-1", "with a new token");
    socket.welcome(head(7)).await;
    let (mut again, mut synced) = (None, false);
    while again.is_none() || !synced {
        match socket.receive().await {
            frame @ ClientFrame::Send { .. } => again = Some(frame),
            frame @ ClientFrame::Sync { after: 6, .. } => {
                socket.answer_sync(frame, 7).await;
                synced = true;
            }
            other => panic!("expected the send and a sync after 6, got {other:?}"),
        }
    }
    assert_eq!(again, Some(first));
    assert_eq!(events(&mut updates, 1).await, [7]);
    let id = pending.id();
    socket.send(ServerFrame::Ack { id, channel: CHANNEL, seq: 8, at: 1, duplicate: false }).await;
    assert_eq!(within(pending.outcome()).await.unwrap().seq, 8);
}

#[tokio::test]
async fn a_spent_refresh_token_means_signed_out() {
    let server = Server::start().await;
    server.rest.refreshes.lock().push("refresh-0".into());
    let store = Shared::holding("stale", "refresh-0", 0);
    let error = within(rest(&server, &store).await.access_token()).await.unwrap_err();
    assert!(matches!(error, RestError::SignedOut), "got {error:?}");
}
