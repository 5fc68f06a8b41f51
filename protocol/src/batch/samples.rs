//! The samples of a decoded batch one by one: by row, then by field.

use super::{DecodedBatch, SampleRef};

/// Walks over the samples of a batch in their order.
#[derive(Clone, Debug)]
pub struct Samples<'a> {
    batch: &'a DecodedBatch,
    /// How many rows of each group have been passed.
    passed: Vec<u32>,
    row: u32,
    field: usize,
    index: u32,
}

impl<'a> Samples<'a> {
    pub(super) fn of(batch: &'a DecodedBatch) -> Self {
        Self { batch, passed: vec![0; batch.groups.len()], row: 0, field: 0, index: 0 }
    }
}

impl<'a> Iterator for Samples<'a> {
    type Item = SampleRef<'a>;

    fn next(&mut self) -> Option<SampleRef<'a>> {
        loop {
            let number = *self.batch.order.get(self.row as usize)? as usize;
            let (group, passed) = (self.batch.groups.get(number)?, self.passed.get_mut(number)?);
            let at = *passed as usize;
            let Some(column) = group.columns.get(self.field) else {
                *passed += 1;
                self.row += 1;
                self.field = 0;
                continue;
            };
            let sample = SampleRef {
                index: self.index,
                row: self.row,
                channel: column.channel,
                t: *group.t.get(at)?,
                stamped_by: *group.stamped_by.get(at)?,
                value: column.data.get(at)?,
            };
            self.field += 1;
            self.index += 1;
            return Some(sample);
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.batch.info.samples.saturating_sub(self.index) as usize;
        (left, Some(left))
    }
}
