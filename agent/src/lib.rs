//! Muster's agent: takes samples in on the robot, keeps them on disk until the gateway has them durably, and streams
//! them over QUIC or MQTT. A program, and a library to embed.

pub mod backoff;
pub mod batcher;
pub mod cli;
pub mod clock;
pub mod config;
mod damper;
pub mod delivery;
pub mod doctor;
pub mod driver;
pub mod handle;
pub mod inputs;
pub mod inspect;
pub mod intake;
pub mod link;
pub mod own;
pub mod program;
pub mod recorder;
pub mod spool;
pub mod status;
pub mod uplink;
