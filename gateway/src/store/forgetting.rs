//! What the log does not know that it lacks: after damage to records that no manifest lists, and after a restore from
//! a backup, robots may have released what it does not have. Each such moment is noted, so that what robots say later
//! gets its reason.
//!
//! ```text
//! DATA/store.forgot       a line each: "quarantined OFFSET", "restored OFFSET"; the offset is where the log went on
//! ```

use std::{io, path::Path};

use muster_protocol::{id::Offset, loss::AbsenceReason};

use super::disk::{Disk, read_if_there, replace};

/// Whether robots may have released what the log does not have and has no loss record of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Forgetting {
    /// Nothing that was ever committed is missing without a record of it.
    #[default]
    None,
    /// The log was restored from a backup. What came after that is gone.
    Restored {
        /// Where the log went on.
        since: Offset,
    },
    /// Records were damaged that nothing else lists.
    Quarantined {
        /// Where the log went on.
        since: Offset,
    },
}

/// Most moments that are kept. Only the last one is asked for; the others are for people.
const LINES_MAX: usize = 64;

const FILE: &str = "store.forgot";

impl Forgetting {
    /// Returns the last moment that a data folder notes.
    pub(super) fn read(root: &Path) -> io::Result<Self> {
        let bytes = read_if_there(&root.join(FILE))?.unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Ok(text.lines().rev().find_map(parse).unwrap_or_default())
    }

    /// Returns why this log may lack what a robot had released to it. Without a note the whole disk may have been
    /// put back to an earlier state.
    pub fn absence_reason(self) -> AbsenceReason {
        match self {
            Self::None | Self::Restored { .. } => AbsenceReason::Restored,
            Self::Quarantined { .. } => AbsenceReason::Quarantined,
        }
    }

    /// Adds a moment to those that a data folder notes, durably.
    pub(super) fn note(self, disk: &dyn Disk, root: &Path) -> io::Result<()> {
        let path = root.join(FILE);
        let before = read_if_there(&path)?.unwrap_or_default();
        let before = String::from_utf8_lossy(&before).into_owned();
        let line = match self {
            Self::None => return Ok(()),
            Self::Restored { since } => format!("restored {since}"),
            Self::Quarantined { since } => format!("quarantined {since}"),
        };
        let mut lines: Vec<&str> = before.lines().filter(|other| *other != line).collect();
        lines.push(&line);
        let kept = &lines[lines.len().saturating_sub(LINES_MAX)..];
        replace(disk, &path, format!("{}\n", kept.join("\n")).as_bytes())
    }
}

fn parse(line: &str) -> Option<Forgetting> {
    let (word, offset) = line.split_once(' ')?;
    let since = Offset(offset.trim().parse().ok()?);
    match word {
        "restored" => Some(Forgetting::Restored { since }),
        "quarantined" => Some(Forgetting::Quarantined { since }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::OsDisk;

    #[test]
    fn the_last_moment_counts_and_they_are_bounded() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(Forgetting::read(root.path()).unwrap(), Forgetting::None);
        Forgetting::Restored { since: Offset(7) }.note(&OsDisk, root.path()).unwrap();
        for since in 10..200 {
            Forgetting::Quarantined { since: Offset(since) }.note(&OsDisk, root.path()).unwrap();
        }
        let last = Forgetting::Quarantined { since: Offset(199) };
        assert_eq!(Forgetting::read(root.path()).unwrap(), last);
        assert_eq!(std::fs::read_to_string(root.path().join(FILE)).unwrap().lines().count(), LINES_MAX);
        Forgetting::Restored { since: Offset(300) }.note(&OsDisk, root.path()).unwrap();
        assert_eq!(Forgetting::read(root.path()).unwrap(), Forgetting::Restored { since: Offset(300) });
    }
}
