//! One robot as a question sees it: each part of its state is read when it is first asked for, at one moment.

use std::sync::OnceLock;

use muster_protocol::{id::RobotId, time::WallTime};

use super::{Fact, Member, Name};
use crate::fleet::{
    Battery, ChannelReading, Freshness, Heard, LinkReading, Pose, Position, RobotReading, RobotState, Seen,
    Version,
};

/// A robot's state at `now`. Whoever makes one holds the robot's lock: it lives briefly.
#[derive(Debug)]
pub struct View<'a> {
    id: &'a RobotId,
    state: &'a RobotState,
    now: WallTime,
    heard: Heard<'a>,
    link: OnceLock<LinkReading>,
    whole: OnceLock<RobotReading>,
    mapped: Mapped<'a>,
}

/// What is mapped, each read when it is first asked for: a line of a list asks for each part of it.
#[derive(Debug, Default)]
struct Mapped<'a> {
    position: OnceLock<Option<Position<'a>>>,
    pose: OnceLock<Option<Pose<'a>>>,
    battery: OnceLock<Option<Battery<'a>>>,
    version: OnceLock<Option<Version<'a>>>,
}

impl<'a> View<'a> {
    /// Looks at a robot; `heard` is what is heard of it, as far as the question asks for that.
    pub fn new(id: &'a RobotId, state: &'a RobotState, now: WallTime, heard: Heard<'a>) -> Self {
        let mapped = Mapped::default();
        Self { id, state, now, heard, link: OnceLock::new(), whole: OnceLock::new(), mapped }
    }

    /// Returns which robot it is.
    pub fn id(&self) -> &'a RobotId {
        self.id
    }

    /// Returns what the log says of the robot.
    pub fn state(&self) -> &'a RobotState {
        self.state
    }

    /// Returns the moment.
    pub fn now(&self) -> WallTime {
        self.now
    }

    /// Returns what a name stands for.
    pub fn fact(&self, name: &Name) -> Fact<'_> {
        match name {
            Name::Member(member) => (member.read)(self),
            Name::Label(key) => self.label(key),
            Name::Channel(channel) => self.value(channel.as_str()),
        }
    }

    /// Returns what a name is sorted by.
    pub(super) fn rank(&self, name: &Name) -> Fact<'_> {
        match name {
            Name::Member(Member { rank: Some(rank), .. }) => rank(self),
            _ => self.fact(name),
        }
    }

    /// Returns a channel's newest value.
    pub(super) fn value(&self, channel: &str) -> Fact<'a> {
        self.state.channel(channel).map_or(Fact::Unknown, |channel| self.state.value(channel).into())
    }

    /// Returns a channel at this moment, if it ever had a value.
    pub fn channel(&self, channel: &str) -> Option<ChannelReading<'a>> {
        let channel = self.state.channel(channel)?;
        Some(self.state.read_channel(channel, self.now, self.link()))
    }

    /// Returns a channel's freshness, or the worst of a group's: `pose` stands for `pose.x`, `pose.y` and so on.
    pub(super) fn freshness(&self, channel: &str) -> Freshness {
        let of_one = self.channel(channel).map(|reading| reading.freshness);
        of_one.or_else(|| self.freshness_of_group(channel)).unwrap_or(Freshness::Never)
    }

    /// Returns where the robot is on earth.
    pub fn position(&self) -> Option<&Position<'a>> {
        self.mapped.position.get_or_init(|| self.state.position(self.now, self.link())).as_ref()
    }

    /// Returns where the robot is on a map.
    pub fn pose(&self) -> Option<&Pose<'a>> {
        self.mapped.pose.get_or_init(|| self.state.pose(self.now, self.link())).as_ref()
    }

    /// Returns how full the robot's battery is.
    pub fn battery(&self) -> Option<&Battery<'a>> {
        self.mapped.battery.get_or_init(|| self.state.battery(self.now, self.link())).as_ref()
    }

    /// Returns the version of the robot's software.
    pub fn version(&self) -> Option<&Version<'a>> {
        self.mapped.version.get_or_init(|| self.state.version(self.now, self.link())).as_ref()
    }

    /// Returns how recent what a name stands for is, and its age, where it comes from a channel.
    pub fn recency(&self, name: &Name) -> Option<(Freshness, Option<i64>)> {
        let of = |seen: &Seen<'_>| (seen.freshness, seen.age_ns);
        match name {
            Name::Channel(channel) => {
                self.channel(channel.as_str()).map(|reading| (reading.freshness, reading.age_ns))
            }
            Name::Label(_) => None,
            Name::Member(member) => match member.name.split('.').next()? {
                "battery" => self.battery().map(|battery| of(&battery.seen)),
                "pose" => self.pose().map(|pose| of(&pose.seen)),
                "position" => self.position().map(|position| of(&position.seen)),
                "version" => self.version().map(|version| of(&version.seen)),
                _ => None,
            },
        }
    }

    /// Returns a label's value.
    pub(super) fn label(&self, key: &str) -> Fact<'a> {
        self.state.labels().get(key).map_or(Fact::Unknown, |(value, _)| value.as_str().into())
    }

    /// Returns the labels by key.
    pub(super) fn labels(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.state.labels().merged().into_iter().map(|(key, (value, _))| (key.as_str(), value.as_str()))
    }

    /// Returns the age of the newest value of all.
    pub fn newest_age_ns(&self) -> Option<i64> {
        match self.whole.get() {
            Some(whole) => whole.newest_age_ns,
            None => self.state.newest_age_ns(self.now, self.link()),
        }
    }

    fn freshness_of_group(&self, group: &str) -> Option<Freshness> {
        let members = self.state.channels_of_group(group);
        members.map(|channel| self.state.read_channel(channel, self.now, self.link()).freshness).max()
    }

    /// Returns whether the robot can be heard.
    pub(super) fn link(&self) -> &LinkReading {
        match self.whole.get() {
            Some(whole) => &whole.link,
            None => self.link.get_or_init(|| self.state.read_link(self.now, self.heard)),
        }
    }

    /// Returns the robot's whole state, which takes a look at each channel.
    pub fn whole(&self) -> &RobotReading {
        self.whole.get_or_init(|| self.state.read(self.now, self.heard))
    }
}
