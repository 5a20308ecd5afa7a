//! Several auth processes on one store: limits, keys and revocations are everybody's.

use std::{net::IpAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use chat_auth::{Auth, AuthOptions};
use chat_domain::{
    bus::{Bus, BusMessage, Position, PublishError, Signal, Subscription, local::LocalBus},
    chat::{Actor, Chat, now_ms},
    store::{Standing, StandingChange, Store},
};
use chat_protocol::{
    ErrorCode, SessionId, UserId,
    rest::{LoginRequest, RegisterRequest, Role},
};
use chat_sqlite::SqliteStore;

use crate::harness::{
    PASSWORD,
    wait::{DEADLINE, until_so},
};

const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

/// A bus that loses revocations.
struct Forgetful(LocalBus);

#[async_trait]
impl Bus for Forgetful {
    async fn publish(&self, message: BusMessage) -> Result<(), PublishError> {
        match message {
            BusMessage::Signal(Signal::SessionRevoked { .. } | Signal::AuthVersion { .. }) => Ok(()),
            message => self.0.publish(message).await,
        }
    }

    fn subscribe(&self) -> Box<dyn Subscription> {
        self.0.subscribe()
    }

    fn subscribe_from(&self, position: &Position) -> Box<dyn Subscription> {
        self.0.subscribe_from(position)
    }
}

struct World {
    store: Arc<dyn Store>,
    bus: Arc<dyn Bus>,
    _dir: tempfile::TempDir,
}

impl World {
    fn on(bus: impl Bus) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let store = SqliteStore::open(&dir.path().join("folkmoot.db")).expect("a store");
        Self { store: Arc::new(store), bus: Arc::new(bus), _dir: dir }
    }

    async fn process(&self, options: &AuthOptions) -> Arc<Auth> {
        let chat = Chat::new(Arc::clone(&self.store), Arc::clone(&self.bus));
        let auth = Auth::new(chat, Arc::clone(&self.store), options.clone()).await.expect("keys");
        auth.spawn();
        auth
    }
}

fn actor() -> Actor {
    Actor { user: UserId::new(), role: Role::Member, auth_version: 0, session: SessionId::new() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_one_verifies_on_the_other_right_after_the_key_was_replaced() {
    let world = World::on(LocalBus::new());
    let options = AuthOptions::default();
    let (one, other) = (world.process(&options).await, world.process(&options).await);
    for _ in 0..3 {
        // Tokens of keys that nobody has do not keep those of new keys out.
        let foreign = World::on(LocalBus::new()).process(&options).await;
        let forged = foreign.verifier().issue(&actor(), Duration::from_secs(60)).expect("a token");
        let refused = other.verifier().verify(&forged).await.expect_err("is refused");
        assert_eq!(refused.code, ErrorCode::Unauthenticated);

        one.verifier().keys().rotate().await.expect("rotates");
        let actor = actor();
        let token = one.verifier().issue(&actor, Duration::from_secs(60)).expect("a token");
        assert_eq!(other.verifier().verify(&token).await.expect("verifies"), actor);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_arrives_although_the_bus_lost_it() {
    let world = World::on(Forgetful(LocalBus::new()));
    let options = AuthOptions::default();
    let (one, other) = (world.process(&options).await, world.process(&options).await);
    let request = RegisterRequest {
        handle: "ada".into(),
        password: PASSWORD.into(),
        display_name: None,
        device: None,
        invitation: None,
    };
    let tokens = one.register(request, ADDRESS).await.expect("signs in");
    assert!(other.verifier().verify(&tokens.access_token).await.is_ok());
    one.revoke_all(tokens.user.id).await.expect("revokes");
    until_so("the other process learns it", async || {
        other.verifier().verify(&tokens.access_token).await.is_err()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_role_arrives_although_the_bus_lost_it() {
    let world = World::on(Forgetful(LocalBus::new()));
    let options = AuthOptions::default();
    let (one, other) = (world.process(&options).await, world.process(&options).await);
    let user = one.create_account("ada", None, PASSWORD.into()).await.expect("is made").id;
    let guest = Standing { role: Role::Guest, deactivated: false };
    // Somebody else must own the organisation.
    let grace = one.create_account("grace", None, PASSWORD.into()).await.expect("is made").id;
    let owner = Standing { role: Role::Owner, deactivated: false };
    world.store.change_standing(grace, 0, owner, now_ms()).await.expect("is stored");

    let old = Actor { user, ..actor() };
    let token = one.verifier().issue(&old, Duration::from_secs(60)).expect("a token");
    assert_eq!(other.verifier().verify(&token).await.expect("verifies"), old);
    let changed = world.store.change_standing(user, 0, guest, now_ms()).await.expect("is stored");
    assert_eq!(changed, StandingChange::Changed { auth_version: 1 });
    one.announce_version(user, 1).await;
    let refused = one.verifier().verify(&token).await.expect_err("is refused at once");
    assert_eq!(refused.code, ErrorCode::Unauthenticated);
    until_so("the other process learns it", async || other.verifier().verify(&token).await.is_err()).await;
    let new = Actor { auth_version: 1, role: Role::Guest, ..old };
    let token = one.verifier().issue(&new, Duration::from_secs(60)).expect("a token");
    assert_eq!(other.verifier().verify(&token).await.expect("verifies"), new);
    // Who begins later reads it.
    let late = world.process(&options).await;
    let token = one.verifier().issue(&old, Duration::from_secs(60)).expect("a token");
    assert!(late.verifier().verify(&token).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_together_allow_what_one_does() {
    const PER_MINUTE: u32 = 5;
    let world = World::on(LocalBus::new());
    let options = AuthOptions { login_per_minute_account: PER_MINUTE, ..AuthOptions::default() };
    let (one, other) = (world.process(&options).await, world.process(&options).await);
    let login = |auth: &Arc<Auth>| {
        let auth = Arc::clone(auth);
        async move {
            let request = LoginRequest { handle: "ada".into(), password: "wrong".into(), device: None };
            auth.login(request, ADDRESS).await.expect_err("is refused").code
        }
    };
    let mut bus = world.bus.subscribe();
    for _ in 0..PER_MINUTE {
        assert_eq!(login(&one).await, ErrorCode::Unauthenticated);
        let counted = tokio::time::timeout(DEADLINE, bus.next()).await.expect("in time");
        assert!(matches!(counted, Ok(BusMessage::Signal(Signal::Attempts { .. }))), "{counted:?}");
    }
    // The last ones may still be on their way to the other process.
    let mut passed = 0;
    while login(&other).await != ErrorCode::RateLimited {
        passed += 1;
        assert!(passed <= 2, "the other process does not count along");
    }
    assert_eq!(login(&one).await, ErrorCode::RateLimited);
}
