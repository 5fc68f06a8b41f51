//! The file `uplink` of the spool folder: how many bytes this robot may have sent today and this month.
//!
//! ```text
//!   0   4  magic "MSPU"                     32   8  month: months since January 1970
//!   4   2  version                          40   8  month: bytes
//!   6   2  version, each bit inverted       48   8  month: milliseconds in which the agent ran
//!   8   8  day: days since 1970-01-01       56   4  zero
//!  16   8  day: bytes                       60   4  CRC of bytes 0..60
//!  24   8  day: milliseconds in which the agent ran
//! ```
//!
//! Little-endian; the CRC is CRC32C. Written to `uplink.new`, synced, renamed, and the folder synced. The bytes are
//! written *before* they are sent: after a crash the count may be a chunk too high, and is never too low.

use std::{io, time::Duration};

use bytes::{Buf, BufMut};

use super::period::Period;
use crate::spool::Disk;

/// What the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The day.
    pub day: Period,
    /// The month.
    pub month: Period,
}

/// Why there is no count.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The disk does not answer.
    #[error("cannot read the count of bytes sent, {path}: {source}")]
    Disk {
        /// The file.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// The bytes are no count.
    #[error("the count of bytes sent, {path}, is damaged")]
    Damaged {
        /// The file.
        path: String,
    },
    /// A newer agent wrote it.
    #[error(
        "the count of bytes sent, {path}, has version {version}, and this agent knows version {VERSION}: use the newer agent"
    )]
    Newer {
        /// The file.
        path: String,
        /// Its version.
        version: u16,
    },
}

const PATH: &str = "uplink";
const NEW_PATH: &str = "uplink.new";
const MAGIC: [u8; 4] = *b"MSPU";
const VERSION: u16 = 1;
const BYTES: usize = 64;
const CRC_AT: usize = 60;

enum Damage {
    Bytes,
    Newer(u16),
}

/// Reads the file; `None` if there is none yet.
pub fn load(disk: &dyn Disk) -> Result<Option<Record>, LedgerError> {
    let path = format!("{}/{PATH}", disk.place());
    let failed = |source| LedgerError::Disk { path: path.clone(), source };
    if !disk.list("").map_err(failed)?.iter().any(|name| name == PATH) {
        return Ok(None);
    }
    let bytes = disk.open(PATH).and_then(|file| file.read_at(0, BYTES + 1)).map_err(failed)?;
    match decode(&bytes) {
        Ok(record) => Ok(Some(record)),
        Err(Damage::Bytes) => Err(LedgerError::Damaged { path }),
        Err(Damage::Newer(version)) => Err(LedgerError::Newer { path, version }),
    }
}

/// Replaces the file. Once it returns, the record survives a power cut.
pub fn save(disk: &dyn Disk, record: &Record) -> io::Result<()> {
    // What a crash left is of no use; usually there is nothing.
    let _ = disk.remove(NEW_PATH);
    let file = disk.create(NEW_PATH)?;
    file.append(&encode(record))?;
    file.sync_data()?;
    drop(file);
    disk.rename(NEW_PATH, PATH)?;
    disk.sync_folder("")
}

fn encode(record: &Record) -> Vec<u8> {
    let mut out = Vec::with_capacity(BYTES);
    out.put_slice(&MAGIC);
    out.put_u16_le(VERSION);
    out.put_u16_le(!VERSION);
    for period in [&record.day, &record.month] {
        out.put_i64_le(period.number);
        out.put_u64_le(period.used);
        out.put_u64_le(u64::try_from(period.ran.as_millis()).unwrap_or(u64::MAX));
    }
    out.put_u32_le(0);
    out.put_u32_le(crc32c::crc32c(&out));
    out
}

fn decode(bytes: &[u8]) -> Result<Record, Damage> {
    let Some(mut head) = bytes.get(..8) else { return Err(Damage::Bytes) };
    let magic = head.copy_to_bytes(4);
    let (version, inverted) = (head.get_u16_le(), head.get_u16_le());
    if magic != MAGIC[..] || version != !inverted {
        return Err(Damage::Bytes);
    }
    if version > VERSION {
        return Err(Damage::Newer(version));
    }
    let Ok(bytes) = <&[u8; BYTES]>::try_from(bytes) else { return Err(Damage::Bytes) };
    let (content, mut crc) = bytes.split_at(CRC_AT);
    if crc.get_u32_le() != crc32c::crc32c(content) {
        return Err(Damage::Bytes);
    }
    let (_, mut content) = content.split_at(8);
    let mut period = || Period {
        number: content.get_i64_le(),
        used: content.get_u64_le(),
        ran: Duration::from_millis(content.get_u64_le()),
    };
    Ok(Record { day: period(), month: period() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::spool::RealDisk;

    const RECORD: Record = Record {
        day: Period { number: 20_780, used: 123, ran: Duration::from_millis(7) },
        month: Period { number: 682, used: 456_789, ran: Duration::from_secs(9) },
    };

    #[test]
    fn the_bytes_are_the_documented_ones() {
        let bytes = encode(&RECORD);
        assert_eq!(bytes.len(), BYTES);
        assert_eq!(bytes[..12], [b'M', b'S', b'P', b'U', 1, 0, 254, 255, 0x2c, 0x51, 0, 0]);
        assert_eq!((bytes[16], bytes[24], bytes[32..34].to_vec()), (123, 7, vec![0xaa, 2]));
    }

    #[test]
    fn what_was_saved_is_loaded_and_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let disk = RealDisk::new(folder.path());
        assert!(load(&disk).unwrap().is_none());
        save(&disk, &RECORD).unwrap();
        std::fs::write(folder.path().join(NEW_PATH), "left by a crash").unwrap();
        let later = Record { day: Period { used: 500, ..RECORD.day }, ..RECORD };
        save(&disk, &later).unwrap();
        assert_eq!(load(&disk).unwrap(), Some(later));
        assert_eq!(disk.list("").unwrap(), [PATH]);
    }

    #[test]
    fn damage_and_newer_versions_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let disk = RealDisk::new(folder.path());
        let write = |bytes: &[u8]| std::fs::write(folder.path().join(PATH), bytes).unwrap();
        let mut bytes = encode(&RECORD);
        bytes[20] ^= 1;
        write(&bytes);
        assert!(matches!(load(&disk), Err(LedgerError::Damaged { .. })));
        write(&[]);
        assert!(matches!(load(&disk), Err(LedgerError::Damaged { .. })));
        write(&[b'M', b'S', b'P', b'U', 2, 0, 253, 255, 1, 2, 3]);
        assert!(matches!(load(&disk), Err(LedgerError::Newer { version: 2, .. })));
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_what_was_encoded_comes_back(bytes: Vec<u8>, number: i64, used: u64, ran: u32) {
            let _ = decode(&bytes);
            let day = Period { number, used, ran: Duration::from_millis(ran.into()) };
            let record = Record { day, month: day };
            prop_assert!(matches!(decode(&encode(&record)), Ok(again) if again == record));
        }
    }
}
