//! How many connections there may be, by how many files the process may have open.

/// Bounds of one listener. None of them keeps a newcomer out: the oldest goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdmissionLimits {
    /// Strangers: connections and sockets without a valid token so far. So many have room whatever people do, and more while there is.
    pub strangers: usize,
    /// Strangers of one IPv4 address or IPv6 /64.
    pub strangers_per_address: usize,
    /// Connections of people who showed a valid token, and of proxies.
    pub people: usize,
    /// Connections, and requests through proxies, of one person.
    pub per_person: usize,
    /// Sockets of people beside them.
    pub sockets: usize,
    /// Connections and sockets of all kinds.
    pub all: usize,
}

/// Files that the store, uploads, the admin address and connections to other processes need at least.
const RESERVE: usize = 96;
/// What sockets leave to connections however many are wanted, unless that is most of what there is.
const LEAST: usize = 700;
/// Connections that were sent away are still closing when the next ones come.
pub(super) const CLOSING: usize = 16;

impl AdmissionLimits {
    /// For the public address of a process that may have `open_files`. `max_sockets` and `per_address` are what the operator allows.
    #[must_use]
    pub fn public(open_files: u64, max_sockets: usize, per_address: usize) -> Self {
        let files = usize::try_from(open_files).unwrap_or(usize::MAX).min(16_000_000);
        let rest = files.saturating_sub(RESERVE.max(files / 128)).max(64);
        // What is for connections: all that sockets do not need.
        let share = rest.saturating_sub(max_sockets).max((rest * 7 / 10).min(LEAST));
        let strangers = (share * 3 / 7).clamp(8, 4_096);
        let people = (share * 2 / 7).clamp(8, 4_096);
        Self {
            strangers,
            // Never all of it: there is room for somebody from elsewhere.
            strangers_per_address: per_address.clamp(1, strangers / 2),
            people,
            per_person: 64,
            // A connection of a person may have a second file open, such as a download.
            sockets: rest.saturating_sub(strangers + 2 * people).clamp(8, max_sockets.max(8)),
            all: rest - people,
        }
    }

    /// For the admin address, which few know.
    #[must_use]
    pub const fn admin() -> Self {
        Self { strangers: 24, strangers_per_address: 24, people: 8, per_person: 8, sockets: 0, all: 32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_open_leaves_files_for_all_else() {
        for open_files in [256, 512, 1_024, 4_096, 20_000, 65_536, 1_048_576, u64::MAX] {
            for max_sockets in [100, 19_000, 1_000_000] {
                let limits = AdmissionLimits::public(open_files, max_sockets, 256);
                let connections = limits.strangers + limits.people + limits.sockets;
                let most = usize::try_from(open_files).unwrap_or(usize::MAX);
                assert!(connections <= limits.all, "{open_files}: {limits:?}");
                assert!(limits.all + limits.people + RESERVE <= most, "{open_files}: {limits:?}");
                assert!(limits.strangers_per_address * 2 <= limits.strangers, "{limits:?}");
                assert!(limits.sockets <= max_sockets, "{limits:?}");
            }
        }
        // With the defaults of a server, all of its sockets have room.
        assert_eq!(AdmissionLimits::public(20_000, 19_000, 256).sockets, 19_000);
        let few = AdmissionLimits::public(256, 19_000, 256);
        assert_eq!((few.strangers, few.strangers_per_address, few.people, few.sockets), (48, 24, 32, 48));
        let many = AdmissionLimits::public(65_536, 19_000, 256);
        assert_eq!((many.strangers, many.strangers_per_address, many.people), (4_096, 256, 4_096));
    }
}
