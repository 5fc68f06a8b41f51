//! The two formats of an export. Each line of the stream is one sample; its cursor is kept, so that a broken stream can
//! be taken up behind it, and has to grow, so that no sample comes twice.

use std::{
    borrow::Cow,
    fmt,
    io::{self, BufWriter, Write},
};

use serde::Deserialize;
use serde_json::Value;

use crate::muster::{failure::Failure, table::csv_error};

/// A format of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The lines of the API as they come.
    Ndjson,
    /// `t,ch,type,v,o,i,raw_t`, the last only where a time was repaired.
    Csv,
}

/// Where a sample stands in the gateway's log: the record's offset, and its number within the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cursor {
    o: u64,
    i: u64,
}

/// Why a line of the stream was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum SinkError {
    /// It is not a sample.
    #[error("a line of the stream is no sample: {0}")]
    NotASample(String),
    /// It repeats or goes back.
    #[error("sample {got} came after {last}")]
    OutOfOrder {
        /// The line's cursor.
        got: Cursor,
        /// The cursor before it.
        last: Cursor,
    },
    /// It could not be written.
    #[error(transparent)]
    Output(#[from] Failure),
}

/// Writes samples.
#[derive(Debug)]
pub(super) struct Sink<W: Write> {
    out: Out<W>,
    last: Option<Cursor>,
    samples: u64,
}

#[derive(Debug)]
enum Out<W: Write> {
    Ndjson(BufWriter<W>),
    Csv(Box<csv::Writer<W>>),
}

/// One line of `GET .../samples`.
#[derive(Deserialize)]
struct Sample<'a> {
    t: i64,
    raw_t: Option<i64>,
    #[serde(borrow)]
    ch: Cow<'a, str>,
    #[serde(default)]
    v: Value,
    #[serde(borrow)]
    f: Option<Cow<'a, str>>,
    #[serde(borrow)]
    b: Option<Cow<'a, str>>,
    o: u64,
    i: u64,
}

impl<W: Write> Sink<W> {
    /// Starts an export; CSV gets its header.
    pub(super) fn new(out: W, format: Format) -> Result<Self, Failure> {
        let out = match format {
            Format::Ndjson => Out::Ndjson(BufWriter::with_capacity(BUFFER_BYTES, out)),
            Format::Csv => {
                let mut writer = csv::WriterBuilder::new().buffer_capacity(BUFFER_BYTES).from_writer(out);
                writer.write_record(["t", "ch", "type", "v", "o", "i", "raw_t"]).map_err(csv_error)?;
                Out::Csv(Box::new(writer))
            }
        };
        Ok(Self { out, last: None, samples: 0 })
    }

    /// Returns the cursor of the last sample that was taken.
    pub(super) fn last(&self) -> Option<Cursor> {
        self.last
    }

    /// Returns how many samples were taken.
    pub(super) fn samples(&self) -> u64 {
        self.samples
    }

    /// Takes one line, without its newline.
    pub(super) fn push(&mut self, line: &[u8]) -> Result<(), SinkError> {
        let sample: Sample<'_> =
            serde_json::from_slice(line).map_err(|error| SinkError::NotASample(error.to_string()))?;
        let got = Cursor { o: sample.o, i: sample.i };
        match self.last {
            Some(last) if got <= last => return Err(SinkError::OutOfOrder { got, last }),
            _ => {}
        }
        match &mut self.out {
            Out::Ndjson(out) => {
                out.write_all(line).and_then(|()| out.write_all(b"\n")).map_err(Failure::Output)?;
            }
            Out::Csv(out) => {
                let (kind, value) = sample.kind_and_text()?;
                let [t, o, i] = [sample.t.to_string(), sample.o.to_string(), sample.i.to_string()];
                let raw_t = sample.raw_t.map(|raw_t| raw_t.to_string()).unwrap_or_default();
                let record = [t.as_str(), &sample.ch, kind, &value, &o, &i, &raw_t];
                out.write_record(record).map_err(csv_error)?;
            }
        }
        self.last = Some(got);
        self.samples += 1;
        Ok(())
    }

    /// Writes out what is buffered and returns the count of samples and the writer.
    pub(super) fn finish(self) -> Result<(u64, W), Failure> {
        let out = match self.out {
            Out::Ndjson(out) => out.into_inner().map_err(io::IntoInnerError::into_error),
            Out::Csv(out) => out.into_inner().map_err(csv::IntoInnerError::into_error),
        };
        Ok((self.samples, out?))
    }
}

impl Sample<'_> {
    fn kind_and_text(&self) -> Result<(&'static str, Cow<'_, str>), SinkError> {
        match (&self.v, &self.f, &self.b) {
            (Value::Bool(value), ..) => Ok(("bool", Cow::Borrowed(if *value { "true" } else { "false" }))),
            (Value::Number(number), ..) if number.is_f64() => Ok(("float", Cow::Owned(number.to_string()))),
            (Value::Number(number), ..) => Ok(("int", Cow::Owned(number.to_string()))),
            (Value::String(text), ..) => Ok(("text", Cow::Borrowed(text))),
            (Value::Null, Some(name), _) => Ok(("float", Cow::Borrowed(name))),
            (Value::Null, None, Some(base64)) => Ok(("bytes", Cow::Borrowed(base64))),
            (other, ..) => Err(SinkError::NotASample(format!("its value is {other}"))),
        }
    }
}

impl fmt::Display for Cursor {
    /// Writes the cursor as the API takes it: `o:i`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.o, self.i)
    }
}

/// Written at a time: large enough that a disk does not mind, small beside everything else.
const BUFFER_BYTES: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: [&str; 6] = [
        r#"{"t":7,"ch":"battery.soc","v":0.81,"o":3,"i":0}"#,
        r#"{"t":7,"ch":"n","v":9007199254740993,"o":3,"i":1}"#,
        r#"{"t":-8,"ch":"a,\"b","v":"x\ny","o":4,"i":0}"#,
        r#"{"t":9,"ch":"ok","v":true,"o":4,"i":1}"#,
        r#"{"t":9,"ch":"range","v":null,"f":"-Infinity","o":4,"i":2}"#,
        r#"{"t":9,"ch":"raw","b":"AAE=","o":4,"i":3}"#,
    ];

    fn export(format: Format) -> String {
        let mut sink = Sink::new(Vec::new(), format).unwrap();
        for line in LINES {
            sink.push(line.as_bytes()).unwrap();
        }
        let (samples, out) = sink.finish().unwrap();
        assert_eq!(samples, 6);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn ndjson_is_the_stream_byte_for_byte() {
        assert_eq!(export(Format::Ndjson), LINES.map(|line| format!("{line}\n")).concat());
    }

    #[test]
    fn csv_tells_the_type_and_quotes_what_needs_it() {
        let expected = "t,ch,type,v,o,i,raw_t\n7,battery.soc,float,0.81,3,0,\n7,n,int,9007199254740993,3,1,\n\
             -8,\"a,\"\"b\",text,\"x\ny\",4,0,\n9,ok,bool,true,4,1,\n9,range,float,-Infinity,4,2,\n\
             9,raw,bytes,AAE=,4,3,\n";
        assert_eq!(export(Format::Csv), expected);
    }

    #[test]
    fn csv_shows_the_time_that_was_repaired() {
        let mut sink = Sink::new(Vec::new(), Format::Csv).unwrap();
        sink.push(br#"{"t":1800000000000000000,"raw_t":7,"ch":"x","v":1,"o":1,"i":0}"#).unwrap();
        let text = String::from_utf8(sink.finish().unwrap().1).unwrap();
        assert!(text.ends_with("\n1800000000000000000,x,int,1,1,0,7\n"), "{text}");
    }

    #[test]
    fn a_float_stays_a_float_in_csv() {
        let mut sink = Sink::new(Vec::new(), Format::Csv).unwrap();
        sink.push(br#"{"t":1,"ch":"x","v":1.0,"o":1,"i":0}"#).unwrap();
        sink.push(br#"{"t":1,"ch":"x","v":-0.0,"o":1,"i":1}"#).unwrap();
        let text = String::from_utf8(sink.finish().unwrap().1).unwrap();
        assert!(text.contains("x,float,1.0,") && text.contains("x,float,-0.0,"), "{text}");
    }

    #[test]
    fn what_is_no_sample_or_goes_back_is_refused() {
        let mut sink = Sink::new(Vec::new(), Format::Csv).unwrap();
        sink.push(LINES[2].as_bytes()).unwrap();
        assert!(matches!(sink.push(LINES[2].as_bytes()), Err(SinkError::OutOfOrder { .. })));
        assert!(matches!(sink.push(LINES[0].as_bytes()), Err(SinkError::OutOfOrder { .. })));
        for line in ["", "[]", r#"{"t":1}"#, r#"{"t":1,"ch":"x","v":[1],"o":9,"i":0}"#] {
            assert!(matches!(sink.push(line.as_bytes()), Err(SinkError::NotASample(_))), "{line}");
        }
    }
}
