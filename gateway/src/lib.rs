//! Muster's gateway: takes the telemetry of a fleet in, keeps it durably in sled, and serves its state. Also the
//! operator's command line, `muster`.

pub mod backup;
pub mod cli;
pub mod clock;
pub mod committer;
pub mod conditions;
pub mod config;
pub mod control;
pub mod descriptors;
pub mod durable_file;
pub mod fleet;
pub mod groups;
pub mod http;
pub mod ingest;
pub mod instance;
pub mod link;
pub mod log;
pub mod metrics;
pub mod muster;
mod parts;
pub mod program;
pub mod projection;
pub mod query;
pub mod record;
mod sharing;
pub mod store;
pub mod tls;
pub mod watch;
