//! What is wrong with one robot: its reading, which has judged link, freshness and health already, in conditions.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use muster_protocol::{
    id::RobotId,
    time::{MonoTime, WallTime},
};

use super::{
    Code, Found, Moment,
    facts::Refused,
    lately::Episodes,
    words::{count, nanos, tally, thousands},
};
use crate::fleet::{
    CONFLICT_NS_OVER, Freshnesses, LATE_NS_MIN, LOSS_NS_WARN, Level, LinkReading, LinkState, Losses,
    RobotReading, RobotState, Said, SaidBy, Standing, is_skewed,
};
use crate::record::Transport;

/// What is missing of a connected robot may be so old: longer than a reconnect and a minute's backlog take.
pub const BACKLOG_NS_OLD: i64 = 600_000_000_000;

/// A smaller backlog is what a healthy robot has on its way.
pub const BACKLOG_SAMPLES_MIN: u64 = 10_000;

/// A backlog is looked at so often, and grows if it was larger each of [`BACKLOG_LOOKS`] times.
pub const BACKLOG_LOOK_EVERY: Duration = Duration::from_secs(60);

/// Times in a row.
pub const BACKLOG_LOOKS: u32 = 3;

/// A robot that connects so often within [`SESSIONS_WITHIN`] has a link that comes and goes. A gateway that restarts, or
/// a robot that roams from one network to another, is one time each.
pub const SESSIONS_MANY: usize = 5;

/// How long the start of a session is remembered.
pub const SESSIONS_WITHIN: Duration = Duration::from_secs(600);

/// What is remembered of robots from one evaluation to the next: only of those with a backlog, too many channels or a
/// session that has just begun, so it is bounded by the number of robots.
#[derive(Clone, Debug)]
pub struct Memory {
    /// For how long what happened is told.
    lately: Duration,
    /// The first evaluation: what was counted by then is of an earlier time.
    first: Option<MonoTime>,
    backlogs: BTreeMap<RobotId, Backlog>,
    untracked: BTreeMap<RobotId, Episodes>,
    /// The last starts of sessions within [`SESSIONS_WITHIN`], ascending, at most [`SESSIONS_KEPT`].
    sessions: BTreeMap<RobotId, VecDeque<WallTime>>,
}

#[derive(Clone, Copy, Debug)]
struct Backlog {
    looked: MonoTime,
    samples: u64,
    /// Looks in a row at which it was larger than before.
    grew: u32,
    /// What it was before it grew, and when.
    from: (u64, WallTime),
}

/// How long a link has to be down until `link_down` is told of a robot whose values were stale before: until that has
/// settled, and two looks more.
const TAKE_OVER_NS: i64 = 14_000_000_000;

/// No value is stale that is younger.
const STALE_NS_MIN: i64 = LATE_NS_MIN.cast_signed();

/// An agent with nothing to send is heard every 15 s: one that was silent for longer may be gone.
const HEARD_NS_WARN: i64 = 20_000_000_000;

/// One robot at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Robot<'a> {
    /// Its id.
    pub id: &'a RobotId,
    /// The log's state of it.
    pub state: &'a RobotState,
    /// The same, read at this moment.
    pub reading: &'a RobotReading,
    /// What ingest refused of it.
    pub refused: Refused,
}

impl Memory {
    /// Remembers nothing. What happened is told for `lately`.
    pub fn new(lately: Duration) -> Self {
        Self {
            lately,
            first: None,
            backlogs: BTreeMap::new(),
            untracked: BTreeMap::new(),
            sessions: BTreeMap::new(),
        }
    }

    /// Begins an evaluation, of a fleet that may have no robots yet.
    pub fn begin(&mut self, now: Moment) {
        self.first.get_or_insert(now.mono);
    }

    /// Finds what is wrong with a robot.
    pub fn find(&mut self, robot: &Robot<'_>, now: Moment, found: &mut Vec<Found>) {
        let reading = robot.reading;
        let known = [
            identity_conflict(robot),
            said(robot, (SaidBy::Robot, Level::Error), Code::HealthError, now),
            said(robot, (SaidBy::Threshold, Level::Error), Code::ThresholdError, now),
            link_down(robot),
            values_stale(robot, now.wall),
            said(robot, (SaidBy::Robot, Level::Warn), Code::HealthWarn, now),
            said(robot, (SaidBy::Threshold, Level::Warn), Code::ThresholdWarn, now),
            clock_skew(robot),
            times_not_believed(robot),
            samples_lost(robot, now.wall),
            batches_refused(robot, now, self.lately),
            backlog_old(robot, now.wall),
            samples_unknown(robot),
        ];
        found.extend(known.into_iter().flatten());
        let backlog = reading.completeness.on_robot.map_or(0, |told| told.samples);
        // What a robot that is away holds grows unseen: its link is what is wrong.
        let is_up = reading.link.state == LinkState::Up;
        found.extend(self.backlog_growing(robot.id, if is_up { backlog } else { 0 }, now));
        found.extend(self.channels_not_kept(robot.id, robot.state.untracked(), now));
        found.extend(self.link_unstable(robot.id, &reading.link, now.wall));
    }

    fn backlog_growing(&mut self, id: &RobotId, samples: u64, now: Moment) -> Option<Found> {
        if samples < BACKLOG_SAMPLES_MIN {
            self.backlogs.remove(id);
            return None;
        }
        let fresh = || Backlog { looked: now.mono, samples, grew: 0, from: (samples, now.wall) };
        let backlog = self.backlogs.entry(id.clone()).or_insert_with(fresh);
        if now.mono.since(backlog.looked) >= BACKLOG_LOOK_EVERY {
            if samples > backlog.samples {
                backlog.grew += 1;
            } else {
                *backlog = fresh();
            }
            (backlog.looked, backlog.samples) = (now.mono, samples);
        }
        let (before, since) = backlog.from;
        let detail = || {
            let (held, ago) = (count(before, "sample"), nanos(now.wall.nanos_since(since)));
            format!("it holds {}, and held {held} {ago} ago", count(samples, "sample"))
        };
        let grows = backlog.grew >= BACKLOG_LOOKS;
        grows.then(|| Found::of_robot(Code::BacklogGrowing, id, detail()).seen_since(Some(since)))
    }

    fn channels_not_kept(&mut self, id: &RobotId, samples: u64, now: Moment) -> Option<Found> {
        if samples == 0 {
            return None; // and it was never more: it only grows
        }
        let is_first = self.first == Some(now.mono);
        let begin = || if is_first { Episodes::default() } else { Episodes::from_zero() };
        let episodes = self.untracked.entry(id.clone()).or_insert_with(begin);
        let episode = episodes.look(samples, now, self.lately)?;
        let detail = format!(
            "{} lately, and {} ever, belong to channels that are not in its state",
            count(episode.count, "sample"),
            thousands(samples)
        );
        Some(Found::of_robot(Code::ChannelsNotKept, id, detail).seen_since(Some(episode.since)))
    }

    fn link_unstable(&mut self, id: &RobotId, link: &LinkReading, now: WallTime) -> Option<Found> {
        // Who publishes plain JSON may connect for each message.
        let agents = link.transport.is_some_and(|transport| transport != Transport::MqttJson);
        let began = link.since.filter(|_| agents && link.state == LinkState::Up);
        let is_recent = |at: &WallTime| now.nanos_since(*at) <= duration_ns(SESSIONS_WITHIN);
        if let Some(began) = began.filter(is_recent) {
            let starts = self.sessions.entry(id.clone()).or_default();
            if starts.back().is_none_or(|last| *last < began) {
                starts.push_back(began);
            }
        } else if self.sessions.is_empty() {
            return None; // as most of the time: nobody has just connected
        }
        let starts = self.sessions.get_mut(id)?;
        while starts.len() > SESSIONS_KEPT || starts.front().is_some_and(|at| !is_recent(at)) {
            starts.pop_front();
        }
        let (times, since) = (starts.len(), starts.front().copied());
        if times == 0 {
            self.sessions.remove(id);
        }
        let at_least = if times == SESSIONS_KEPT { "at least " } else { "" };
        let detail = || {
            let within = nanos(duration_ns(SESSIONS_WITHIN));
            format!("it connected {at_least}{times} times within {within}; now: {}", link.evidence)
        };
        let many = times >= SESSIONS_MANY;
        many.then(|| Found::of_robot(Code::LinkUnstable, id, detail()).logged_since(since))
    }
}

fn identity_conflict(robot: &Robot<'_>) -> Option<Found> {
    let conflict = robot.reading.conflict.as_ref()?;
    let here = robot.reading.link.address.as_deref().unwrap_or("an unknown address");
    let detail = format!(
        "processes at {here} and {} push each other out; it is over when one stays away for {}",
        conflict.address,
        nanos(CONFLICT_NS_OVER)
    );
    Some(Found::of_robot(Code::IdentityConflict, robot.id, detail).logged_since(Some(conflict.since)))
}

/// Tells what the robot, or a threshold, says of its values at this level.
fn said(robot: &Robot<'_>, (by, level): (SaidBy, Level), code: Code, now: Moment) -> Option<Found> {
    let mut said = robot.reading.said.iter().filter(|said| (said.by, said.level) == (by, level)).peekable();
    said.peek()?;
    let told = |said: &Said| match said.t {
        Some(t) => format!("{} ({} old)", said.words, nanos(now.wall.nanos_since(t).max(0))),
        None => said.words.clone(),
    };
    let mut shown: Vec<String> = said.by_ref().take(SAID_SHOWN).map(told).collect();
    let more = said.count();
    if more > 0 {
        shown.push(format!("and {more} more"));
    }
    Some(Found::of_robot(code, robot.id, shown.join("; ")))
}

fn link_down(robot: &Robot<'_>) -> Option<Found> {
    let link = &robot.reading.link;
    let detail = || {
        let on_robot = robot.reading.completeness.on_robot.map_or(0, |told| told.samples);
        let holds =
            if on_robot > 0 { format!("; it held {}", count(on_robot, "sample")) } else { String::new() };
        format!("{}{holds}", link.evidence)
    };
    let down = link.state == LinkState::Down;
    down.then(|| Found::of_robot(Code::LinkDown, robot.id, detail()).logged_since(link.since))
}

/// Stays until `link_down` has settled and takes over: a robot that was stale before its silence was noticed is not well
/// in between.
fn values_stale(robot: &Robot<'_>, now: WallTime) -> Option<Found> {
    let reading = robot.reading;
    let down_ns = reading.link.since.map_or(i64::MAX, |since| now.nanos_since(since));
    let is_up = reading.link.state == LinkState::Up;
    let was_stale = reading.newest_age_ns.is_some_and(|age| age.saturating_sub(down_ns) > STALE_NS_MIN);
    let wrong = (is_up || was_stale && down_ns < TAKE_OVER_NS) && reading.health.level == Level::Stale;
    let Freshnesses { fresh, late, stale, .. } = reading.freshness;
    let detail = || {
        if fresh + late > 0 {
            return reading.health.reasons.join("; "); // the robot says so itself
        }
        let heard_ns = reading.link.last_heard.map_or(0, |heard| now.nanos_since(heard));
        let link = match (is_up, heard_ns > HEARD_NS_WARN) {
            (false, _) => "its link has just gone down".to_owned(),
            (true, false) => "its link is up".to_owned(),
            (true, true) => {
                format!("its link is up, but it was heard {} s ago", heard_ns / 1_000_000_000)
            }
        };
        format!("{link}, and all its {} are stale", count(stale, "value"))
    };
    wrong.then(|| Found::of_robot(Code::ValuesStale, robot.id, detail()))
}

fn clock_skew(robot: &Robot<'_>) -> Option<Found> {
    let skew_ns = robot.reading.skew_ns.filter(|skew_ns| is_skewed(*skew_ns))?;
    let side = if skew_ns > 0 { "ahead of" } else { "behind" };
    let told = match robot.reading.clock {
        Some(clock) if clock.synchronised => ", although the robot says that it is synchronised",
        _ => "",
    };
    let detail = format!("its clock is {} {side} the gateway's{told}", nanos(skew_ns));
    Some(Found::of_robot(Code::ClockSkew, robot.id, detail))
}

fn times_not_believed(robot: &Robot<'_>) -> Option<Found> {
    let marks = &robot.reading.marks;
    let kinds = [("with times before 2020", marks.before_2020), ("with times from the future", marks.ahead)];
    let shown: Vec<String> = kinds
        .into_iter()
        .filter(|(_, channels)| *channels > 0)
        .map(|(kind, channels)| format!("{} {kind}", count(channels, "channel")))
        .collect();
    (!shown.is_empty()).then(|| Found::of_robot(Code::TimesNotBelieved, robot.id, shown.join(", ")))
}

fn samples_lost(robot: &Robot<'_>, now: WallTime) -> Option<Found> {
    if !robot.reading.lost_lately {
        return None;
    }
    let (since, by_reason, is_all) = lost_lately(robot.state.losses(), now);
    let at_least = if is_all { "" } else { "at least " };
    let detail = format!(
        "samples lost within the last hour: {at_least}{}; {} ever",
        tally(by_reason.iter().map(|(reason, samples)| (*reason, *samples))),
        thousands(robot.state.totals().lost_samples()),
    );
    Some(Found::of_robot(Code::SamplesLost, robot.id, detail).logged_since(since))
}

/// Returns the first loss of the last hour, what was lost in it by reason, and whether that is all of it: only some
/// records are kept.
fn lost_lately(losses: &Losses, now: WallTime) -> (Option<WallTime>, BTreeMap<&'static str, u64>, bool) {
    let (mut since, mut by_reason, mut is_all) = (None, BTreeMap::new(), false);
    for (_, record) in losses.recent() {
        if now.nanos_since(record.received_at) > LOSS_NS_WARN {
            is_all = true;
            break;
        }
        since = Some(record.received_at);
        let samples: &mut u64 = by_reason.entry(record.reason.as_str()).or_default();
        *samples = samples.saturating_add(record.amount.samples);
    }
    let records: u64 = losses.tallies().map(|(.., tally)| tally.records).sum();
    (since, by_reason, is_all || records <= losses.recent().count() as u64)
}

fn batches_refused(robot: &Robot<'_>, now: Moment, lately: Duration) -> Option<Found> {
    let episode = robot.refused.episode.filter(|episode| episode.lasts(now.mono, lately))?;
    let last = robot.refused.last.map_or("", |reason| reason.as_str()).replace('_', " ");
    let batches = count(episode.count, "refusal");
    let detail = format!("{batches} lately, the last one: {last}");
    Some(Found::of_robot(Code::BatchesRefused, robot.id, detail).seen_since(Some(episode.since)))
}

fn backlog_old(robot: &Robot<'_>, now: WallTime) -> Option<Found> {
    let reading = robot.reading;
    let completeness = &reading.completeness;
    if reading.link.state == LinkState::Down || completeness.standing != Standing::Behind {
        return None;
    }
    let whole_up_to = completeness.whole_up_to?;
    let behind_ns = now.nanos_since(whole_up_to);
    // Right after a reconnect what is missing is as old as the outage: it has a chance to catch up first.
    let up_for = reading.link.since.map_or(0, |since| now.nanos_since(since));
    let detail = || {
        let on_robot = completeness.on_robot.map_or(0, |told| told.samples);
        let behind = nanos(behind_ns);
        format!(
            "it is connected, but whole only up to {behind} ago; {} on the robot",
            count(on_robot, "sample")
        )
    };
    let is_old = behind_ns > BACKLOG_NS_OLD && up_for > BACKLOG_NS_OLD;
    is_old.then(|| Found::of_robot(Code::BacklogOld, robot.id, detail()))
}

fn samples_unknown(robot: &Robot<'_>) -> Option<Found> {
    let unknown = robot.reading.completeness.unknown_up_to;
    let detail = || format!("up to {} were in a spool that is there no more", count(unknown, "sample"));
    (unknown > 0).then(|| Found::of_robot(Code::SamplesUnknown, robot.id, detail()))
}

fn duration_ns(span: Duration) -> i64 {
    i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)
}

/// Starts of sessions that are remembered of one robot: enough to say that it is bad.
const SESSIONS_KEPT: usize = 32;

/// Values that are told of one robot; more do not make the sentence better.
const SAID_SHOWN: usize = 4;
