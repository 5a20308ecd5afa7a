//! What a run is judged by besides the promises, when it is asked for. Pure.

use clap::Args;

use crate::report::Report;

/// Bars; those that are not given are not judged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Args)]
pub struct Bars {
    /// Fail when one client had to reconnect more often than this, not counting churn
    #[arg(long, value_name = "N")]
    pub max_reconnects: Option<u32>,
    /// Over how long a server that drains sends its sockets away: the mean rate of reconnects is counted over this time at
    /// least
    #[arg(long, value_name = "S")]
    pub drain_window: Option<f64>,
    /// Fail when in some second more than this many times the mean rate of its wave came back; needs --drain-window
    #[arg(long, value_name = "RATIO", requires = "drain_window")]
    pub max_reconnect_peak: Option<f64>,
    /// Fail when a smaller share of the tries to send was acked within 500 ms
    #[arg(long, value_name = "PERCENT")]
    pub min_prompt: Option<f64>,
    /// Fail when more messages than this were not acked in the end
    #[arg(long, value_name = "N")]
    pub max_unacked: Option<u64>,
}

impl Bars {
    /// The drain window in microseconds.
    #[must_use]
    pub fn drain_window_us(&self) -> Option<u64> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "microseconds of a run")]
        self.drain_window.map(|seconds| (seconds * 1e6) as u64)
    }

    /// The bars that a run missed, in words.
    #[must_use]
    pub fn missed(&self, report: &Report) -> Vec<String> {
        let mut missed = Vec::new();
        let (reconnects, sends) = (&report.reconnects, &report.sends);
        if let Some(most) = self.max_reconnects
            && reconnects.most_by_client > most
        {
            missed.push(format!(
                "a client had to reconnect {} times, the bar is {most}",
                reconnects.most_by_client
            ));
        }
        if let Some(bar) = self.max_reconnect_peak
            && let Some(ratio) = reconnects.peak_to_mean.filter(|ratio| *ratio > bar)
        {
            missed.push(format!("reconnects came at {ratio:.2} times their mean rate, the bar is {bar}"));
        }
        if let Some(bar) = self.min_prompt
            && sends.prompt_percent.is_none_or(|percent| percent < bar)
        {
            let percent =
                sends.prompt_percent.map_or("no".into(), |percent| format!("{percent:.3} % of the"));
            missed.push(format!("{percent} tries to send were acked within 500 ms, the bar is {bar} %"));
        }
        if let Some(bar) = self.max_unacked
            && sends.not_acked > bar
        {
            missed.push(format!("{} messages were not acked in the end, the bar is {bar}", sends.not_acked));
        }
        missed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{reconnects::Reconnects, report::Sends};

    #[test]
    fn each_bar_is_judged_when_it_is_given() {
        let report = Report {
            reconnects: Reconnects { most_by_client: 3, peak_to_mean: Some(2.5), ..Reconnects::default() },
            sends: Sends { prompt_percent: Some(99.9), not_acked: 1, ..Sends::default() },
            ..Report::default()
        };
        assert!(Bars::default().missed(&report).is_empty());
        let met = Bars {
            max_reconnects: Some(3),
            drain_window: Some(10.0),
            max_reconnect_peak: Some(2.5),
            min_prompt: Some(99.9),
            max_unacked: Some(1),
        };
        assert!(met.missed(&report).is_empty(), "{:?}", met.missed(&report));
        for (bars, what) in [
            (Bars { max_reconnects: Some(2), ..met }, "3 times"),
            (Bars { max_reconnect_peak: Some(2.0), ..met }, "2.50 times their mean"),
            (Bars { min_prompt: Some(99.95), ..met }, "99.900 %"),
            (Bars { max_unacked: Some(0), ..met }, "1 messages"),
        ] {
            let missed = bars.missed(&report);
            assert!(missed.len() == 1 && missed[0].contains(what), "{what}: {missed:?}");
        }
        // A run in which nothing was sent shows nothing.
        assert_eq!(met.missed(&Report::default()).len(), 1);
    }
}
