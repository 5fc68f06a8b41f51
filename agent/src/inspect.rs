//! `muster-agent spool check|list|cat DIR`: looks into a spool that no agent has open, or into a copy of one.
//!
//! It reads every byte, checks every CRC, and changes nothing, unless it is told to repair: then it does what an agent
//! does that starts on the folder, and gives up besides what it found damaged in the middle.
//!
//! Exit codes: 0 everything is whole; 1 failed; 2 wrong usage; 3 something is damaged or lost, and was said.

mod cat;
mod list;
mod repair;
mod tally;

use std::{
    io::{self, BufWriter, Write},
    path::PathBuf,
    sync::Arc,
};

use crate::spool::{
    OpenError, RealDisk, SpoolFault,
    disk::Disk,
    inspect::{Folder, InspectError},
};

use self::{list::Listing, tally::Tally};

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// What to print.
    pub view: View,
    /// The spool's folder.
    pub folder: PathBuf,
    /// Whether to repair first.
    pub repair: bool,
}

/// What to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// What is there, what is damaged and what was lost, in sum.
    Check(Form),
    /// One line for each segment, or for each record.
    List(Form, Each),
    /// Every sample as NDJSON.
    Cat,
}

/// For whom to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Table,
    /// For machines: JSON objects, one a line.
    Json,
}

/// What gets a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Each {
    /// A segment.
    Segment,
    /// A record.
    Record,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Everything is whole, and nothing was lost.
    Whole,
    /// Something is damaged, or a loss record tells of something.
    Damaged,
}

/// Why a spool could not be inspected.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It could not be read.
    #[error(transparent)]
    Read(#[from] InspectError),
    /// It could not be opened to be repaired.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The repair could not be written.
    #[error(transparent)]
    Repair(#[from] SpoolFault),
    /// Nothing says whose spool it is.
    #[error("neither the marker nor a segment says whose spool this is; start its agent on it instead")]
    Nobodys,
    /// The system gave no random number.
    #[error("the system gives no random bytes: {0}")]
    Random(getrandom::Error),
    /// What was found could not be printed.
    #[error("cannot write to standard output: {0}")]
    Print(#[from] io::Error),
}

/// Inspects, and prints to `out`.
pub fn run(inspection: &Inspection, out: &mut dyn Write) -> Result<Finding, Failure> {
    inspect(inspection, Arc::new(RealDisk::new(&inspection.folder)), out)
}

/// The same on any disk.
fn inspect(inspection: &Inspection, disk: Arc<dyn Disk>, out: &mut dyn Write) -> Result<Finding, Failure> {
    let mut out = BufWriter::new(out);
    if inspection.repair {
        let repaired = repair::repair(&disk)?;
        if let View::Check(form) = inspection.view {
            repaired.print(form, &mut out)?;
        }
    }
    let folder = Folder::open(disk)?;
    let mut tally = Tally::default();
    let listing = Listing::new(inspection.view);
    let mut printer = cat::Printer::default();
    listing.begin(&mut out)?;
    for segment in folder.segments() {
        let segment = segment?;
        tally.take(&segment);
        match inspection.view {
            View::Check(_) => {}
            View::List(..) => listing.take(&segment, &mut out)?,
            View::Cat => tally.unprinted += printer.print(&segment, &mut out)?,
        }
    }
    if let View::Check(form) = inspection.view {
        tally.print(&folder, form, &mut out)?;
    }
    out.flush()?;
    Ok(if tally.is_whole() && !folder.marker_damaged { Finding::Whole } else { Finding::Damaged })
}

#[cfg(test)]
mod tests;
