//! What happens when a spool is opened: survey, look, then mend. The agent always starts, whatever the bytes say; only
//! a folder that belongs to someone else (another agent, a newer program, another robot) stops it, untouched.
//!
//! Opening reads little: of a sealed segment the header and the end. Only segments without a seal (the last ones of a
//! run that was killed) are scanned whole, cut and sealed. Damage inside sealed segments is found when their records
//! are read, at the latest before they are sent, and reported then; the whole backlog is never read for it at start.
//!
//! Survey and look write nothing, so a disk that refuses every write still shows what it holds.

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
        RECORD_HEADER_BYTES, SEGMENT_FILE_BYTES_MAX, SEGMENT_HEADER_BYTES, SPOOL_VERSION, SegmentName,
        Version, decode_record_header, decode_segment_header, segment_version,
    },
    index::{Index, IndexEntry, Standing},
    losses::losses_of,
    marker::{self, MARKER_PATH, MarkerRead},
    scan::Scan,
    seal::encode_seal,
    segment::{Loaded, Seal, Segment, SegmentId, read_index, read_seal, scan_file},
};

/// What a look at the folder found; nothing was changed.
#[derive(Default)]
pub(super) struct Survey {
    /// The greatest start counter so far.
    pub(super) start: u64,
    /// Segments, oldest first in each lane.
    segments: Vec<Surveyed>,
}

/// A segment file.
struct Surveyed {
    name: SegmentName,
    /// Samples before it, as its header says; `None` if the header is damaged or cannot be read.
    before: Option<u64>,
}

/// What a look at the segments found.
#[derive(Default)]
pub(super) struct Recovery {
    /// Damage that was found, to be recorded in the new epoch.
    pub(super) losses: Vec<Loss>,
    pub(super) torn_bytes: u64,
    pub(super) unreadable: Vec<String>,
    /// The segments that were found.
    pub(super) found: Vec<SegmentId>,
}

/// Refuses a gateway's data folder, before anything is made in it.
pub(super) fn refuse_data_folder(disk: &dyn Disk) -> Result<(), OpenError> {
    // What cannot be listed is found out by the next step, with its own words.
    let names = disk.list("").unwrap_or_default();
    if names.iter().any(|name| name == DATA_FOLDER_FILE) {
        return Err(OpenError::DataFolder { place: disk.place() });
    }
    Ok(())
}

/// The file by which a gateway's data folder is known (PROTOCOL.md#store).
const DATA_FOLDER_FILE: &str = "store.version";

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
    let mut segments = Vec::with_capacity(names.len());
    for name in names {
        // What cannot be read is not known to be newer; recovery will name it.
        let head = disk
            .open(&name.path())
            .and_then(|file| file.read_at(0, SEGMENT_HEADER_BYTES))
            .unwrap_or_default();
        if let Version::Newer(found) = segment_version(&head) {
            return Err(newer(name.path(), found));
        }
        segments.push(Surveyed { name, before: decode_segment_header(&head, name) });
    }
    let mut start = segments.iter().map(|segment| segment.name.epoch.start).max().unwrap_or(0);
    if let MarkerRead::Found(marker) = marker {
        if marker.robot != *robot && !segments.is_empty() {
            return Err(OpenError::OtherRobot {
                place: disk.place(),
                found: marker.robot,
                given: robot.clone(),
            });
        }
        start = start.max(marker.start);
    }
    Ok(Survey { start, segments })
}

impl Survey {
    /// Takes each segment into the catalog that is not there yet, as it stands.
    pub(super) fn look(&self, shared: &Shared) -> Recovery {
        let mut recovery = Recovery::default();
        for surveyed in &self.segments {
            let known = shared.catalog().segments.contains_key(&surveyed.name);
            if !known && recovery.take(shared, surveyed).is_err() {
                shared.catalog().unreadable.insert(surveyed.name);
                recovery.unreadable.push(surveyed.name.path());
            }
        }
        recovery
    }
}

impl Recovery {
    fn take(&mut self, shared: &Shared, surveyed: &Surveyed) -> io::Result<()> {
        let name = surveyed.name;
        let file = shared.disk.open(&name.path())?;
        let seal = read_seal(file.as_ref(), name)?;
        let mut segment = match &seal {
            Some(seal) => self.sealed(shared, name, &file, seal)?,
            None => self.unsealed(shared, name, &file)?,
        };
        segment.before = match surveyed.before {
            Some(before) => before,
            None => before_of(shared, name, file.as_ref())?,
        };
        self.found.push(segment.id);
        let mut catalog = shared.catalog();
        catalog.unreadable.remove(&name);
        catalog.insert(segment);
        Ok(())
    }

    fn sealed(
        &mut self,
        shared: &Shared,
        name: SegmentName,
        file: &Arc<dyn DiskFile>,
        seal: &Seal,
    ) -> io::Result<Segment> {
        let (header, file_bytes) = (&seal.header, file.bytes()?);
        if header.running > 0 {
            if let Some(index) = read_index(file.as_ref(), name, seal)? {
                return Ok(segment_of(shared, name, file_bytes, &index));
            }
            // With the index went which seqs a loss record lists already: all that cannot be read are listed again.
            let scan = scan_file(file.as_ref(), name, Some(seal))?;
            return Ok(self.scanned(shared, name, file, scan));
        }
        let mut segment = segment_of(shared, name, file_bytes, &Index::new(name.first));
        segment.next = header.seq;
        segment.samples = u64::from(header.samples);
        segment.spooled = segment.samples;
        segment.span =
            (header.samples > 0 && header.t_min <= header.t_max).then_some((header.t_min, header.t_max));
        Ok(segment)
    }

    fn unsealed(
        &mut self,
        shared: &Shared,
        name: SegmentName,
        file: &Arc<dyn DiskFile>,
    ) -> io::Result<Segment> {
        let file_bytes = file.bytes()?;
        if file_bytes > SEGMENT_FILE_BYTES_MAX {
            return Err(io::Error::other("larger than any segment"));
        }
        let scan = scan_file(file.as_ref(), name, None)?;
        self.torn_bytes += file_bytes - scan.end;
        Ok(self.scanned(shared, name, file, scan))
    }

    /// Takes a segment whose records were read one by one; it is to be sealed anew.
    fn scanned(
        &mut self,
        shared: &Shared,
        name: SegmentName,
        file: &Arc<dyn DiskFile>,
        mut scan: Scan,
    ) -> Segment {
        if let Some(before) = spooled_before(shared, name) {
            scan.count_from(before);
        }
        let lost = lost_in(&scan.index);
        self.losses.extend(losses_of(name.lane, name.epoch, &lost, LossReason::Corrupt));
        let mut segment = segment_of(shared, name, scan.end, &scan.index);
        segment.live = Some(Loaded { file: Arc::clone(file), index: scan.index });
        segment
    }
}

/// Cuts what follows the records of a segment that has no writer any more, syncs it and seals it, if it is not: next time
/// it opens at a glance. To be called after the losses in it were recorded and synced.
///
/// The file is opened anew: on the descriptor of a write that failed nothing is tried again.
pub(super) fn mend(shared: &Shared, name: SegmentName) -> io::Result<()> {
    let live = shared.catalog().segments.get(&name).and_then(|segment| segment.live.clone());
    let file = shared.disk.open(&name.path())?;
    let Some(Loaded { index, .. }) = live else { return file.sync_data() };
    let (file_bytes, end) = (file.bytes()?, index.end());
    if end < file_bytes {
        file.truncate(end)?;
    }
    // First what is held, then the seal: a seal promises that all before it is whole.
    file.sync_data()?;
    let end = end.min(file_bytes);
    let seal = encode_seal(name, &index, end);
    file.append(&seal)?;
    file.sync_data()?;
    shared.catalog().sealed(name, end + seal.len() as u64);
    Ok(())
}

/// Finds out how many samples the lane had before a segment whose header is damaged: its first record repeats it, and
/// so does the end of the segment before it.
fn before_of(shared: &Shared, name: SegmentName, file: &dyn DiskFile) -> io::Result<u64> {
    let first = file.read_at(SEGMENT_HEADER_BYTES as u64, RECORD_HEADER_BYTES)?;
    if let Some(header) = decode_record_header(&first, name).filter(|header| header.seq == name.first) {
        return Ok(header.running);
    }
    let catalog = shared.catalog();
    let earlier = catalog.of(name.lane, name.epoch).rfind(|segment| segment.name.first < name.first);
    Ok(earlier.map_or(0, Segment::spooled_until))
}

/// Returns how many samples the lane had before a segment, if the one that ended where it begins is still there.
fn spooled_before(shared: &Shared, name: SegmentName) -> Option<u64> {
    let catalog = shared.catalog();
    let earlier = catalog.of(name.lane, name.epoch).rfind(|segment| segment.name.first < name.first)?;
    (earlier.next == name.first).then(|| earlier.spooled_until())
}

/// Sums up a segment; what damage took of it counts as released, because a loss record has it or is about to.
fn segment_of(shared: &Shared, name: SegmentName, file_bytes: u64, index: &Index) -> Segment {
    let mut released = RangeSet::default();
    for (seq, _) in lost_in(index) {
        released.insert(seq);
    }
    Segment {
        id: shared.next_id(),
        name,
        next: index.next(),
        file_bytes,
        before: 0,
        spooled: index.spooled(),
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

/// Returns the epoch of a run on the disk: its start counter is above all that was seen. Disks count odd starts, and
/// memory the even ones between, so that an epoch in memory, of which no disk knows, is still older than the next.
pub(super) fn epoch_on_disk(above: u64, random: u64) -> Epoch {
    Epoch { start: (above + 1) | 1, random }
}

/// Returns the epoch of a run in memory, after one on the disk.
pub(super) fn epoch_in_memory(above: u64, random: u64) -> Epoch {
    Epoch { start: (above + 1) & !1, random }
}
