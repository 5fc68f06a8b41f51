//! The conditions of robots, from readings.

use muster_protocol::{
    id::{Epoch, InstanceId, Lane, Offset},
    loss::{Loss, LossReason},
    message::{Clock, RefuseReason},
};

use super::*;
use crate::{
    conditions::{SinceFrom, lately::Episode},
    fleet::{
        Amount, Backlog as Told, Completeness, Conflict, Fleet, Freshnesses, Health, LinkReading, Marks,
        SKEW_NS_WARN,
    },
    record::{Body, Envelope},
};

const S: i64 = 1_000_000_000;
const NOON: i64 = 1_764_000_000 * S;

const LATELY: Duration = Duration::from_secs(300);

fn memory() -> Memory {
    Memory::new(LATELY)
}

fn at(seconds: u64) -> Moment {
    let wall = WallTime(NOON + i64::try_from(seconds).unwrap() * S);
    Moment { mono: MonoTime::default() + Duration::from_secs(seconds), wall }
}

/// A robot with nothing wrong, long connected.
fn well() -> RobotReading {
    RobotReading {
        link: LinkReading {
            state: LinkState::Up,
            since: Some(WallTime(NOON - 7200 * S)),
            transport: None,
            address: Some("10.0.0.5:1".to_owned()),
            evidence: "a session is open".to_owned(),
            last_heard: Some(WallTime(NOON)),
        },
        newest_age_ns: None,
        freshness: Freshnesses { fresh: 3, ..Freshnesses::default() },
        marks: Marks { repaired: 2, ..Marks::default() },
        health: Health { level: Level::Ok, reasons: Vec::new() },
        said: Vec::new(),
        completeness: Completeness {
            standing: Standing::Whole,
            whole_up_to: Some(WallTime(NOON)),
            on_robot: Some(Told { samples: 20, at: WallTime(NOON) }),
            before: Amount { samples: 7, batches: 1 },
            unknown_up_to: 0,
        },
        conflict: None,
        lost_lately: false,
        skew_ns: Some(-SKEW_NS_WARN),
        clock: None,
    }
}

fn find(memory: &mut Memory, reading: &RobotReading, now: Moment) -> Vec<Found> {
    let (id, state) = ("f/r".parse().unwrap(), RobotState::default());
    let mut found = Vec::new();
    let robot = Robot { id: &id, state: &state, reading, refused: Refused::default() };
    memory.find(&robot, now, &mut found);
    found
}

/// Changes one thing and returns the one condition that follows from it.
fn only(change: impl FnOnce(&mut RobotReading)) -> Found {
    let mut reading = well();
    change(&mut reading);
    let found = find(&mut memory(), &reading, at(0));
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].robot.as_ref().unwrap().as_str(), "f/r");
    found.into_iter().next().unwrap()
}

fn assert_says(found: &Found, code: Code, words: &[&str]) {
    assert_eq!(found.code, code);
    for word in words {
        assert!(found.detail.contains(word), "{word}: {}", found.detail);
    }
}

#[test]
fn a_robot_that_is_well_has_no_condition() {
    assert_eq!(find(&mut memory(), &well(), at(0)), []);
}

#[test]
fn a_robot_that_cannot_be_heard_says_why_and_since_when() {
    let found = only(|reading| {
        reading.link.state = LinkState::Down;
        reading.link.evidence = "the session ended: the connection broke".to_owned();
        reading.completeness.on_robot = Some(Told { samples: 3120, at: WallTime(NOON) });
        // Its values are stale then too, which is no second condition.
        reading.health.level = Level::Stale;
    });
    assert_says(&found, Code::LinkDown, &["the connection broke", "it held 3,120 samples"]);
    assert_eq!(found.since, Some((WallTime(NOON - 7200 * S), SinceFrom::Log)));
}

#[test]
fn a_robot_that_is_heard_without_a_recent_value_is_told() {
    let found = only(|reading| {
        reading.health.level = Level::Stale;
        reading.freshness = Freshnesses { stale: 4, ..Freshnesses::default() };
    });
    assert_says(&found, Code::ValuesStale, &["its link is up, and all its 4 values are stale"]);
}

/// Guards: between the end of its silence and the settling of `link_down` a killed robot was told by no condition.
#[test]
fn a_robot_that_was_stale_is_told_as_stale_until_its_link_is() {
    let codes = |state, since_s: i64, heard_s: i64| {
        let mut reading = well();
        reading.link.state = state;
        reading.link.since = Some(WallTime(NOON - since_s * S));
        reading.link.last_heard = Some(WallTime(NOON - heard_s * S));
        reading.newest_age_ns = Some(heard_s * S);
        reading.health.level = Level::Stale;
        reading.freshness = Freshnesses { stale: 4, ..Freshnesses::default() };
        find(&mut memory(), &reading, at(0))
            .into_iter()
            .map(|found| (found.code, found.detail))
            .collect::<Vec<_>>()
    };
    let up = codes(LinkState::Up, 7200, 30);
    assert_eq!(up.len(), 1);
    assert!(up[0].1.contains("its link is up, but it was heard 30 s ago"), "{}", up[0].1);
    // The last of them said goodbye: it was well until then.
    for (down_for, heard, told) in [(1, 46, 2), (13, 58, 2), (14, 59, 1), (7200, 7245, 1), (8, 9, 1)] {
        let codes = codes(LinkState::Down, down_for, heard);
        assert_eq!(codes.len(), told, "{codes:?}");
        assert!(codes.iter().any(|(code, _)| *code == Code::LinkDown), "{codes:?}");
    }
}

fn said(level: Level, by: SaidBy, words: &str) -> Said {
    let t = Some(WallTime(NOON - 2 * S));
    Said { level, by, words: words.to_owned(), t, reason: words.to_owned() }
}

#[test]
fn what_values_say_of_health_has_a_condition_by_who_says_it_and_how_bad_it_is() {
    use Level::{Error, Warn};
    use SaidBy::{Robot, Threshold};
    for (level, by, code) in [
        (Error, Robot, Code::HealthError),
        (Warn, Robot, Code::HealthWarn),
        (Error, Threshold, Code::ThresholdError),
        (Warn, Threshold, Code::ThresholdWarn),
    ] {
        let found = only(|reading| {
            reading.said = vec![said(level, by, "low battery: battery.soc is 0.12, below 0.2")];
            // The roll-up's level is that of all reasons together, each of which has its own code.
            reading.health =
                Health { level, reasons: vec!["low battery".to_owned(), "link down".to_owned()] };
        });
        assert_says(&found, code, &["low battery: battery.soc is 0.12, below 0.2 (2.0 s old)"]);
    }
    let found = only(|reading| {
        reading.said = (0..7).map(|n| said(Warn, Threshold, &format!("rule {n}"))).collect();
    });
    assert_says(
        &found,
        Code::ThresholdWarn,
        &["rule 0 (2.0 s old); rule 1", "rule 3 (2.0 s old); and 3 more"],
    );
    let mut warned = well();
    warned.health = Health { level: Warn, reasons: vec!["no value is fresh".to_owned()] };
    assert_eq!(find(&mut memory(), &warned, at(0)), [], "a reason of the gateway's own has its own code");
}

#[test]
fn a_clock_that_is_off_says_by_how_much() {
    let found = only(|reading| reading.skew_ns = Some(SKEW_NS_WARN + S));
    assert_says(&found, Code::ClockSkew, &["6.0 s ahead of"]);
    let clock = Clock { boot: 1, mono: MonoTime(0), wall: WallTime(0), synchronised: true };
    let found = only(|reading| (reading.skew_ns, reading.clock) = (Some(i64::MIN), Some(clock)));
    assert_says(&found, Code::ClockSkew, &["behind", "although the robot says that it is synchronised"]);
}

#[test]
fn times_that_are_not_believed_are_counted_by_kind() {
    let found = only(|reading| reading.marks = Marks { before_2020: 1, ahead: 2, repaired: 0 });
    let words = ["1 channel with times before 2020, 2 channels with times from the future"];
    assert_says(&found, Code::TimesNotBelieved, &words);
}

#[test]
fn a_conflict_names_both_processes() {
    let (since, address) = (WallTime(NOON - 60 * S), "10.0.0.9:1".to_owned());
    let conflict = Conflict { since, last_at: since, address, instance: InstanceId([1; 16]) };
    let found = only(|reading| reading.conflict = Some(conflict));
    assert_says(&found, Code::IdentityConflict, &["10.0.0.5:1 and 10.0.0.9:1", "10 min"]);
    assert_eq!(found.since, Some((since, SinceFrom::Log)));
}

#[test]
fn losses_of_the_last_hour_are_told_by_reason_since_the_first_of_them() {
    let fleet = Fleet::default();
    let id: RobotId = "f/r".parse().unwrap();
    for (offset, (minute, samples)) in (1..).zip([(-90, 5), (-30, 40), (-1, 2)]) {
        let epoch = Epoch { start: 1, random: 1 };
        let reason = LossReason::SpoolFull;
        let loss = Loss {
            epoch,
            lane: Lane::Live,
            lost: Vec::new(),
            unnumbered: samples,
            t_min: None,
            t_max: None,
            reason,
        };
        let received_at = WallTime(NOON + minute * 60 * S);
        let body = Body::Loss { head: None, loss };
        fleet.apply(Offset(offset), &Envelope { received_at, robot: id.clone(), session: 1, body }, None);
    }
    let state = fleet.robot(&id).unwrap();
    let state = state.read().unwrap();
    let found_at = |now: Moment| {
        let reading = RobotReading { lost_lately: state.read(now.wall, None).lost_lately, ..well() };
        let robot = Robot { id: &id, state: &state, reading: &reading, refused: Refused::default() };
        let mut found = Vec::new();
        memory().find(&robot, now, &mut found);
        found
    };
    let found = found_at(at(0));
    assert_says(&found[0], Code::SamplesLost, &["the last hour: 42 spool full; 47 ever"]);
    assert_eq!(found[0].since, Some((WallTime(NOON - 1800 * S), SinceFrom::Log)));
    assert_eq!(found_at(at(3600)), [], "an hour after the last one");
}

#[test]
fn refusals_of_a_robot_are_told_until_they_have_ended_for_a_while() {
    let (id, state, reading) = ("f/r".parse().unwrap(), RobotState::default(), well());
    let episode = Some(Episode { since: WallTime(5), last: at(0).mono, count: 3 });
    let refused = Refused { episode, last: Some(RefuseReason::EpochClosed) };
    let robot = Robot { id: &id, state: &state, reading: &reading, refused };
    let mut found = Vec::new();
    memory().find(&robot, at(LATELY.as_secs()), &mut found);
    assert_says(&found[0], Code::BatchesRefused, &["3 refusals lately, the last one: epoch closed"]);
    found.clear();
    memory().find(&robot, at(LATELY.as_secs() + 1), &mut found);
    assert_eq!(found, []);
}

#[test]
fn a_spool_that_is_gone_is_told() {
    let found = only(|reading| reading.completeness.unknown_up_to = 1200);
    assert_says(&found, Code::SamplesUnknown, &["up to 1,200 samples"]);
}

#[test]
fn what_is_missing_is_old_only_after_a_robot_had_time_to_catch_up() {
    let behind = |reading: &mut RobotReading| {
        reading.completeness.standing = Standing::Behind;
        reading.completeness.whole_up_to = Some(WallTime(NOON - BACKLOG_NS_OLD - S));
    };
    assert_says(&only(behind), Code::BacklogOld, &["only up to 10 min ago", "20 samples on the robot"]);
    let mut just_back = well();
    behind(&mut just_back);
    just_back.link.since = Some(WallTime(NOON - 60 * S));
    assert_eq!(find(&mut memory(), &just_back, at(0)), []);
}

#[test]
fn a_backlog_grows_when_it_was_larger_at_each_of_some_looks() {
    let mut memory = memory();
    let mut with = |samples: u64, second: u64, state: LinkState| {
        let mut reading = well();
        reading.link.state = state;
        reading.completeness.on_robot = Some(Told { samples, at: WallTime(NOON) });
        let found = find(&mut memory, &reading, at(second));
        found.into_iter().find(|found| found.code == Code::BacklogGrowing)
    };
    let up = LinkState::Up;
    for (second, samples) in
        [(0, 10_000), (60, 11_000), (90, 9_999), (100, 12_000), (160, 13_000), (220, 14_000)]
    {
        assert_eq!(with(samples, second, up), None, "{second}");
    }
    let found = with(15_000, 280, up).unwrap();
    assert_says(&found, Code::BacklogGrowing, &["holds 15,000 samples, and held 12,000 samples 3 min ago"]);
    assert_eq!(found.since, Some((at(100).wall, SinceFrom::Seen)));
    assert!(with(14_999, 300, up).is_some(), "not looked yet");
    assert_eq!(with(14_999, 340, up), None, "it shrank");
    for minute in 10..20 {
        assert_eq!(with(20_000 + minute, minute * 60, LinkState::Down), None, "nobody can tell");
    }
}

#[test]
fn a_robot_with_too_many_channels_is_told_while_it_names_them() {
    let mut memory = memory();
    let id: RobotId = "f/r".parse().unwrap();
    let mut look = |samples, second| {
        memory.first.get_or_insert(at(0).mono);
        memory.channels_not_kept(&id, samples, at(second))
    };
    assert_eq!(look(0, 0), None);
    let found = look(1200, 1).unwrap();
    assert_says(&found, Code::ChannelsNotKept, &["1,200 samples lately, and 1,200 ever"]);
    let found = look(1201, 200).unwrap();
    assert_says(&found, Code::ChannelsNotKept, &["1,201 samples lately"]);
    assert_eq!(found.since, Some((at(1).wall, SinceFrom::Seen)));
    assert!(look(1201, 500).is_some());
    assert_eq!(look(1201, 501), None, "it stopped");
    assert_says(&look(1202, 900).unwrap(), Code::ChannelsNotKept, &["1 sample lately, and 1,202 ever"]);
}

/// Guards: each start of the gateway told of what had ended long before.
#[test]
fn channels_that_were_too_many_before_the_gateway_started_are_not_told_again() {
    let mut memory = memory();
    memory.first = Some(at(0).mono);
    let id: RobotId = "f/r".parse().unwrap();
    assert_eq!(memory.channels_not_kept(&id, 1200, at(0)), None);
    assert_eq!(memory.channels_not_kept(&id, 1200, at(2)), None);
    assert!(memory.channels_not_kept(&id, 1201, at(4)).is_some());
}

#[test]
fn a_link_that_begins_again_and_again_is_told_though_it_is_up() {
    let mut memory = memory();
    let id: RobotId = "f/r".parse().unwrap();
    let mut link = well().link;
    link.transport = Some(Transport::Quic);
    let mut look = |since: u64, second: u64| {
        link.since = Some(at(since).wall);
        memory.link_unstable(&id, &link, at(second).wall)
    };
    for second in [0, 60, 120, 180] {
        assert_eq!(look(second, second + 1), None);
        assert_eq!(look(second, second + 3), None, "the same session");
    }
    let found = look(240, 241).unwrap();
    assert_says(&found, Code::LinkUnstable, &["connected 5 times within 10 min; now: a session is open"]);
    assert_eq!(found.since, Some((at(0).wall, SinceFrom::Log)));
    assert!(look(240, 600).is_some());
    assert_eq!(look(240, 601), None, "four times within ten minutes");
    assert_eq!(look(240, 841), None);
    link.transport = Some(Transport::MqttJson);
    for second in 900..1000 {
        link.since = Some(at(second).wall);
        assert_eq!(memory.link_unstable(&id, &link, at(second).wall), None, "it has no agent");
    }
    assert!(memory.sessions.is_empty(), "{:?}", memory.sessions);
}
