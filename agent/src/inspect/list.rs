//! `list`: a line for each segment, or for each record.

use std::io::{self, Write};

use serde_json::json;

use crate::spool::inspect::{RecordReport, RecordStanding, SegmentReport};

use super::{Each, Form, View};

/// Prints a list.
pub(super) struct Listing {
    view: View,
}

impl Listing {
    pub(super) fn new(view: View) -> Self {
        Self { view }
    }

    /// Prints the names of the columns, where there are columns.
    pub(super) fn begin(&self, out: &mut dyn Write) -> io::Result<()> {
        match self.view {
            View::List(Form::Table, Each::Segment) => {
                writeln!(
                    out,
                    "{:>10} {:>10} {:>8} {:>10}  {:<9} segment",
                    "first", "next", "samples", "bytes", "is"
                )
            }
            View::List(Form::Table, Each::Record) => {
                writeln!(
                    out,
                    "{:>10} {:>8} {:>8}  {:<9} {:<30} {:<30} segment",
                    "seq", "samples", "bytes", "is", "from", "to"
                )
            }
            _ => Ok(()),
        }
    }

    pub(super) fn take(&self, segment: &SegmentReport, out: &mut dyn Write) -> io::Result<()> {
        let View::List(form, each) = self.view else { return Ok(()) };
        if each == Each::Segment {
            return print_segment(segment, form, out);
        }
        segment.records.iter().try_for_each(|record| print_record(segment, record, form, out))
    }
}

fn print_segment(segment: &SegmentReport, form: Form, out: &mut dyn Write) -> io::Result<()> {
    let damaged = segment.records.iter().filter(|record| matches!(record.standing, RecordStanding::Damaged));
    let damaged = damaged.count() + segment.damage.len();
    let samples: u64 = segment.records.iter().map(|record| u64::from(record.samples)).sum();
    let state = match () {
        () if damaged > 0 => "damaged",
        () if segment.sealed => "sealed",
        () if segment.torn_bytes > 0 => "torn",
        () => "open",
    };
    let (first, next, bytes, path) = (segment.first.0, segment.next.0, segment.file_bytes, &segment.path);
    match form {
        Form::Table => writeln!(out, "{first:>10} {next:>10} {samples:>8} {bytes:>10}  {state:<9} {path}"),
        Form::Json => {
            let line = json!({
                "segment": path, "lane": segment.lane.as_str(), "epoch": segment.epoch.to_string(),
                "first": first, "next": next, "samples": samples, "before": segment.before, "bytes": bytes,
                "is": state, "sealed": segment.sealed, "torn_bytes": segment.torn_bytes, "damage": segment.damage,
            });
            writeln!(out, "{line}")
        }
    }
}

fn print_record(
    segment: &SegmentReport,
    record: &RecordReport,
    form: Form,
    out: &mut dyn Write,
) -> io::Result<()> {
    let (what, loss) = match &record.standing {
        RecordStanding::Batch => ("batch", None),
        RecordStanding::Loss(loss) => ("loss", Some(loss)),
        RecordStanding::Damaged => ("damaged", None),
        RecordStanding::Lost => ("lost", None),
    };
    let (seq, samples, bytes, path) = (record.seq.0, record.samples, record.bytes, &segment.path);
    match form {
        Form::Table => {
            let time =
                |t: Option<_>| t.map_or_else(String::new, |t: muster_protocol::time::WallTime| t.to_string());
            let (from, to) = (time(record.span.map(|span| span.0)), time(record.span.map(|span| span.1)));
            writeln!(out, "{seq:>10} {samples:>8} {bytes:>8}  {what:<9} {from:<30} {to:<30} {path}")
        }
        Form::Json => {
            let mut line = json!({
                "segment": path, "lane": segment.lane.as_str(), "epoch": segment.epoch.to_string(), "seq": seq,
                "is": what, "samples": samples, "bytes": bytes,
                "t_min": record.span.map(|span| span.0.0), "t_max": record.span.map(|span| span.1.0),
            });
            if let Some(loss) = loss {
                line["loss"] = json!({
                    "reason": loss.reason.as_str(), "lane": loss.lane.as_str(), "epoch": loss.epoch.to_string(),
                    "samples": loss.samples(), "batches": loss.lost.iter().map(|lost| lost.seq.0).collect::<Vec<_>>(),
                    "t_min": loss.t_min.map(|t| t.0), "t_max": loss.t_max.map(|t| t.0),
                });
            }
            writeln!(out, "{line}")
        }
    }
}
