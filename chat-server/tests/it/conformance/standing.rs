//! Roles and closed accounts of [`chat_domain::store::DirectoryStore`].

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use chat_domain::store::{Standing, StandingChange, Store, StoreError};
use chat_protocol::{
    UserId,
    rest::{Role, User},
};
use tokio::task::JoinSet;

use super::fixtures::{new_user, now, unique};

const fn active(role: Role) -> Standing {
    Standing { role, deactivated: false }
}

async fn somebody(store: &dyn Store, role: Role) -> UserId {
    let user = User { role, ..new_user(&unique("somebody"), "Somebody") };
    assert!(store.create_user(&user).await.unwrap());
    user.id
}

/// Decides on what is there, as often as that changes.
async fn change(store: &dyn Store, user: UserId, to: Standing) -> StandingChange {
    loop {
        let expected = store.account(user).await.unwrap().unwrap().auth_version;
        let outcome = store.change_standing(user, expected, to, now()).await.unwrap();
        if outcome != StandingChange::Outdated {
            return outcome;
        }
    }
}

pub(crate) async fn a_standing_changes_once_on_what_was_read(store: Arc<dyn Store>) {
    let guest = active(Role::Guest);
    let nobody = store.change_standing(UserId::new(), 0, guest, now()).await.unwrap();
    assert_eq!(nobody, StandingChange::NoUser);
    assert_eq!(store.account(UserId::new()).await.unwrap(), None);

    let grace = somebody(&*store, Role::Member).await;
    let account = store.account(grace).await.unwrap().unwrap();
    assert_eq!((account.auth_version, account.standing()), (0, active(Role::Member)));
    // Of many that were decided on the same state at once, one is made.
    let mut attempts = JoinSet::new();
    for n in 0..8 {
        let store = Arc::clone(&store);
        let to = Standing { role: if n % 2 == 0 { Role::Admin } else { Role::Guest }, deactivated: n < 4 };
        attempts.spawn(async move { (to, store.change_standing(grace, 0, to, now()).await.unwrap()) });
    }
    let made = StandingChange::Changed { auth_version: 1 };
    let (winners, losers): (Vec<_>, Vec<_>) =
        attempts.join_all().await.into_iter().partition(|(_, outcome)| *outcome == made);
    assert!(losers.iter().all(|(_, outcome)| *outcome == StandingChange::Outdated), "{losers:?}");
    let [(to, _)] = winners.as_slice() else { panic!("expected one winner, got {winners:?}") };
    let account = store.account(grace).await.unwrap().unwrap();
    assert_eq!((account.auth_version, account.standing()), (1, *to));
    assert_eq!(store.user(grace).await.unwrap(), Some(account.user));

    let again = store.change_standing(grace, 1, *to, now()).await.unwrap();
    assert_eq!(again, StandingChange::Changed { auth_version: 1 }, "it is so already");
}

pub(crate) async fn versions_are_listed_since(store: Arc<dyn Store>) {
    let at = now();
    let mut users = Vec::new();
    for i in 0..3 {
        let user = somebody(&*store, Role::Member).await;
        let outcome = store.change_standing(user, 0, active(Role::Guest), at + i).await.unwrap();
        assert_eq!(outcome, StandingChange::Changed { auth_version: 1 });
        users.push(user);
    }
    let closed = Standing { role: Role::Guest, deactivated: true };
    store.change_standing(users[2], 1, closed, at + 3).await.unwrap();
    let untouched = somebody(&*store, Role::Member).await;
    let mut found = store.auth_versions_since(at + 1).await.unwrap();
    found.retain(|(user, _)| users.contains(user) || *user == untouched);
    for (user, highest) in [(users[1], Some(1)), (users[2], Some(2)), (users[0], None), (untouched, None)] {
        let listed = found.iter().filter(|(other, _)| *other == user).map(|(_, version)| *version).max();
        assert_eq!(listed, highest);
    }
}

/// A rename writes the name, a change of standing writes the standing, whatever happens at the same time.
pub(crate) async fn a_rename_undoes_no_change_of_standing(store: Arc<dyn Store>) {
    const ROUNDS: u64 = 24;
    let user = somebody(&*store, Role::Member).await;
    let (renames, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let mut loops = JoinSet::new();
    for who in 0..4 {
        let (store, renames, stop) = (Arc::clone(&store), Arc::clone(&renames), Arc::clone(&stop));
        loops.spawn(async move {
            for n in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                match store.set_display_name(user, &format!("Name {who}.{n}")).await {
                    Ok(renamed) => assert!(renamed),
                    // The others were always faster.
                    Err(error) => assert!(matches!(error, StoreError::Overloaded { .. }), "{error}"),
                }
                renames.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    for round in 0..ROUNDS {
        let role = [Role::Guest, Role::Admin, Role::Member][usize::try_from(round % 3).unwrap()];
        let to = Standing { role, deactivated: round % 2 == 0 };
        let outcome = store.change_standing(user, round, to, now()).await.unwrap();
        assert_eq!(outcome, StandingChange::Changed { auth_version: round + 1 });
        // Whoever was under way then has written.
        let done = renames.load(Ordering::Relaxed);
        let written = async {
            while renames.load(Ordering::Relaxed) < done + 8 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), written).await.expect("renames go on");
        let account = store.account(user).await.unwrap().unwrap();
        assert_eq!((account.standing(), account.auth_version), (to, round + 1), "undone in round {round}");
    }
    stop.store(true, Ordering::Relaxed);
    loops.join_all().await;
    // And the other way round.
    assert!(store.set_display_name(user, "Last").await.unwrap());
    change(&*store, user, active(Role::Admin)).await;
    assert_eq!(store.user(user).await.unwrap().unwrap().display_name, "Last");
}

/// The only test that makes owners and leaves them.
pub(crate) async fn the_last_owner_stays(store: Arc<dyn Store>) {
    let changed = |outcome| matches!(outcome, StandingChange::Changed { .. });
    // These two are owners from the beginning, as in an installation of an older version.
    let owners = [somebody(&*store, Role::Owner).await, somebody(&*store, Role::Owner).await];
    for round in 0..10 {
        // They demote each other, or close each other's accounts, at once.
        let to = Standing {
            role: if round % 2 == 0 { Role::Admin } else { Role::Owner },
            deactivated: round % 2 == 1,
        };
        let outcomes = tokio::join!(change(&*store, owners[0], to), change(&*store, owners[1], to));
        let outcomes = [outcomes.0, outcomes.1];
        let went: Vec<_> = outcomes.iter().map(|outcome| changed(*outcome)).collect();
        assert_eq!(went.iter().filter(|went| **went).count(), 1, "{outcomes:?} in round {round}");
        assert!(outcomes.contains(&StandingChange::LastOwner), "{outcomes:?} in round {round}");
        let (gone, last) = if went[0] { (owners[0], owners[1]) } else { (owners[1], owners[0]) };
        // The last one himself.
        for to in [active(Role::Member), Standing { role: Role::Owner, deactivated: true }] {
            assert_eq!(change(&*store, last, to).await, StandingChange::LastOwner);
        }
        assert_eq!(store.account(last).await.unwrap().unwrap().standing(), active(Role::Owner));
        assert!(changed(change(&*store, gone, active(Role::Owner)).await));
    }
    // With another one he may go.
    let heir = somebody(&*store, Role::Member).await;
    assert!(changed(change(&*store, heir, active(Role::Owner)).await));
    for owner in owners {
        assert!(changed(change(&*store, owner, active(Role::Member)).await));
    }
    assert_eq!(change(&*store, heir, active(Role::Member)).await, StandingChange::LastOwner);
}
