//! The versions of those whose role changed lately: what was decided on an older one does not count any more.

use std::collections::HashMap;

use chat_protocol::{Millis, UserId};
use parking_lot::RwLock;

use crate::clock::now_ms;

/// The lowest version that is accepted of each person; 0 of those who are not in it. Shared by all who check tokens or write
/// events in this process.
#[derive(Debug, Default)]
pub struct AuthVersions {
    /// With the time at which it was learnt, which is never before it rose.
    lowest: RwLock<HashMap<UserId, (u64, Millis)>>,
}

impl AuthVersions {
    /// Whether what this person was allowed at this version still counts.
    #[must_use]
    pub fn accepts(&self, user: UserId, version: u64) -> bool {
        self.lowest.read().get(&user).is_none_or(|(lowest, _)| *lowest <= version)
    }

    /// From now on nothing lower is accepted.
    pub fn raise(&self, user: UserId, version: u64) {
        if self.accepts(user, version.saturating_sub(1)) {
            let mut lowest = self.lowest.write();
            let entry = lowest.entry(user).or_insert((0, 0));
            if entry.0 < version {
                *entry = (version, now_ms());
            }
        }
    }

    /// Forgets what was learnt before: every token that was lower has expired.
    pub fn forget_before(&self, at: Millis) {
        self.lowest.write().retain(|_, (_, learnt)| *learnt >= at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_version_only_rises() {
        let (versions, ada, grace) = (AuthVersions::default(), UserId::new(), UserId::new());
        assert!(versions.accepts(ada, 0));
        versions.raise(ada, 3);
        versions.raise(ada, 2);
        let accepted = [2, 3, 4].map(|version| versions.accepts(ada, version));
        assert_eq!(accepted, [false, true, true]);
        assert!(versions.accepts(grace, 0));
        versions.forget_before(Millis::MAX);
        assert!(versions.accepts(ada, 0));
    }
}
