//! How a partition keeps the schemas that its batches refer to, so that it is readable by itself.
//!
//! ```text
//! key    robot | 0 | schema hash, 16 bytes | part u8
//! value  at most ENTRY_BYTES_MAX bytes of the encoded schema; the first part starts with its length, u32
//! ```

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use muster_protocol::{
    id::{RobotId, SchemaHash},
    limits::BATCH_BYTES_MAX,
    schema::Schema,
};

use super::pack::ENTRY_BYTES_MAX;

/// Decoded schemas that readers asked for lately, a bounded number; the oldest goes first.
#[derive(Debug, Default)]
pub(super) struct SchemaCache {
    schemas: HashMap<(RobotId, SchemaHash), Arc<Schema>>,
    order: VecDeque<(RobotId, SchemaHash)>,
}

/// Most schemas in a [`SchemaCache`]. At a few KiB each it stays in the tens of MiB.
const CACHED_MAX: usize = 4096;

const HASH_BYTES: usize = 16;
const TOTAL_BYTES: usize = 4;

impl SchemaCache {
    pub(super) fn find(&self, robot: &RobotId, hash: SchemaHash) -> Option<Arc<Schema>> {
        self.schemas.get(&(robot.clone(), hash)).cloned()
    }

    pub(super) fn keep(&mut self, robot: &RobotId, schema: Arc<Schema>) {
        let key = (robot.clone(), schema.hash());
        if self.schemas.insert(key.clone(), schema).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > CACHED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.schemas.remove(&oldest);
        }
    }
}

/// Returns what the keys of a schema's parts start with.
pub(super) fn prefix(robot: &RobotId, hash: SchemaHash) -> Vec<u8> {
    [robot.as_str().as_bytes(), &[0], &hash.0].concat()
}

/// Returns whose and which schema a key belongs to, if it is the key of a first part.
pub(super) fn first_part(key: &[u8]) -> Option<(RobotId, SchemaHash)> {
    let (&part, key) = key.split_last()?;
    let (robot, hash) = key.split_at_checked(key.len().checked_sub(HASH_BYTES)?)?;
    let (_, robot) = robot.split_last()?;
    let robot = std::str::from_utf8(robot).ok()?.parse().ok()?;
    (part == 0).then_some((robot, SchemaHash(hash.try_into().ok()?)))
}

/// Returns the entries that hold an encoded schema.
pub(super) fn split(
    robot: &RobotId,
    hash: SchemaHash,
    encoded: &[u8],
) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    let total = u32::try_from(encoded.len()).expect("schemas are bounded by a batch").to_le_bytes();
    let value = [&total[..], encoded].concat();
    let prefix = prefix(robot, hash);
    let parts: Vec<Vec<u8>> = value.chunks(ENTRY_BYTES_MAX).map(<[u8]>::to_vec).collect();
    (0_u8..).zip(parts).map(move |(part, value)| ([&prefix[..], &[part]].concat(), value))
}

/// Joins the parts of an encoded schema; `None` if they are not whole.
pub(super) fn join<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Option<Vec<u8>> {
    let mut value = Vec::new();
    for part in parts {
        if value.len() > TOTAL_BYTES + BATCH_BYTES_MAX {
            return None;
        }
        value.extend_from_slice(part);
    }
    let (total, encoded) = value.split_at_checked(TOTAL_BYTES)?;
    let total = u32::from_le_bytes(total.try_into().ok()?);
    (usize::try_from(total) == Ok(encoded.len())).then(|| encoded.to_vec())
}

/// Decodes a stored schema; `None` if it is damaged or another than its hash says.
pub(super) fn decode(hash: SchemaHash, encoded: &Bytes) -> Option<Arc<Schema>> {
    let schema = Schema::decode(encoded).ok()?;
    (schema.hash() == hash).then(|| Arc::new(schema))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_of_any_allowed_size_round_trips_in_short_entries() {
        let robot: RobotId = "yard/r1".parse().unwrap();
        let hash = SchemaHash([9; 16]);
        for size in [0, 1, ENTRY_BYTES_MAX - 4, ENTRY_BYTES_MAX, BATCH_BYTES_MAX] {
            let encoded = vec![5; size];
            let entries: Vec<_> = split(&robot, hash, &encoded).collect();
            assert!(entries.iter().all(|(_, value)| value.len() <= ENTRY_BYTES_MAX));
            assert_eq!(first_part(&entries[0].0), Some((robot.clone(), hash)));
            assert!(entries[1..].iter().all(|(key, _)| first_part(key).is_none()));
            let parts = || entries.iter().map(|(_, value)| &value[..]);
            assert_eq!(join(parts()), Some(encoded));
            assert!(entries.len() == 1 || join(parts().skip(1)).is_none());
        }
    }
}
