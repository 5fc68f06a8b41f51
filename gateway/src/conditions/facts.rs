//! What the decisions are made of: the gateway's own figures at one moment. The fleet's are readings of its robots.

use std::time::Duration;

use muster_protocol::{message::RefuseReason, time::WallTime};

use super::lately::Episode;
use crate::{committer::CommitFigures, store::StoreStatus};

/// Everything that decides about the gateway's own conditions.
#[derive(Clone, Debug, Default)]
pub struct GatewayFacts {
    /// The store.
    pub store: StoreStatus,
    /// The committer.
    pub commit: CommitFacts,
    /// Batches refused lately, by reason.
    pub refused: Vec<(RefuseReason, Episode)>,
    /// Samples of plain JSON given up lately, by reason as in metrics.
    pub json_given_up: Vec<(&'static str, Episode)>,
    /// Why the last checkpoint was not saved, if it was not.
    pub checkpoint: Option<Failure>,
    /// The broker of the configuration, if there is one.
    pub broker: Option<BrokerFacts>,
    /// When the first of the gateway's certificates is over, if that can be read.
    pub certificate_end: Option<WallTime>,
    /// The listeners that are on.
    pub listeners: Vec<ListenerFacts>,
    /// The process's files.
    pub descriptors: Descriptors,
    /// How many robots there may be.
    pub robots: RobotsFacts,
}

/// The committer at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct CommitFacts {
    /// What it did lately.
    pub lately: CommitFigures,
    /// For how long it has been at the group that it commits now.
    pub busy_for: Option<Duration>,
    /// Bytes that wait.
    pub queue_bytes: u64,
    /// Most bytes that may wait.
    pub queue_bound_bytes: u64,
}

/// Something that went wrong once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// When.
    pub at: WallTime,
    /// Why, for a person.
    pub why: String,
}

/// The place at a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerFacts {
    /// Its name and port.
    pub address: String,
    /// Whether the gateway is its client now.
    pub connected: bool,
}

/// A listener's connections.
#[derive(Clone, Copy, Debug)]
pub struct ListenerFacts {
    /// `http`, `mqtt` or `quic`.
    pub name: &'static str,
    /// Connections that are open.
    pub open: u64,
    /// Most that may be.
    pub max: u64,
    /// Most that were configured.
    pub configured: u64,
    /// Connections turned away lately.
    pub turned_away: Option<Episode>,
}

/// How many robots the gateway takes in.
#[derive(Clone, Copy, Debug, Default)]
pub struct RobotsFacts {
    /// Most that may come.
    pub max: u64,
    /// Robots turned away lately.
    pub turned_away: Option<Episode>,
}

/// File descriptors of the process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Descriptors {
    /// Open ones, where the system tells.
    pub open: Option<u64>,
    /// Most that may be open.
    pub max: u64,
}

/// What is known of one robot beside its reading.
#[derive(Clone, Copy, Debug, Default)]
pub struct Refused {
    /// The run of refusals.
    pub episode: Option<Episode>,
    /// Why the last one was refused.
    pub last: Option<RefuseReason>,
}
