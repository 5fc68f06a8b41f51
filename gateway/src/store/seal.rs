//! Housekeeping beside the committer, on a thread of its own: sealing partitions that were rolled away from, and
//! dropping the oldest.
//!
//! Sealing writes the index, then the manifest, each in one step; a partition with a whole manifest is sealed. Then
//! the database is closed and opened once, because sled writes the snapshot that makes later opens quick only when it
//! opens. A crash anywhere in between is repaired by sealing again at the next start.

use std::{
    io,
    sync::{
        Arc, PoisonError,
        atomic::Ordering,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::JoinHandle,
};

use super::{
    database::DatabaseError,
    disk::{bytes_of, replace},
    index,
    partition::{Open, Partition, Sealed, State},
    shared::Shared,
};

/// The housekeeping thread. Dropping it waits until the work that was handed over is done.
#[derive(Debug)]
pub(super) struct Housekeeping {
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
enum Job {
    Seal(Arc<Partition>),
    Retain,
    Answer(SyncSender<()>),
}

/// Most jobs that wait. A committer that rolls faster than partitions are sealed waits for the oldest.
const JOBS_MAX: usize = 4;

impl Housekeeping {
    pub(super) fn start(shared: Arc<Shared>) -> io::Result<Self> {
        let (jobs, receiver) = sync_channel(JOBS_MAX);
        let builder = std::thread::Builder::new().name("store-housekeeping".to_owned());
        let thread = builder.spawn(move || run(&shared, &receiver))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Hands a frozen partition over to be sealed.
    pub(super) fn seal(&self, partition: Arc<Partition>) {
        self.hand_over(Job::Seal(partition));
    }

    /// Asks for the oldest partitions to be dropped if the log is too large. Does not wait: asked again is soon enough.
    pub(super) fn retain(&self) {
        if let Some(jobs) = &self.jobs {
            let _ = jobs.try_send(Job::Retain);
        }
    }

    /// Answers when everything that was handed over is done.
    pub(super) fn when_settled(&self) -> Receiver<()> {
        let (answer, answered) = sync_channel(1);
        self.hand_over(Job::Answer(answer));
        answered
    }

    /// Waits until everything that was handed over is done.
    #[cfg(test)]
    pub(super) fn settle(&self) {
        self.when_settled().recv().unwrap();
    }

    fn hand_over(&self, job: Job) {
        if self.jobs.as_ref().is_none_or(|jobs| jobs.send(job).is_err()) {
            tracing::error!(
                "the store's housekeeping has ended: partitions stay unsealed until the next start"
            );
        }
    }
}

impl Drop for Housekeeping {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(shared: &Shared, jobs: &Receiver<Job>) {
    for job in jobs {
        let done = match job {
            Job::Seal(partition) => seal(shared, &partition).and_then(|()| shared.retain()),
            Job::Retain => shared.retain(),
            Job::Answer(answer) => {
                let _ = answer.send(()); // whoever asked may have gone
                Ok(())
            }
        };
        if let Err(error) = done {
            tracing::error!(%error, "the store's housekeeping failed; the next start repeats it");
        }
    }
}

/// Seals a frozen partition. Doing it again is harmless.
fn seal(shared: &Shared, partition: &Arc<Partition>) -> io::Result<()> {
    let State::Open(open) = partition.state() else { return Ok(()) };
    let Some(end) = open.end() else { return Ok(()) };
    let sealed = write_files(shared, partition, &open, end)?;
    partition.set_state(State::Sealed(Arc::new(sealed)));
    drop(open);
    match shared.database(partition) {
        Ok(_) => {}
        Err(DatabaseError::Damaged { why }) => shared.quarantine(partition, &why),
        Err(DatabaseError::Io(error)) => return Err(error),
    }
    if let State::Sealed(sealed) = partition.state() {
        sealed.disk_bytes.store(bytes_of(&partition.folder), Ordering::Relaxed);
    }
    Ok(())
}

fn write_files(
    shared: &Shared,
    partition: &Partition,
    open: &Open,
    end: muster_protocol::id::Offset,
) -> io::Result<Sealed> {
    let index = index::encode(&open.tally.read().unwrap_or_else(PoisonError::into_inner));
    let manifest = open.manifest(partition.first, end).map_err(io::Error::other)?;
    replace(&*shared.disk, &partition.index_file(), &index)?;
    replace(&*shared.disk, &partition.manifest_file(), &manifest.encode())?;
    Ok(Sealed::new(&manifest, &partition.folder))
}
