//! What is watched of a gateway that is put together: its listeners' connections, and the facts of its parts.

use std::sync::Arc;

use super::{Gateway, broker_settings};
use crate::{
    config::Config,
    descriptors::Shares,
    metrics::{Connections, Metrics},
    tls::Keys,
    watch::{GatewaySources, Watch},
};

/// The connections of each listener, also of those that are off.
#[derive(Debug)]
pub(super) struct Counted {
    pub(super) http: Connections,
    pub(super) mqtt: Connections,
    pub(super) quic: Connections,
}

impl Counted {
    /// Counts the connections of listeners with these bounds.
    pub(super) fn new(metrics: &Metrics, config: &Config, shares: Shares) -> Self {
        let bounded = |name, connections_max| {
            let connections = metrics.connections(name);
            connections.set_bound(connections_max);
            connections
        };
        Self {
            http: bounded("http", shares.http),
            mqtt: bounded("mqtt", shares.mqtt),
            quic: bounded("quic", config.session.max as usize),
        }
    }
}

impl Gateway {
    /// Looks at everything for the first time.
    pub(super) fn watch(&self, config: &Config, keys: &Keys, counted: &Counted) -> Watch {
        let sessions_max = config.session.max as usize;
        let lately = config.conditions.lately.duration();
        let all = [
            // Nobody configures how many there may be, so none is missed.
            ("http", config.http, &counted.http, usize::try_from(counted.http.bound()).unwrap_or(usize::MAX)),
            ("mqtt", config.mqtt.listen, &counted.mqtt, sessions_max),
            ("quic", config.quic, &counted.quic, sessions_max),
        ];
        let on = all.into_iter().filter(|(_, listen, ..)| listen.addr().is_some());
        let listeners = on.map(|(name, _, connections, most)| (name, connections.clone(), most)).collect();
        let broker = broker_settings(config, self.reader.log_id()).map(|settings| {
            let address = settings.address();
            let connected = self.metrics.broker_connected(address.clone());
            (address, connected)
        });
        let sources = GatewaySources {
            reader: self.reader.clone(),
            committer: self.log.committer(),
            ingest: self.ingest.clone(),
            metrics: self.metrics.clone(),
            checkpoint: self.saver.outcome(),
            broker,
            certificate_end: keys.end(),
            listeners,
            lately: crate::watch::Lately::of(lately),
        };
        let fleet = (self.fleet.clone(), Arc::new(self.ingest.clone()) as _);
        Watch::new(fleet, Box::new(sources), self.metrics.clone(), self.clock, lately)
    }
}
