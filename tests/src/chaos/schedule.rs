//! What a seed makes of a network. Pure.

use std::time::Duration;

use crate::{dice::Dice, gateway::Transport};

/// How the network treats what crosses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// As it should.
    Calm,
    /// Everything waits until the mood ends.
    Stall,
    /// At most so many bytes in a second, each way.
    Throttle(u64),
    /// One bit of so many of a thousand pieces or datagrams is another.
    Corrupt(u64),
    /// What stands is cut; new connections are cut too. UDP flows come back from another port.
    Cut,
    /// One way of what stands ends; over UDP nothing crosses that way.
    HalfClose(Way),
    /// So many of a thousand datagrams vanish. UDP only.
    Drop(u64),
    /// So many of a thousand datagrams come twice. UDP only.
    Double(u64),
    /// So many of a thousand datagrams come late. UDP only.
    Reorder(u64),
}

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the agent.
    Up,
    /// To the agent.
    Down,
}

/// A mood and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The mood.
    pub mood: Mood,
    /// How long it lasts.
    pub lasts: Duration,
}

/// Moods without end: a bad one of each kind in an order that the dice shuffle, a calm while after each, and again.
#[derive(Debug)]
pub struct Schedule {
    dice: Dice,
    transport: Transport,
    /// Kinds of this round that are still to come.
    round: Vec<u64>,
    calm_next: bool,
}

impl Schedule {
    /// Makes the schedule of these dice.
    pub fn new(dice: &Dice, transport: Transport) -> Self {
        Self { dice: dice.for_user(SCHEDULE), transport, round: Vec::new(), calm_next: true }
    }

    fn bad(&mut self) -> Mood {
        if self.round.is_empty() {
            let kinds = match self.transport {
                Transport::Mqtt => TCP_KINDS,
                Transport::Quic => UDP_KINDS,
            };
            self.round = (0..kinds).collect();
        }
        let at = self.dice.below(self.round.len() as u64);
        let kind = self.round.swap_remove(usize::try_from(at).expect("a round is short"));
        let often = 20 + self.dice.below(400);
        match kind {
            0 => Mood::Stall,
            1 => Mood::Throttle(2_000 + self.dice.below(60_000)),
            2 => Mood::Corrupt(often),
            3 => Mood::Cut,
            4 if self.dice.per_mille(500) => Mood::HalfClose(Way::Up),
            4 => Mood::HalfClose(Way::Down),
            5 => Mood::Drop(often),
            6 => Mood::Double(often),
            _ => Mood::Reorder(often),
        }
    }
}

impl Iterator for Schedule {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        self.calm_next = !self.calm_next;
        Some(if self.calm_next {
            Step { mood: Mood::Calm, lasts: self.dice.span(100, 500) }
        } else {
            Step { mood: self.bad(), lasts: self.dice.span(100, 1000) }
        })
    }
}

/// Which user of the seed the schedule is.
const SCHEDULE: u64 = 1;

/// How many kinds of trouble there are over each.
const TCP_KINDS: u64 = 5;
const UDP_KINDS: u64 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_give_equal_schedules_and_others_do_not() {
        let of = |seed| Schedule::new(&Dice::new(seed), Transport::Quic).take(20).collect::<Vec<_>>();
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
    }

    #[test]
    fn a_round_has_each_kind_of_trouble_once() {
        for (transport, kinds) in [(Transport::Mqtt, TCP_KINDS), (Transport::Quic, UDP_KINDS)] {
            let round = usize::try_from(2 * kinds).unwrap();
            let steps = Schedule::new(&Dice::new(3), transport).take(round);
            let mut seen: Vec<_> = steps
                .filter(|step| step.mood != Mood::Calm)
                .map(|step| std::mem::discriminant(&step.mood))
                .collect();
            let all = seen.len();
            seen.dedup();
            assert_eq!((all, seen.len()), (round / 2, round / 2), "{transport:?}");
        }
    }
}
