//! Copies a stream of samples that may break: a pass reads until the end or a break, and the next one starts behind the
//! last whole sample. Half a line at a break is dropped here and comes again whole.

use std::io::{self, BufRead, Read as _, Write};

use super::sink::{Cursor, Sink, SinkError};
use crate::muster::{client, failure::Failure};

/// Who is told how the copy goes.
pub(super) trait Watcher {
    /// So many samples were copied in all.
    fn copied(&mut self, samples: u64);

    /// The stream broke for the `breaks`th time in a row; returning lets it be taken up again.
    fn broke(&mut self, why: &str, breaks: u32);
}

/// Copies the stream that `open` opens behind a cursor, until it has ended whole.
pub(super) fn copy<R: BufRead, W: Write>(
    open: &(impl Fn(Option<Cursor>) -> Result<R, Failure> + ?Sized),
    sink: &mut Sink<W>,
    watcher: &mut impl Watcher,
) -> Result<(), Failure> {
    let mut breaks = 0;
    loop {
        let before = sink.last();
        let why = match open(before) {
            Ok(stream) => match pass(stream, sink, watcher)? {
                Pass::Whole => return Ok(()),
                Pass::Broke(why) => why,
            },
            Err(failure) if before.is_some() && failure.may_pass() => failure.to_string(),
            Err(failure) => return Err(failure),
        };
        breaks = if sink.last() == before { breaks + 1 } else { 1 };
        if breaks > BREAKS_MAX {
            return Err(Failure::Broken { breaks, why, kept: String::new() });
        }
        watcher.broke(&why, breaks);
    }
}

enum Pass {
    Whole,
    Broke(String),
}

enum Line {
    Whole,
    End,
    Cut,
    TooLong,
}

fn pass<W: Write>(
    mut stream: impl BufRead,
    sink: &mut Sink<W>,
    watcher: &mut impl Watcher,
) -> Result<Pass, Failure> {
    let mut line = Vec::new();
    loop {
        match read_line(&mut stream, &mut line) {
            Ok(Line::Whole) => {}
            Ok(Line::End) => {
                watcher.copied(sink.samples());
                return Ok(Pass::Whole);
            }
            Ok(Line::Cut) => return Ok(Pass::Broke("the stream ended within a line".to_owned())),
            Ok(Line::TooLong) => {
                return Err(Failure::Stream(format!("a line of more than {LINE_BYTES_MAX} bytes")));
            }
            Err(error) => return Ok(Pass::Broke(client::plain(&error))),
        }
        match sink.push(&line) {
            Ok(()) if sink.samples().is_multiple_of(TOLD_EVERY_SAMPLES) => watcher.copied(sink.samples()),
            Ok(()) => {}
            Err(SinkError::Output(failure)) => return Err(failure),
            Err(wrong) => return Err(Failure::Stream(wrong.to_string())),
        }
    }
}

/// Reads one line without its newline, never more than [`LINE_BYTES_MAX`] of it.
fn read_line(stream: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Line> {
    line.clear();
    stream.take(LINE_BYTES_MAX).read_until(b'\n', line)?;
    match line.pop() {
        None => Ok(Line::End),
        Some(b'\n') => Ok(Line::Whole),
        Some(_) if line.len() as u64 + 1 >= LINE_BYTES_MAX => Ok(Line::TooLong),
        Some(_) => Ok(Line::Cut),
    }
}

/// Most breaks in a row without a new sample. With the pauses between them about fifteen seconds: a restart of the
/// gateway passes, a gateway that is gone is told.
const BREAKS_MAX: u32 = 5;

/// Longest line of the stream: a text value of the largest size with each byte escaped, and its channel's name.
const LINE_BYTES_MAX: u64 = 256 * 1024;

/// How often the watcher hears of progress: seldom enough to cost nothing.
const TOLD_EVERY_SAMPLES: u64 = 512;

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, io::Cursor as Bytes, io::Read};

    use super::{super::sink::Format, *};

    #[derive(Default)]
    struct Heard {
        samples: u64,
        breaks: Vec<u32>,
    }

    impl Watcher for Heard {
        fn copied(&mut self, samples: u64) {
            self.samples = samples;
        }

        fn broke(&mut self, _why: &str, breaks: u32) {
            self.breaks.push(breaks);
        }
    }

    /// Serves ten samples behind the cursor, cut after so many bytes at the attempt of that number.
    struct Gateway {
        cuts: Vec<usize>,
        asked: RefCell<Vec<Option<String>>>,
    }

    impl Gateway {
        fn open(&self, after: Option<Cursor>) -> Box<dyn BufRead> {
            let from = after
                .map_or(0, |cursor| cursor.to_string().split_once(':').unwrap().1.parse().unwrap_or(0) + 1);
            let text: String = (from..10).map(line).collect();
            let mut asked = self.asked.borrow_mut();
            asked.push(after.map(|cursor| cursor.to_string()));
            match self.cuts.get(asked.len() - 1) {
                None => Box::new(Bytes::new(text)),
                Some(cut) => Box::new(Bytes::new(text[..*cut].to_owned()).chain(io::BufReader::new(Broken))),
            }
        }
    }

    struct Broken;

    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }

    fn line(i: u64) -> String {
        format!("{{\"t\":1,\"ch\":\"x\",\"v\":{i},\"o\":7,\"i\":{i}}}\n")
    }

    fn export(cuts: Vec<usize>) -> (Result<String, Failure>, Heard, Vec<Option<String>>) {
        let gateway = Gateway { cuts, asked: RefCell::default() };
        let mut heard = Heard::default();
        let mut sink = Sink::new(Vec::new(), Format::Ndjson).unwrap();
        let copied = copy(&|after| Ok(gateway.open(after)), &mut sink, &mut heard);
        let text = copied.map(|()| String::from_utf8(sink.finish().unwrap().1).unwrap());
        (text, heard, gateway.asked.into_inner())
    }

    #[test]
    fn a_broken_stream_is_taken_up_behind_the_last_whole_sample() {
        let whole: String = (0..10).map(line).collect();
        let one = line(0).len();
        let (text, heard, asked) = export(vec![one * 3 + 5, 2, one]);
        assert_eq!(text.unwrap(), whole);
        assert_eq!(asked, [None, Some("7:2".into()), Some("7:2".into()), Some("7:3".into())]);
        assert_eq!(heard.breaks, [1, 2, 1], "a new sample starts the count anew");
        assert_eq!(heard.samples, 10);
    }

    #[test]
    fn an_end_within_a_line_is_a_break_and_not_an_end() {
        let gateway = |after: Option<Cursor>| {
            Ok(Bytes::new(if after.is_none() { line(0) + "{\"t\"" } else { line(1) }))
        };
        let mut sink = Sink::new(Vec::new(), Format::Ndjson).unwrap();
        copy(&gateway, &mut sink, &mut Heard::default()).unwrap();
        assert_eq!(sink.samples(), 2);
    }

    #[test]
    fn a_stream_that_only_breaks_is_given_up() {
        let (text, heard, asked) = export(vec![3; 100]);
        assert!(matches!(text, Err(Failure::Broken { .. })));
        assert_eq!(heard.breaks.len(), BREAKS_MAX as usize);
        assert_eq!(asked.len(), BREAKS_MAX as usize + 1);
    }

    #[test]
    fn an_endless_line_is_refused_within_bounded_memory() {
        let endless = |_: Option<Cursor>| Ok(io::BufReader::new(io::repeat(b'x')));
        let mut sink = Sink::new(Vec::new(), Format::Ndjson).unwrap();
        let error = copy(&endless, &mut sink, &mut Heard::default()).unwrap_err();
        assert!(matches!(error, Failure::Stream(_)), "{error}");
    }
}
