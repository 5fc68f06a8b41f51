//! The recorder without its thread, one step at a time. The thread runs these steps with the machine's clock; a
//! simulation runs them in virtual time.
//!
//! How to drive it: [`handle_command`](Steps::handle_command) for what the driver asks, then
//! [`handle_timeout`](Steps::handle_timeout), whose events go to the driver, then [`take`](Steps::take), which waits for
//! rows at most until [`poll_timeout`](Steps::poll_timeout); and again from the start.

use std::{collections::VecDeque, time::Duration};

use muster_protocol::{message::Clock as ClockReading, time::MonoTime};

use crate::{
    intake::{Item, Outlet, Want},
    spool::Spool,
};

pub use super::core::Finished;
use super::{RecorderCommand, RecorderConfig, RecorderEvent, core::Core};

/// Reads the robot's clocks together.
pub type ReadClocks = dyn Fn() -> ClockReading + Send + Sync;

/// Owns the spool, the batcher and the recorder's end of the queue; see the module.
pub struct Steps {
    core: Core,
    outlet: Outlet,
    items: VecDeque<Item>,
}

/// Whether rows may still come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// They may.
    Open,
    /// The intake is closed, and all that was in it is taken: call [`Steps::finish`].
    Closed,
}

/// Whether whoever reads the events keeps up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// It does.
    KeepsUp,
    /// Too many events wait for it: no rows are taken until it has caught up.
    Behind,
}

impl Steps {
    /// Starts on an open spool.
    pub fn new(spool: Spool, outlet: Outlet, config: RecorderConfig) -> Self {
        Self::of(Core::new(spool, config), outlet)
    }

    pub(super) fn of(core: Core, outlet: Outlet) -> Self {
        Self { core, outlet, items: VecDeque::new() }
    }

    /// Acts on what the driver asks.
    pub fn handle_command(&mut self, command: RecorderCommand, now: MonoTime) {
        self.core.handle_command(command, now);
    }

    /// Does what is due: spools closed batches, syncs, answers. Returns what happened since the last call.
    pub fn handle_timeout(&mut self, now: MonoTime, read: &ReadClocks) -> Vec<RecorderEvent> {
        self.core.handle_timeout(now, read, &self.outlet);
        self.core.take_events()
    }

    /// Returns when [`Steps::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<MonoTime> {
        self.core.poll_timeout()
    }

    /// Waits for rows, at most for `patience`, and takes a bounded number of them at the time that `now` then says.
    pub fn take(
        &mut self,
        reader: Reader,
        patience: Option<Duration>,
        now: impl FnOnce() -> MonoTime,
    ) -> Flow {
        let want = if reader == Reader::Behind { Want::Nothing } else { self.core.want() };
        let state = self.outlet.take(want, patience, &mut self.items);
        let now = now();
        self.items.drain(..).for_each(|item| self.core.handle_item(item, now, &self.outlet));
        if state.drained {
            self.core.handle_drained(now);
        }
        if state.closed { Flow::Closed } else { Flow::Open }
    }

    /// Records what is left, closes the spool and returns the last events.
    pub fn finish(self, read: &ReadClocks) -> Finished {
        self.core.finish(read, &self.outlet)
    }
}
