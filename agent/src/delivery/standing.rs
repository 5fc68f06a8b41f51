//! What delivery says of itself, for whoever asks.

use muster_protocol::time::MonoTime;

/// What an operator may ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Whether a session is established.
    pub up: bool,
    /// Batches and loss records released so far.
    pub released: u64,
    /// Sessions established so far.
    pub sessions: u64,
}

/// Where delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// What it does about a session.
    pub stage: Stage,
    /// Since when there is a session, or since when there is none; `None` if there never was one.
    pub since: Option<MonoTime>,
    /// When the last acknowledgement came.
    pub acked: Option<MonoTime>,
}

/// What delivery does about a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It waits before the next attempt, until then.
    Waiting {
        /// When that is.
        until: MonoTime,
    },
    /// It tries to connect.
    Connecting,
    /// It is connected and waits for the gateway's Welcome.
    Greeting,
    /// There is a session.
    Up,
}
