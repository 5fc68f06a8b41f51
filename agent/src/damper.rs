//! Says what repeats less and less often: a robot without a network, or a program that knocks at a full socket, must not
//! fill its log with it.

use std::time::Duration;

use muster_protocol::time::MonoTime;

/// What was said of one trouble, until it is over.
#[derive(Debug, Default)]
pub(crate) struct Damper {
    said: Vec<String>,
    unsaid: u64,
    last: Option<(MonoTime, Duration)>,
}

/// Sentences that are told apart, the addresses of a few gateways in each of their moods.
const SENTENCES_MAX: usize = 8;

const FIRST_PAUSE: Duration = Duration::from_secs(60);
const PAUSE_MAX: Duration = Duration::from_secs(3600);

impl Damper {
    /// Returns how many were kept back since the last word, if this one is to be said: a new sentence at once, and one
    /// that repeats after a minute, then four, then sixteen, then every hour.
    pub(crate) fn note(&mut self, sentence: &str, now: MonoTime) -> Option<u64> {
        let is_new = self.said.len() < SENTENCES_MAX && !self.said.iter().any(|said| said == sentence);
        let pause = match self.last {
            Some((at, pause)) if at + pause <= now => (pause * 4).min(PAUSE_MAX),
            Some((_, pause)) if is_new => pause,
            Some(_) => {
                self.unsaid += 1;
                return None;
            }
            None => FIRST_PAUSE,
        };
        if is_new {
            self.said.push(sentence.to_owned());
        }
        self.last = Some((now, pause));
        Some(std::mem::take(&mut self.unsaid))
    }

    /// Notes that the trouble is over.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> MonoTime {
        MonoTime(seconds * 1_000_000_000)
    }

    #[test]
    fn what_repeats_is_said_at_once_then_after_growing_pauses_with_a_count() {
        let mut damper = Damper::default();
        let said: Vec<_> =
            (0..24 * 360).filter_map(|ten| Some((ten * 10, damper.note("refused", at(ten * 10))?))).collect();
        assert_eq!(said[..4], [(0, 0), (60, 5), (300, 23), (1260, 95)]);
        assert!((26..=27).contains(&said.len()), "{said:?}");
    }

    #[test]
    fn another_sentence_is_said_at_once_and_after_the_trouble_everything_is() {
        let mut damper = Damper::default();
        assert_eq!(damper.note("refused", at(0)), Some(0));
        assert_eq!(damper.note("refused", at(1)), None);
        assert_eq!(damper.note("no route", at(2)), Some(1));
        assert_eq!(damper.note("refused", at(3)), None);
        damper.reset();
        assert_eq!(damper.note("refused", at(4)), Some(0));
    }

    #[test]
    fn sentences_that_differ_each_time_do_not_fill_the_log() {
        let mut damper = Damper::default();
        let said = (0..59).filter(|second| damper.note(&second.to_string(), at(*second)).is_some());
        assert_eq!(said.count(), SENTENCES_MAX);
    }
}
