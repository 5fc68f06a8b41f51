//! The two spans of a recorded match without a word from its robot. The source goes on at full pace, with 256 V where it
//! has no voltage, so only a robot whose configuration says so shows them as what they are.
//!
//! The log is replayed in virtual time as it would arrive live, shifted to now. What is served is compared with the rule
//! of OPERATIONS.md, "Freshness", worked out here from the file alone.

mod replay;

use std::sync::LazyLock;

use muster_gateway::{
    fleet::{
        AsOf, BatterySource, Bounds, Fleet, Freshness, Heard, Known, Level, Mapping, RobotState, Threshold,
    },
    query::View,
};
use muster_protocol::{id::RobotId, time::WallTime};
use muster_tests::{aloud::say_aloud, logs};
use serde_json::Value;

use replay::{MS, Received, Replayed, S, START, replay};

const VOLTS: &str = "health.battery_v";
const NO_VOLTS: f64 = 255.996_093_75;
const NO_TRIP: f64 = 127.5;
const SENTINELS: &str = "[[channel]]\nmatch = \"health.battery_v\"\nabsent = [255.99609375]\n\
     [[channel]]\nmatch = \"link.trip_ms\"\nabsent = [127.5]\n";

/// From the moment at which a row is recorded to that at which it is served, at most: linger, row pace and way.
const ARRIVES_NS_MAX: i64 = 250 * MS + 20 * MS + replay::WAY;

/// How often is looked.
const LOOK_EVERY: i64 = 100 * MS;

/// What the file itself says, shifted to [`START`].
struct Recorded {
    lines: Vec<String>,
    /// When each channel of interest had a value, and when the log ends.
    volts: Vec<i64>,
    trips: Vec<i64>,
    currents: Vec<i64>,
    end: i64,
    samples: u64,
    absent: (u64, u64),
}

/// The file, read once; `None` where it is not.
static RECORDED: LazyLock<Option<Recorded>> = LazyLock::new(recorded);

/// The log as an agent sends it whose configuration says what is none.
static WITH_SENTINELS: LazyLock<Option<Replayed>> =
    LazyLock::new(|| Some(replay(&RECORDED.as_ref()?.lines, SENTINELS)));

fn recorded() -> Option<Recorded> {
    let is_match = |path: &std::path::PathBuf| path.to_string_lossy().contains("ground_frc_match");
    let Some(path) = logs::recorded().into_iter().find(is_match) else {
        say_aloud("SKIPPED: there is no log ground_frc_match, whose silent spans are looked at");
        return None;
    };
    let lines: Vec<String> = std::io::BufRead::lines(logs::open(&path)).map(Result::unwrap).collect();
    let (volts, trips, currents) = (vec![], vec![], vec![]);
    let mut log = Recorded { lines: vec![], volts, trips, currents, end: 0, samples: 0, absent: (0, 0) };
    let mut shift = None;
    for line in &lines {
        let row: Value = line.parse().unwrap();
        let recorded = row["t"].as_i64().unwrap();
        let t = recorded + *shift.get_or_insert(START - recorded);
        log.end = t;
        log.samples += row["v"].as_object().unwrap().values().filter(|value| !value.is_null()).count() as u64;
        match row["ch"].as_str().unwrap() {
            "health" if row["v"]["battery_v"] == NO_VOLTS => log.absent.0 += 1,
            "health" => log.volts.push(t),
            "link" if row["v"]["trip_ms"] == NO_TRIP => log.absent.1 += 1,
            "link" => log.trips.push(t),
            "power" => log.currents.push(t),
            _ => {}
        }
    }
    log.lines = lines;
    Some(log)
}

/// The rule, worked out for a channel that had values at `times` only.
fn rule(times: &[i64], declared: Option<i64>, now: i64) -> Freshness {
    let until_now = &times[..times.partition_point(|t| *t <= now)];
    let Some(last) = until_now.last() else { return Freshness::Never };
    let recent = &until_now[until_now.len().saturating_sub(33)..];
    let mut gaps: Vec<i64> = recent.windows(2).map(|pair| pair[1] - pair[0]).collect();
    gaps.sort_unstable();
    let every = declared.or_else(|| gaps.get(gaps.len() / 2).copied()).unwrap_or(0);
    match now - last {
        age if age <= (2 * every).max(2 * S) => Freshness::Fresh,
        age if age <= (5 * every).max(5 * S) => Freshness::Late,
        _ => Freshness::Stale,
    }
}

/// A nominal 16 V are a full battery here, and less than 13 V are worth a warning.
fn mapping() -> Mapping {
    let charge = "health.battery_v*0.0625".parse().unwrap();
    let bounds = Bounds { below: Some(13.0), above: None };
    let (name, source) = ("weak battery".to_owned(), VOLTS.parse().unwrap());
    Mapping {
        batteries: vec![BatterySource { charge, charging: None }],
        thresholds: vec![Threshold { name, source, bounds, level: Level::Warn }],
        ..Mapping::default()
    }
}

/// What is served of the robot at one moment.
#[derive(Clone, Debug, PartialEq)]
struct Served {
    volts: Freshness,
    trip: Freshness,
    current: Freshness,
    battery: Option<Freshness>,
    level: Level,
    reasons: Vec<String>,
}

impl Served {
    fn read(robot: &RobotId, state: &RobotState, now: i64, heard: Heard<'_>) -> Self {
        let now = WallTime(now);
        let view = View::new(robot, state, now, heard);
        let of = |channel| view.channel(channel).map_or(Freshness::Never, |reading| reading.freshness);
        let whole = view.whole();
        let battery = state.battery(now, &whole.link).map(|battery| battery.seen.freshness);
        let (level, reasons) = (whole.health.level, whole.health.reasons.clone());
        let (volts, trip, current) = (of(VOLTS), of("link.trip_ms"), of("power.i0"));
        Self { volts, trip, current, battery, level, reasons }
    }

    /// The reason that the threshold gives, if it gives one.
    fn weak(&self) -> Option<&str> {
        self.reasons.iter().map(String::as_str).find(|reason| reason.starts_with("weak battery: "))
    }
}

/// The fleet as it is served live, moment by moment.
struct Live<'a> {
    fleet: Fleet,
    coming: std::slice::Iter<'a, Received>,
    robot: RobotId,
}

impl<'a> Live<'a> {
    fn new(replayed: &'a Replayed) -> Self {
        let mut fleet = Fleet::default();
        fleet.map(mapping());
        Self { fleet, coming: replayed.records.iter(), robot: replayed.robot.clone() }
    }

    fn at(&mut self, now: i64) -> Served {
        while let Some(next) = self.coming.as_slice().first().filter(|next| next.at() <= now) {
            next.apply_to(&self.fleet);
            self.coming.next();
        }
        let state = self.fleet.robot(&self.robot).unwrap();
        let link = replay::live_link(now);
        Served::read(&self.robot, &state.read().unwrap(), now, Heard::Now(Some(&link)))
    }

    fn today(&self) -> RobotState {
        self.fleet.robot(&self.robot).unwrap().read().unwrap().clone()
    }
}

/// Each [`LOOK_EVERY`] until 20 s after the end, and the last moments at which a value of `last` is fresh and late.
fn moments(log: &Recorded, last: i64, (fresh, late): (i64, i64)) -> Vec<i64> {
    let mut moments: Vec<i64> =
        (START..log.end + 20 * S).step_by(usize::try_from(LOOK_EVERY).unwrap()).collect();
    for bound in [fresh, late] {
        moments.extend([last + bound, last + bound + 1]);
    }
    moments.sort_unstable();
    moments
}

/// Walks through the replay. `declared` is the voltage's interval, if the configuration declares one.
fn voltage_turns(declared: Option<i64>, bounds: (i64, i64)) {
    let Some(log) = &*RECORDED else { return };
    let interval =
        declared.map(|ns| format!("[[channel]]\nmatch = \"{VOLTS}\"\ninterval = \"{}ms\"\n", ns / MS));
    let replayed = replay(&log.lines, &format!("{SENTINELS}{}", interval.unwrap_or_default()));
    let last = *log.volts.last().unwrap();
    let mut live = Live::new(&replayed);
    let mut turned: Vec<(Freshness, i64)> = Vec::new();
    for now in moments(log, last, bounds) {
        let served = live.at(now);
        for (what, found, times, declared) in [
            ("volts", served.volts, &log.volts, declared),
            ("trip", served.trip, &log.trips, None),
            ("current", served.current, &log.currents, None),
        ] {
            // A value is served as soon as it has arrived.
            let allowed = [0, ARRIVES_NS_MAX].map(|way| rule(times, declared, now - way));
            let seconds = (now - START) as f64 / 1e9;
            assert!(
                allowed.contains(&found),
                "{what} at {seconds} s: {found:?}, and the rule gives {allowed:?}"
            );
        }
        assert_eq!(served.battery, Some(served.volts).filter(|volts| *volts != Freshness::Never));
        match served.volts {
            Freshness::Never | Freshness::Stale => assert_eq!(served.weak(), None, "nothing is known of now"),
            Freshness::Fresh => {
                assert!(served.weak().is_none_or(|reason| !reason.contains("ago")), "{served:?}");
            }
            Freshness::Late => {
                assert!(served.weak().is_some_and(|reason| reason.contains(" s ago), below")), "{served:?}");
            }
        }
        if turned.last().is_none_or(|(state, _)| *state != served.volts) {
            turned.push((served.volts, now));
        }
    }
    let [
        (Freshness::Never, START),
        (Freshness::Fresh, came),
        (Freshness::Late, late),
        (Freshness::Stale, stale),
    ] = turned[..]
    else {
        panic!("it turned {turned:?}");
    };
    let first = START + 16_160 * MS;
    assert_eq!(
        (log.volts[0], last),
        (first, START + 263_540 * MS),
        "the spans are those that the data's page tells"
    );
    assert!((first..=first + ARRIVES_NS_MAX + LOOK_EVERY).contains(&came), "{} ms", (came - START) / MS);
    assert_eq!((late, stale), (last + bounds.0 + 1, last + bounds.1 + 1));
}

#[test]
fn with_a_learned_pace_the_voltage_is_never_there_then_fresh_late_after_2_s_and_stale_after_5_s() {
    voltage_turns(None, (2 * S, 5 * S));
}

#[test]
fn with_a_declared_pace_it_is_late_after_two_intervals_and_stale_after_five() {
    voltage_turns(Some(1500 * MS), (3 * S, 7500 * MS));
}

#[test]
fn health_is_stale_when_the_log_is_over_and_says_first_that_no_value_is_fresh() {
    let (Some(log), Some(replayed)) = (&*RECORDED, &*WITH_SENTINELS) else { return };
    let mut live = Live::new(replayed);
    let silent = live.at(log.end - 20 * MS);
    assert_eq!((silent.volts, silent.current, silent.level), (Freshness::Stale, Freshness::Fresh, Level::Ok));
    let late = live.at(log.end + 2 * S + 1);
    assert_eq!((late.level, &late.reasons[..]), (Level::Warn, &["no value is fresh".to_owned()][..]));
    let stale = live.at(log.end + 5 * S + 1);
    assert_eq!((stale.level, &stale.reasons[..]), (Level::Stale, &["every value is stale".to_owned()][..]));
}

#[test]
fn as_of_a_moment_in_the_span_the_voltage_is_stale_by_what_was_known_then_and_by_what_is_known_now() {
    let (Some(log), Some(replayed)) = (&*RECORDED, &*WITH_SENTINELS) else { return };
    let mut live = Live::new(replayed);
    live.at(log.end + 20 * S);
    let today = live.today();
    let in_second_span = log.end - 20 * MS;
    for (now, expected) in [
        (START + 10 * S, Freshness::Never),
        (START + 100 * S, Freshness::Fresh),
        (START + 265_540 * MS, Freshness::Fresh),
        (START + 265_540 * MS + 1, Freshness::Late),
        (START + 268_540 * MS, Freshness::Late),
        (START + 268_540 * MS + 1, Freshness::Stale),
        (in_second_span, Freshness::Stale),
    ] {
        assert_eq!(rule(&log.volts, None, now), expected);
        for known in [Known::Then, Known::Now] {
            let as_of = AsOf { at: WallTime(now), known };
            let state = replayed.as_of(as_of, &today);
            let served = Served::read(&replayed.robot, &state, now, Heard::OnRecord);
            assert_eq!(served.volts, expected, "{known:?} at {} ms", (now - START) / MS);
            let battery = Some(expected).filter(|volts| *volts != Freshness::Never);
            assert_eq!(served.battery, battery, "{known:?} at {} ms", (now - START) / MS);
            let current = if expected == Freshness::Never { Freshness::Never } else { Freshness::Fresh };
            assert_eq!(served.current, current, "it goes on in the second span, frozen");
        }
    }
}

#[test]
fn each_sample_that_was_left_out_is_counted_and_every_other_is_stored() {
    let (Some(log), Some(replayed)) = (&*RECORDED, &*WITH_SENTINELS) else { return };
    let left_out = replayed.left_out.as_ref().unwrap();
    let by_channel: Vec<_> =
        left_out.by_channel.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    assert_eq!(by_channel, [(VOLTS, log.absent.0), ("link.trip_ms", log.absent.1)]);
    assert_eq!(log.absent, (1060, 808), "sentinels of the first span and of the second");
    let mut live = Live::new(replayed);
    live.at(log.end + S);
    assert_eq!(live.today().totals().samples, log.samples - left_out.total());
}

/// Why the key is there.
#[test]
fn without_the_key_the_voltage_is_fresh_all_the_time_and_256_v() {
    let Some(log) = &*RECORDED else { return };
    let replayed = replay(&log.lines, "");
    assert_eq!(replayed.left_out, None);
    let mut live = Live::new(&replayed);
    for now in [START + S, START + 100 * S, log.end - 20 * MS] {
        assert_eq!(live.at(now).volts, Freshness::Fresh);
    }
    let today = live.today();
    let channel = today.channel(VOLTS).unwrap();
    assert_eq!(*today.value(channel), muster_protocol::sample::Value::Float(NO_VOLTS));
}
