//! A listener's connections, counted by the listener itself and read by the metrics and by whoever looks for conditions.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::{counter::Counter, gauge::Gauge};

/// The figures of one listener. Clones share them; [`Connections::default`] is counted and shown nowhere.
#[derive(Clone, Debug, Default)]
pub struct Connections {
    pub(super) open: Gauge,
    pub(super) bound: Gauge<u64, AtomicU64>,
    pub(super) opened: Counter,
    pub(super) turned_away: Counter,
    pub(super) bytes_in: Counter,
    pub(super) bytes_out: Counter,
}

/// A connection that is open for as long as this lives.
#[derive(Debug)]
pub struct OpenConnection(Gauge);

impl Connections {
    /// Says how many there may be at once.
    pub fn set_bound(&self, connections_max: usize) {
        self.bound.set(connections_max as u64);
    }

    /// Counts a connection that was taken.
    pub fn opened(&self) -> OpenConnection {
        self.opened.inc();
        self.open.inc();
        OpenConnection(self.open.clone())
    }

    /// Counts a connection that was turned away because there are as many as there may be.
    pub fn turned_away(&self) {
        self.turned_away.inc();
    }

    /// Counts bytes that came in.
    pub fn heard(&self, bytes: usize) {
        self.bytes_in.inc_by(bytes as u64);
    }

    /// Counts bytes that went out.
    pub fn said(&self, bytes: usize) {
        self.bytes_out.inc_by(bytes as u64);
    }

    /// Returns how many are open.
    pub fn open(&self) -> u64 {
        u64::try_from(self.open.get()).unwrap_or(0)
    }

    /// Returns how many there may be.
    pub fn bound(&self) -> u64 {
        self.bound.get()
    }

    /// Returns how many were turned away since the start.
    pub fn turned_away_ever(&self) -> u64 {
        self.turned_away.get()
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}
