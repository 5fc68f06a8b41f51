//! Which messages are due to be confirmed to the broker, and in which order. Pure.
//!
//! A broker gives a message to the gateway under a packet id and keeps it until that id is confirmed. MQTT wants the
//! confirmations in the order of arrival (MQTT 5, 4.6), and each waits for the commit of its message, so a later one
//! waits for an earlier one.
//!
//! ```text
//! take -> Number ... settle(Number) ... poll_due -> packet id          in the order of take
//!           '--- connection breaks --- the broker sends it again, same id, marked ---> take -> the same Number
//! ```
//!
//! What was not confirmed when a connection broke comes again on the next one. Plain JSON carries no number by which a
//! copy could be told, so the ledger tells it: the broker cannot use a packet id for anything else before it is
//! confirmed. This holds within one run of the gateway, and as long as the broker still knows its session.

use std::collections::VecDeque;

use super::RECEIVE_MAX;

/// What one gateway has taken from one broker and not confirmed yet.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// From this connection, in order of arrival.
    open: VecDeque<Entry>,
    /// From the connection before, as far as the broker has not sent it again.
    before: Vec<Entry>,
    next: u64,
}

/// A message among all those that were ever taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Number(u64);

/// How a message arrived.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    /// Its packet id.
    pub(super) packet_id: u16,
    /// Whether the broker marks it as sent before.
    pub(super) again: bool,
    /// What tells its payload and topic from others, for what has to be told from a copy here.
    pub(super) fingerprint: Option<u64>,
}

/// What to do with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// Handle it, then call [`Ledger::settle`].
    New(Number),
    /// Nothing: it has been handled, or is being handled, since the connection before.
    Known,
}

#[derive(Debug)]
struct Entry {
    number: Number,
    packet_id: u16,
    fingerprint: Option<u64>,
    settled: bool,
}

impl Ledger {
    /// Takes a message in the order of arrival.
    pub(super) fn take(&mut self, arrival: Arrival) -> Taken {
        if let Some(entry) = self.recognise(&arrival) {
            self.open.push_back(entry);
            return Taken::Known;
        }
        let number = Number(self.next);
        self.next += 1;
        let Arrival { packet_id, fingerprint, .. } = arrival;
        self.open.push_back(Entry { number, packet_id, fingerprint, settled: false });
        Taken::New(number)
    }

    /// A message is handled: nothing has to be done for it that a crash could undo.
    pub(super) fn settle(&mut self, number: Number) {
        let mut entries = self.open.iter_mut().chain(&mut self.before);
        if let Some(entry) = entries.find(|entry| entry.number == number) {
            entry.settled = true;
        }
    }

    /// Returns the packet id that has to be confirmed next, if one is due. It counts as confirmed.
    pub(super) fn poll_due(&mut self) -> Option<u16> {
        let due = self.open.front()?.settled;
        let oldest = if due { self.open.pop_front() } else { None };
        oldest.map(|entry| entry.packet_id)
    }

    /// Whether nothing waits to be confirmed on this connection.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// A connection stands. `kept` says whether the broker still knows what it gave the one before.
    pub(super) fn handle_connected(&mut self, kept: bool) {
        if !kept {
            self.before.clear();
        }
    }

    /// A connection is over, and with it the order in which its messages were to be confirmed.
    pub(super) fn handle_disconnected(&mut self) {
        // What the broker has not sent again by now stays known, too: it comes again on the next connection.
        self.before.extend(self.open.drain(..).filter(|entry| entry.fingerprint.is_some()));
        let surplus = self.before.len().saturating_sub(BEFORE_MAX);
        self.before.drain(..surplus);
    }

    fn recognise(&mut self, arrival: &Arrival) -> Option<Entry> {
        let same = |entry: &Entry| entry.packet_id == arrival.packet_id;
        let at = self.before.iter().position(same)?;
        let entry = self.before.swap_remove(at);
        // An id that comes with something else is free again: what it stood for has been confirmed after all.
        let copy = arrival.again && entry.fingerprint == arrival.fingerprint;
        copy.then_some(entry)
    }
}

/// Most messages of earlier connections that are told from new ones: a broker that keeps to the receive maximum has no
/// more under way. One that is forgotten is stored twice.
const BEFORE_MAX: usize = RECEIVE_MAX as usize;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(packet_id: u16) -> Arrival {
        Arrival { packet_id, again: false, fingerprint: None }
    }

    fn json(packet_id: u16, fingerprint: u64) -> Arrival {
        Arrival { packet_id, again: false, fingerprint: Some(fingerprint) }
    }

    fn again(arrival: Arrival) -> Arrival {
        Arrival { again: true, ..arrival }
    }

    fn new(ledger: &mut Ledger, arrival: Arrival) -> Number {
        match ledger.take(arrival) {
            Taken::New(number) => number,
            Taken::Known => panic!("{arrival:?} is known"),
        }
    }

    fn due(ledger: &mut Ledger) -> Vec<u16> {
        std::iter::from_fn(|| ledger.poll_due()).collect()
    }

    #[test]
    fn a_later_message_is_confirmed_after_an_earlier_one() {
        let mut ledger = Ledger::default();
        let first = new(&mut ledger, frame(7));
        let second = new(&mut ledger, frame(3));
        ledger.settle(second);
        assert!(due(&mut ledger).is_empty());
        ledger.settle(first);
        assert_eq!(due(&mut ledger), [7, 3]);
        assert!(ledger.is_empty());
    }

    #[test]
    fn json_that_comes_again_after_a_broken_connection_is_not_handled_twice() {
        let mut ledger = Ledger::default();
        let slow = new(&mut ledger, json(1, 11));
        let quick = new(&mut ledger, json(2, 22));
        ledger.handle_disconnected();
        ledger.settle(quick);
        ledger.handle_connected(true);
        assert_eq!(ledger.take(again(json(1, 11))), Taken::Known);
        assert_eq!(ledger.take(again(json(2, 22))), Taken::Known);
        assert!(due(&mut ledger).is_empty());
        ledger.settle(slow);
        assert_eq!(due(&mut ledger), [1, 2]);
    }

    #[test]
    fn it_is_still_known_when_the_next_connection_broke_before_it_came() {
        let mut ledger = Ledger::default();
        let number = new(&mut ledger, json(1, 11));
        ledger.handle_disconnected();
        ledger.handle_connected(true);
        ledger.handle_disconnected();
        ledger.settle(number);
        ledger.handle_connected(true);
        assert_eq!(ledger.take(again(json(1, 11))), Taken::Known);
        assert_eq!(due(&mut ledger), [1]);
    }

    #[test]
    fn what_only_looks_like_a_copy_is_handled() {
        let mut ledger = Ledger::default();
        for arrival in [json(1, 11), json(2, 22), json(3, 33)] {
            new(&mut ledger, arrival);
        }
        ledger.handle_disconnected();
        ledger.handle_connected(true);
        // Not marked as sent before; another payload; another id.
        for arrival in [json(1, 11), again(json(2, 99)), again(json(4, 33))] {
            new(&mut ledger, arrival);
        }
        // A confirmed one is forgotten: its id may stand for a new message with the same words.
        let mut ledger = Ledger::default();
        let number = new(&mut ledger, json(1, 11));
        ledger.settle(number);
        assert_eq!(due(&mut ledger), [1]);
        ledger.handle_disconnected();
        ledger.handle_connected(true);
        new(&mut ledger, again(json(1, 11)));
    }

    #[test]
    fn a_broker_that_forgot_the_session_sends_only_new_messages() {
        let mut ledger = Ledger::default();
        let lost = new(&mut ledger, json(1, 11));
        ledger.handle_disconnected();
        ledger.handle_connected(false);
        let number = new(&mut ledger, again(json(1, 11)));
        ledger.settle(lost);
        assert!(due(&mut ledger).is_empty(), "the old one's end confirms nothing");
        ledger.settle(number);
        assert_eq!(due(&mut ledger), [1]);
    }

    proptest! {
        #[test]
        fn every_message_is_confirmed_once_and_in_order(order in Just((0..40u16).collect::<Vec<_>>()).prop_shuffle()) {
            let mut ledger = Ledger::default();
            let numbers: Vec<_> = (0..40).map(|id| new(&mut ledger, frame(id + 1))).collect();
            let mut confirmed = Vec::new();
            for at in order {
                ledger.settle(numbers[usize::from(at)]);
                confirmed.extend(due(&mut ledger));
            }
            prop_assert_eq!(confirmed, (1..=40).collect::<Vec<_>>());
        }
    }
}
