//! What the agent's and the gateway's program do alike around their work: settings from file, environment and flags, one
//! sentence and an exit code for what went wrong, logs on stderr, the lock of a folder, and the signals that end them.
//!
//! `muster-protocol` is what both speak and touches nothing of the machine; this crate does.

pub mod console;
pub mod file_lock;
pub mod logging;
pub mod overlay;
pub mod signals;
