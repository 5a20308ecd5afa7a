//! What is read from samples. Pure.

use serde::Serialize;

use super::sampling::Sample;

/// A step that the policy says, and when it was made.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Step {
    /// How many gateways there are to be.
    pub(super) to: usize,
    /// From when on, in seconds.
    pub(super) said: f64,
    /// When so many were ready, or only so many were left; `None`: never.
    pub(super) made: Option<f64>,
}

impl Step {
    /// From the policy's word to the step, in seconds.
    pub(super) fn took(&self) -> Option<f64> {
        Some(self.made? - self.said)
    }
}

/// The steps up to `to` gateways of `target` sockets each: said by the first sample with more sockets than fewer gateways may hold.
pub(super) fn steps_up(samples: &[Sample], target: u64, to: usize) -> Vec<Step> {
    let step = |to: usize| {
        let more_than = (to as u64 - 1) * target;
        let said = samples.iter().find(|sample| sample.sockets.is_some_and(|sockets| sockets > more_than))?;
        let made = samples.iter().find(|sample| sample.at >= said.at && sample.ready >= to);
        Some(Step { to, said: said.at, made: made.map(|sample| sample.at) })
    };
    (2..=to).filter_map(step).collect()
}

/// The step to one gateway after all sockets left at `left`: said when the window is over in which more were needed.
pub(super) fn step_down(samples: &[Sample], left: f64, window: f64) -> Step {
    let mut after = samples.iter().skip_while(|sample| sample.at < left);
    let made = after.find(|sample| sample.wanted == 1 && sample.pods == 1);
    Step { to: 1, said: left + window, made: made.map(|sample| sample.at) }
}

/// How often there were to be fewer gateways than just before, in a span.
pub(super) fn times_down(samples: &[Sample], from: f64, to: f64) -> usize {
    let within: Vec<_> = samples.iter().filter(|sample| (from..to).contains(&sample.at)).collect();
    within.windows(2).filter(|pair| pair[1].wanted < pair[0].wanted).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at: f64, sockets: u64, wanted: i32, ready: usize) -> Sample {
        Sample { at, sockets: Some(sockets), wanted, pods: ready, ready }
    }

    #[test]
    fn steps_are_distinguished_in_samples() {
        let mut samples = vec![
            sample(0.0, 0, 1, 1),
            sample(1.0, 1_000, 1, 1),
            sample(2.0, 1_001, 1, 1),
            sample(9.0, 1_500, 2, 2),
            sample(20.0, 3_000, 3, 2),
            sample(31.0, 3_000, 3, 3),
            sample(40.0, 0, 3, 3),
            sample(100.0, 0, 3, 3),
            sample(112.0, 0, 1, 1),
        ];
        samples[1].sockets = None;
        let steps = steps_up(&samples, 1_000, 3);
        assert_eq!(
            steps,
            [Step { to: 2, said: 2.0, made: Some(9.0) }, Step { to: 3, said: 20.0, made: Some(31.0) }]
        );
        assert_eq!(steps_up(&samples, 1_000, 4).len(), 2, "nobody said four");
        let down = step_down(&samples, 40.0, 60.0);
        assert_eq!((down.made, down.took()), (Some(112.0), Some(12.0)));
        assert_eq!(step_down(&samples[..7], 40.0, 60.0).took(), None);
        assert_eq!((times_down(&samples, 0.0, 110.0), times_down(&samples, 0.0, 120.0)), (0, 1));
    }
}
