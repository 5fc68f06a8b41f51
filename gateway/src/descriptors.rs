//! How many connections the gateway may have, so that the store never lacks a file descriptor.
//!
//! A connection that finds no descriptor is turned away; a store that finds none can write nothing more, and ends the
//! program. So the store's share is set aside before any listener gets one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Connections at once, by listener. QUIC needs no descriptors of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Of the HTTP API.
    pub http: usize,
    /// Of the MQTT listener, at most what was configured.
    pub mqtt: usize,
}

/// Raises the process's limit of descriptors as far as it is allowed to, and shares them out. Says so in the log if
/// fewer MQTT connections fit than `sessions_max`.
pub fn share(sessions_max: usize) -> Shares {
    let descriptors = raise();
    let shares = Shares::of(descriptors, sessions_max);
    if shares.mqtt < sessions_max {
        tracing::warn!(
            "this process may open {descriptors} files: the MQTT listener takes {} connections, not session.max = \
             {sessions_max}; raise the limit (LimitNOFILE= of systemd, ulimit -n of a shell)",
            shares.mqtt
        );
    }
    shares
}

impl Shares {
    fn of(descriptors: usize, sessions_max: usize) -> Self {
        let free = descriptors - STORE_DESCRIPTORS.min(descriptors / 2);
        let http = HTTP_CONNECTIONS_MAX.min(free / 4);
        Self { http, mqtt: sessions_max.min(free - http) }
    }
}

/// Returns how many descriptors the process may have from now on.
fn raise() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let count =
        |limit: Option<u64>| limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    if setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok() {
        return count(maximum);
    }
    count(current)
}

/// What the store and its threads need at most: a few files of each partition that is open, checkpoints, the
/// process's own. Far above what was ever seen.
const STORE_DESCRIPTORS: usize = 256;

/// Operators and backends; dashboards keep one or two each.
const HTTP_CONNECTIONS_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_has_its_share_however_few_there_are() {
        for (descriptors, sessions, http, mqtt) in [
            (64, 10_000, 8, 24),
            (256, 10_000, 32, 96),
            (1024, 10_000, 192, 576),
            (20_000, 10_000, 512, 10_000),
            (usize::MAX, 50, 512, 50),
        ] {
            assert_eq!(Shares::of(descriptors, sessions), Shares { http, mqtt }, "{descriptors}");
        }
    }
}
