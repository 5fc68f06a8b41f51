//! A spool's folder after anything has happened to its files.
//!
//! Input: choices, then files: a name in two bytes, a length in two, and the bytes. With an odd choice the check sums
//! in them are made right, and with the next bit set their records belong to their file.

use std::{collections::BTreeMap, sync::Arc};

use muster_agent::spool::{
    Entry, OpenError, ReadError, Recovered, Spool, SpoolConfig, StoredKind, fake_disk::FakeDisk,
    format::SEGMENT_RECORDS_MAX,
};
use muster_protocol::{
    id::{Epoch, Lane, Seq},
    limits::BATCH_BYTES_MAX,
    message::NumberedHead,
    time::WallTime,
};

use super::{
    columns::known_schema,
    input::{Input, put, put_crc},
};

type Files = BTreeMap<String, Vec<u8>>;

/// Opens a folder of arbitrary files, again after a power cut, and again after an orderly end.
pub fn spool(data: &[u8]) {
    let files = files(data);
    let (disk, same) = (disk_of(&files), disk_of(&files));
    let (mut spool, recovered) = match (open(&disk), open(&same)) {
        (Ok((spool, recovered)), Ok((other, again))) => {
            assert_eq!(seen(&spool, &recovered), seen(&other, &again), "the same files give the same spool");
            assert_eq!(disk.files(), same.files());
            (spool, recovered)
        }
        (Err(error), Err(_)) => {
            assert!(matches!(error, OpenError::Newer { .. } | OpenError::OtherRobot { .. }), "{error}");
            return assert_eq!(disk.files(), files, "what is not ours is left as it is");
        }
        _ => panic!("the same files are opened once and refused once"),
    };
    for loss in &recovered.losses {
        assert_eq!(loss.check(), Ok(()));
    }
    read_all(&spool);
    if spool.samples_held() > COUNTED_MAX {
        return;
    }
    after_power_cut(&same, spool.samples_held());
    append(&mut spool);
    let held = spool.samples_held();
    spool.close().expect("this disk never fails");
    let (spool, recovered) = open(&disk).expect("what was opened opens again");
    assert_eq!((recovered.torn_bytes, recovered.losses.len()), (0, 0), "all damage was told before");
    assert_eq!(spool.samples_held(), held);
}

/// What opening came to, as far as it can be compared.
fn seen(spool: &Spool, recovered: &Recovered) -> String {
    format!("{:?} {:?} {} {recovered:?}", spool.epoch(), spool.held(), spool.samples_held())
}

fn after_power_cut(disk: &FakeDisk, held: u64) {
    disk.power_cut(held);
    let (spool, recovered) = open(disk).expect("what was opened opens again");
    assert_eq!(recovered.torn_bytes, 0, "what recovery shows is synced");
    assert_eq!(spool.samples_held(), held);
}

/// Reads all that is held, and its schemas.
fn read_all(spool: &Spool) {
    let reader = spool.reader();
    for span in spool.spans() {
        let records = span.next.0.checked_sub(span.first.0).expect("a span starts before it ends");
        assert!(records <= SEGMENT_RECORDS_MAX as u64, "{span:?}");
        for seq in (span.first.0..span.next.0).map(Seq) {
            let head = NumberedHead { epoch: span.epoch, lane: span.lane, seq };
            match reader.read(head) {
                Ok(Some(stored)) => {
                    assert!(stored.payload.len() <= BATCH_BYTES_MAX);
                    if let StoredKind::Batch { schema } = stored.kind {
                        let schema = reader.schema(head, schema).expect("this disk never fails");
                        assert!(schema.is_none_or(|schema| schema.len() <= BATCH_BYTES_MAX));
                    }
                }
                Ok(None) | Err(ReadError::Corrupt { .. }) => {}
                Err(error) => panic!("this disk never fails: {error}"),
            }
        }
    }
}

/// Appends a batch, which has to be there afterwards, whatever else is.
fn append(spool: &mut Spool) {
    let (t_min, t_max) = (WallTime(1), WallTime(2));
    let schema = Arc::new(known_schema());
    let entry = Entry::Batch { bytes: b"batch"[..].into(), samples: 3, t_min, t_max, schema };
    let held = spool.samples_held();
    let seq = spool.append(Lane::Live, &entry).expect("there is room");
    assert_eq!(spool.sync().expect("this disk never fails").len(), 1);
    assert_eq!(spool.samples_held(), held + 3);
    let head = NumberedHead { epoch: spool.epoch(), lane: Lane::Live, seq };
    let stored = spool.reader().read(head).expect("it was synced").expect("it is held");
    assert_eq!((&stored.payload[..], stored.samples), (&b"batch"[..], 3));
}

fn open(disk: &FakeDisk) -> Result<(Spool, Recovered), OpenError> {
    let robot = ROBOT.parse().expect("a robot");
    let config = SpoolConfig { limit_bytes: LIMIT_BYTES, segment_bytes: 64 * 1024, robot };
    Spool::open(Arc::new(disk.clone()), config, 7)
}

fn disk_of(files: &Files) -> FakeDisk {
    let disk = FakeDisk::new();
    for (path, bytes) in files {
        disk.put(path, bytes);
    }
    disk
}

fn files(data: &[u8]) -> Files {
    let mut input = Input::new(data);
    let choice = input.byte();
    let mut files = Files::new();
    while !input.is_empty() && files.len() < FILES_MAX {
        let (which, first) = (input.byte(), input.byte());
        let length = usize::from(input.number());
        let mut bytes = input.take(length).to_vec();
        let Some(lane) = Lane::from_index(usize::from(which & 3)) else {
            let (path, crc_at) = match first & 1 {
                0 => ("SPOOL", 156),
                _ => ("DRAINED", bytes.len().saturating_sub(4)),
            };
            if choice & 1 == 1 {
                put_crc(&mut bytes, crc_at);
            }
            files.insert(path.to_owned(), bytes);
            continue;
        };
        let epoch = EPOCHS[usize::from(which >> 2) % EPOCHS.len()];
        if choice & 1 == 1 {
            mend(&mut bytes, (choice & 2 == 2).then_some((lane, epoch)));
        }
        files.insert(format!("{lane}/{epoch}-{}.seg", first_seq(first)), bytes);
    }
    files
}

/// Returns the first seq that a byte stands for: small ones, and the last that there are.
pub(super) fn first_seq(byte: u8) -> u64 {
    if byte < 0xf0 { u64::from(byte) + 1 } else { u64::MAX - u64::from(0xff - byte) }
}

/// Makes the check sums of a segment right, and its records those of the segment.
fn mend(bytes: &mut [u8], owner: Option<(Lane, Epoch)>) {
    let starts = |magic: &[u8; 4]| -> Vec<usize> {
        let windows = bytes.windows(4).enumerate();
        windows.filter(|(_, window)| window == magic).map(|(at, _)| at).collect()
    };
    let (records, trailers) = (starts(b"MREC"), starts(b"MEND"));
    // From the back, so that a body is as it stays when its check sum is made.
    for at in trailers.into_iter().rev() {
        put_crc(&mut bytes[at..], 12);
    }
    for at in records.into_iter().rev() {
        let record = &mut bytes[at..];
        let Some(length) = record.get(8..12) else { continue };
        let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]) as usize;
        if let Some((lane, epoch)) = owner {
            put(record, 5, &[u8::try_from(lane.index()).expect("three lanes")]);
            put(record, 16, &epoch.start.to_le_bytes());
            put(record, 24, &epoch.random.to_le_bytes());
        }
        if let Some(body) = record.get(96..).and_then(|rest| rest.get(..length)) {
            let crc = crc32c::crc32c(body);
            put(record, 88, &crc.to_le_bytes());
        }
        put_crc(record, 92);
    }
    put_crc(bytes, 188);
}

const ROBOT: &str = "fleet/robot";

/// Far above what one input holds.
const LIMIT_BYTES: u64 = 4 * 1024 * 1024;

/// A seal counts no further, and no segment comes near it: batches have at most 131,072 samples.
const COUNTED_MAX: u64 = u32::MAX as u64;

/// An input with more files would say nothing new.
const FILES_MAX: usize = 8;

/// The epochs that file names have: those of the fixture, and odd ones.
pub(super) const EPOCHS: [Epoch; 8] = [
    Epoch { start: 1, random: 0x0123_4567_89ab_cdef },
    Epoch { start: 2, random: 0xfedc_ba98_7654_3210 },
    Epoch { start: 2, random: 0 },
    Epoch { start: 3, random: 7 },
    Epoch { start: 4, random: 7 },
    Epoch { start: 0, random: 1 },
    Epoch { start: u64::MAX / 4, random: 1 },
    Epoch { start: u64::MAX, random: u64::MAX },
];
