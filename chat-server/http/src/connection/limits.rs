//! How many connections there may be, by how many files the process may have open.

/// Bounds of one listener. None of them keeps a newcomer out: the oldest goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdmissionLimits {
    /// Strangers: connections and sockets without a valid token so far.
    pub strangers: usize,
    /// Strangers of one IPv4 address or IPv6 /64.
    pub strangers_per_address: usize,
    /// Connections of people who showed a valid token, and of proxies.
    pub people: usize,
    /// Connections, and requests through proxies, of one person.
    pub per_person: usize,
}

/// Files that the store, uploads, the admin address and connections to other processes need at least.
const RESERVE: usize = 96;

impl AdmissionLimits {
    /// For the public address of a process that may have `open_files`; `per_address` is what the operator allows.
    #[must_use]
    pub fn public(open_files: u64, per_address: usize) -> Self {
        let rest = rest(open_files);
        let strangers = (rest * 3 / 10).clamp(8, 4_096);
        Self {
            strangers,
            // Never all of it: there is room for somebody from elsewhere.
            strangers_per_address: per_address.clamp(1, strangers / 2),
            people: (rest / 5).clamp(8, 4_096),
            per_person: 64,
        }
    }

    /// For the admin address, which few know.
    #[must_use]
    pub const fn admin() -> Self {
        Self { strangers: 24, strangers_per_address: 24, people: 8, per_person: 8 }
    }

    /// Sockets of people that fit beside them. A connection of a person may have a second file open, a download.
    #[must_use]
    pub fn sockets(&self, open_files: u64) -> usize {
        rest(open_files).saturating_sub(self.strangers + 2 * self.people).max(8)
    }

    /// Connections that may be there at once; a few more than have a place, since one that is sent away is still closing when
    /// the next one comes.
    pub(super) const fn at_once(&self) -> usize {
        self.strangers + self.people + 16
    }
}

/// What is left for the public. A fixed part is kept back where there are few files, an eighth where there are many.
fn rest(open_files: u64) -> usize {
    let files = usize::try_from(open_files).unwrap_or(usize::MAX).min(16_000_000);
    files.saturating_sub(RESERVE.max(files / 8)).max(64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_open_leaves_files_for_all_else() {
        for open_files in [256, 512, 1_024, 4_096, 65_536, 1_048_576, u64::MAX] {
            let limits = AdmissionLimits::public(open_files, 256);
            let connections = limits.strangers + 2 * limits.people + limits.sockets(open_files);
            let most = usize::try_from(open_files).unwrap_or(usize::MAX);
            assert!(connections + RESERVE <= most, "{open_files}: {limits:?}");
            assert!(limits.strangers_per_address * 2 <= limits.strangers, "{limits:?}");
        }
        let usual = AdmissionLimits::public(1_048_576, 256);
        assert_eq!((usual.strangers, usual.strangers_per_address), (4_096, 256));
        assert!(usual.sockets(65_536) > 19_000, "the default of gateway.max_sockets fits");
    }
}
