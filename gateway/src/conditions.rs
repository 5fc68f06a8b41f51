//! What is wrong right now, and what to do about it: from facts to conditions.
//!
//! A *condition* is something that an operator should know, of the gateway or of one robot: a code, how grave it is, a
//! sentence with figures, since when, and the remedy. It is there while its cause is and clears by itself. RUNBOOK.md
//! has a section for each [`Code`].
//!
//! ```text
//!   facts (store, committer, listeners, certificate) --gateway::find--.
//!                                                                      >-- Found --Tracker--> Condition, since when
//!   readings of robots (fleet, ingest) ----------------robot::find----'
//! ```
//!
//! *Never*: a second rule for what the fleet's state has decided already (link, freshness, health, losses, conflicts); a
//! clock; I/O. Whoever gathers the facts is `watch`.

pub mod code;
pub mod facts;
pub mod gateway;
pub mod lately;
pub mod robot;
pub mod tracker;
mod words;

use muster_protocol::{
    id::RobotId,
    time::{MonoTime, WallTime},
};

pub use code::{Code, Severity};
pub use tracker::{TRACKED_MAX, Tracker};

/// The moment of an evaluation, on both of the gateway's clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// For spans: how long something has held.
    pub mono: MonoTime,
    /// For people.
    pub wall: WallTime,
}

/// A cause that is there at one evaluation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What it is.
    pub code: Code,
    /// The robot that it is about; `None` for the gateway.
    pub robot: Option<RobotId>,
    /// Since when and who says so, if somebody knows better than whoever looks now.
    pub since: Option<(WallTime, SinceFrom)>,
    /// One sentence with figures, without a full stop.
    pub detail: String,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// What it is.
    pub code: Code,
    /// The robot that it is about; `None` for the gateway.
    pub robot: Option<RobotId>,
    /// Since when.
    pub since: WallTime,
    /// Who says since when.
    pub since_from: SinceFrom,
    /// How often it has come within [`tracker::FLAP_WINDOW`], this time included.
    pub times: u32,
    /// One sentence with figures, without a full stop.
    pub detail: String,
}

/// Who says since when a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinceFrom {
    /// A record of the log: it survives a restart of the gateway.
    Log,
    /// This run of the gateway saw it begin, or already there when it started.
    Seen,
}

impl SinceFrom {
    /// Returns the name as in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Seen => "seen",
        }
    }
}

impl Found {
    /// Makes a cause of the gateway's.
    fn of_gateway(code: Code, detail: String) -> Self {
        Self { code, robot: None, since: None, detail }
    }

    /// Makes a cause of a robot's.
    fn of_robot(code: Code, robot: &RobotId, detail: String) -> Self {
        Self { code, robot: Some(robot.clone()), since: None, detail }
    }

    fn seen_since(self, since: Option<WallTime>) -> Self {
        Self { since: since.map(|since| (since, SinceFrom::Seen)), ..self }
    }

    fn logged_since(self, since: Option<WallTime>) -> Self {
        Self { since: since.map(|since| (since, SinceFrom::Log)), ..self }
    }
}
