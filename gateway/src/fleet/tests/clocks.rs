//! Robots whose clocks are wrong: what the agent stamped is repaired, what an input stamped is kept and marked.

use super::*;

/// Records of robot 1 in the order of the log.
#[derive(Default)]
struct Robot {
    log: Vec<Record>,
    session: u64,
}

/// A robot's clock that is not synchronised.
fn unsure(boot: u64, mono: i64, wall: i64) -> Clock {
    Clock { boot, mono: MonoTime(u64::try_from(mono).unwrap()), wall: WallTime(wall), synchronised: false }
}

impl Robot {
    fn push(&mut self, received_at: i64, body: Body, batch: Option<(DecodedBatch, Arc<Schema>)>) {
        let offset = Offset(self.log.len() as u64 + 1);
        self.log.push(Record {
            offset,
            envelope: envelope(robot(1), self.session, received_at, body),
            batch,
        });
    }

    /// Begins a session in which the robot shows these clocks.
    fn connects(&mut self, received_at: i64, clock: Clock) {
        self.session += 1;
        self.push(received_at, up(Some(clock), 1), None);
    }

    /// Says in a heartbeat what its clocks show.
    fn tells(&mut self, received_at: i64, clock: Clock) {
        self.push(received_at, Body::Session(SessionEvent::told(&[], &[], clock)), None);
    }

    /// Sends a value of channel `a`, spooled when its clocks showed `clock`, and stamped then.
    fn sends(&mut self, received_at: i64, clock: Clock, stamped_by: StampedBy, value: i64) {
        let schema = schema(&[("a", None, false)]);
        let mut batch = int_batch(&schema, &[0], &[(clock.wall.0, value)], clock);
        batch.groups[0].stamped_by = vec![stamped_by];
        let head = head(1, self.log.len() as u64 + 1);
        let body = Body::Batch { head, info: batch.info, payload: Bytes::new() };
        self.push(received_at, body, Some((batch, schema)));
    }

    fn reads(&self, now: i64) -> (Value, Read) {
        read_a(&fold(&self.log), now, Some(&heard(now)))
    }
}

#[test]
fn a_robot_that_boots_in_1970_and_gets_its_time_later_is_repaired() {
    let mut robot = Robot::default();
    robot.connects(NOW, unsure(1, 500 * S, 500 * S));
    robot.sends(NOW + S, unsure(1, 501 * S, 501 * S), StampedBy::Agent, 1);
    let (value, read) = robot.reads(NOW + 2 * S);
    assert_eq!((value, read.t, read.raw_t), (Value::Int(1), NOW + S, Some(501 * S)));
    assert_eq!((read.mark, read.age_ns, read.freshness), (None, Some(S), Freshness::Fresh));
    // Its clock is set and synchronised, and turns out to be 3 s ahead of the gateway's: that is what it means.
    let set = Clock { synchronised: true, ..unsure(1, 600 * S, NOW + 103 * S) };
    robot.tells(NOW + 100 * S, set);
    let (_, read) = robot.reads(NOW + 100 * S);
    assert_eq!((read.t, read.raw_t), (NOW + 4 * S, Some(501 * S)));
    robot.sends(NOW + 101 * S, Clock { wall: WallTime(NOW + 104 * S), ..set }, StampedBy::Agent, 2);
    let (value, read) = robot.reads(NOW + 102 * S);
    assert_eq!((value, read.t, read.raw_t), (Value::Int(2), NOW + 104 * S, None));
}

#[test]
fn a_boot_in_1970_that_never_met_the_gateway_is_kept_as_it_came() {
    let mut robot = Robot::default();
    robot.connects(NOW, unsure(2, 50 * S, NOW));
    robot.sends(NOW + S, unsure(1, 400 * S, 400 * S), StampedBy::Agent, 1);
    let (_, read) = robot.reads(NOW + S);
    assert_eq!((read.t, read.raw_t, read.mark), (400 * S, None, Some(Mark::Before2020)));
    assert_eq!(read.freshness, Freshness::Stale, "nobody knows how old it is");
    robot.sends(NOW + 2 * S, unsure(2, 51 * S, NOW + S), StampedBy::Agent, 2);
    let (value, read) = robot.reads(NOW + 2 * S);
    assert_eq!((value, read.t, read.raw_t), (Value::Int(2), NOW + S, None));
}

#[test]
fn the_newest_value_is_the_newest_by_repaired_time_across_boots() {
    let mut robot = Robot::default();
    // Both boots live in 1970. The second one came later, though its own clock says otherwise.
    robot.connects(NOW, unsure(1, 900 * S, 900 * S));
    robot.sends(NOW + S, unsure(1, 901 * S, 901 * S), StampedBy::Agent, 1);
    robot.connects(NOW + 100 * S, unsure(2, 20 * S, 20 * S));
    robot.sends(NOW + 101 * S, unsure(2, 21 * S, 21 * S), StampedBy::Agent, 2);
    // The backlog of the first boot comes last.
    robot.sends(NOW + 102 * S, unsure(1, 899 * S, 899 * S), StampedBy::Agent, 3);
    let (value, read) = robot.reads(NOW + 102 * S);
    assert_eq!((value, read.t, read.age_ns), (Value::Int(2), NOW + 101 * S, Some(S)));
}

#[test]
fn a_clock_that_steps_back_an_hour_does_not_freeze_the_newest_value() {
    let mut robot = Robot::default();
    robot.connects(NOW, unsure(1, 100 * S, NOW));
    robot.sends(NOW + S, unsure(1, 101 * S, NOW + S), StampedBy::Agent, 1);
    robot.tells(NOW + 60 * S, unsure(1, 160 * S, NOW + 60 * S));
    robot.tells(NOW + 120 * S, unsure(1, 220 * S, NOW - 3480 * S));
    robot.sends(NOW + 121 * S, unsure(1, 221 * S, NOW - 3479 * S), StampedBy::Agent, 2);
    let (value, read) = robot.reads(NOW + 122 * S);
    assert_eq!((value, read.t, read.raw_t), (Value::Int(2), NOW + 121 * S, Some(NOW - 3479 * S)));
    assert_eq!(read.freshness, Freshness::Fresh);
}

#[test]
fn days_of_drift_are_taken_back() {
    const DRIFT_PPM: i64 = 200;
    let day = 86_400 * S;
    let at = |since: i64| {
        let shown = since + since / 1_000_000 * DRIFT_PPM;
        unsure(1, shown, NOW + shown)
    };
    let mut robot = Robot::default();
    robot.connects(NOW, at(0));
    robot.connects(NOW + 4 * day, at(4 * day));
    robot.sends(NOW + 4 * day + S, at(3 * day), StampedBy::Agent, 1);
    let (_, read) = robot.reads(NOW + 4 * day + S);
    assert!((read.t - (NOW + 3 * day)).abs() < S / 100, "{} ns off", read.t - (NOW + 3 * day));
    assert_eq!(read.raw_t, Some(NOW + 3 * day + 3 * day / 1_000_000 * DRIFT_PPM));
}

#[test]
fn what_an_input_stamped_is_kept_and_marked() {
    let mut robot = Robot::default();
    robot.connects(NOW, unsure(1, 500 * S, 500 * S));
    robot.sends(NOW + S, unsure(1, 501 * S, 501 * S), StampedBy::Input, 1);
    let (_, read) = robot.reads(NOW + 2 * S);
    assert_eq!((read.t, read.raw_t, read.mark), (501 * S, None, Some(Mark::Before2020)));
    assert_eq!(read.age_ns, Some(S), "it ages by its acceptance");
}

#[test]
fn a_synchronised_clock_is_believed_against_the_gateways() {
    let mut robot = Robot::default();
    let clock = Clock { synchronised: true, ..unsure(1, 100 * S, NOW - 30 * S) };
    robot.connects(NOW, clock);
    robot.sends(NOW + S, clock, StampedBy::Agent, 1);
    let (_, read) = robot.reads(NOW + S);
    assert_eq!((read.t, read.raw_t), (NOW - 30 * S, None));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A query by repaired time looks at every batch that has to be looked at, whatever the clocks did.
    #[test]
    fn the_raw_times_of_a_query_cover_what_it_wants(
        anchors in prop::collection::vec((0u64..3, 0i64..1000, -2000i64..2000, any::<bool>()), 0..8),
        batches in prop::collection::vec((0u64..3, 0i64..1000, -2000i64..2000), 1..12),
        (from, width) in (-4000i64..4000, 0i64..2000),
    ) {
        let mut robot = Robot::default();
        for (boot, mono, off, synchronised) in anchors {
            let clock = unsure(boot, mono * S, NOW + (mono + off) * S);
            robot.connects(NOW + mono * S, Clock { synchronised, ..clock });
        }
        for (boot, mono, off) in &batches {
            robot.sends(NOW, unsure(*boot, mono * S, NOW + (mono + off) * S), StampedBy::Agent, 1);
        }
        let fleet = fold(&robot.log);
        let repair = fleet.robot(&super::robot(1)).unwrap().read().unwrap().repair();
        let (from, to) = (WallTime(NOW + from * S), WallTime(NOW + (from + width) * S));
        let (raw_from, raw_to) = repair.raw(from, Some(to));
        for (boot, mono, off) in batches {
            let clock = unsure(boot, mono * S, NOW + (mono + off) * S);
            let t = clock.wall.shifted(repair.shift(&clock));
            let is_wanted = from <= t && t < to;
            let is_found = raw_from <= clock.wall && clock.wall < raw_to.unwrap();
            prop_assert!(is_found || !is_wanted, "{:?} at {:?}", clock, t);
        }
    }
}
