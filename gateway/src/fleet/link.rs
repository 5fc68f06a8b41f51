//! Whether a robot can be heard, and what says so.
//!
//! The log knows sessions: each began at a time, over a transport, and most ended for a reason. Whether the last one is
//! alive now is known only to whoever holds it: [`LiveLinks`]. A link is up if its session is held and was heard within
//! [`SILENCE_NS_MAX`]; everything else is down, and says since when and why.

use serde::{Deserialize, Serialize};

use muster_protocol::{
    id::RobotId,
    message::{Clock, HeldLane},
    time::WallTime,
};

use super::freshness::{LinkState, SILENCE_NS_MAX};
use crate::record::{DownReason, Transport};

/// Knows the sessions that are open now. Its methods are called while requests wait: they never block for long.
pub trait LiveLinks: Send + Sync {
    /// Returns what is known of a robot's open session.
    fn live(&self, robot: &RobotId) -> Option<LiveLink>;

    /// Returns how many sessions are open.
    fn count(&self) -> usize;
}

/// An open session, as heard last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveLink {
    /// When anything was heard, in the gateway's time.
    pub last_heard: WallTime,
    /// When the robot said last what its spool holds, in the gateway's time.
    pub told_at: WallTime,
    /// What its spool holds, as it said then.
    pub held: Vec<HeldLane>,
    /// Its clocks, as it said then.
    pub clock: Option<Clock>,
    /// How it is connected.
    pub transport: Transport,
    /// From where.
    pub address: String,
}

/// What says whether a robot can be heard.
#[derive(Clone, Copy, Debug)]
pub enum Heard<'a> {
    /// Whoever holds the sessions: the robot's open one, if one is open.
    Now(Option<&'a LiveLink>),
    /// The log alone, of a moment in the past: a session whose end is not on record was open.
    OnRecord,
}

impl<'a> Heard<'a> {
    /// Returns the robot's open session, if somebody holds it.
    pub fn live(self) -> Option<&'a LiveLink> {
        match self {
            Self::Now(live) => live,
            Self::OnRecord => None,
        }
    }
}

impl<'a> From<Option<&'a LiveLink>> for Heard<'a> {
    fn from(live: Option<&'a LiveLink>) -> Self {
        Self::Now(live)
    }
}

impl LiveLink {
    /// Returns whether there is a spool: a client of plain JSON has none, and promises nothing.
    pub fn has_spool(&self) -> bool {
        self.transport != Transport::MqttJson
    }

    /// Returns how far the robot's wall clock is ahead of the gateway's, if it ever said.
    pub fn skew_ns(&self) -> Option<i64> {
        self.clock.map(|clock| clock.wall.nanos_since(self.told_at))
    }
}

/// What the log says of a robot's sessions: the start of the last one, and the last end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sessions {
    up: Option<SessionUp>,
    down: Option<SessionDown>,
}

/// A session began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SessionUp {
    pub(super) session: u64,
    pub(super) at: WallTime,
    pub(super) transport: Transport,
    pub(super) address: String,
    /// The agent's version; empty without an agent.
    pub(super) version: String,
}

/// A session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SessionDown {
    pub(super) session: u64,
    pub(super) at: WallTime,
    pub(super) why: DownReason,
}

/// A robot's link at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkReading {
    /// Up or down.
    pub state: LinkState,
    /// Since when; `None` if no session is on record.
    pub since: Option<WallTime>,
    /// How the robot is or was connected.
    pub transport: Option<Transport>,
    /// From where.
    pub address: Option<String>,
    /// What says so, for a person.
    pub evidence: String,
    /// When anything was heard last.
    pub last_heard: Option<WallTime>,
}

impl Sessions {
    /// Takes the start of a session. The one with the greatest number is the last.
    pub(super) fn began(&mut self, up: SessionUp) {
        if self.up.as_ref().is_none_or(|last| up.session > last.session) {
            self.up = Some(up);
        }
    }

    /// Takes the end of a session. That of an older session than the last says nothing of now.
    pub(super) fn ended(&mut self, down: SessionDown) {
        let key = |down: &SessionDown| (down.session, down.at, down.why.as_str());
        if self.down.as_ref().is_none_or(|last| key(&down) > key(last)) {
            self.down = Some(down);
        }
    }

    /// Returns the number of the last session, if its end is not on record.
    pub(super) fn open(&self) -> Option<u64> {
        let up = self.up.as_ref()?.session;
        self.down.is_none_or(|down| down.session < up).then_some(up)
    }

    /// Returns the agent's version, as its last session said. `None` without an agent.
    pub(super) fn version(&self) -> Option<&str> {
        self.up.as_ref().map(|up| up.version.as_str()).filter(|version| !version.is_empty())
    }

    /// Reads the link: `last_record` is when the robot's last record was received.
    pub(super) fn read(&self, now: WallTime, heard: Heard<'_>, last_record: Option<WallTime>) -> LinkReading {
        let (up, live) = (self.up.as_ref(), heard.live());
        let on_record = matches!(heard, Heard::OnRecord);
        let ended = self.down.as_ref().filter(|down| up.is_none_or(|up| down.session >= up.session));
        let silent_at = |live: &LiveLink| live.last_heard.shifted(SILENCE_NS_MAX);
        let (state, since, evidence) = match (live, ended) {
            (Some(live), _) if now <= silent_at(live) => {
                (LinkState::Up, up.map(|up| up.at), "a session is open".to_owned())
            }
            (Some(live), _) => {
                let silence_s = now.nanos_since(live.last_heard) / 1_000_000_000;
                (
                    LinkState::Down,
                    Some(silent_at(live)),
                    format!("a session is open, but silent for {silence_s} s"),
                )
            }
            (None, Some(down)) => {
                (LinkState::Down, Some(down.at), format!("the session ended: {}", why_down(down.why)))
            }
            (None, None) if on_record && up.is_some() => {
                (LinkState::Up, up.map(|up| up.at), "a session was open, as the log says".to_owned())
            }
            (None, None) if up.is_some() => {
                let evidence = "the session was open when the gateway stopped, and did not come back";
                (LinkState::Down, last_record, evidence.to_owned())
            }
            (None, None) => (LinkState::Down, None, "no session is on record".to_owned()),
        };
        LinkReading {
            state,
            since,
            transport: live.map(|live| live.transport).or(up.map(|up| up.transport)),
            address: live.map(|live| live.address.clone()).or(up.map(|up| up.address.clone())),
            evidence,
            last_heard: live.map(|live| live.last_heard).max(last_record),
        }
    }
}

fn why_down(why: DownReason) -> &'static str {
    match why {
        DownReason::Closed => "the robot closed it",
        DownReason::Lost => "the connection broke",
        DownReason::Silent => "nothing was heard any more",
        DownReason::Superseded => "a newer process of the robot took over",
        DownReason::ProtocolError => "the robot broke the protocol",
        DownReason::GatewayShutdown => "the gateway shut down",
        DownReason::GatewayLost => "the gateway stopped without a farewell",
    }
}

#[cfg(test)]
mod tests {
    use super::{LinkState::*, *};

    const S: i64 = 1_000_000_000;

    fn up(session: u64, at: i64) -> SessionUp {
        let (address, version) = ("10.0.0.5:4312".to_owned(), "0.1.0".to_owned());
        SessionUp { session, at: WallTime(at * S), transport: Transport::Quic, address, version }
    }

    fn down(session: u64, at: i64) -> SessionDown {
        SessionDown { session, at: WallTime(at * S), why: DownReason::Lost }
    }

    fn heard(at: i64) -> LiveLink {
        LiveLink {
            last_heard: WallTime(at * S),
            told_at: WallTime(at * S),
            held: Vec::new(),
            clock: None,
            transport: Transport::Mqtt,
            address: "10.0.0.9:1".to_owned(),
        }
    }

    #[test]
    fn link_states_as_a_table() {
        let table = [
            // (up, down, heard) -> (state, since)
            (None, None, None, (Down, None)),
            (Some(up(1, 10)), None, Some(heard(99)), (Up, Some(10))),
            (Some(up(1, 10)), None, Some(heard(55)), (Up, Some(10))),
            (Some(up(1, 10)), None, Some(heard(54)), (Down, Some(99))),
            (Some(up(1, 10)), Some(down(1, 20)), None, (Down, Some(20))),
            // The end of a session that was taken over comes after the start of the next.
            (Some(up(2, 10)), Some(down(1, 11)), Some(heard(99)), (Up, Some(10))),
            // The gateway was killed: nobody wrote the end. The robot's last record is the last that is known.
            (Some(up(2, 10)), Some(down(1, 5)), None, (Down, Some(42))),
            // A session that ends while its robot is already back counts as up.
            (Some(up(1, 10)), Some(down(1, 20)), Some(heard(99)), (Up, Some(10))),
        ];
        for (up, down, live, (state, since)) in table {
            let mut sessions = Sessions::default();
            if let Some(down) = down {
                sessions.ended(down);
            }
            if let Some(up) = up {
                sessions.began(up);
            }
            let link = sessions.read(WallTime(100 * S), live.as_ref().into(), Some(WallTime(42 * S)));
            assert_eq!((link.state, link.since), (state, since.map(|at: i64| WallTime(at * S))), "{link:?}");
        }
    }

    #[test]
    fn the_session_that_is_open_says_how_and_from_where() {
        let mut sessions = Sessions::default();
        sessions.began(up(1, 10));
        let link = sessions.read(WallTime(100 * S), Some(&heard(99)).into(), None);
        assert_eq!((link.transport, link.address.as_deref()), (Some(Transport::Mqtt), Some("10.0.0.9:1")));
        let link = sessions.read(WallTime(100 * S), None.into(), None);
        assert_eq!((link.transport, link.address.as_deref()), (Some(Transport::Quic), Some("10.0.0.5:4312")));
    }
}
