//! The gateway's own facts, asked of the parts that have them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use prometheus_client::metrics::gauge::Gauge;

use muster_protocol::{id::RobotId, message::RefuseReason, time::WallTime};

use super::Sources;
use crate::{
    committer::CommitterHandle,
    conditions::{
        Moment,
        facts::{BrokerFacts, CommitFacts, Descriptors, GatewayFacts, ListenerFacts, Refused, RobotsFacts},
        lately::{Episode, Episodes, RecentCommits},
    },
    ingest::Ingest,
    link::port::{OUTBOX_FRAMES_MAX, Unhandled},
    metrics::{Connections, Metrics, Usage},
    projection::LastSave,
    store::StoreReader,
};

/// Asks the parts of a running gateway. It takes the committer's figures away, so there is one.
pub struct GatewaySources {
    /// The store.
    pub reader: StoreReader,
    /// The committer.
    pub committer: CommitterHandle,
    /// Robots and their sessions.
    pub ingest: Ingest,
    /// What was counted.
    pub metrics: Arc<Metrics>,
    /// How the last checkpoint went.
    pub checkpoint: LastSave,
    /// The broker's address and whether it has this gateway, if there is a broker.
    pub broker: Option<(String, Gauge)>,
    /// When the first of the gateway's certificates is over.
    pub certificate_end: Option<WallTime>,
    /// The listeners: name, figures, and how many connections were configured.
    pub listeners: Vec<(&'static str, Connections, usize)>,
    /// What is remembered between two looks.
    pub lately: Lately,
}

/// What happened since earlier looks.
#[derive(Debug)]
pub struct Lately {
    /// How long *lately* is.
    within: Duration,
    commits: RecentCommits,
    episodes: BTreeMap<(&'static str, &'static str), Episodes>,
}

impl Sources for GatewaySources {
    fn gateway(&mut self, now: Moment) -> GatewayFacts {
        self.metrics.set_outbox(self.ingest.fullest_outbox(), OUTBOX_FRAMES_MAX);
        let (new, busy_since) = self.committer.take_figures();
        let commit = CommitFacts {
            lately: self.lately.commits.look(new, now.mono),
            busy_for: busy_since.map(|since| now.mono.since(since)),
            queue_bytes: self.committer.queued_bytes() as u64,
            queue_bound_bytes: self.committer.queue_bytes_max() as u64,
        };
        let (metrics, lately) = (Arc::clone(&self.metrics), &mut self.lately);
        let refused = RefuseReason::ALL.into_iter().filter_map(|reason| {
            let episode = lately.look(("refused", reason.as_str()), metrics.refused_ever(reason), now)?;
            Some((reason, episode))
        });
        let refused = refused.collect();
        let given_up = Unhandled::ALL.into_iter().filter_map(|why| {
            let episode = lately.look(("json", why.as_str()), metrics.json_given_up_for(why), now)?;
            Some((why.as_str(), episode))
        });
        let json_given_up = given_up.collect();
        let robots = RobotsFacts {
            max: self.ingest.robots_max() as u64,
            turned_away: lately.look(("robots", "all"), self.ingest.turned_away_ever(), now),
        };
        let listener = |(name, connections, configured): &(&'static str, Connections, usize)| ListenerFacts {
            name,
            open: connections.open(),
            max: connections.bound(),
            configured: *configured as u64,
            turned_away: lately.look(("connections", name), connections.turned_away_ever(), now),
        };
        let listeners = self.listeners.iter().map(listener).collect();
        let usage = Usage::read();
        let descriptors = Descriptors { open: usage.open_fds, max: usage.max_fds.unwrap_or(u64::MAX) };
        let broker = self.broker.as_ref();
        GatewayFacts {
            store: self.reader.status(),
            commit,
            refused,
            json_given_up,
            checkpoint: self.checkpoint.failure(),
            broker: broker
                .map(|(address, up)| BrokerFacts { address: address.clone(), connected: up.get() == 1 }),
            certificate_end: self.certificate_end,
            listeners,
            descriptors,
            robots,
        }
    }

    fn refused(&self, robot: &RobotId) -> Refused {
        self.ingest.refused(robot)
    }
}

impl Lately {
    /// Has seen nothing yet. What happened counts as lately for so long.
    pub fn of(within: Duration) -> Self {
        Self { within, commits: RecentCommits::default(), episodes: BTreeMap::new() }
    }

    /// Looks at a counter by its name.
    fn look(&mut self, name: (&'static str, &'static str), counter: u64, now: Moment) -> Option<Episode> {
        self.episodes.entry(name).or_default().look(counter, now, self.within)
    }
}

impl std::fmt::Debug for GatewaySources {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("GatewaySources").finish_non_exhaustive()
    }
}
