//! The store against a plain list, under random appends, rolls, restarts, kills, checkpoints and drops.

use proptest::prelude::*;

use super::*;
use crate::store::Checkpoint;

#[derive(Clone, Debug)]
enum Action {
    Append(Vec<(u8, i64, usize)>),
    Restart,
    Kill,
    Checkpoint,
    Look { robot: u8, from: i64, width: i64, after: u64 },
}

fn action() -> impl Strategy<Value = Action> {
    let size = prop_oneof![0..200_usize, 1_000..6_000_usize, 20_000..32_000_usize];
    let record = (0..4_u8, -100..100_i64, size);
    prop_oneof![
        8 => proptest::collection::vec(record, 1..12).prop_map(Action::Append),
        1 => Just(Action::Restart),
        1 => Just(Action::Kill),
        2 => Just(Action::Checkpoint),
        3 => (0..5_u8, -120..120_i64, 0..150_i64, 0..400_u64)
            .prop_map(|(robot, from, width, after)| Action::Look { robot, from, width, after }),
    ]
}

fn config() -> StoreConfig {
    StoreConfig { retention_bytes: 5 << 20, ..small() }
}

/// The store, and all records that were ever committed.
struct World {
    root: TempDir,
    opened: Option<Opened>,
    written: Vec<Envelope>,
}

impl World {
    fn opened(&mut self) -> &mut Opened {
        self.opened.as_mut().unwrap()
    }

    /// The reader, once nothing behind it drops partitions any more.
    fn reader(&mut self) -> StoreReader {
        let opened = self.opened();
        opened.store.housekeeping.settle();
        opened.reader.clone()
    }

    fn apply(&mut self, action: Action) {
        match action {
            Action::Append(batch) => {
                let batch: Vec<_> = batch.into_iter().map(|(of, t, size)| record(of, t, size)).collect();
                let offsets = append(&mut self.opened().store, &batch).unwrap();
                assert_eq!(offsets.first().unwrap().0, self.written.len() as u64 + 1);
                self.written.extend(batch);
            }
            Action::Restart => {
                self.opened = None;
                self.opened = Some(Store::open(self.root.path(), config(), LOG).unwrap());
            }
            Action::Kill => {
                let copied = folder();
                self.opened().store.housekeeping.settle();
                copy(self.root.path(), copied.path());
                self.opened = None;
                self.root = copied;
                self.opened = Some(Store::open(self.root.path(), config(), LOG).unwrap());
            }
            Action::Checkpoint => {
                let at = Offset(self.written.len() as u64);
                let checkpoint = Checkpoint { at, sections: vec![("state".to_owned(), vec![1; 9].into())] };
                self.opened().checkpoints.write(&checkpoint).unwrap();
                assert_eq!(self.opened().checkpoints.latest(), Some(checkpoint));
            }
            Action::Look { robot, from, width, after } => self.look(robot, from..from + width, after),
        }
    }

    fn look(&mut self, of: u8, times: Range<i64>, after: u64) {
        let reader = self.reader();
        let after = Offset(after.max(reader.first().0 - 1));
        let (from, until) = (WallTime(times.start), WallTime(times.end));
        let found: Vec<_> =
            reader.robot_records(&robot(of), from, Some(until), Some(after)).map(Result::unwrap).collect();
        let of = robot(of);
        let wanted = |(offset, record): &(Offset, Envelope)| {
            record.robot == of && times.contains(&record.received_at.0) && *offset > after
        };
        let expected: Vec<_> = self.numbered().filter(wanted).collect();
        assert_eq!(found, expected);
    }

    fn numbered(&self) -> impl Iterator<Item = (Offset, Envelope)> {
        (1..).map(Offset).zip(self.written.iter().cloned())
    }

    fn check(&mut self) {
        let reader = self.reader();
        let first = reader.first();
        let expected: Vec<_> = self.numbered().filter(|(offset, _)| *offset >= first).collect();
        assert_eq!(scan(&reader, first), expected);
        assert_eq!(reader.next().0, self.written.len() as u64 + 1);
        let status = reader.status();
        assert_eq!((status.blobs, status.damaged.len()), (0, 0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn the_store_is_a_list_that_only_loses_its_start(actions in proptest::collection::vec(action(), 1..40)) {
        let root = folder();
        let opened = Some(Store::open(root.path(), config(), LOG).unwrap());
        let mut world = World { root, opened, written: Vec::new() };
        for action in actions {
            world.apply(action);
        }
        world.check();
        world.apply(Action::Restart);
        world.check();
    }
}
