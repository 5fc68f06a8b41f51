//! The delivery session: at least once on the wire, exactly once in the log, as two state machines without I/O.
//!
//! ```text
//!   agent                                              gateway
//!   Spooled -> Sender.handle_spooled
//!              Sender.poll_transmit  -- Batch{seq} -->  Receiver.handle_batch -> Verdict::Commit(Claim)
//!                                                       committer: append, flush, sync
//!              Sender.handle_ack     <-- Ack{ranges} -- Receiver.handle_committed(Claim)
//!   Released <-'
//! ```
//!
//! The [`Sender`](sender::Sender) frees nothing until an ack covers it; the [`Receiver`](receiver::Receiver) lets
//! nothing be acknowledged that was not committed. How to drive them: hand in whatever happened by `handle_*`, then
//! call `poll_*` until it returns `None`. PROTOCOL.md#session is the specification.

mod pace;
pub mod ranges;
pub mod receiver;
pub mod sender;
mod sending;
#[cfg(test)]
mod tests;
