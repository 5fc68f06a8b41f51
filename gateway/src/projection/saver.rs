//! Checkpoints to the disk, on a thread of its own: the committer does not wait for their sync.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use muster_protocol::id::Offset;

use super::{FLEET, Saved, last_checkpoint};
use crate::{
    clock::Clock,
    conditions::facts::Failure,
    fleet::Fleet,
    ingest::Ingest,
    metrics::Metrics,
    store::{Checkpoint, CheckpointStore},
};

/// Writes checkpoints.
#[derive(Debug)]
pub struct Saver {
    to: SyncSender<Saved>,
    thread: JoinHandle<Desk>,
    outcome: LastSave,
}

/// Why the last checkpoint was not saved, if it was not. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct LastSave(Arc<Mutex<Option<Failure>>>);

/// What the thread works with.
struct Desk {
    checkpoints: CheckpointStore,
    clock: Clock,
    metrics: Arc<Metrics>,
    outcome: LastSave,
}

/// A checkpoint that could not be saved is tried again this often, until there is a newer one.
const TRY_AGAIN_EVERY: Duration = Duration::from_secs(5);

impl LastSave {
    /// Returns when and why the last checkpoint was not saved; `None` if it was, or none was due yet.
    pub fn failure(&self) -> Option<Failure> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, failure: Option<Failure>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }
}

impl Saver {
    /// Starts the thread.
    pub fn start(checkpoints: CheckpointStore, clock: Clock, metrics: Arc<Metrics>) -> io::Result<Self> {
        let (to, from) = sync_channel(1);
        let outcome = LastSave::default();
        let mut desk = Desk { checkpoints, clock, metrics, outcome: outcome.clone() };
        let save = move || {
            desk.work(&from);
            desk
        };
        let thread = std::thread::Builder::new().name("checkpoints".to_owned()).spawn(save)?;
        Ok(Self { to, thread, outcome })
    }

    /// Returns where checkpoints go; [`Saver::finish`] waits until all of these are dropped.
    pub fn sender(&self) -> SyncSender<Saved> {
        self.to.clone()
    }

    /// Returns what says how the last one went.
    pub fn outcome(&self) -> LastSave {
        self.outcome.clone()
    }

    /// Saves the final state, after the last commit, so that the next start reads nothing twice.
    pub fn finish(self, fleet: &Fleet, ingest: &Ingest, next: Offset) {
        let Self { to, thread, .. } = self;
        drop(to);
        let Ok(mut desk) = thread.join() else { return };
        if let Some(last) = last_checkpoint(fleet, ingest, next) {
            desk.save(&last);
        }
    }
}

impl Desk {
    /// Saves what comes until nobody is left to send.
    fn work(&mut self, from: &Receiver<Saved>) {
        let mut unsaved: Option<Saved> = None;
        loop {
            let next = match &unsaved {
                None => from.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(_) => from.recv_timeout(TRY_AGAIN_EVERY),
            };
            let saved = match (next, unsaved.take()) {
                (Ok(newer), _) => newer,
                (Err(RecvTimeoutError::Timeout), Some(again)) => again,
                (Err(_), _) => return,
            };
            if self.save(&saved.checkpoint) {
                self.keep_milestone(&saved);
            } else {
                unsaved = Some(saved);
            }
        }
    }

    fn save(&mut self, checkpoint: &Checkpoint) -> bool {
        let began = self.clock.mono();
        match self.checkpoints.write(checkpoint) {
            Ok(()) => {
                let bytes = checkpoint.sections.iter().map(|(_, section)| section.len() as u64).sum();
                self.metrics.checkpoint_saved(self.clock.mono().since(began), bytes);
                self.outcome.set(None);
                true
            }
            Err(error) => {
                self.metrics.checkpoint_failed();
                tracing::error!("cannot save a checkpoint: {error}; the next start reads more of the log");
                self.outcome.set(Some(Failure { at: self.clock.wall(), why: error.to_string() }));
                false
            }
        }
    }

    fn keep_milestone(&self, saved: &Saved) {
        let Saved { checkpoint, made, includes } = saved;
        let state = checkpoint.section(FLEET).expect("every checkpoint has the fleet");
        if let Err(error) = self.checkpoints.keep_milestone(*includes, *made, state) {
            tracing::error!("cannot keep a milestone: {error}; questions about the past take longer");
        }
    }
}
