//! Cuts bytes into lines, without ever holding a line that is longer than allowed. Pure.
//!
//! Push what arrives, then poll until it returns `None`; at the end of the stream, call [`LineCutter::finish`]. What
//! comes out does not depend on how the bytes were cut into pushes. A line longer than [`LINE_BYTES_MAX`] is skipped
//! up to its newline: its length and its first bytes are known, the rest was never kept.

use muster_protocol::limits::LINE_BYTES_MAX;

/// Bytes of an overlong line that are kept, to show which line it was.
const HEAD_BYTES_MAX: usize = 256;

/// One line, without its newline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Counts lines from 1, the blank and the overlong ones too.
    pub number: u64,
    /// What stands there.
    pub text: LineText<'a>,
}

/// What stands on a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineText<'a> {
    /// The whole line.
    Whole(&'a [u8]),
    /// The line was longer than [`LINE_BYTES_MAX`] and was skipped.
    TooLong {
        /// How long it was.
        bytes: u64,
        /// How it started.
        head: &'a [u8],
    },
}

/// Cuts a byte stream into lines; see the module.
#[derive(Debug, Default)]
pub struct LineCutter {
    buffer: Vec<u8>,
    /// Bytes at the front of `buffer` that were returned as lines.
    taken: usize,
    /// Bytes after `taken` that are known to hold no newline.
    scanned: usize,
    /// The overlong line that is being skipped.
    skipping: Option<Overlong>,
    /// The overlong line that was returned last: the returned line borrows its head.
    skipped: Overlong,
    /// Lines returned.
    number: u64,
}

#[derive(Debug, Default)]
struct Overlong {
    bytes: u64,
    head: Vec<u8>,
}

impl LineCutter {
    /// Takes bytes that arrived. Poll all lines before the next push: then no more than one line is held.
    pub fn push(&mut self, chunk: &[u8]) {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        self.buffer.extend_from_slice(chunk);
    }

    /// Returns the next whole line, or `None` until more bytes are pushed.
    pub fn poll_line(&mut self) -> Option<Line<'_>> {
        let pending = self.buffer.get(self.taken..).unwrap_or_default();
        let unscanned = pending.get(self.scanned..).unwrap_or_default();
        if let Some(at) = unscanned.iter().position(|byte| *byte == b'\n') {
            let bytes = self.scanned + at;
            return Some(self.take(bytes, 1));
        }
        self.scanned = pending.len();
        if self.skipping.is_some() || pending.len() > LINE_BYTES_MAX {
            self.skipping.get_or_insert_default().extend(pending);
            self.buffer.clear();
            self.taken = 0;
            self.scanned = 0;
        }
        None
    }

    /// Returns the last line if the stream ended without a newline. Call it when [`LineCutter::poll_line`] returned
    /// `None` and no more bytes will come.
    pub fn finish(&mut self) -> Option<Line<'_>> {
        let bytes = self.buffer.len() - self.taken;
        (bytes > 0 || self.skipping.is_some()).then(|| self.take(bytes, 0))
    }

    /// Takes the line of the next `bytes`, and the `newline` bytes behind it.
    fn take(&mut self, bytes: usize, newline: usize) -> Line<'_> {
        let text = self.buffer.get(self.taken..self.taken + bytes).unwrap_or_default();
        self.taken += bytes + newline;
        self.scanned = 0;
        self.number += 1;
        if self.skipping.is_none() && bytes <= LINE_BYTES_MAX {
            return Line { number: self.number, text: LineText::Whole(text) };
        }
        self.skipped = self.skipping.take().unwrap_or_default();
        self.skipped.extend(text);
        let text = LineText::TooLong { bytes: self.skipped.bytes, head: &self.skipped.head };
        Line { number: self.number, text }
    }
}

impl Overlong {
    fn extend(&mut self, bytes: &[u8]) {
        let room = HEAD_BYTES_MAX - self.head.len();
        self.head.extend(bytes.iter().take(room));
        self.bytes += bytes.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every line as (number, whole text or overlong head, length), with the most bytes ever held.
    fn cut(stream: &[u8], cuts: &[usize]) -> (Vec<(u64, Vec<u8>, u64)>, usize) {
        fn own(line: Line<'_>) -> (u64, Vec<u8>, u64) {
            match line.text {
                LineText::Whole(text) => (line.number, text.to_vec(), text.len() as u64),
                LineText::TooLong { bytes, head } => (line.number, head.to_vec(), bytes),
            }
        }
        let (mut cutter, mut lines, mut held_max) = (LineCutter::default(), Vec::new(), 0);
        let mut rest = stream;
        for cut in cuts.iter().copied().chain([stream.len()]) {
            let (chunk, after) = rest.split_at(cut.min(rest.len()));
            rest = after;
            cutter.push(chunk);
            while let Some(line) = cutter.poll_line() {
                lines.push(own(line));
            }
            held_max = held_max.max(cutter.buffer.len() - cutter.taken);
        }
        lines.extend(cutter.finish().map(own));
        assert!(cutter.finish().is_none(), "the end is returned once");
        (lines, held_max)
    }

    #[test]
    fn the_last_line_needs_no_newline_and_blank_lines_count() {
        let (lines, _) = cut(b"a\n\nb", &[]);
        assert_eq!(lines, [(1, b"a".to_vec(), 1), (2, vec![], 0), (3, b"b".to_vec(), 1)]);
        assert_eq!(cut(b"a\n", &[]).0.len(), 1);
        assert_eq!(cut(b"", &[]).0.len(), 0);
    }

    #[test]
    fn a_10_mb_line_is_skipped_without_being_held() {
        let mut stream = vec![b'x'; 10_000_000];
        stream.extend_from_slice(b"\nnext\n");
        let (lines, held_max) = cut(&stream, &vec![64 * 1024; 200]);
        assert_eq!(lines, [(1, vec![b'x'; HEAD_BYTES_MAX], 10_000_000), (2, b"next".to_vec(), 4)]);
        assert!(held_max <= LINE_BYTES_MAX + 64 * 1024, "{held_max}");
    }

    #[test]
    fn the_longest_line_is_whole_and_one_byte_more_is_not() {
        for (bytes, whole) in [(LINE_BYTES_MAX, true), (LINE_BYTES_MAX + 1, false)] {
            for end in [&b"\n"[..], b""] {
                let stream = [&vec![b'x'; bytes], end].concat();
                for cuts in [vec![], vec![1], vec![bytes], vec![bytes - 1]] {
                    let (lines, _) = cut(&stream, &cuts);
                    let shown = if whole { bytes } else { HEAD_BYTES_MAX };
                    assert_eq!(lines, [(1, vec![b'x'; shown], bytes as u64)]);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn lines_do_not_depend_on_how_the_stream_is_cut(
            lines in proptest::collection::vec(prop_oneof![9 => 0_usize..40, 1 => LINE_BYTES_MAX - 2..LINE_BYTES_MAX + 300], 0..8),
            cuts in proptest::collection::vec(prop_oneof![0_usize..30, 0..LINE_BYTES_MAX * 2], 0..20),
            newline_at_end in any::<bool>(),
        ) {
            let mut stream: Vec<u8> = Vec::new();
            for (index, bytes) in lines.iter().enumerate() {
                stream.resize(stream.len() + bytes, b'a' + u8::try_from(index).unwrap());
                stream.push(b'\n');
            }
            if !newline_at_end {
                stream.pop();
            }
            prop_assert_eq!(cut(&stream, &cuts).0, cut(&stream, &[]).0);
        }
    }
}
