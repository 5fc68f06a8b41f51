//! `check`: what a spool holds in sum, by lane and epoch, and what is wrong with it.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
};

use muster_protocol::{
    id::{Epoch, Lane, RobotId, Seq},
    loss::LossReason,
    message::NumberedHead,
    time::WallTime,
};
use serde_json::{Map, Value, json};

use crate::spool::inspect::{Folder, RecordStanding, SegmentReport};

use super::Form;

/// Most sentences about damage that are printed; the rest is counted.
const DAMAGE_SHOWN_MAX: usize = 100;

/// Adds up segments.
#[derive(Default)]
pub(super) struct Tally {
    lanes: BTreeMap<(Epoch, Lane), LaneSum>,
    segments: u64,
    unsealed: u64,
    file_bytes: u64,
    torn_bytes: u64,
    /// Records that are damaged, with the sentence that says so.
    damaged: Vec<(Numbered, u64, String)>,
    /// What the loss records list: what is damaged of it was told.
    listed: BTreeSet<Numbered>,
    /// Damaged records of which a loss record was written before their segment was sealed.
    recorded: Sum,
    losses: BTreeMap<LossReason, Sum>,
    damage: Vec<String>,
    /// Batches that could not be printed, because they do not decode or their schema is damaged.
    pub(super) unprinted: u64,
}

type Numbered = (Epoch, Lane, Seq);

#[derive(Default)]
struct LaneSum {
    segments: u64,
    first: Option<Seq>,
    next: Option<Seq>,
    batches: Sum,
    span: Option<(WallTime, WallTime)>,
}

/// Records, and their samples.
#[derive(Clone, Copy, Default)]
struct Sum {
    records: u64,
    samples: u64,
}

impl Sum {
    fn add(&mut self, records: u64, samples: u64) {
        self.records += records;
        self.samples += samples;
    }

    fn json(self) -> Value {
        json!({ "records": self.records, "samples": self.samples })
    }
}

impl Tally {
    pub(super) fn take(&mut self, segment: &SegmentReport) {
        self.segments += 1;
        self.unsealed += u64::from(!segment.sealed);
        self.file_bytes += segment.file_bytes;
        self.torn_bytes += segment.torn_bytes;
        for damage in &segment.damage {
            self.damage.push(format!("{}: {damage}", segment.path));
        }
        let lane = self.lanes.entry((segment.epoch, segment.lane)).or_default();
        lane.segments += 1;
        lane.first.get_or_insert(segment.first);
        lane.next = Some(segment.next);
        for record in &segment.records {
            let samples = u64::from(record.samples);
            match &record.standing {
                RecordStanding::Batch => {
                    lane.batches.add(1, samples);
                    lane.span = match (lane.span, record.span) {
                        (Some(all), Some(new)) => Some((all.0.min(new.0), all.1.max(new.1))),
                        (all, new) => all.or(new),
                    };
                }
                RecordStanding::Loss(loss) => {
                    self.listed.extend(loss.lost.iter().map(|lost| (loss.epoch, loss.lane, lost.seq)));
                    self.losses.entry(loss.reason).or_default().add(loss.lost.len() as u64, loss.samples());
                }
                RecordStanding::Lost => self.recorded.add(1, samples),
                RecordStanding::Damaged => {
                    let said =
                        format!("{}: record {} is damaged; {samples} samples", segment.path, record.seq);
                    self.damaged.push(((segment.epoch, segment.lane, record.seq), samples, said));
                }
            }
        }
    }

    /// Returns the records that are damaged and of which no loss record tells.
    pub(super) fn untold(&self) -> impl Iterator<Item = (NumberedHead, u64, &str)> {
        let untold = self.damaged.iter().filter(|(number, ..)| !self.listed.contains(number));
        untold.map(|((epoch, lane, seq), samples, said)| {
            (NumberedHead { epoch: *epoch, lane: *lane, seq: *seq }, *samples, said.as_str())
        })
    }

    fn damage(&self) -> impl Iterator<Item = &str> {
        self.damage.iter().map(String::as_str).chain(self.untold().map(|(_, _, said)| said))
    }

    /// Says whether nothing is damaged or lost. A torn tail is neither: nothing in it was accepted.
    pub(super) fn is_whole(&self) -> bool {
        let told = self.losses.is_empty() && self.recorded.records == 0;
        told && self.damage.is_empty() && self.damaged.is_empty() && self.unprinted == 0
    }

    pub(super) fn print(&self, folder: &Folder, form: Form, out: &mut dyn Write) -> io::Result<()> {
        match form {
            Form::Table => self.print_text(folder, out),
            Form::Json => writeln!(out, "{}", self.json(folder)),
        }
    }

    fn print_text(&self, folder: &Folder, out: &mut dyn Write) -> io::Result<()> {
        let robot = folder.robot.as_ref().map_or("an unknown robot", |robot| robot.as_str());
        writeln!(out, "spool {} of {robot}, start {}", folder.place, folder.start)?;
        let (segments, bytes, unsealed) = (self.segments, self.file_bytes, self.unsealed);
        writeln!(out, "{segments} segments, {bytes} bytes, {unsealed} of them not sealed")?;
        for ((epoch, lane), sum) in &self.lanes {
            let (first, next) = (sum.first.unwrap_or(Seq::FIRST), sum.next.unwrap_or(Seq::FIRST));
            write!(out, "  epoch {epoch} {lane}: {} segments, seqs {first} up to {next}, ", sum.segments)?;
            write!(out, "{} batches, {} samples", sum.batches.records, sum.batches.samples)?;
            match sum.span {
                Some((t_min, t_max)) => writeln!(out, ", {t_min} to {t_max}")?,
                None => writeln!(out)?,
            }
        }
        for lane in &folder.drained {
            let (epoch, name, next, spooled) = (lane.epoch, lane.lane, lane.next, lane.spooled);
            writeln!(out, "  epoch {epoch} {name}: drained before seq {next}, {spooled} samples")?;
        }
        if self.torn_bytes > 0 {
            writeln!(out, "torn: {} bytes of writes that were never accepted", self.torn_bytes)?;
        }
        for (reason, sum) in &self.losses {
            writeln!(
                out,
                "lost ({reason}): {} samples, {} batches of them numbered",
                sum.samples, sum.records
            )?;
        }
        if folder.marker_damaged {
            writeln!(out, "damaged: the marker; the segments say enough without it")?;
        }
        for sentence in self.damage().take(DAMAGE_SHOWN_MAX) {
            writeln!(out, "damaged: {sentence}")?;
        }
        if let Some(more) = self.damage().count().checked_sub(DAMAGE_SHOWN_MAX).filter(|more| *more > 0) {
            writeln!(out, "damaged: {more} more")?;
        }
        let whole = self.is_whole() && !folder.marker_damaged;
        writeln!(out, "{}", if whole { "whole" } else { "not whole" })
    }

    fn json(&self, folder: &Folder) -> Value {
        let lane = |((epoch, lane), sum): (&(Epoch, Lane), &LaneSum)| {
            json!({
                "epoch": epoch.to_string(), "lane": lane.as_str(), "segments": sum.segments,
                "first": sum.first.map(|seq| seq.0), "next": sum.next.map(|seq| seq.0),
                "batches": sum.batches.records, "samples": sum.batches.samples,
                "t_min": sum.span.map(|(t_min, _)| t_min.0), "t_max": sum.span.map(|(_, t_max)| t_max.0),
            })
        };
        let drained = folder.drained.iter().map(|lane| {
            json!({
                "epoch": lane.epoch.to_string(), "lane": lane.lane.as_str(),
                "next": lane.next.0, "samples": lane.spooled,
            })
        });
        let losses: Map<String, Value> =
            self.losses.iter().map(|(reason, sum)| (reason.as_str().to_owned(), sum.json())).collect();
        json!({
            "spool": folder.place, "robot": folder.robot.as_ref().map(RobotId::as_str), "start": folder.start,
            "whole": self.is_whole() && !folder.marker_damaged, "marker_damaged": folder.marker_damaged,
            "segments": self.segments, "unsealed": self.unsealed, "bytes": self.file_bytes,
            "torn_bytes": self.torn_bytes,
            "lanes": self.lanes.iter().map(lane).collect::<Vec<_>>(), "drained": drained.collect::<Vec<_>>(),
            "damaged": { "records": self.untold().count(), "samples": self.untold().map(|(_, samples, _)| samples).sum::<u64>() }, "recorded": self.recorded.json(), "lost": losses,
            "damage": self.damage().take(DAMAGE_SHOWN_MAX).collect::<Vec<_>>(),
        })
    }
}
