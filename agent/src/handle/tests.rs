use std::{collections::VecDeque, time::Duration};

use muster_protocol::{
    id::Lane,
    sample::{StampedBy, Value},
    time::WallTime,
};

use super::*;
use crate::intake::{IntakeConfig, Item, Limits, Want};

const DEADLINE: Duration = Duration::from_secs(60);

fn agent(folder: &tempfile::TempDir) -> anyhow::Result<Agent> {
    let mut config = Config::new(&"demo/r1".parse()?);
    config.spool.dir = folder.path().join("spool");
    // Nobody listens there: everything is spooled.
    config.gateway = vec!["quic://127.0.0.1:9".parse()?];
    Agent::start(config)
}

#[test]
fn what_a_program_records_is_accepted_when_flushed_and_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let running = agent(&folder).unwrap();
    let recorder = running.recorder();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let recorder = recorder.clone();
            scope.spawn(move || (0..100).for_each(|n| recorder.record("a", thread * 100 + n).unwrap()));
        }
    });
    assert_eq!(running.flush(DEADLINE), Ok(Counts { accepted: 400, refused: 0 }));
    recorder.record("a", 1).unwrap();
    running.shutdown().unwrap();
    assert_eq!(recorder.record("a", 1), Err(Refused::Closed.into()));
    let again = agent(&folder).unwrap();
    again.shutdown().unwrap();
}

#[test]
fn an_agent_that_cannot_start_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let first = agent(&folder).unwrap();
    let error = format!("{:#}", agent(&folder).unwrap_err());
    assert!(error.contains("in use"), "{error}");
    first.shutdown().unwrap();
}

#[test]
fn a_row_carries_its_time_lane_unit_and_every_type() {
    let (intake, mut outlet) = Intake::new(&IntakeConfig::default());
    let recorder = Recorder::new(&intake, Clock::new());
    let row = recorder.row().at(WallTime(7)).lane(Lane::Urgent).unit("V");
    let row = row
        .field("f", f64::NAN)
        .field("i", 3_u8)
        .field("u", u64::MAX)
        .field("t", "x")
        .field("b", [1_u8].as_slice());
    row.record().unwrap();
    recorder.record("flag", true).unwrap();
    let mut items = VecDeque::new();
    outlet.take(Want::All, Some(Duration::ZERO), &mut items);
    let rows: Vec<_> = items
        .into_iter()
        .map(|item| match item {
            Item::Row(queued) => queued.row,
            Item::Sync(_) => panic!("nothing was flushed"),
        })
        .collect();
    assert_eq!((rows[0].t, rows[0].by, rows[1].by), (WallTime(7), StampedBy::Input, StampedBy::Agent));
    assert_eq!((rows[0].row.lane, rows[0].row.unit.as_deref()), (Some(Lane::Urgent), Some("V")));
    let values: Vec<_> = rows[0].row.fields.iter().map(|(_, value)| value.clone()).collect();
    let text = Value::Text("x".to_owned());
    let big = Value::Float(18_446_744_073_709_551_615.0);
    assert_eq!(values, [Value::Float(f64::NAN), Value::Int(3), big, text, Value::Bytes(vec![1])]);
}

#[test]
fn a_refused_row_is_returned_and_counted() {
    let limits = Limits { rows_max: 8, bytes_max: 1 << 20 };
    let (intake, _outlet) =
        Intake::new(&IntakeConfig { live: limits, wait: limits, declarations: Arc::default() });
    let recorder = Recorder::new(&intake, Clock::new());
    assert_eq!(recorder.record("", 1).unwrap_err().kind(), "bad_name");
    assert_eq!(recorder.row().record().unwrap_err().kind(), "row_empty");
    let full = (0..100).find_map(|_| recorder.record("a", 1).err()).unwrap();
    assert_eq!(full.kind(), "queue_full");
    assert_eq!(recorder.counts().refused, 3);
    let lines: Vec<_> = intake.ledger().refusals().iter().map(|kind| kind.first.line).collect();
    assert_eq!(lines, [1, 2, 10]);
}
