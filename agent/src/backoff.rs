//! How long to wait before connecting again. Pure: the randomness is seeded.
//!
//! Each wait is drawn evenly from zero to a ceiling that doubles ("full jitter"), so that robots which lost one gateway
//! at one moment come back spread over the whole range.
//!
//! Where the range starts depends on who ended the last session. A link that fell silent is this robot's own trouble,
//! and most likely it is alone with it: the first wait is short. A gateway that closed the session closed every other
//! robot's too: the first wait is drawn from the *return spread*, so that a gateway which is back at once is not met by
//! its whole fleet in one second.

use std::time::Duration;

/// Draws waits. One per agent.
#[derive(Clone, Debug)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    return_spread: Duration,
    ceiling: Duration,
    state: u64,
}

impl Backoff {
    /// Starts with a ceiling of `min`, which doubles up to `max`. Agents differ in `seed`.
    pub fn new(min: Duration, max: Duration, seed: u64) -> Self {
        Self { min, max, return_spread: min, ceiling: min, state: seed }
    }

    /// Sets the range of the first wait after the gateway ended a session; without it, it is `min`.
    #[must_use]
    pub fn with_return_spread(self, return_spread: Duration) -> Self {
        Self { return_spread, ..self }
    }

    /// Returns the next wait.
    pub fn next_wait(&mut self) -> Duration {
        let wait = self.ceiling.mul_f64(self.draw());
        self.ceiling = (self.ceiling * 2).min(self.max.max(self.min));
        wait
    }

    /// Returns the wait after the gateway ended a session: never from a shorter range than the return spread.
    pub fn return_wait(&mut self) -> Duration {
        self.ceiling = self.ceiling.max(self.return_spread);
        self.next_wait()
    }

    /// Returns a wait from half of `around` to one and a half times as long; leaves the range as it is.
    pub fn spread(&mut self, around: Duration) -> Duration {
        around.mul_f64(0.5 + self.draw())
    }

    /// Starts anew: a session lasted.
    pub fn reset(&mut self) {
        self.ceiling = self.min;
    }

    /// Returns a number from 0 to below 1 (SplitMix64, Steele et al. 2014).
    fn draw(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let bits = u32::try_from(mixed >> 32).expect("32 bits are left");
        f64::from(bits) / f64::from(u32::MAX).next_up()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Duration = Duration::from_millis(500);
    const MAX: Duration = Duration::from_secs(30);

    #[test]
    fn ceilings_double_up_to_the_greatest_and_start_anew() {
        let mut backoff = Backoff::new(MIN, MAX, 1);
        let mut ceiling = MIN;
        for _ in 0..20 {
            assert!(backoff.next_wait() < ceiling);
            ceiling = (ceiling * 2).min(MAX);
        }
        backoff.reset();
        assert!(backoff.next_wait() < MIN);
    }

    fn tenths(waits: impl Iterator<Item = Duration>, range: Duration) -> [u32; 10] {
        let mut tenths = [0; 10];
        for wait in waits {
            tenths[(wait.as_nanos() * 10 / range.as_nanos()) as usize] += 1;
        }
        tenths
    }

    #[test]
    fn a_spread_wait_stays_around_its_middle_and_leaves_the_range_alone() {
        let mut backoff = Backoff::new(MIN, MAX, 1);
        let around = Duration::from_secs(4);
        let waits: Vec<_> = (0..1000).map(|_| backoff.spread(around)).collect();
        assert!(waits.iter().all(|wait| (around / 2..around * 3 / 2).contains(wait)));
        let mean = waits.iter().sum::<Duration>() / 1000;
        assert!((Duration::from_millis(3800)..Duration::from_millis(4200)).contains(&mean), "{mean:?}");
        assert!(backoff.next_wait() < MIN);
    }

    #[test]
    fn agents_spread_over_the_whole_range() {
        let waits = (0..1000).map(|seed| Backoff::new(MAX, MAX, seed).next_wait());
        let tenths = tenths(waits, MAX);
        assert!(tenths.iter().all(|count| (60..140).contains(count)), "{tenths:?}");
    }

    #[test]
    fn after_a_gateway_closed_agents_spread_over_the_return_spread_and_from_there_on() {
        let spread = Duration::from_secs(10);
        let backoff = |seed| Backoff::new(MIN, MAX, seed).with_return_spread(spread);
        let tenths = tenths((0..1000).map(|seed| backoff(seed).return_wait()), spread);
        assert!(tenths.iter().all(|count| (60..140).contains(count)), "{tenths:?}");
        let mut one = backoff(3);
        one.return_wait();
        assert_eq!(one.ceiling, spread * 2);
    }
}
