//! Stub.
pub mod bench;
