//! Tells inputs to stop: threads and tasks, at once, without polling.

use std::{
    convert::Infallible,
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    time::Duration,
};

use tokio::sync::watch;

/// Dropping it stops the thread.
#[derive(Debug)]
pub struct ThreadStopper {
    _nothing_is_sent: SyncSender<Infallible>,
}

/// A thread's view of its [`ThreadStopper`].
#[derive(Debug)]
pub struct ThreadStop {
    dropped: Receiver<Infallible>,
}

/// What ended a pause of a thread or a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// It is over.
    Over,
    /// The thread or task has to end.
    Stopped,
}

/// Makes a stopper and its view.
pub fn thread_stop() -> (ThreadStopper, ThreadStop) {
    let (sender, dropped) = sync_channel(1);
    (ThreadStopper { _nothing_is_sent: sender }, ThreadStop { dropped })
}

/// Pauses a task for `span`, or until `stopped` changes or its sender is dropped.
pub async fn pause(span: Duration, stopped: &mut watch::Receiver<()>) -> Pause {
    tokio::select! {
        () = tokio::time::sleep(span) => Pause::Over,
        _ = stopped.changed() => Pause::Stopped,
    }
}

impl ThreadStop {
    /// Pauses for `span`, or until the thread has to end.
    pub fn pause(&self, span: Duration) -> Pause {
        match self.dropped.recv_timeout(span) {
            Err(RecvTimeoutError::Timeout) => Pause::Over,
            Err(RecvTimeoutError::Disconnected) => Pause::Stopped,
            Ok(never) => match never {},
        }
    }
}
