//! The input `stdin`: NDJSON lines from a pipe. It waits when the spool is full.

use super::{End, reader::LineReader};

/// Reads standard input to its end. A read that blocks cannot be stopped: the thread then ends with the process.
pub(super) fn run(reader: LineReader) -> End {
    reader.run(std::io::stdin().lock())
}
