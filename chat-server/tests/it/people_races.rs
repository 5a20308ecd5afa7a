//! What ends somebody's rights, against what they do at the same moment: 200 rounds each, 50 with codes, on both stores.
//! On Cassandra the two come through different processes; on SQLite there is one.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
};

use chat_auth::{Auth, AuthOptions, Client};
use chat_cassandra::{CassandraStore, migrate::migrate};
use chat_domain::{
    bus::{Bus, local::LocalBus},
    chat::{AccountChange, Actor, Chat},
    store::Store,
};
use chat_protocol::{
    ErrorCode,
    rest::{
        CreateUser, LoginRequest, NewInvitation, PasswordRequest, RedeemRequest, RegisterRequest, Role,
        TokenResponse, UpdateUser,
    },
};
use chat_sqlite::SqliteStore;

use crate::keyspace::Keyspace;

const ROUNDS: usize = 200;
/// Each of these hashes several passwords, which is what takes long.
const ROUNDS_OF_CODES: usize = 50;
/// A session gets new tokens only so often in a minute.
const ROUNDS_OF_A_SESSION: usize = 20;
/// A person changes their password only so often in ten minutes.
const CHANGES_OF_ONE: usize = 10;
const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const WEB: Client<'static> = Client { address: ADDRESS, name: "web" };

/// Two processes; the same one twice where a store has only one.
struct Two {
    one: Arc<Auth>,
    other: Arc<Auth>,
}

impl Two {
    async fn on(one: Arc<dyn Store>, other: Arc<dyn Store>) -> Self {
        let bus: Arc<dyn Bus> = Arc::new(LocalBus::new());
        let options = AuthOptions {
            login_per_minute_account: 1_000_000,
            login_per_minute_address: 1_000_000,
            register_per_hour_address: 1_000_000,
            ..AuthOptions::default()
        };
        let same = Arc::ptr_eq(&one, &other);
        let process = async |store: Arc<dyn Store>| {
            let chat = Chat::new(Arc::clone(&store), Arc::clone(&bus));
            let auth = Auth::new(chat, store, options.clone()).await.unwrap();
            auth.spawn();
            auth
        };
        let one = process(one).await;
        let other = if same { Arc::clone(&one) } else { process(other).await };
        Self { one, other }
    }

    async fn register(&self, handle: &str, password: &str) -> TokenResponse {
        let (handle, password) = (handle.into(), password.into());
        let request =
            RegisterRequest { handle, password, display_name: None, device: None, invitation: None };
        self.one.register(request, ADDRESS).await.unwrap()
    }

    async fn actor(&self, tokens: &TokenResponse) -> Actor {
        self.one.verifier().verify(&tokens.access_token).await.unwrap()
    }

    async fn is_over(&self, tokens: &TokenResponse) -> bool {
        // Each from a network of its own: of one so many refusals a minute are answered.
        static ASKED: AtomicU16 = AtomicU16::new(0);
        let [high, low] = ASKED.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let address = IpAddr::V4(std::net::Ipv4Addr::new(198, high, low, 1));
        let refused = |code| code == ErrorCode::Unauthenticated;
        let refreshed = self.other.refresh(&tokens.refresh_token, Client { address, ..WEB }).await;
        refreshed.is_err_and(|error| refused(error.code))
    }
}

fn login(handle: &str, password: &str) -> LoginRequest {
    LoginRequest { handle: handle.into(), password: password.into(), device: None }
}

async fn a_login_with_the_old_password_does_not_outlive_its_change(two: &Two) {
    let (mut handle, mut tokens) = (String::new(), None);
    for round in 0..ROUNDS {
        let (old, new) = (format!("password {round}"), format!("password {}", round + 1));
        if round % CHANGES_OF_ONE == 0 {
            handle = format!("ada-{round}");
            tokens = Some(two.register(&handle, &old).await);
        }
        let before = tokens.take().expect("is signed in");
        let actor = two.actor(&before).await;
        let change = PasswordRequest { current: old.clone(), new: new.clone() };
        let (changed, signed_in) = tokio::join!(
            two.one.change_password(&actor, change, ADDRESS),
            two.other.login(login(&handle, &old), ADDRESS)
        );
        changed.unwrap();
        match signed_in {
            Ok(tokens) => assert!(two.is_over(&tokens).await, "the session lives on in round {round}"),
            Err(error) => assert_eq!(error.code, ErrorCode::Unauthenticated, "{error:?}"),
        }
        // What is lasting shows in some rounds as well as in all: hashing is what takes long here.
        if round % 10 == 0 {
            assert!(two.other.login(login(&handle, &old), ADDRESS).await.is_err(), "in round {round}");
        }
        // The session that changed it goes on.
        tokens = Some(two.one.refresh(&before.refresh_token, WEB).await.unwrap());
    }
    two.one.login(login(&handle, &format!("password {ROUNDS}")), ADDRESS).await.unwrap();
}

async fn a_refresh_token_that_is_used_again_ends_the_session(two: &Two) {
    let mut tokens = two.register("grace", "correct horse").await;
    for round in 0..ROUNDS {
        let first = tokens.refresh_token;
        let second = two.one.refresh(&first, WEB).await.unwrap();
        let third = two.one.refresh(&second.refresh_token, WEB).await.unwrap();
        let (stolen, fourth) =
            tokio::join!(two.other.refresh(&first, WEB), two.one.refresh(&third.refresh_token, WEB));
        assert_eq!(stolen.unwrap_err().code, ErrorCode::Unauthenticated, "in round {round}");
        for tokens in [Some(third), fourth.ok()].into_iter().flatten() {
            assert!(two.is_over(&tokens).await, "the session lives on in round {round}");
        }
        tokens = two.one.login(login("grace", "correct horse"), ADDRESS).await.unwrap();
    }
}

async fn tabs_that_refresh_at_once_get_the_same(two: &Two) {
    let mut tokens = two.register("linus", "correct horse").await;
    for round in 0..ROUNDS {
        if round % ROUNDS_OF_A_SESSION == 0 {
            tokens = two.one.login(login("linus", "correct horse"), ADDRESS).await.unwrap();
        }
        let (one, other) = tokio::join!(
            two.one.refresh(&tokens.refresh_token, WEB),
            two.other.refresh(&tokens.refresh_token, WEB)
        );
        let (one, other) = (one.unwrap(), other.unwrap());
        assert_eq!(one.refresh_token, other.refresh_token, "in round {round}");
        tokens = one;
    }
}

fn update(change: impl FnOnce(&mut UpdateUser)) -> AccountChange {
    let mut update = UpdateUser::default();
    change(&mut update);
    AccountChange::read(update).unwrap()
}

async fn a_rename_undoes_no_change_of_the_standing(two: &Two, owner: &TokenResponse) {
    let owner = two.actor(owner).await;
    let mut actor = two.actor(&two.register("person", "correct horse").await).await;
    let user = actor.user;
    for round in 0..ROUNDS {
        let before = update(|change| change.display_name = Some("Before".into()));
        two.other.change_account(&actor, user, &before).await.unwrap();
        let standing = update(|change| {
            if round % 2 == 0 { change.deactivated = Some(true) } else { change.role = Some(Role::Guest) }
        });
        let name = update(|change| change.display_name = Some(format!("Name {round}")));
        let (renamed, changed) = tokio::join!(
            two.other.change_account(&actor, user, &name),
            two.one.change_account(&owner, user, &standing)
        );
        let changed = changed.unwrap();
        if let Err(error) = &renamed {
            assert_eq!(error.code, ErrorCode::Unauthenticated, "{error:?}");
        }
        let after = two.one.change_account(&owner, user, &update(|_| ())).await.unwrap();
        assert_eq!((after.role, after.deactivated), (changed.role, changed.deactivated), "in round {round}");
        assert_eq!((after.role == Role::Guest, after.deactivated), (round % 2 == 1, round % 2 == 0));
        let back = update(|change| {
            if round % 2 == 0 { change.deactivated = Some(false) } else { change.role = Some(Role::Member) }
        });
        two.one.change_account(&owner, user, &back).await.unwrap();
        // As if the person had signed in again, without the hashing.
        actor.auth_version += 2;
    }
}

async fn the_last_owner_stays(two: &Two, owner: &TokenResponse) {
    let mut one = two.actor(owner).await;
    let other = two.register("coowner", "correct horse").await;
    let mut other = two.actor(&other).await;
    let to = |role| update(|change| change.role = Some(role));
    two.one.change_account(&one, other.user, &to(Role::Owner)).await.unwrap();
    other = Actor { role: Role::Owner, auth_version: other.auth_version + 1, ..other };
    for round in 0..ROUNDS {
        let demote = to(Role::Member);
        let (a, b) = tokio::join!(
            two.one.change_account(&one, other.user, &demote),
            two.other.change_account(&other, one.user, &demote)
        );
        assert_eq!(
            [&a, &b].iter().filter(|result| result.is_ok()).count(),
            1,
            "in round {round}: {a:?} {b:?}"
        );
        // Whoever stayed makes the other one an owner again.
        let (stayed, went) = if a.is_ok() { (&one, &mut other) } else { (&other, &mut one) };
        two.one.change_account(stayed, went.user, &to(Role::Owner)).await.unwrap();
        went.auth_version += 2;
    }
}

/// Two codes for one account, used at once: one of them sets the password, and no other code is good behind it.
async fn one_of_two_codes_sets_the_password(two: &Two, owner: &Actor) {
    let person = two.register("forgetful", "correct horse").await.user;
    let redeem = |code: &NewInvitation, password: &str| RedeemRequest {
        code: code.code.clone(),
        password: password.into(),
        device: None,
    };
    for round in 0..ROUNDS_OF_CODES {
        let (a, b, c) = tokio::join!(
            two.one.reset_password(owner, person.id),
            two.other.reset_password(owner, person.id),
            two.other.reset_password(owner, person.id)
        );
        let (a, b, c) = (a.unwrap(), b.unwrap(), c.unwrap());
        let (first, second) = (format!("first {round:05}"), format!("second {round:05}"));
        let (x, y) = tokio::join!(
            two.one.redeem(redeem(&a, &first), ADDRESS),
            two.other.redeem(redeem(&b, &second), ADDRESS)
        );
        let refused = match (x, y) {
            (Ok(_), Err(refused)) | (Err(refused), Ok(_)) => refused,
            (x, y) => panic!("one of them sets it in round {round}: {x:?} {y:?}"),
        };
        assert_eq!(refused.code, ErrorCode::Forbidden, "in round {round}");
        assert_eq!(
            two.other.redeem(redeem(&c, &first), ADDRESS).await.unwrap_err().code,
            ErrorCode::Forbidden,
            "in round {round}"
        );
    }
}

/// Who has no password yet becomes no owner, so that the last one who can sign in stays.
async fn who_cannot_sign_in_is_no_owner(two: &Two, owner: &Actor) {
    let to = |role| update(|change| change.role = Some(role));
    let (promote, demote) = (to(Role::Owner), to(Role::Member));
    for round in 0..ROUNDS_OF_CODES {
        let handle = format!("new-{round}");
        let request = CreateUser { handle: handle.clone(), display_name: None, role: Some(Role::Member) };
        let made = two.one.create_user(owner, request).await.unwrap();
        let code = RedeemRequest {
            code: made.password.code.clone(),
            password: "correct horse".into(),
            device: None,
        };
        let (promoted, demoted) = tokio::join!(
            two.other.change_account(owner, made.user.id, &promote),
            two.one.change_account(owner, owner.user, &demote)
        );
        for refused in [promoted, demoted] {
            assert_eq!(refused.unwrap_err().code, ErrorCode::Conflict, "in round {round}");
        }
        let (promoted, redeemed) = tokio::join!(
            two.other.change_account(owner, made.user.id, &promote),
            two.one.redeem(code, ADDRESS)
        );
        redeemed.unwrap();
        match promoted {
            Ok(_) => {
                two.one.change_account(owner, made.user.id, &demote).await.unwrap();
            }
            Err(refused) => assert_eq!(refused.code, ErrorCode::Conflict, "in round {round}"),
        }
    }
}

/// Codes that an admin makes while they are demoted, or while whom they are for is promoted, are not good once both are what they were.
async fn no_code_outlives_the_right_to_make_it(two: &Two, owner: &Actor) {
    let [mut maker, person] =
        [two.register("maker", "correct horse").await, two.register("promoted", "correct horse").await]
            .map(|tokens| tokens.user);
    let to = |role| update(|change| change.role = Some(role));
    maker = two.one.change_account(owner, maker.id, &to(Role::Admin)).await.unwrap();
    let mut actor = Actor { user: maker.id, role: Role::Admin, auth_version: 1, ..*owner };
    for round in 0..ROUNDS_OF_CODES {
        let (user, changed, back) = if round % 2 == 0 {
            actor.auth_version += 2;
            (maker.id, Role::Member, Role::Admin)
        } else {
            (person.id, Role::Owner, Role::Member)
        };
        let before = Actor { auth_version: actor.auth_version - if round % 2 == 0 { 2 } else { 0 }, ..actor };
        let (changed, back) = (to(changed), to(back));
        let changes_and_back = async {
            two.one.change_account(owner, user, &changed).await.unwrap();
            // The maker may be what they were before the code is looked at again.
            if user == maker.id {
                two.one.change_account(owner, user, &back).await.unwrap();
            }
        };
        let (made, ()) = tokio::join!(two.other.reset_password(&before, person.id), changes_and_back);
        if user != maker.id {
            two.one.change_account(owner, user, &back).await.unwrap();
        }
        let Ok(made) = made else { continue };
        let code = RedeemRequest { code: made.code, password: "battery staple".into(), device: None };
        let refused = two.other.redeem(code, ADDRESS).await.expect_err("is not good");
        assert_eq!(refused.code, ErrorCode::Forbidden, "in round {round}");
    }
}

async fn all(two: Two) {
    // The first one owns the organisation.
    let owner = two.register("owner", "correct horse").await;
    // Each is about people of its own, and most of what they take is waiting for the store; two need the owner.
    let with_the_owner = async {
        // While there is one owner.
        let actor = two.actor(&owner).await;
        tokio::join!(
            a_rename_undoes_no_change_of_the_standing(&two, &owner),
            one_of_two_codes_sets_the_password(&two, &actor),
            who_cannot_sign_in_is_no_owner(&two, &actor)
        );
        no_code_outlives_the_right_to_make_it(&two, &actor).await;
        the_last_owner_stays(&two, &owner).await;
    };
    tokio::join!(
        with_the_owner,
        tabs_that_refresh_at_once_get_the_same(&two),
        a_refresh_token_that_is_used_again_ends_the_session(&two),
        a_login_with_the_old_password_does_not_outlive_its_change(&two),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ends_rights_ends_them_on_sqlite() {
    let dir = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&dir.path().join("folkmoot.db")).unwrap());
    Box::pin(all(Two::on(Arc::clone(&store), store).await)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ends_rights_ends_them_on_cassandra() {
    let keyspace = Keyspace::create().await;
    migrate(&keyspace.cql, &keyspace.name).await.unwrap();
    let store = || -> Arc<dyn Store> { Arc::new(CassandraStore::new(Arc::clone(&keyspace.cql))) };
    Box::pin(all(Two::on(store(), store()).await)).await;
    keyspace.drop().await;
}
