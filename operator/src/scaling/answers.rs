//! The last answer of each gateway, for as long as it is worth something.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

/// For how long the last answer of a gateway stands for one that is missing. Of 200 gateways one or the other does not answer within
/// its deadline in most rounds; without this nothing could ever be taken away. What is older is unknown.
pub const FRESH: SignedDuration = SignedDuration::from_secs(15);

/// What a gateway reported about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Answer {
    /// Sockets that it holds.
    pub connections: u64,
    /// Whether it refused sockets since it was asked before.
    pub refuses: bool,
    /// Whether it is short of memory.
    pub memory_pressure: bool,
}

/// The last answers, by pod.
#[derive(Debug, Clone, Default)]
pub struct Answers(BTreeMap<String, (Timestamp, Answer)>);

impl Answers {
    /// A round of questions has ended: what each pod answered, `None` for one that did not. Pods that were not asked are forgotten, so
    /// this is never more than there are pods.
    pub fn round<'a>(
        &mut self,
        now: Timestamp,
        answers: impl IntoIterator<Item = (&'a str, Option<Answer>)>,
    ) {
        let mut before = std::mem::take(&mut self.0);
        for (pod, answer) in answers {
            let kept = answer.map(|answer| (now, answer)).or_else(|| before.remove(pod));
            if let Some(kept) = kept {
                self.0.insert(pod.to_owned(), kept);
            }
        }
    }

    /// The last answer of a pod, unless it is older than [`FRESH`].
    #[must_use]
    pub fn of(&self, now: Timestamp, pod: &str) -> Option<Answer> {
        let (at, answer) = self.0.get(pod)?;
        (now.duration_since(*at) <= FRESH).then_some(*answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    #[test]
    fn an_answer_stands_for_missing_ones_until_it_is_old() {
        let answer = |connections| Some(Answer { connections, ..Answer::default() });
        let mut answers = Answers::default();
        let mut check = |second, round: &[(&'static str, Option<Answer>)], expected: [Option<Answer>; 2]| {
            answers.round(at(second), round.iter().copied());
            assert_eq!(["a", "b"].map(|pod| answers.of(at(second), pod)), expected, "{second}");
        };
        check(0, &[("a", answer(3)), ("b", None)], [answer(3), None]);
        check(5, &[("a", None), ("b", answer(0))], [answer(3), answer(0)]);
        check(15, &[("a", None), ("b", None)], [answer(3), answer(0)]);
        check(16, &[("a", None), ("b", None)], [None, answer(0)]);
        check(20, &[("a", answer(4)), ("b", None)], [answer(4), answer(0)]);
        check(25, &[("a", None)], [answer(4), None]);
        check(26, &[("a", None), ("b", None)], [answer(4), None]);
    }
}
