//! One way of an emulated link: when a packet that is offered now comes out at the other end. Pure.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use crate::dice::Dice;

/// How one way of a link is.
#[derive(Clone, Debug)]
pub struct Conditions {
    /// How fast it takes packets.
    pub rate: Rate,
    /// How long a packet travels.
    pub delay: Delay,
    /// How many of a thousand packets are lost.
    pub loss_per_mille: u64,
    /// How much may wait for the rate; what comes then is lost.
    pub queue_bytes: usize,
}

/// How fast a link takes packets.
#[derive(Clone, Debug)]
pub enum Rate {
    /// As fast as they come.
    Unlimited,
    /// So many bits in a second.
    BitsPerSecond(u64),
    /// The milliseconds in which [`OPPORTUNITY_BYTES`] may cross, in order; after the last it starts over.
    Trace(Arc<[u32]>),
}

/// How long a packet travels; none overtakes another.
#[derive(Clone, Debug)]
pub enum Delay {
    /// Always as long.
    Fixed(Duration),
    /// From such a millisecond on so many milliseconds; after the last it starts over.
    Trace(Arc<[(u32, u32)]>),
}

/// One way of a link.
#[derive(Debug)]
pub struct Link {
    conditions: Conditions,
    dice: Dice,
    /// What waits for the rate: when it leaves, and its bytes.
    waiting: VecDeque<(Duration, usize)>,
    waiting_bytes: usize,
    /// When the last one leaves.
    free_at: Duration,
    /// When the last one comes out.
    last_out: Duration,
    /// Of a trace: the opportunity in use, and what is left of it.
    opportunity: usize,
    credit: usize,
}

/// What crosses in one opportunity of a trace.
pub const OPPORTUNITY_BYTES: usize = 1500;

impl Conditions {
    /// As fast as this machine, without loss.
    pub fn unlimited() -> Self {
        let delay = Delay::Fixed(Duration::ZERO);
        Self { rate: Rate::Unlimited, delay, loss_per_mille: 0, queue_bytes: usize::MAX }
    }

    /// A fixed rate with a queue as routers at such a link have.
    pub fn rated(bits_per_second: u64) -> Self {
        let rate = Rate::BitsPerSecond(bits_per_second);
        Self { rate, queue_bytes: QUEUE_BYTES, ..Self::unlimited() }
    }

    /// A rate from a trace, with the same queue.
    pub fn traced(opportunities: Arc<[u32]>) -> Self {
        Self { rate: Rate::Trace(opportunities), queue_bytes: QUEUE_BYTES, ..Self::unlimited() }
    }

    /// With this delay.
    #[must_use]
    pub fn delayed(mut self, delay: Delay) -> Self {
        self.delay = delay;
        self
    }

    /// With so much loss.
    #[must_use]
    pub fn lossy(mut self, per_mille: u64) -> Self {
        self.loss_per_mille = per_mille;
        self
    }
}

impl Link {
    /// Makes an idle one, whose loss the dice decide.
    pub fn new(conditions: Conditions, dice: Dice) -> Self {
        Self {
            conditions,
            dice,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            free_at: Duration::ZERO,
            last_out: Duration::ZERO,
            opportunity: 0,
            credit: 0,
        }
    }

    /// Limits nothing from now on. What is on its way still comes out first.
    pub fn open(&mut self) {
        self.conditions = Conditions::unlimited();
    }

    /// Offers a packet. Returns when it comes out, not before any other; nothing if it is lost. `now` never goes back.
    pub fn offer(&mut self, now: Duration, bytes: usize) -> Option<Duration> {
        while self.waiting.front().is_some_and(|(leaves, _)| *leaves <= now) {
            self.waiting_bytes -= self.waiting.pop_front().map_or(0, |(_, left)| left);
        }
        if self.waiting_bytes.saturating_add(bytes) > self.conditions.queue_bytes {
            return None;
        }
        let leaves = match self.conditions.rate.clone() {
            Rate::Unlimited => now,
            Rate::BitsPerSecond(rate) => {
                self.free_at.max(now) + Duration::from_nanos(bytes as u64 * 8 * 1_000_000_000 / rate.max(1))
            }
            Rate::Trace(trace) => self.next_opportunities(&trace, now, bytes),
        };
        self.free_at = leaves;
        self.waiting.push_back((leaves, bytes));
        self.waiting_bytes += bytes;
        // Lost on the way: it has taken its time on the link.
        if self.dice.per_mille(self.conditions.loss_per_mille) {
            return None;
        }
        self.last_out = self.last_out.max(leaves + self.delay(leaves));
        Some(self.last_out)
    }

    /// Uses opportunities from `now` on for so many bytes. A packet shares one with packets that waited with it.
    fn next_opportunities(&mut self, trace: &[u32], now: Duration, mut bytes: usize) -> Duration {
        loop {
            let at = at(trace, self.opportunity);
            let used = if at < now { 0 } else { bytes.min(self.credit) };
            self.credit -= used;
            bytes -= used;
            if bytes == 0 {
                return at;
            }
            self.opportunity += 1;
            self.credit = OPPORTUNITY_BYTES;
        }
    }

    fn delay(&self, when: Duration) -> Duration {
        match &self.conditions.delay {
            Delay::Fixed(delay) => *delay,
            Delay::Trace(trace) => {
                let period = trace.last().map_or(1, |(from, _)| from + 1);
                let when = u32::try_from(when.as_millis() % u128::from(period)).expect("it is below a u32");
                let at = trace.partition_point(|(from, _)| *from <= when).saturating_sub(1);
                trace.get(at).map_or(Duration::ZERO, |(_, delay)| Duration::from_millis((*delay).into()))
            }
        }
    }
}

/// Returns when the n-th opportunity of a trace without end is.
fn at(trace: &[u32], opportunity: usize) -> Duration {
    let period = trace.last().map_or(1, |last| last + 1);
    let rounds = (opportunity / trace.len().max(1)) as u64;
    let within = trace.get(opportunity % trace.len().max(1)).copied().unwrap_or(0);
    Duration::from_millis(rounds * u64::from(period) + u64::from(within))
}

/// Half a second of a link of 1 Mbit/s.
const QUEUE_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn link(conditions: Conditions) -> Link {
        Link::new(conditions, Dice::new(5))
    }

    #[test]
    fn a_rate_spaces_packets_and_its_queue_is_bounded() {
        let mut link = link(Conditions { queue_bytes: 3000, ..Conditions::rated(1_000_000) });
        let out: Vec<_> = (0..4).map(|_| link.offer(ms(0), 1250)).collect();
        assert_eq!(out, [Some(ms(10)), Some(ms(20)), None, None]);
        assert_eq!(link.offer(ms(15), 1250), Some(ms(30)));
        assert_eq!(link.offer(ms(100), 1250), Some(ms(110)));
    }

    #[test]
    fn a_trace_gives_its_opportunities_and_starts_over() {
        let mut link = link(Conditions::traced([0, 5, 9].into()));
        assert_eq!(link.offer(ms(1), 1500), Some(ms(5)));
        assert_eq!(link.offer(ms(1), 500), Some(ms(9)));
        assert_eq!(link.offer(ms(2), 1000), Some(ms(9)), "it shares what is left");
        assert_eq!(link.offer(ms(2), 1500), Some(ms(10)), "the trace starts over after its last");
        assert_eq!(link.offer(ms(16), 3000), Some(ms(20)));
    }

    #[test]
    fn a_shrinking_delay_lets_none_overtake() {
        let trace = Delay::Trace([(0, 50), (10, 5), (100, 7)].into());
        let mut link = link(Conditions::unlimited().delayed(trace));
        assert_eq!([0, 10, 20, 60].map(|at| link.offer(ms(at), 9)), [50, 50, 50, 65].map(|at| Some(ms(at))));
        assert_eq!(link.offer(ms(101), 9), Some(ms(151)), "the trace starts over after its last");
    }

    #[test]
    fn what_is_on_its_way_comes_out_first_when_nothing_is_limited_any_more() {
        let mut link = link(Conditions::rated(1_000_000).delayed(Delay::Fixed(ms(50))));
        assert_eq!(link.offer(ms(0), 1250), Some(ms(60)));
        link.open();
        assert_eq!([5, 100].map(|at| link.offer(ms(at), 1250)), [60, 100].map(|at| Some(ms(at))));
    }

    #[test]
    fn so_many_packets_are_lost_as_the_conditions_say() {
        let mut link = link(Conditions::unlimited().lossy(50));
        let lost = (0..10_000).filter(|at| link.offer(ms(*at), 100).is_none()).count();
        assert!((400..600).contains(&lost), "{lost} of 10,000");
    }
}
