//! A robot's state read at one moment: what the log says, judged by the clock and by what is heard right now.

use muster_protocol::{
    id::ChannelName,
    message::Clock,
    sample::{StampedBy, Value},
    time::WallTime,
};

use super::{
    channel::{Aging, Channel, Judge, Mark, Newest},
    channels::Place,
    completeness::Completeness,
    conflict::Conflict,
    freshness::{Freshness, LinkState, Pace, freshness},
    health::{Health, LOSS_NS_WARN, Signs, health},
    link::{Heard, LinkReading, LiveLink},
    mapping::Said,
    robot::RobotState,
    survey::{Freshnesses, Marks, Survey},
};

/// One robot at one moment. Channels are read one by one with [`RobotState::channels`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RobotReading {
    /// Whether it can be heard.
    pub link: LinkReading,
    /// Its channels by freshness.
    pub freshness: Freshnesses,
    /// The age of the newest value of all; `None` without one of which anybody knows.
    pub newest_age_ns: Option<i64>,
    /// Its channels by what is wrong with their times.
    pub marks: Marks,
    /// The roll-up.
    pub health: Health,
    /// What its values say of its health, if that is not that it is well.
    pub said: Vec<Said>,
    /// How much of what it accepted is in the log.
    pub completeness: Completeness,
    /// Whether another process speaks for it too.
    pub conflict: Option<Conflict>,
    /// Whether it lost samples within [`LOSS_NS_WARN`].
    pub lost_lately: bool,
    /// How far its wall clock is ahead of the gateway's.
    pub skew_ns: Option<i64>,
    /// Its clocks as it told them last.
    pub clock: Option<Clock>,
}

/// What a robot's spool holds, as the robot said last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// Samples that it held and that have not come since.
    pub samples: u64,
    /// When the robot said so, in the gateway's time.
    pub at: WallTime,
}

/// One channel at one moment.
#[derive(Clone, Copy, Debug)]
pub struct ChannelReading<'a> {
    newest: &'a Newest,
    /// The newest value's time: repaired where the agent stamped it by a clock that was off.
    pub t: WallTime,
    /// What the age counts from.
    pub(super) since: Option<WallTime>,
    /// The value's age; `None` if nobody knows.
    pub age_ns: Option<i64>,
    /// Whether the age says that the value is recent.
    pub freshness: Freshness,
    /// When the next value is due.
    pub pace: Pace,
    /// Why the value's own time is not believed, if it is not.
    pub mark: Option<Mark>,
}

impl RobotState {
    /// Reads the robot at `now`, with what is heard of it.
    pub fn read<'a>(&self, now: WallTime, heard: impl Into<Heard<'a>>) -> RobotReading {
        let heard = heard.into();
        let (link, live) = (self.read_link(now, heard), heard.live());
        let Survey { freshness, marks, newest_age_ns } = self.survey(now, link.state);
        let is_lately = |at: WallTime| now.nanos_since(at) <= LOSS_NS_WARN;
        let lost_lately = self.totals.last_loss.is_some_and(is_lately);
        let skew_ns = live.and_then(LiveLink::skew_ns).or_else(|| self.anchors.skew_ns());
        let conflict = self.conflicts.read(now);
        let said = self.said_of_health(now, &link);
        let health = health(&Signs {
            link: link.state,
            evidence: &link.evidence,
            freshness,
            marks,
            lost_lately,
            untracked: self.channels.untracked(),
            skew_ns,
            conflict: conflict.as_ref(),
            said: &said,
        });
        RobotReading {
            link,
            freshness,
            newest_age_ns,
            marks,
            health,
            said,
            completeness: self.completeness(live),
            conflict,
            lost_lately,
            skew_ns,
            clock: self.anchors.latest(),
        }
    }

    /// Reads the robot's link alone.
    pub fn read_link<'a>(&self, now: WallTime, heard: impl Into<Heard<'a>>) -> LinkReading {
        let last_record = self.totals.received.map(|(_, last)| last);
        self.sessions.read(now, heard.into(), last_record)
    }

    /// Reads how much of what the robot accepted is in the log; `live` is its open session, if one is open.
    pub fn completeness(&self, live: Option<&LiveLink>) -> Completeness {
        self.holdings.read(&self.anchors, live)
    }

    /// Reads the age of the newest value of all; `None` without one of which anybody knows.
    pub fn newest_age_ns(&self, now: WallTime, link: &LinkReading) -> Option<i64> {
        self.survey(now, link.state).newest_age_ns
    }

    /// Reads one channel at `now`, with the link as [`RobotState::read`] found it.
    pub fn read_channel<'a>(
        &'a self,
        channel: &'a Channel,
        now: WallTime,
        link: &LinkReading,
    ) -> ChannelReading<'a> {
        ChannelReading::of(channel, &Judge::new(&self.anchors), now, link.state)
    }

    /// Returns the channels that ever had a value, by name.
    pub fn channels(&self) -> impl Iterator<Item = (&ChannelName, &Channel)> {
        self.channels.iter()
    }

    /// Returns a channel that ever had a value.
    pub fn channel(&self, name: &str) -> Option<&Channel> {
        self.channels.find(name)
    }

    /// Returns the same, and remembers in `last` where it found it: a walk asks robot after robot of the same kind.
    pub fn channel_by(&self, name: &str, last: &mut Option<Place>) -> Option<&Channel> {
        self.channels.find_by(name, last)
    }

    /// Returns the channels of an object or an array: of `pose` they are `pose.x`, `pose.y` and so on.
    pub fn channels_of_group(&self, name: &str) -> impl Iterator<Item = &Channel> {
        self.channels.group(name)
    }

    /// Returns a channel's newest value, of whatever age.
    pub fn value<'a>(&'a self, channel: &'a Channel) -> &'a Value {
        channel.newest(&Judge::new(&self.anchors)).value()
    }

    /// Returns how many channels ever had a value.
    pub fn channel_count(&self) -> usize {
        self.channels.len()
    }

    /// Returns how many samples belong to channels beyond those that are kept: they are in the log alone.
    pub fn untracked(&self) -> u64 {
        self.channels.untracked()
    }

    /// Returns the agent's version, as its last session said.
    pub fn agent_version(&self) -> Option<&str> {
        self.sessions.version()
    }
}

impl<'a> ChannelReading<'a> {
    pub(super) fn of(channel: &'a Channel, judge: &Judge<'a>, now: WallTime, link: LinkState) -> Self {
        let newest = channel.newest(judge);
        let t = newest.t(judge);
        let Aging { since, mark } = newest.aging(t, judge);
        let age_ns = since.map(|since| now.nanos_since(since));
        let pace = channel.pace(newest);
        Self { newest, t, since, age_ns, freshness: freshness(age_ns, pace, link), pace, mark }
    }

    /// Returns the newest value.
    pub fn value(&self) -> &'a Value {
        self.newest.value()
    }

    /// Returns the newest value's time as it came, if it was repaired.
    pub fn raw_t(&self) -> Option<WallTime> {
        Some(self.newest.raw_t()).filter(|raw| *raw != self.t)
    }

    /// Returns who gave the newest value its time.
    pub fn stamped_by(&self) -> StampedBy {
        self.newest.stamped_by()
    }

    /// Returns when the gateway received the newest value.
    pub fn received_at(&self) -> WallTime {
        self.newest.received_at()
    }

    /// Returns the unit that was declared with the newest value.
    pub fn unit(&self) -> Option<&'a str> {
        self.newest.unit()
    }
}
