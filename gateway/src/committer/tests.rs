use std::{
    fs::File,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
};

use muster_protocol::{
    id::{LogId, Offset},
    time::WallTime,
};
use tempfile::TempDir;

use super::*;
use crate::{
    record::{DownReason, SessionEvent},
    store::{Disk, Opened, Step, StoreConfig, StoreReader},
};

/// What happened, in the order in which it happened.
type Events = Arc<Mutex<Vec<&'static str>>>;

/// A disk that says what is done to it, can fail, and can be held still in the middle of a sync.
#[derive(Debug, Default)]
struct WatchedDisk {
    events: Events,
    failing: AtomicBool,
    held: Mutex<()>,
}

impl Disk for WatchedDisk {
    fn sync_file(&self, file: &File, path: &Path) -> io::Result<()> {
        if !path.ends_with("db") {
            return file.sync_data();
        }
        let _held = self.held.lock().unwrap();
        self.events.lock().unwrap().push("sync");
        if self.failing.load(Ordering::Relaxed) { Err(io::Error::other("no")) } else { file.sync_data() }
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    fn observe(&self, step: Step) {
        self.events.lock().unwrap().push(match step {
            Step::Inserted => "insert",
            Step::Flushed => "flush",
        });
    }
}

struct World {
    _root: TempDir,
    disk: Arc<WatchedDisk>,
    committer: Committer,
    reader: StoreReader,
    fatal: mpsc::Receiver<StoreError>,
    groups: Arc<Mutex<Vec<usize>>>,
    answers: (mpsc::SyncSender<Answer>, mpsc::Receiver<Answer>),
}

type Answer = (i64, Result<Offset, CommitError>);

fn world(queue_bytes: usize, quota_bytes: u64) -> World {
    let root = tempfile::tempdir().unwrap();
    let disk = Arc::new(WatchedDisk::default());
    let config = StoreConfig { quota_bytes, ballast_bytes: 1024, ..StoreConfig::default() };
    let shared: Arc<WatchedDisk> = Arc::clone(&disk);
    let Opened { store, reader, .. } = Store::open_on(shared, root.path(), config, LogId([1; 16])).unwrap();
    disk.events.lock().unwrap().clear();
    let groups = Arc::new(Mutex::new(Vec::new()));
    let (seen, events) = (Arc::clone(&groups), Arc::clone(&disk.events));
    let on_commit: OnCommit = Box::new(move |group: &CommittedGroup<'_>| {
        seen.lock().unwrap().push(group.records.len());
        events.lock().unwrap().push("fold");
    });
    let (report, fatal) = mpsc::sync_channel(1);
    let on_fatal: OnFatal = Box::new(move |error| report.send(error).unwrap());
    let config = CommitterConfig { group_bytes: 1 << 20, queue_bytes };
    let committer = Committer::spawn(store, Clock::new(), config, on_commit, on_fatal).unwrap();
    World { _root: root, disk, committer, reader, fatal, groups, answers: mpsc::sync_channel(1024) }
}

impl World {
    fn entry(&self, t: i64) -> Entry {
        let body = Body::Session(SessionEvent::Down { why: DownReason::Closed });
        let envelope =
            Envelope { received_at: WallTime(t), robot: "yard/r1".parse().unwrap(), session: 1, body };
        let (answer, events) = (self.answers.0.clone(), Arc::clone(&self.disk.events));
        let done: Done = Box::new(move |result| {
            events.lock().unwrap().push(if result.is_ok() { "answer" } else { "refusal" });
            answer.send((t, result.map(Committed::offset))).unwrap();
        });
        Entry { envelope, schema: None, decoded: None, done }
    }

    fn submit(&self, t: i64) -> Result<(), RejectReason> {
        self.committer.handle().submit(self.entry(t)).map_err(|rejected| rejected.why)
    }

    /// Submits a record and returns once the committer has taken it out of its queue.
    fn submit_in_hand(&self, t: i64) {
        self.submit(t).unwrap();
        while self.committer.handle().queued_bytes() > 0 {
            std::thread::yield_now();
        }
    }

    fn answer(&self) -> Answer {
        self.answers.1.recv().unwrap()
    }
}

#[test]
fn an_answer_comes_after_insert_flush_sync_and_fold() {
    let world = world(1 << 20, 1 << 30);
    world.submit(7).unwrap();
    assert_eq!(world.answer(), (7, Ok(Offset(1))));
    assert_eq!(*world.disk.events.lock().unwrap(), ["insert", "flush", "sync", "fold", "answer"]);
}

#[test]
fn what_comes_during_a_sync_shares_the_next_one_and_is_answered_in_order() {
    let world = world(1 << 20, 1 << 30);
    let held = world.disk.held.lock().unwrap();
    for t in 0..100 {
        world.submit(t).unwrap();
    }
    drop(held);
    for t in 0..100 {
        assert_eq!(world.answer(), (t, Ok(Offset(u64::try_from(t).unwrap() + 1))));
    }
    assert!(world.groups.lock().unwrap().len() <= 3, "{:?}", world.groups);
    assert_eq!(world.reader.next(), Offset(101));
}

#[test]
fn a_full_queue_gives_records_back() {
    let world = world(2000, 1 << 30);
    let held = world.disk.held.lock().unwrap();
    world.submit_in_hand(0);
    let taken = (1..100).take_while(|&t| world.submit(t).is_ok()).count();
    assert!((2..=10).contains(&taken), "{taken}");
    assert_eq!(world.submit(0), Err(RejectReason::QueueFull));
    assert!(world.committer.handle().queued_bytes() <= world.committer.handle().queue_bytes_max());
    drop(held);
    (0..=taken).for_each(|_| assert!(world.answer().1.is_ok()));
    world.submit(0).unwrap();
}

/// Guards: plain JSON of several records, tried again and again, stored its first records with each try.
#[test]
fn records_that_belong_together_are_all_taken_or_none() {
    let world = world(2000, 1 << 30);
    let held = world.disk.held.lock().unwrap();
    world.submit_in_hand(0);
    world.submit(1).unwrap();
    world.submit(2).unwrap();
    let pair = vec![world.entry(8), world.entry(9)];
    assert_eq!(world.committer.handle().submit_all(pair), Err(RejectReason::QueueFull));
    world.submit(3).unwrap();
    drop(held);
    assert_eq!([(); 4].map(|()| world.answer().0), [0, 1, 2, 3]);
    world.committer.handle().submit_all(vec![world.entry(4), world.entry(5)]).unwrap();
    assert_eq!([(); 2].map(|()| world.answer().0), [4, 5]);
}

#[test]
fn a_failed_sync_answers_nobody_with_ok_and_ends_the_committer() {
    let world = world(1 << 20, 1 << 30);
    let held = world.disk.held.lock().unwrap();
    for t in 0..10 {
        world.submit(t).unwrap();
    }
    world.disk.failing.store(true, Ordering::Relaxed);
    drop(held);
    for t in 0..10 {
        assert_eq!(world.answer(), (t, Err(CommitError::Failed)));
    }
    assert!(matches!(world.fatal.recv().unwrap(), StoreError::Failed { .. }));
    assert_eq!(world.submit(11), Err(RejectReason::Closed));
    assert!(!world.disk.events.lock().unwrap().contains(&"answer"));
}

#[test]
fn without_room_records_are_refused_and_taken_again_once_there_is_some() {
    let world = world(1 << 20, 0);
    world.submit(1).unwrap();
    assert_eq!(world.answer(), (1, Err(CommitError::DiskFull)));
    assert_eq!(world.submit(2), Err(RejectReason::DiskFull));
    assert!(!world.disk.events.lock().unwrap().contains(&"insert"));
    assert!(world.fatal.try_recv().is_err());
}

#[test]
fn room_is_looked_for_before_the_next_record_comes() {
    let queue = Queue::new(1 << 20, Clock::new());
    queue.set_refusing(true);
    assert!(matches!(queue.wait(1), Work::LookForRoom), "nobody has asked");
    assert!(matches!(queue.wait(1), Work::LookForRoom), "and again");
    queue.close();
    assert!(matches!(queue.wait(1), Work::Ended));
}

#[test]
fn shutting_down_commits_and_answers_what_waits() {
    let world = world(1 << 20, 1 << 30);
    for t in 0..50 {
        world.submit(t).unwrap();
    }
    let handle = world.committer.handle();
    let late = world.entry(99);
    world.committer.shutdown();
    assert_eq!(handle.submit(late).unwrap_err().why, RejectReason::Closed);
    for t in 0..50 {
        assert_eq!(world.answers.1.recv().unwrap(), (t, Ok(Offset(u64::try_from(t).unwrap() + 1))));
    }
    assert_eq!(world.reader.next(), Offset(51));
}

#[test]
fn a_seal_ends_the_partition_unless_it_is_empty() {
    let world = world(1 << 20, 1 << 30);
    world.submit(7).unwrap();
    world.answer().1.unwrap();
    let sealed = world.committer.handle().seal().unwrap();
    assert_eq!(sealed.end, Offset(2));
    sealed.settled.recv().unwrap();
    assert_eq!(world.reader.status().partitions, 2);
    let again = world.committer.handle().seal().unwrap();
    assert_eq!((again.end, world.reader.status().partitions), (Offset(2), 2));
}
