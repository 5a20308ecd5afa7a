//! How clients came back whose sockets the server took away: how often each, and how fast all together. Pure.

use serde::{Deserialize, Serialize};

/// The rate is the number of clients that come back in a second, over the worst second wherever it begins. A second,
/// because it is about what a gateway takes to welcome those whom it welcomes at once, several times over: a shorter
/// burst waits in its queue unnoticed, and a longer average hides a herd.
const SECOND_US: u64 = 1_000_000;
/// Reconnects that are apart by more than this, or the drain window, have causes of their own.
const PAUSE_US: u64 = 5 * SECOND_US;
/// Waves of fewer are not judged: of a handful that is spread out evenly two may share a second.
const JUDGED: u64 = 20;
/// Waves that are reported one by one.
const MAX_WAVES: usize = 100;

/// Reconnects that the run did not make itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Reconnects {
    /// The most that one client had to.
    pub most_by_client: u32,
    /// Clients that had to at all.
    pub clients: u64,
    /// Sockets that were lost after their `welcome`.
    pub lost_sockets: u64,
    /// Attempts to come back, failed ones too.
    pub attempts: u64,
    /// The most attempts in any second.
    pub peak_per_second: f64,
    /// Attempts a second over the time of all waves.
    pub mean_per_second: f64,
    /// The worst peak by its wave's mean, of the waves of 20 attempts or more.
    pub peak_to_mean: Option<f64>,
    /// The first 100 waves: attempts without a pause of 5 s, or of the drain window.
    pub waves: Vec<Wave>,
}

/// Clients that came back together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Wave {
    /// When it began, in seconds from the start of the run.
    pub at_seconds: f64,
    /// How long it was; a drain window (`--drain-window`) or a second at least.
    pub seconds: f64,
    /// Attempts to come back.
    pub attempts: u64,
    /// The most of them in any second.
    pub peak_per_second: f64,
    /// `attempts` by `seconds`.
    pub mean_per_second: f64,
}

/// Judges attempts at these times, in microseconds and any order. `drain_window` is the time over which servers that drain
/// send clients away, when it is known: who all come back at once had it for themselves and did not use it.
#[must_use]
pub fn waves(mut at_us: Vec<u64>, drain_window_us: Option<u64>) -> Reconnects {
    at_us.sort_unstable();
    let pause = drain_window_us.unwrap_or_default().max(PAUSE_US);
    let shortest = drain_window_us.unwrap_or_default().max(SECOND_US);
    let all: Vec<Wave> =
        at_us.chunk_by(|before, after| after - before <= pause).map(|wave| wave_of(wave, shortest)).collect();
    let seconds: f64 = all.iter().map(|wave| wave.seconds).sum();
    let attempts = at_us.len() as u64;
    let ratios = all.iter().filter(|wave| wave.attempts >= JUDGED);
    Reconnects {
        attempts,
        peak_per_second: all.iter().map(|wave| wave.peak_per_second).fold(0.0, f64::max),
        mean_per_second: if seconds > 0.0 { attempts as f64 / seconds } else { 0.0 },
        peak_to_mean: ratios.map(|wave| wave.peak_per_second / wave.mean_per_second).reduce(f64::max),
        waves: all.into_iter().take(MAX_WAVES).collect(),
        ..Reconnects::default()
    }
}

fn wave_of(at_us: &[u64], shortest_us: u64) -> Wave {
    let (first, last) =
        (at_us.first().copied().unwrap_or_default(), at_us.last().copied().unwrap_or_default());
    // As if the last one had its share of the time, too.
    let span = (last - first) as f64 * at_us.len() as f64 / (at_us.len() as f64 - 1.0).max(1.0);
    let seconds = span.max(shortest_us as f64) / 1e6;
    Wave {
        at_seconds: first as f64 / 1e6,
        seconds,
        attempts: at_us.len() as u64,
        peak_per_second: peak(at_us) as f64,
        mean_per_second: at_us.len() as f64 / seconds,
    }
}

/// The most in any second.
fn peak(at_us: &[u64]) -> usize {
    let mut from = 0;
    let mut peak = 0;
    for (to, at) in at_us.iter().enumerate() {
        while at_us[from] + SECOND_US <= *at {
            from += 1;
        }
        peak = peak.max(to + 1 - from);
    }
    peak
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = SECOND_US;

    /// `count` over `seconds` from `from`, evenly.
    fn even(from: u64, seconds: u64, count: u64) -> impl Iterator<Item = u64> {
        (0..count).map(move |n| (from * S) + seconds * S * n / count)
    }

    #[test]
    fn an_even_wave_has_its_mean_as_its_peak() {
        let found = waves(even(7, 10, 330).collect(), Some(10 * S));
        assert_eq!((found.attempts, found.waves.len()), (330, 1));
        assert_eq!((found.peak_per_second, found.mean_per_second), (33.0, 33.0));
        assert_eq!(found.peak_to_mean, Some(1.0));
        assert_eq!(found.waves[0].at_seconds, 7.0);
    }

    #[test]
    fn a_herd_is_one_by_the_window_that_it_had() {
        let herd: Vec<u64> = even(0, 1, 300).collect();
        assert_eq!(waves(herd.clone(), Some(10 * S)).peak_to_mean, Some(10.0));
        assert_eq!(waves(herd, None).peak_to_mean, Some(1.0), "nobody knows of a window");
    }

    #[test]
    fn one_drain_after_another_is_two_waves() {
        let mut both: Vec<u64> = even(0, 10, 100).chain(even(25, 10, 200)).collect();
        both.reverse();
        let found = waves(both, Some(10 * S));
        let waves: Vec<_> =
            found.waves.iter().map(|wave| (wave.attempts, wave.mean_per_second.round())).collect();
        assert_eq!(waves, [(100, 10.0), (200, 20.0)]);
        assert_eq!((found.peak_per_second, found.mean_per_second.round()), (20.0, 15.0));
    }

    #[test]
    fn a_few_are_not_judged() {
        assert_eq!(waves(vec![], None), Reconnects::default());
        let found = waves(vec![5, 6, 7], Some(10 * S));
        assert_eq!((found.peak_per_second, found.peak_to_mean), (3.0, None));
    }

    #[test]
    fn the_worst_second_may_begin_anywhere() {
        let found = waves(vec![0, 900_000, 1_100_000, 1_800_000, 2_000_001], None);
        assert_eq!(found.peak_per_second, 3.0);
    }
}
