//! What one connection has heard and not yet confirmed, in the order in which it was heard.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::Pin,
    task::Poll,
};

use mqtt_protocol_core::mqtt::result_code::PubackReasonCode;

use crate::link::port::{Ticket, Unhandled};

/// A queue of tickets, each with the PUBACK that it will become. Only the oldest is ever given out, so PUBACKs keep
/// the order of their `PUBLISHes` (MQTT 5, 4.6).
#[derive(Debug, Default)]
pub(super) struct Promises {
    queue: VecDeque<Promise>,
    bytes: usize,
}

/// A message that waits to be handled.
#[derive(Debug)]
pub(super) struct Promise {
    /// Resolves when it is handled.
    pub(super) ticket: Ticket,
    /// What to send then; nothing at `QoS` 0, which is queued only so that it counts against the bounds.
    pub(super) puback: Option<Puback>,
    /// Its size.
    pub(super) bytes: usize,
}

/// A PUBACK to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Puback {
    /// Which PUBLISH it confirms.
    pub(super) packet_id: u16,
    /// With which result.
    pub(super) reason: PubackReasonCode,
}

impl Promises {
    /// Adds what was heard last.
    pub(super) fn push(&mut self, promise: Promise) {
        self.bytes += promise.bytes;
        self.queue.push_back(promise);
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether as much waits as may: nothing more is read from the client until the gateway has caught up.
    pub(super) fn is_full(&self) -> bool {
        self.queue.len() >= PROMISES_MAX || self.bytes >= PROMISES_BYTES_MAX
    }

    /// Waits for the oldest. Waits for ever if there is none. Cancel-safe.
    pub(super) async fn next(&mut self) -> (Option<Puback>, Result<(), Unhandled>) {
        poll_fn(|context| {
            let Some(oldest) = self.queue.front_mut() else { return Poll::Pending };
            let Poll::Ready(result) = Pin::new(&mut oldest.ticket).poll(context) else {
                return Poll::Pending;
            };
            let puback = oldest.puback;
            self.bytes -= oldest.bytes;
            self.queue.pop_front();
            Poll::Ready((puback, result))
        })
        .await
    }
}

/// Most messages of one connection that may wait. Above the receive maximum, so that a client of MQTT 5 that keeps to
/// it is always read and its PINGREQ answered.
pub(super) const PROMISES_MAX: usize = 128;

/// Bytes of waiting messages at which a connection is read no more.
pub(super) const PROMISES_BYTES_MAX: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn promise(packet_id: u16, bytes: usize) -> (crate::link::port::TicketIssuer, Promise) {
        let (issuer, ticket) = Ticket::new();
        let puback = Some(Puback { packet_id, reason: PubackReasonCode::Success });
        (issuer, Promise { ticket, puback, bytes })
    }

    #[test]
    fn a_later_promise_waits_for_an_earlier_one() {
        let mut promises = Promises::default();
        let (first, promise_1) = promise(7, 1);
        let (second, promise_2) = promise(3, 1);
        promises.push(promise_1);
        promises.push(promise_2);
        second.resolve(Ok(()));
        assert_eq!(promises.next().now_or_never(), None);
        first.resolve(Ok(()));
        assert_eq!(promises.next().now_or_never().unwrap().0.unwrap().packet_id, 7);
        assert_eq!(promises.next().now_or_never().unwrap().0.unwrap().packet_id, 3);
        assert_eq!(promises.next().now_or_never(), None);
        assert!(promises.is_empty());
    }

    #[test]
    fn it_is_full_by_count_and_by_bytes() {
        for (count, bytes) in [(PROMISES_MAX, 1), (4, PROMISES_BYTES_MAX / 4)] {
            let mut promises = Promises::default();
            for _ in 0..count {
                assert!(!promises.is_full());
                promises.push(Promise { ticket: Ticket::done(Ok(())), puback: None, bytes });
            }
            assert!(promises.is_full());
            assert_eq!(promises.next().now_or_never(), Some((None, Ok(()))));
            assert!(!promises.is_full());
        }
    }
}
