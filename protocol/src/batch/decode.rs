//! Bytes to columns. Every count is checked against its limit and against the head before anything is allocated for
//! it: the samples that the head announces, at most [`BATCH_SAMPLES_MAX`](crate::limits::BATCH_SAMPLES_MAX), bound
//! all columns together.

use super::{BatchError, BatchInfo, Column, DecodedBatch, Group, head, packed};
use crate::{
    column::{self, reader::Reader},
    limits::{BATCH_BYTES_MAX, BATCH_GROUPS_MAX, BATCH_RAW_BYTES_MAX},
    sample::StampedBy,
    schema::Schema,
    time::WallTime,
};

/// Reads the head of an encoded batch. The body is not looked at.
pub fn peek(bytes: &[u8]) -> Result<BatchInfo, BatchError> {
    check_length(bytes)?;
    head::decode(&mut Reader::new(bytes))
}

/// Decodes a batch with the schema that its head names.
pub fn decode(bytes: &[u8], schema: &Schema) -> Result<DecodedBatch, BatchError> {
    check_length(bytes)?;
    let mut reader = Reader::new(bytes);
    let info = head::decode(&mut reader)?;
    if info.schema != schema.hash() {
        return Err(BatchError::WrongSchema { needed: info.schema, given: schema.hash() });
    }
    let body = packed::unpack(&mut reader, BATCH_RAW_BYTES_MAX)?;
    reader.finish()?;
    let mut body =
        Body { reader: Reader::new(&body), channels: schema.channels().len(), samples_left: info.samples };
    let (order, rows_of) = body.order(info.rows as usize)?;
    let groups = rows_of.into_iter().map(|rows| body.group(rows)).collect::<Result<Vec<_>, _>>()?;
    body.reader.finish()?;
    if body.samples_left > 0 {
        return Err(BatchError::WrongSamples { announced: info.samples });
    }
    check_times(&info, &groups)?;
    Ok(DecodedBatch { info, groups, order })
}

/// A body while it is read.
struct Body<'a> {
    reader: Reader<'a>,
    /// Channels of the schema.
    channels: usize,
    /// Samples that the head announces and no group has had yet.
    samples_left: u32,
}

impl Body<'_> {
    /// Reads the group of each row, and returns it with the rows of each group.
    fn order(&mut self, rows: usize) -> Result<(Vec<u32>, Vec<Vec<u32>>), BatchError> {
        let groups = self.reader.count("groups", BATCH_GROUPS_MAX)?;
        let places = column::decode_ints(&mut self.reader, rows).map_err(|why| BatchError::Order { why })?;
        let mut rows_of: Vec<Vec<u32>> = Vec::with_capacity(groups);
        let mut order = Vec::with_capacity(rows);
        for (row, place) in (0..).zip(places) {
            let group = usize::try_from(place).ok().filter(|group| *group < groups);
            let group = group.ok_or(BatchError::NoSuchGroup { group: place, groups })?;
            if group == rows_of.len() {
                rows_of.push(Vec::new());
            }
            rows_of.get_mut(group).ok_or(BatchError::GroupOrder { row })?.push(row);
            order.push(u32::try_from(group).expect("groups are bounded"));
        }
        if rows_of.len() < groups {
            return Err(BatchError::EmptyGroup { group: rows_of.len() });
        }
        Ok((order, rows_of))
    }

    fn group(&mut self, row: Vec<u32>) -> Result<Group, BatchError> {
        let channels = self.shape(row.len())?;
        let rows = row.len();
        let of_group = |why| BatchError::GroupColumn { why };
        let t = column::decode_ints(&mut self.reader, rows).map_err(of_group)?;
        let by_input = column::decode_bools(&mut self.reader, rows).map_err(of_group)?;
        let stamped = |by_input| if by_input { StampedBy::Input } else { StampedBy::Agent };
        let column = |channel| {
            let data = column::decode(&mut self.reader, rows);
            Ok(Column { channel, data: data.map_err(|why| BatchError::Column { channel, why })? })
        };
        let columns = channels.into_iter().map(column).collect::<Result<_, BatchError>>()?;
        Ok(Group {
            t: t.into_iter().map(WallTime).collect(),
            stamped_by: by_input.into_iter().map(stamped).collect(),
            row,
            columns,
        })
    }

    /// Reads the channels of a group of this many rows, and takes its samples from what the head announces.
    fn shape(&mut self, rows: usize) -> Result<Vec<u32>, BatchError> {
        let fields_max = self.samples_left as usize / rows;
        let fields = self.reader.count("fields of a group", fields_max)?;
        if fields == 0 {
            return Err(BatchError::NoFields);
        }
        self.samples_left -= u32::try_from(fields * rows).expect("at most the samples left");
        let mut channels = Vec::with_capacity(fields);
        let mut expected = 0_i64;
        for _ in 0..fields {
            let found = expected.saturating_add(self.reader.signed_varint()?);
            let known = u32::try_from(found).ok().filter(|channel| (*channel as usize) < self.channels);
            channels
                .push(known.ok_or(BatchError::NoSuchChannel { channel: found, channels: self.channels })?);
            expected = found + 1;
        }
        Ok(channels)
    }
}

fn check_length(bytes: &[u8]) -> Result<(), BatchError> {
    if bytes.len() > BATCH_BYTES_MAX { Err(BatchError::TooLong { bytes: bytes.len() }) } else { Ok(()) }
}

/// Checks that an index built from the head does not lie.
fn check_times(info: &BatchInfo, groups: &[Group]) -> Result<(), BatchError> {
    let times = || groups.iter().flat_map(|group| group.t.iter().copied());
    let right = times().min() == Some(info.t_min) && times().max() == Some(info.t_max);
    if right { Ok(()) } else { Err(BatchError::WrongTimes) }
}
