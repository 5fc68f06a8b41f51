//! A robot's state read at one moment: what the log says, judged by the clock and by what is heard right now.

use muster_protocol::{id::ChannelName, time::WallTime};

use super::{
    channel::{Aging, Channel, Mark},
    freshness::{Freshness, freshness},
    health::{Health, LOSS_NS_WARN, Signs, health},
    link::{LinkReading, LiveLink},
    robot::RobotState,
};

/// One robot at one moment. Channels are read one by one with [`RobotState::channels`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RobotReading {
    /// Whether it can be heard.
    pub link: LinkReading,
    /// Its channels by freshness.
    pub freshness: Freshnesses,
    /// Its channels by what is wrong with their times.
    pub marks: Marks,
    /// The roll-up.
    pub health: Health,
    /// What is still on the robot; `None` if no session is open, or the robot has no spool.
    pub backlog: Option<Backlog>,
    /// How far its wall clock is ahead of the gateway's.
    pub skew_ns: Option<i64>,
    /// Whether its system says that its clock is synchronised.
    pub synchronised: Option<bool>,
}

/// What a robot's spool holds, as the robot said last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// Samples that are not yet acknowledged.
    pub samples: u64,
    /// When the robot said so, in the gateway's time.
    pub at: WallTime,
}

/// One channel at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelReading {
    /// The value's age; `None` if nobody knows.
    pub age_ns: Option<i64>,
    /// Whether the age says that the value is recent.
    pub freshness: Freshness,
    /// Why the value's own time is not believed, if it is not.
    pub mark: Option<Mark>,
}

/// How many channels are how fresh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freshnesses {
    /// [`Freshness::Fresh`]
    pub fresh: u64,
    /// [`Freshness::Late`]
    pub late: u64,
    /// [`Freshness::Stale`]
    pub stale: u64,
    /// [`Freshness::Never`]
    pub never: u64,
}

/// How many channels have a newest time that is not believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// [`Mark::Before2020`]
    pub before_2020: u64,
    /// [`Mark::Ahead`]
    pub ahead: u64,
}

impl RobotState {
    /// Reads the robot at `now`; `live` is its open session, if one is open.
    pub fn read(&self, now: WallTime, live: Option<&LiveLink>) -> RobotReading {
        let last_record = self.totals.received.map(|(_, last)| last);
        let link = self.sessions.read(now, live, last_record);
        let (mut freshness, mut marks) = (Freshnesses::default(), Marks::default());
        for channel in self.channels.values() {
            let reading = self.read_channel(channel, now, &link);
            freshness.count(reading.freshness);
            marks.count(reading.mark);
        }
        let lost_lately = |at: WallTime| now.nanos_since(at) <= LOSS_NS_WARN;
        let skew_ns = live.and_then(|live| live.clock_skew_ns).or_else(|| self.anchors.skew_ns());
        let health = health(&Signs {
            link: link.state,
            evidence: &link.evidence,
            freshness,
            marks,
            lost_lately: self.totals.last_loss.is_some_and(lost_lately),
            untracked: self.channels.untracked(),
            skew_ns,
        });
        RobotReading {
            link,
            freshness,
            marks,
            health,
            backlog: live.and_then(LiveLink::backlog),
            skew_ns,
            synchronised: self.anchors.synchronised(),
        }
    }

    /// Reads one channel at `now`, with the link as [`RobotState::read`] found it.
    pub fn read_channel(&self, channel: &Channel, now: WallTime, link: &LinkReading) -> ChannelReading {
        let Aging { since, mark } = channel.aging(&self.anchors);
        let age_ns = since.map(|since| now.nanos_since(since));
        ChannelReading { age_ns, freshness: freshness(age_ns, channel.pace(), link.state), mark }
    }

    /// Returns the channels that ever had a value, by name.
    pub fn channels(&self) -> impl Iterator<Item = (&ChannelName, &Channel)> {
        self.channels.iter()
    }

    /// Returns how many channels ever had a value.
    pub fn channel_count(&self) -> usize {
        self.channels.len()
    }

    /// Returns the agent's version, as its last session said.
    pub fn agent_version(&self) -> Option<&str> {
        self.sessions.version()
    }
}

impl Freshnesses {
    /// Counts one channel.
    pub fn count(&mut self, freshness: Freshness) {
        match freshness {
            Freshness::Fresh => self.fresh += 1,
            Freshness::Late => self.late += 1,
            Freshness::Stale => self.stale += 1,
            Freshness::Never => self.never += 1,
        }
    }
}

impl std::ops::AddAssign for Freshnesses {
    fn add_assign(&mut self, other: Self) {
        self.fresh += other.fresh;
        self.late += other.late;
        self.stale += other.stale;
        self.never += other.never;
    }
}

impl Marks {
    fn count(&mut self, mark: Option<Mark>) {
        match mark {
            Some(Mark::Before2020) => self.before_2020 += 1,
            Some(Mark::Ahead) => self.ahead += 1,
            None => {}
        }
    }
}
