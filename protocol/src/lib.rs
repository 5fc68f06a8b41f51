//! What Muster's agent and gateway both speak: ids, samples, batches as columns, frames, limits and the delivery
//! session as two state machines.
//!
//! This crate is pure. It opens no file and no socket, asks no clock and rolls no dice: time, randomness and bytes
//! come in as arguments, and what to do next comes out as values. PROTOCOL.md specifies each byte.

pub mod base64;
pub mod batch;
pub mod column;
pub mod frame;
pub mod glob;
pub mod id;
pub mod label;
pub mod limits;
pub mod loss;
pub mod message;
pub mod ndjson;
pub mod sample;
pub mod schema;
pub mod session;
pub mod settings;
pub mod time;
