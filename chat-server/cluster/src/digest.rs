//! A set of users in twelve bytes: enough to notice that two pictures of it differ.

use chat_protocol::UserId;

/// How many users, and a sum that does not depend on their order. Kept up to date one user at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OnlineSum {
    /// Number of users who are online.
    pub count: u32,
    /// The wrapping sum of their hashes, see [`OnlineSum::add`].
    pub checksum: u64,
}

impl OnlineSum {
    /// One more. The user must not have been in the set.
    pub fn add(&mut self, user: UserId) {
        self.count = self.count.wrapping_add(1);
        self.checksum = self.checksum.wrapping_add(hash(user));
    }

    /// One less. The user must have been in the set.
    pub fn remove(&mut self, user: UserId) {
        self.count = self.count.wrapping_sub(1);
        self.checksum = self.checksum.wrapping_sub(hash(user));
    }
}

impl<'a> FromIterator<&'a UserId> for OnlineSum {
    fn from_iter<I: IntoIterator<Item = &'a UserId>>(users: I) -> Self {
        let mut sum = Self::default();
        for user in users {
            sum.add(*user);
        }
        sum
    }
}

/// The same in every process and version: it goes over the bus. Both halves of the UUID through the finaliser of
/// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
fn hash(user: UserId) -> u64 {
    let (high, low) = user.0.as_u64_pair();
    mix(mix(high).wrapping_add(low))
}

const fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_sets_have_equal_sums_in_any_order_and_others_do_not() {
        let users: Vec<UserId> = (0..100).map(|_| UserId::new()).collect();
        let all: OnlineSum = users.iter().collect();
        assert_eq!(all, users.iter().rev().collect());
        let mut sum = all;
        sum.remove(users[7]);
        let without: OnlineSum = users.iter().filter(|user| **user != users[7]).collect();
        assert_eq!(sum, without);
        // As many, but another one.
        sum.add(UserId::new());
        assert_ne!(sum, all);
        assert_eq!(sum.count, all.count);
    }

    #[test]
    fn the_hash_is_part_of_what_goes_over_the_bus() {
        let user = UserId(uuid::Uuid::from_u128(0x0192_7f6e_8a4c_7b3d_9e1f_0011_2233_4455));
        assert_eq!(hash(user), 0xb3a8_a304_5f18_9190);
    }
}
