//! The spool against a model, on a disk that loses its power at any operation.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use muster_protocol::{
    id::{ChannelName, Epoch, Lane, Seq},
    limits::DRAINED_LANES_MAX,
    loss::{Loss, LossReason},
    message::{NumberedHead, SeqRange},
    schema::{ChannelDef, Schema},
    session::ranges::RangeSet,
    time::WallTime,
};
use proptest::prelude::*;

use super::{
    AppendError, Entry, Holding, LIMIT_BYTES_MIN, OpenError, Recovered, Spool, SpoolConfig, StoredKind,
    fake_disk::{FakeDisk, Faults},
};

#[derive(Clone, Debug)]
enum Step {
    Append { lane: Lane, count: usize, bytes: usize, schema: usize },
    Sync,
    SyncLane(Lane),
    Release { lane: Lane, part: (u64, u64) },
    ReportLost { lane: Lane, pick: prop::sample::Index },
    DropReleased,
    FailIn(u64),
    PowerCut(u64),
    PowerCutWhileOpening { seed: u64, changes: u64 },
    Kill,
    Close,
}

type Key = (Lane, Epoch, Seq);

/// What is known of one record that was appended.
#[derive(Clone)]
struct Known {
    payload: Bytes,
    samples: u32,
    standing: Standing,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Standing {
    Appended,
    Accepted,
    Released,
    /// Told to be lost, or in danger of it when the disk failed.
    Lost,
}

struct World {
    disk: FakeDisk,
    spool: Spool,
    known: BTreeMap<Key, Known>,
    schemas: Vec<Arc<Schema>>,
    counter: u64,
    starts: u64,
    epoch: Epoch,
}

impl World {
    fn new() -> Self {
        let disk = FakeDisk::new();
        let (spool, recovered) = open(&disk, 1);
        assert!(recovered.spans.is_empty());
        let name = |index: usize| ChannelName::new(&format!("channel.{index}")).unwrap();
        let schema = |index| Arc::new(Schema::new(vec![ChannelDef::named(name(index))]).unwrap());
        Self {
            epoch: spool.epoch(),
            disk,
            spool,
            known: BTreeMap::new(),
            schemas: (0..3).map(schema).collect(),
            counter: 0,
            starts: 1,
        }
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Append { lane, count, bytes, schema } => {
                (0..*count).for_each(|_| self.append(*lane, *bytes, *schema));
            }
            Step::Sync => self.sync_all(),
            Step::SyncLane(lane) => self.sync(*lane),
            Step::Release { lane, part } => self.release(*lane, *part),
            Step::ReportLost { lane, pick } => self.report_lost(*lane, *pick),
            Step::DropReleased => drop(self.spool.drop_released()),
            Step::FailIn(changes) => {
                self.disk.set_faults(Faults { changes_left: Some(*changes), ..Faults::default() });
            }
            Step::PowerCut(seed) => {
                self.disk.power_cut(*seed);
                self.reopen();
            }
            Step::PowerCutWhileOpening { seed, changes } => {
                self.disk.power_cut(*seed);
                self.disk.set_faults(Faults { changes_left: Some(*changes), ..Faults::default() });
                self.starts += 1;
                // It opens before the power goes, or it does not.
                let _ = try_open(&self.disk, self.starts);
                self.disk.power_cut(!*seed);
                self.reopen();
            }
            Step::Kill => {
                self.disk.set_faults(Faults::default());
                self.disk.kill();
                self.reopen();
            }
            Step::Close => self.close(),
        }
    }

    /// What the spool says of itself is what can be read, and what was ever there.
    fn check_holding(&self) {
        if self.spool.is_failed() {
            return;
        }
        let Holding { held, drained } = Holding::of([&self.spool]);
        let spooled = |epoch: Epoch, lane: Lane, next: Seq| -> u64 {
            let below = self.known.range((lane, epoch, Seq::FIRST)..(lane, epoch, next));
            below.map(|(_, known)| u64::from(known.samples)).sum()
        };
        for lane in &held {
            let gone: RangeSet = lane.gone.iter().copied().collect();
            let mut samples = 0;
            for seq in (1..lane.next.0).map(Seq) {
                let head = NumberedHead { epoch: lane.epoch, lane: lane.lane, seq };
                let stored = self.spool.reader().read(head).unwrap();
                let told = seq >= lane.first && !gone.contains(seq);
                assert_eq!(stored.is_some(), told, "{head:?} of {lane:?}");
                samples += stored.map_or(0, |stored| u64::from(stored.samples));
            }
            let all = spooled(lane.epoch, lane.lane, lane.next);
            assert_eq!((lane.samples, lane.spooled), (samples, all), "{lane:?}");
        }
        for lane in &drained {
            assert_eq!(lane.spooled, spooled(lane.epoch, lane.lane, lane.next), "{lane:?}");
            let more =
                self.known.range((lane.lane, lane.epoch, lane.next)..=(lane.lane, lane.epoch, Seq(u64::MAX)));
            assert!(more.into_iter().all(|(_, known)| known.standing == Standing::Appended), "{lane:?}");
        }
        let oldest = drained.first().filter(|_| drained.len() == DRAINED_LANES_MAX).map(|lane| lane.epoch);
        for ((lane, epoch, _), _) in
            self.known.iter().filter(|(_, known)| known.standing != Standing::Appended)
        {
            let told = held.iter().map(|held| (held.epoch, held.lane));
            let mut told = told.chain(drained.iter().map(|drained| (drained.epoch, drained.lane)));
            assert!(
                Some(*epoch) <= oldest || told.any(|told| told == (*epoch, *lane)),
                "{lane} of {epoch} is untold"
            );
        }
    }

    fn append(&mut self, lane: Lane, bytes: usize, schema: usize) {
        self.counter += 1;
        let payload: Bytes =
            self.counter.to_le_bytes().iter().copied().cycle().take(bytes).collect::<Vec<u8>>().into();
        let samples = u32::try_from(self.counter % 100).unwrap();
        let at = WallTime(i64::try_from(self.counter).unwrap());
        let schema = Arc::clone(&self.schemas[schema]);
        let entry = Entry::Batch { bytes: payload.clone(), samples, t_min: at, t_max: at, schema };
        let appended = match self.spool.append(lane, &entry) {
            Err(AppendError::Full { needed_bytes, .. }) => {
                self.make_room(lane, needed_bytes);
                self.spool.append(lane, &entry)
            }
            appended => appended,
        };
        match appended {
            Ok(seq) => {
                let known = Known { payload, samples, standing: Standing::Appended };
                assert!(
                    self.known.insert((lane, self.spool.epoch(), seq), known).is_none(),
                    "a seq was reused"
                );
            }
            Err(AppendError::Fault(_)) => self.crash(),
            Err(error) => panic!("{error}"),
        }
    }

    fn make_room(&mut self, lane: Lane, bytes: u64) {
        self.sync_all();
        match self.spool.make_room(lane, bytes) {
            Ok(evicted) => evicted.iter().for_each(|gone| self.lose(gone.lane(), gone.epoch(), gone.range())),
            Err(_) => self.endanger(),
        }
    }

    /// The disk failed while evicting: any accepted record may have been evicted, if a loss record says so.
    fn endanger(&mut self) {
        assert!(self.spool.is_failed());
        self.known
            .values_mut()
            .filter(|known| known.standing == Standing::Accepted)
            .for_each(|known| known.standing = Standing::Lost);
    }

    fn lose(&mut self, lane: Lane, epoch: Epoch, range: SeqRange) {
        let lost = self.known.range_mut((lane, epoch, range.first)..(lane, epoch, range.end));
        for (_, known) in lost.filter(|(_, known)| known.standing != Standing::Released) {
            assert_ne!(known.standing, Standing::Appended, "evicted before it was accepted");
            known.standing = Standing::Lost;
        }
    }

    fn sync_all(&mut self) {
        for lane in Lane::ALL {
            self.sync(lane);
        }
    }

    fn sync(&mut self, lane: Lane) {
        let Ok(spooled) = self.spool.sync_lane(lane) else { return };
        let volatile = self.disk.volatile();
        assert!(
            !volatile.iter().any(|path| path.starts_with(lane.as_str())),
            "tokens before the sync: {volatile:?}"
        );
        for token in spooled {
            let head = token.head();
            let key = (head.lane, head.epoch, head.seq);
            let stored = self.spool.reader().read(head).unwrap();
            if let Some(known) = self.known.get_mut(&key) {
                let stored = stored.expect("accepted, so readable");
                assert_eq!((&stored.payload, token.samples()), (&known.payload, known.samples));
                known.standing = Standing::Accepted;
            } else if let Some(stored) = stored {
                assert_eq!(stored.kind, StoredKind::Loss);
            }
        }
    }

    fn release(&mut self, lane: Lane, part: (u64, u64)) {
        let epochs: Vec<Epoch> = self.spool.held().iter().map(|held| held.epoch).collect();
        let epoch = epochs[usize::try_from(part.0).unwrap() % epochs.len()];
        let range = SeqRange { first: Seq(part.0), end: Seq(part.0 + part.1) };
        let accepted = (lane, epoch, range.first)..(lane, epoch, range.end);
        // Only what was accepted can be acknowledged.
        let mut ranges = Vec::new();
        for (key, known) in self.known.range_mut(accepted) {
            if known.standing == Standing::Accepted {
                known.standing = Standing::Released;
                ranges.push(SeqRange { first: key.2, end: key.2.next() });
            }
        }
        let _ = self.spool.release_ranges(lane, epoch, &ranges);
    }

    fn report_lost(&mut self, lane: Lane, pick: prop::sample::Index) {
        let accepted: Vec<Key> = self
            .known
            .iter()
            .filter(|(key, known)| key.0 == lane && known.standing == Standing::Accepted)
            .map(|(key, _)| *key)
            .collect();
        if accepted.is_empty() {
            return;
        }
        let key = accepted[pick.index(accepted.len())];
        let head = NumberedHead { lane, epoch: key.1, seq: key.2 };
        match self.spool.report_lost(head, LossReason::Refused) {
            Ok(Some(gone)) => assert_eq!(gone.samples(), u64::from(self.known[&key].samples)),
            Ok(None) => panic!("accepted, but not held"),
            Err(_) => {}
        }
        self.known.get_mut(&key).unwrap().standing = Standing::Lost;
    }

    fn crash(&mut self) {
        self.disk.power_cut(self.counter);
        self.reopen();
    }

    fn close(&mut self) {
        self.starts += 1;
        let other = FakeDisk::new();
        let spool = std::mem::replace(&mut self.spool, open(&other, self.starts).0);
        match spool.close() {
            Ok(_) => {
                self.disk.set_faults(Faults::default());
                self.disk.kill();
            }
            Err(_) => self.disk.power_cut(self.counter),
        }
        self.reopen();
    }

    /// Opens after the disk lost its power or the program was killed, and compares.
    fn reopen(&mut self) {
        self.starts += 1;
        let before = self.epoch;
        let (spool, recovered) = open(&self.disk, self.starts);
        assert!(spool.epoch().start > before.start, "an epoch was reused");
        assert_eq!(recovered.losses, [], "nothing rotted");
        self.epoch = spool.epoch();
        self.spool = spool;
        let losses = self.check_held(&recovered);
        for (key, known) in &mut self.known {
            let head = NumberedHead { lane: key.0, epoch: key.1, seq: key.2 };
            let stored = self.spool.reader().read(head).unwrap();
            match known.standing {
                Standing::Accepted => assert!(stored.is_some(), "{key:?} was accepted and is gone"),
                Standing::Lost if stored.is_none() => {
                    let told = losses.get(key).copied();
                    assert_eq!(told, Some(known.samples), "{key:?} was evicted without a record");
                }
                _ => {}
            }
            if stored.is_some() {
                known.standing = Standing::Accepted;
            }
        }
        let listed = |known: &&Known| known.standing == Standing::Accepted;
        let samples: u64 = self.known.values().filter(listed).map(|known| u64::from(known.samples)).sum();
        assert_eq!(recovered.samples, samples);
    }

    /// Reads all that the spool shows; each record is one that was appended, or a loss record of such ones.
    fn check_held(&self, recovered: &Recovered) -> BTreeMap<Key, u32> {
        let mut losses = BTreeMap::new();
        for span in &recovered.spans {
            for seq in span.first.0..span.next.0 {
                let head = NumberedHead { lane: span.lane, epoch: span.epoch, seq: Seq(seq) };
                let stored = self.spool.reader().read(head).unwrap().expect("in a span, so readable");
                match stored.kind {
                    StoredKind::Batch { schema } => {
                        let known = &self.known[&(span.lane, span.epoch, Seq(seq))];
                        assert_eq!((&stored.payload, stored.samples), (&known.payload, known.samples));
                        let encoded =
                            self.spool.reader().schema(head, schema).unwrap().expect("kept with its batches");
                        assert!(self.schemas.iter().any(|schema| *schema.encoded() == encoded));
                    }
                    StoredKind::Loss => {
                        let loss: Loss = postcard::from_bytes(&stored.payload).unwrap();
                        losses.extend(
                            loss.lost.iter().map(|lost| ((loss.lane, loss.epoch, lost.seq), lost.samples)),
                        );
                    }
                }
            }
        }
        losses
    }
}

fn open(disk: &FakeDisk, random: u64) -> (Spool, Recovered) {
    try_open(disk, random).unwrap()
}

fn try_open(disk: &FakeDisk, random: u64) -> Result<(Spool, Recovered), OpenError> {
    let robot = "fleet/robot".parse().unwrap();
    let config = SpoolConfig { limit_bytes: LIMIT_BYTES_MIN, segment_bytes: 16 * 1024, robot };
    Spool::open(Arc::new(disk.clone()), config, random)
}

fn lane() -> impl Strategy<Value = Lane> {
    prop::sample::select(Lane::ALL.to_vec())
}

fn step() -> impl Strategy<Value = Step> {
    let append = (lane(), 1usize..30, prop_oneof![8usize..200, 8usize..4000, 20_000usize..32_000], 0usize..3);
    prop_oneof![
        8 => append.prop_map(|(lane, count, bytes, schema)| Step::Append { lane, count, bytes, schema }),
        4 => Just(Step::Sync),
        2 => lane().prop_map(Step::SyncLane),
        4 => (lane(), (1u64..40, 1u64..60)).prop_map(|(lane, part)| Step::Release { lane, part }),
        1 => (lane(), any::<prop::sample::Index>()).prop_map(|(lane, pick)| Step::ReportLost { lane, pick }),
        1 => Just(Step::DropReleased),
        1 => (0u64..60).prop_map(Step::FailIn),
        2 => any::<u64>().prop_map(Step::PowerCut),
        1 => (any::<u64>(), 0u64..30).prop_map(|(seed, changes)| Step::PowerCutWhileOpening { seed, changes }),
        1 => Just(Step::Kill),
        1 => Just(Step::Close),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_was_accepted_is_kept_or_told_as_lost_through_any_power_cut(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        for step in &steps {
            world.run(step);
            world.check_holding();
        }
        world.run(&Step::PowerCut(steps.len() as u64));
        world.check_holding();
    }
}
