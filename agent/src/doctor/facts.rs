//! What was found out, without any judgement.

use std::time::Duration;

use muster_protocol::time::WallTime;

use super::certificate::Validity;
use crate::{config::GatewayUrl, link::greeting::NoGreeting, status::Report};

/// All of it.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// What is wrong with the configuration, if anything.
    pub(super) problem: Option<String>,
    pub(super) robot: String,
    pub(super) clock: ClockFacts,
    /// The file of trusted certificates; `None` where none is named.
    pub(super) ca: Option<CaFacts>,
    pub(super) gateways: Vec<GatewayFacts>,
    pub(super) spool: SpoolFacts,
    pub(super) inputs: Vec<InputFacts>,
    pub(super) agent: AgentFacts,
}

/// The robot's clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClockFacts {
    pub(super) wall: WallTime,
    pub(super) synchronised: bool,
}

/// The certificates that are trusted.
#[derive(Clone, Debug)]
pub(super) struct CaFacts {
    pub(super) path: String,
    /// How long each holds, or why the file cannot be used.
    pub(super) certificates: Result<Vec<Option<Validity>>, String>,
}

/// One way to the gateway.
#[derive(Clone, Debug)]
pub(super) struct GatewayFacts {
    pub(super) url: GatewayUrl,
    /// What its addresses answered, in order, up to the first that answered well; or what the resolver says.
    pub(super) addresses: Result<Vec<(String, Answer)>, String>,
}

/// What an address answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The handshake succeeded.
    Good {
        /// The round trip, or how long it took.
        took: Duration,
        /// How long its certificate holds; `None` without TLS, or if it cannot be read.
        certificate: Option<Validity>,
    },
    /// No CA is named, so the handshake was not tried; something may listen there.
    NoCa,
    /// The CA cannot be used, so the handshake was not tried.
    BadCa,
    /// There was none.
    Bad(NoGreeting),
}

/// The spool's folder and its disk.
#[derive(Clone, Debug)]
pub(super) struct SpoolFacts {
    pub(super) dir: String,
    pub(super) folder: Folder,
    pub(super) limit_bytes: u64,
    /// What the spool holds on disk now.
    pub(super) used_bytes: u64,
    /// What is free for this user on its disk.
    pub(super) free_bytes: Option<u64>,
    /// How long a write with a sync took, or why it failed.
    pub(super) sync: Result<Duration, String>,
    pub(super) medium: Medium,
}

/// What the folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Folder {
    /// There is none yet; the disk is that of the nearest folder above it.
    Missing,
    /// A spool, or an empty folder, or one that an agent has not used.
    There,
    /// A gateway's data folder.
    OfGateway,
    /// A file is in its place.
    File,
}

/// What a disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Medium {
    /// Memory: a power cut takes it all.
    Memory,
    /// A layer of a container, which goes with the container.
    Layer,
    /// An SD card or eMMC.
    Card,
    /// A spinning disk.
    Spinning,
    /// A disk of another kind, or nobody knows.
    Other,
}

/// An input.
#[derive(Clone, Debug)]
pub(super) struct InputFacts {
    pub(super) input: String,
    pub(super) state: InputState,
}

/// Whether an input can start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum InputState {
    /// It can.
    Ready,
    /// Its socket or port is taken: right if this agent runs, wrong otherwise.
    Taken,
    /// It cannot.
    Unusable(String),
}

/// Whether an agent runs on the spool.
#[derive(Clone, Debug)]
pub(super) enum AgentFacts {
    /// It does, and this is how it is.
    Runs(Box<Report>),
    /// It does not.
    None,
    /// It may, and cannot be asked.
    Mute(String),
}
