//! The wall clock is set while samples come: the agent's own stamps in a batch are from one side, and so are its clocks.

use muster_protocol::{batch, schema::Schema};

use super::*;
use crate::spool::StoredKind;

const HOUR: Duration = Duration::from_secs(3600);

/// A robot's two clocks.
struct Time {
    mono: MonoTime,
    offset: i64,
}

impl Time {
    fn wall(&self) -> WallTime {
        WallTime(self.offset + i64::try_from(self.mono.0).unwrap())
    }

    /// Stamps and records a row each 10 ms, for a while.
    fn record(&mut self, bench: &mut Bench, source: &Source, rows: u32, drift_ppm: i64) {
        for _ in 0..rows {
            let row = Row { t: None, ..stamped(None, Value::Int(1)).row };
            source.push(Stamped::at(row, self.wall(), self.mono), Shown { line: 1, text: b"" }).unwrap();
            let step = millis(10);
            self.mono = self.mono + step;
            self.offset += i64::try_from(step.as_nanos()).unwrap() * drift_ppm / 1_000_000;
            let (mono, wall) = (self.mono, self.wall());
            let read = move || ClockReading { boot: 1, mono, wall, synchronised: true };
            bench.advance_with(step, &read);
        }
    }
}

/// Returns the clocks of each batch, and the greatest error that its offset leaves in any of its stamps.
fn offsets(bench: &Bench, truth: impl Fn(WallTime) -> i64) -> Vec<(i64, bool)> {
    let mut offsets = Vec::new();
    for head in bench.spooled() {
        let stored = bench.reader.read(head).unwrap().unwrap();
        let StoredKind::Batch { schema } = stored.kind else { continue };
        let encoded = bench.reader.schema(head, schema).unwrap().unwrap();
        let decoded = batch::decode(&stored.payload, &Schema::decode(&encoded).unwrap()).unwrap();
        let clock = decoded.info.clock;
        let offset = clock.wall.0 - i64::try_from(clock.mono.0).unwrap();
        for sample in decoded.samples() {
            let error = truth(sample.t).abs_diff(offset);
            assert!(error < 100_000_000, "a stamp of {:?} in a batch with offset {offset}", sample.t);
        }
        offsets.push((offset, clock.synchronised));
    }
    offsets
}

#[test]
fn a_batch_never_spans_a_step_of_the_wall_clock() {
    let mut bench = Bench::with_limit(64 * LIMIT_BYTES);
    let source = bench.intake.source("host", Manner::Live);
    // Boots in 1970, learns the time, and is set back an hour later.
    let in_1970 = 0;
    let now = 1_790_000_000_000_000_000;
    let back = now - i64::try_from(HOUR.as_nanos()).unwrap();
    let mut time = Time { mono: MonoTime(5_000_000_000), offset: in_1970 };
    for offset in [in_1970, now, back] {
        time.offset = offset;
        // Not a multiple of the linger, so that each step comes while a batch is open.
        time.record(&mut bench, &source, 123, 0);
    }
    let (mono, wall) = (time.mono + millis(1000), WallTime(time.wall().0 + 1_000_000_000));
    bench.advance_with(millis(1000), &|| ClockReading { boot: 1, mono, wall, synchronised: true });
    let near = |t: WallTime| {
        let mono = i64::try_from(time.mono.0).unwrap();
        let offsets = [in_1970, now, back];
        offsets.into_iter().min_by_key(|offset| t.0.abs_diff(offset + mono)).unwrap()
    };
    let mut seen: Vec<(i64, bool)> = offsets(&bench, near);
    seen.dedup();
    assert_eq!(
        seen.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(),
        [in_1970, in_1970, now, now, back]
    );
    // What was open at a step carries the clock as it was before, which was not right then.
    assert_eq!(
        seen.iter().map(|(_, synchronised)| *synchronised).collect::<Vec<_>>(),
        [true, false, true, false, true]
    );
}

#[test]
fn drift_and_stamps_of_inputs_split_nothing() {
    let mut bench = Bench::with_limit(64 * LIMIT_BYTES);
    let source = bench.intake.source("host", Manner::Live);
    let mut time = Time { mono: MonoTime(5_000_000_000), offset: 1_790_000_000_000_000_000 };
    time.record(&mut bench, &source, 3000, 200);
    let batches = bench.spooled().len();
    assert!(batches <= 62, "{batches} in 30 s of half a second each");

    let mut bench = Bench::new();
    let source = bench.intake.source("unix:x", Manner::Live);
    for number in 0..10 {
        let mut row = stamped(None, Value::Int(1));
        row.t = WallTime(number * 1_000_000_000_000);
        source.push(row, Shown { line: 1, text: b"" }).unwrap();
    }
    bench.advance(millis(1000));
    assert_eq!(bench.spooled().len(), 1);
}
