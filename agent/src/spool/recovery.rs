//! What happens when a spool is opened: survey, then recover. The agent always starts, whatever the bytes say; only a
//! folder that belongs to someone else (another agent, a newer program, another robot) stops it, untouched.
//!
//! Opening reads little: of a sealed segment the header and the end. Only segments without a seal (the last ones of a
//! run that was killed) are scanned whole, cut and sealed. Damage inside sealed segments is found when their records
//! are read, at the latest before they are sent, and reported then; the whole backlog is never read for it at start.

use std::{io, sync::Arc};

use muster_protocol::{
    id::{Epoch, Lane, RobotId, Seq},
    loss::{Loss, LossReason},
    session::ranges::RangeSet,
};

use super::{
    catalog::Shared,
    disk::{Disk, DiskFile},
    error::OpenError,
    format::{
        SEGMENT_FILE_BYTES_MAX, SEGMENT_HEADER_BYTES, SPOOL_VERSION, SegmentName, Version, segment_version,
    },
    index::{Index, IndexEntry, Standing},
    losses::losses_of,
    marker::{self, MARKER_PATH, MarkerRead},
    seal::encode_seal,
    segment::{Loaded, Seal, Segment, read_seal, scan_file},
};

/// What a look at the folder found; nothing was changed.
pub(super) struct Survey {
    /// The greatest start counter so far.
    pub(super) start: u64,
    /// Segments, oldest first in each lane.
    names: Vec<SegmentName>,
}

/// What recovering the segments found.
#[derive(Default)]
pub(super) struct Recovery {
    /// Damage that was found, to be recorded in the new epoch.
    pub(super) losses: Vec<Loss>,
    pub(super) torn_bytes: u64,
    pub(super) unreadable: Vec<String>,
    unsealed: Vec<Unsealed>,
}

/// A segment that was scanned and cut, to be sealed once its losses are recorded.
struct Unsealed {
    name: SegmentName,
    file: Arc<dyn DiskFile>,
    index: Index,
    end: u64,
}

/// Looks at marker and segments and refuses what is not ours to open.
pub(super) fn survey(disk: &dyn Disk, robot: &RobotId) -> Result<Survey, OpenError> {
    let failed = |action: String| move |source| OpenError::Io { place: disk.place(), action, source };
    let newer =
        |file: String, found| OpenError::Newer { place: disk.place(), file, found, known: SPOOL_VERSION };
    let marker = marker::read(disk).map_err(failed("read the marker".to_owned()))?;
    if let MarkerRead::Newer(found) = marker {
        return Err(newer(MARKER_PATH.to_owned(), found));
    }
    let mut names = Vec::new();
    for lane in Lane::ALL {
        let files = disk.list(lane.as_str()).map_err(failed(format!("list folder {lane}")))?;
        names.extend(files.iter().filter_map(|file| SegmentName::parse(lane, file)));
    }
    names.sort_unstable();
    for name in &names {
        // What cannot be read is not known to be newer; recovery will name it.
        let head = disk
            .open(&name.path())
            .and_then(|file| file.read_at(0, SEGMENT_HEADER_BYTES))
            .unwrap_or_default();
        if let Version::Newer(found) = segment_version(&head) {
            return Err(newer(name.path(), found));
        }
    }
    let mut start = names.iter().map(|name| name.epoch.start).max().unwrap_or(0);
    if let MarkerRead::Found(marker) = marker {
        if marker.robot != *robot && !names.is_empty() {
            return Err(OpenError::OtherRobot {
                place: disk.place(),
                found: marker.robot,
                given: robot.clone(),
            });
        }
        start = start.max(marker.start);
    }
    Ok(Survey { start, names })
}

impl Survey {
    /// Takes each segment into the catalog. Afterwards everything that the catalog shows is synced.
    pub(super) fn recover(&self, shared: &Shared) -> io::Result<Recovery> {
        let mut recovery = Recovery::default();
        for name in &self.names {
            if recovery.take(shared, *name).is_err() {
                recovery.unreadable.push(name.path());
            }
        }
        for lane in Lane::ALL {
            shared.disk.sync_folder(lane.as_str())?;
        }
        Ok(recovery)
    }
}

impl Recovery {
    fn take(&mut self, shared: &Shared, name: SegmentName) -> io::Result<()> {
        let file = shared.disk.open(&name.path())?;
        match read_seal(file.as_ref(), name)? {
            Some(seal) => take_sealed(shared, name, file.bytes()?, &seal),
            None => self.take_unsealed(shared, name, file),
        }
    }

    fn take_unsealed(
        &mut self,
        shared: &Shared,
        name: SegmentName,
        file: Arc<dyn DiskFile>,
    ) -> io::Result<()> {
        let file_bytes = file.bytes()?;
        if file_bytes > SEGMENT_FILE_BYTES_MAX {
            return Err(io::Error::other("larger than any segment"));
        }
        let scan = scan_file(file.as_ref(), name, None)?;
        self.torn_bytes += file_bytes - scan.end;
        if scan.index.entries.is_empty() {
            return shared.disk.remove(&name.path());
        }
        if scan.end < file_bytes {
            file.truncate(scan.end)?;
        }
        file.sync_data()?;
        let lost = lost_in(&scan.index);
        self.losses.extend(losses_of(name.lane, name.epoch, &lost, LossReason::Corrupt));
        let mut segment = segment_of(shared, name, scan.end, &scan.index);
        segment.live = Some(Loaded { file: Arc::clone(&file), index: scan.index.clone() });
        shared.catalog().insert(segment);
        self.unsealed.push(Unsealed { name, file, index: scan.index, end: scan.end });
        Ok(())
    }

    /// Seals what was scanned, after the losses in it were recorded and synced: next time it opens at a glance.
    pub(super) fn seal(&mut self, shared: &Shared) -> io::Result<()> {
        for Unsealed { name, file, index, end } in self.unsealed.drain(..) {
            let seal = encode_seal(name, &index, end);
            file.append(&seal)?;
            file.sync_data()?;
            let mut catalog = shared.catalog();
            catalog.grew(name, seal.len() as u64);
            if let Some(segment) = catalog.segments.get_mut(&name) {
                segment.live = None;
            }
        }
        Ok(())
    }
}

fn take_sealed(shared: &Shared, name: SegmentName, file_bytes: u64, seal: &Seal) -> io::Result<()> {
    let header = &seal.header;
    if header.running > 0 {
        let loaded = Loaded::open(shared.disk.as_ref(), name)?;
        let segment = segment_of(shared, name, file_bytes, &loaded.index);
        shared.catalog().insert(segment);
        return Ok(());
    }
    let mut segment = segment_of(shared, name, file_bytes, &Index::new(name.first));
    segment.next = header.seq;
    segment.samples = u64::from(header.samples);
    segment.span =
        (header.samples > 0 && header.t_min <= header.t_max).then_some((header.t_min, header.t_max));
    shared.catalog().insert(segment);
    Ok(())
}

/// Sums up a segment; what damage took of it counts as released, because a loss record has it or is about to.
fn segment_of(shared: &Shared, name: SegmentName, file_bytes: u64, index: &Index) -> Segment {
    let mut released = RangeSet::default();
    for (seq, _) in lost_in(index) {
        released.insert(seq);
    }
    Segment {
        id: shared.catalog().next_id(),
        name,
        next: index.next(),
        file_bytes,
        samples: index.samples(),
        span: index.span(),
        released,
        released_samples: 0,
        live: None,
    }
}

fn lost_in(index: &Index) -> Vec<(Seq, IndexEntry)> {
    index
        .seqs()
        .filter(|(_, entry)| entry.standing == Standing::Lost)
        .map(|(seq, entry)| (seq, *entry))
        .collect()
}

/// Returns the epoch of this run: its start counter is above all that the spool has seen.
pub(super) fn next_epoch(survey: &Survey, random: u64) -> Epoch {
    Epoch { start: survey.start + 1, random }
}
