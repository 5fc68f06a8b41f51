//! What is done with bytes that come from outside and may be anything: a function for each kind of them, which panics
//! where a promise is broken.
//!
//! The fuzzers in `tests/fuzz` call them with what they make up, and the ordinary tests with every input that was kept
//! in `tests/fuzz/corpus`. Each demands more than that nothing panics: what was decoded comes back the same when it is
//! encoded and decoded again, limits hold, and it makes no difference how a stream was cut.

mod columns;
mod conversation;
mod expressions;
mod frame;
mod input;
mod ndjson;
pub mod seeds;
mod session;
mod settings;
mod spool;
mod topics;

pub use self::{
    columns::columns, conversation::conversation, expressions::expressions, frame::frame, ndjson::ndjson,
    session::session, settings::settings, spool::spool, topics::topics,
};

/// A function for bytes from outside.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, which is also that of its fuzzer and of the folder of its inputs.
    pub name: &'static str,
    /// The function.
    pub run: fn(&[u8]),
    /// The most heap that one call may hold at once, in bytes: what limits promise of any input, not of the usual one.
    pub heap_bytes_max: usize,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "frame", run: frame, heap_bytes_max: 8 * MIB },
    Target { name: "columns", run: columns, heap_bytes_max: 32 * MIB },
    Target { name: "session", run: session, heap_bytes_max: 4 * MIB },
    Target { name: "spool", run: spool, heap_bytes_max: 64 * MIB },
    Target { name: "ndjson", run: ndjson, heap_bytes_max: 32 * MIB },
    Target { name: "topics", run: topics, heap_bytes_max: MIB },
    Target { name: "settings", run: settings, heap_bytes_max: 32 * MIB },
    Target { name: "conversation", run: conversation, heap_bytes_max: 8 * MIB },
    Target { name: "expressions", run: expressions, heap_bytes_max: 4 * MIB },
];

const MIB: usize = 1024 * 1024;
