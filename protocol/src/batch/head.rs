//! The head of an encoded batch: what an index and an operator need, readable without decompressing anything.
//!
//! ```text
//!   version u8 | schema hash 16 bytes | rows varint | samples varint | t_min i64 | t_max - t_min varint
//!     | boot u64 | mono varint | wall i64 | flags u8: bit 0 is synchronised
//! ```

use super::{BatchError, BatchInfo};
use crate::{
    column::reader::{Reader, put_count, put_varint},
    id::SchemaHash,
    limits::{BATCH_ROWS_MAX, BATCH_SAMPLES_MAX},
    message::Clock,
    time::{MonoTime, WallTime},
};

/// The version of the batch format that this crate writes.
pub const BATCH_VERSION: u8 = 1;

pub(super) fn encode(info: &BatchInfo, out: &mut Vec<u8>) {
    out.push(BATCH_VERSION);
    out.extend(info.schema.0);
    put_count(out, info.rows as usize);
    put_count(out, info.samples as usize);
    out.extend(info.t_min.0.to_le_bytes());
    put_varint(out, info.t_max.0.wrapping_sub(info.t_min.0).cast_unsigned());
    out.extend(info.clock.boot.to_le_bytes());
    put_varint(out, info.clock.mono.0);
    out.extend(info.clock.wall.0.to_le_bytes());
    out.push(u8::from(info.clock.synchronised));
}

pub(super) fn decode(reader: &mut Reader<'_>) -> Result<BatchInfo, BatchError> {
    let version = reader.byte()?;
    if version != BATCH_VERSION {
        return Err(BatchError::UnknownVersion { found: version });
    }
    let schema = SchemaHash(reader.array()?);
    let rows = reader.count("rows", BATCH_ROWS_MAX)?;
    let samples = reader.count("samples", BATCH_SAMPLES_MAX)?;
    if rows == 0 || samples < rows {
        return Err(BatchError::NoSamples { rows, samples });
    }
    let t_min = i64::from_le_bytes(reader.array()?);
    let t_max = t_min.checked_add_unsigned(reader.varint()?).ok_or(BatchError::WrongTimes)?;
    let boot = u64::from_le_bytes(reader.array()?);
    let mono = MonoTime(reader.varint()?);
    let wall = WallTime(i64::from_le_bytes(reader.array()?));
    let flags = reader.byte()?;
    if flags & !SYNCHRONISED != 0 {
        return Err(BatchError::UnknownFlags { found: flags });
    }
    let clock = Clock { boot, mono, wall, synchronised: flags == SYNCHRONISED };
    let count = |count| u32::try_from(count).expect("limits are far below 2^32");
    Ok(BatchInfo {
        schema,
        rows: count(rows),
        samples: count(samples),
        t_min: WallTime(t_min),
        t_max: WallTime(t_max),
        clock,
    })
}

const SYNCHRONISED: u8 = 1;
