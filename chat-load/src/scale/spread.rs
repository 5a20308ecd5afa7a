//! How many channels of which size. Pure.

use std::fmt;

/// Sockets of the run that sizes are given for.
const SOCKETS: u32 = 75_000;
/// Of [`CHANNELS`] channels, how many have how many members online.
const TIERS: [(u32, u32); 5] = [(3, 1_000), (97, 100), (900, 40), (2_000, 25), (2_000, 8)];
const CHANNELS: u32 = 5_000;
/// One socket in so many is in the largest channel.
const CROWD_SHARE: u32 = 5;

/// Channels of a realistic spread: one in which a fifth of the sockets are, some of 1,000, most of a few.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spread {
    /// Members of the largest channel, all of them online.
    pub crowd: u32,
    /// How many of the others have how many members, those that are not online included.
    pub tiers: Vec<(u32, u32)>,
}

impl Spread {
    /// The spread of a run. Sizes count who is online, which is a share of all users; small runs have smaller large channels.
    #[must_use]
    pub fn of(sockets: u32, users: u32, channels: u32) -> Self {
        let share = f64::from(users.max(sockets)) / f64::from(sockets.max(1));
        let largest = (sockets / (SOCKETS / 1_000)).max(20);
        let mut left = channels.saturating_sub(1);
        let mut tiers = Vec::new();
        for (place, (count, online)) in TIERS.into_iter().enumerate() {
            let scaled = (u64::from(count) * u64::from(channels)).div_ceil(u64::from(CHANNELS));
            let last = place + 1 == TIERS.len();
            let count = if last { left } else { u32::try_from(scaled).unwrap_or(left).min(left) };
            left -= count;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most all users")]
            let members = (f64::from(online.min(largest)) * share) as u32;
            tiers.push((count, members.clamp(1, users)));
        }
        tiers.retain(|(count, _)| *count > 0);
        Self { crowd: (sockets / CROWD_SHARE).max(1), tiers }
    }
}

/// As `chat-server seed --spread` takes it.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (count, members)) in self.tiers.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            write!(f, "{comma}{count}x{members}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_run_delivers_each_message_to_about_sixty() {
        let spread = Spread::of(75_000, 250_000, 5_000);
        assert_eq!(spread.to_string(), "3x3333,97x333,900x133,2000x83,1999x26");
        assert_eq!(spread.crowd, 15_000);
        let online = |members: u32| f64::from(members) * 75_000.0 / 250_000.0;
        let places: f64 =
            spread.tiers.iter().map(|(count, members)| f64::from(*count) * online(*members)).sum();
        let pairs = spread.tiers.iter().map(|(count, members)| f64::from(*count) * online(*members).powi(2));
        let receivers = pairs.sum::<f64>() / places;
        assert!(
            (42.0..60.0).contains(&receivers),
            "600 messages/s are 25,000 deliveries/s or more: {receivers}"
        );
    }

    #[test]
    fn small_runs_have_all_channels_and_nobody_twice() {
        for (sockets, users, channels) in
            [(2_000, 5_000, 200), (100, 100, 1), (100, 100, 2), (18_500, 60_000, 1_200)]
        {
            let spread = Spread::of(sockets, users, channels);
            assert_eq!(spread.tiers.iter().map(|(count, _)| count).sum::<u32>(), channels - 1);
            assert!(spread.tiers.iter().all(|(_, members)| *members <= users), "{spread}");
            assert!(spread.crowd <= sockets);
        }
    }
}
