//! `--repair`: what an agent does that starts on the folder, and then what it would do when it came to send each record:
//! what is damaged becomes a loss record, which travels at the agent's next start.

use std::{
    io::{self, Write},
    sync::Arc,
};

use muster_protocol::{id::RobotId, loss::LossReason, message::NumberedHead};
use serde_json::json;

use crate::spool::{Spool, SpoolConfig, disk::Disk, inspect::Folder};

use super::{Failure, Form, tally::Tally};

/// What was repaired.
#[derive(Debug, Default)]
pub(super) struct Repaired {
    torn_bytes: u64,
    batches: u64,
    samples: u64,
    unreadable: Vec<String>,
}

/// Repairs a spool. It is opened without a limit, so nothing is evicted.
pub(super) fn repair(disk: &Arc<dyn Disk>) -> Result<Repaired, Failure> {
    let (robot, damaged) = survey(disk)?;
    let config = SpoolConfig { limit_bytes: u64::MAX, segment_bytes: SEGMENT_BYTES, robot };
    let random = getrandom::u64().map_err(Failure::Random)?;
    let (mut spool, recovered) = Spool::open(Arc::clone(disk), config, random)?;
    let mut repaired = Repaired {
        torn_bytes: recovered.torn_bytes,
        unreadable: recovered.unreadable,
        ..Repaired::default()
    };
    for loss in &recovered.losses {
        repaired.batches += loss.lost.len() as u64;
        repaired.samples += loss.samples();
    }
    for head in damaged {
        if let Some(gone) = spool.report_lost(head, LossReason::Corrupt)? {
            repaired.batches += 1;
            repaired.samples += gone.samples();
        }
    }
    spool.close()?;
    Ok(repaired)
}

/// Returns whose spool it is, and which records are damaged. Lets go of the lock.
fn survey(disk: &Arc<dyn Disk>) -> Result<(RobotId, Vec<NumberedHead>), Failure> {
    let folder = Folder::open(Arc::clone(disk))?;
    let mut tally = Tally::default();
    for segment in folder.segments() {
        tally.take(&segment?);
    }
    let damaged = tally.untold().map(|(head, ..)| head).collect();
    Ok((folder.robot.clone().ok_or(Failure::Nobodys)?, damaged))
}

impl Repaired {
    pub(super) fn print(&self, form: Form, out: &mut dyn Write) -> io::Result<()> {
        let Self { torn_bytes, batches, samples, unreadable } = self;
        match form {
            Form::Table => {
                writeln!(
                    out,
                    "repaired: cut {torn_bytes} torn bytes; recorded {batches} damaged batches as lost, {samples} samples"
                )?;
                unreadable.iter().try_for_each(|path| writeln!(out, "not repaired: {path} cannot be read"))
            }
            Form::Json => {
                let line = json!({ "repaired": {
                    "torn_bytes": torn_bytes, "batches": batches, "samples": samples, "unreadable": unreadable,
                } });
                writeln!(out, "{line}")
            }
        }
    }
}

/// As an agent by default.
const SEGMENT_BYTES: u64 = 4 * 1024 * 1024;
