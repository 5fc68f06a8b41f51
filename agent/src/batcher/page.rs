//! A page: one growing schema with the one batch that is open on it. Pure.
//!
//! A robot with few channels has one page per lane for its whole life. One whose channels outgrow a schema, or change
//! their units, turns to new pages; rows whose channels are all on an older page still go there.

use std::sync::Arc;

use muster_protocol::{
    batch::{BatchBuilder, RowError},
    id::ChannelName,
    sample::{Row, Value},
    schema::{Schema, SchemaBuilder, SchemaFull},
    time::MonoTime,
};

use super::{Declarations, Stamped};

/// Rows of one origin that follow each other in a batch: the origin, and how many rows.
pub type Run<O> = (O, u32);

/// A schema that grows, and the batch that is open on it.
#[derive(Debug)]
pub(super) struct Page<O> {
    schema: SchemaBuilder,
    /// The unit of each channel, by index.
    units: Vec<Option<String>>,
    batch: BatchBuilder,
    origins: Vec<Run<O>>,
    /// The offset of the wall clock at the first row of the open batch that the agent stamped.
    pub(super) offset: Option<i64>,
    /// When the open batch has to be closed; set with its first row.
    pub(super) close_at: MonoTime,
    /// The channels of the row that was found or learned last.
    indexes: Vec<u32>,
    /// The row being pushed; kept for its memory.
    fields: Vec<(u32, Value)>,
}

/// A batch that takes no more rows and is not yet encoded.
#[derive(Debug)]
pub(super) struct Full<O> {
    pub(super) batch: BatchBuilder,
    pub(super) schema: Arc<Schema>,
    pub(super) origins: Vec<Run<O>>,
    pub(super) offset: Option<i64>,
}

/// The page has another unit for a channel, or no room for it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DoesNotFit;

impl<O: Clone + PartialEq> Page<O> {
    pub(super) fn new() -> Self {
        Self {
            schema: SchemaBuilder::new(),
            units: Vec::new(),
            batch: BatchBuilder::new(),
            origins: Vec::new(),
            offset: None,
            close_at: MonoTime::default(),
            indexes: Vec::new(),
            fields: Vec::new(),
        }
    }

    /// Returns whether every channel of the row is here, with the unit that the row names, if it names one. Then the
    /// row may be pushed.
    pub(super) fn finds(&mut self, row: &Row) -> bool {
        let unit = row.unit.as_deref();
        self.indexes.clear();
        for (name, _) in &row.fields {
            match self.schema.index_of(name) {
                Some(index) if self.unit_fits(index, unit) => self.indexes.push(index),
                _ => return false,
            }
        }
        true
    }

    /// Adds the channels of the row that are not here yet. Then the row may be pushed.
    pub(super) fn learn(&mut self, row: &Row, declarations: &Declarations) -> Result<(), DoesNotFit> {
        let unit = row.unit.as_deref();
        self.indexes.clear();
        for (name, _) in &row.fields {
            let index = match self.schema.index_of(name) {
                Some(index) if self.unit_fits(index, unit) => index,
                Some(_) => return Err(DoesNotFit),
                None => self.add(name, unit, declarations).map_err(|SchemaFull { .. }| DoesNotFit)?,
            };
            self.indexes.push(index);
        }
        Ok(())
    }

    fn add(
        &mut self,
        name: &ChannelName,
        unit: Option<&str>,
        declarations: &Declarations,
    ) -> Result<u32, SchemaFull> {
        let channel = declarations.define(name, unit);
        let unit = channel.unit.clone();
        let index = self.schema.try_add(channel)?;
        self.units.push(unit);
        Ok(index)
    }

    fn unit_fits(&self, index: u32, named: Option<&str>) -> bool {
        let known = self.units.get(index as usize).and_then(Option::as_deref);
        named.is_none() || named == known
    }

    /// Adds the row that was found or learned last to the open batch, which is not full.
    pub(super) fn push(&mut self, stamped: Stamped, origin: &O) -> Result<(), RowError> {
        let Stamped { t, by, offset, row } = stamped;
        debug_assert_eq!(self.indexes.len(), row.fields.len(), "finds or learn came before");
        let values = row.fields.into_iter().map(|(_, value)| value);
        self.fields.clear();
        self.fields.extend(self.indexes.iter().copied().zip(values));
        self.batch.push_row(t, by, &self.fields)?;
        self.offset = self.offset.or(offset);
        match self.origins.last_mut() {
            Some((last, rows)) if last == origin => *rows += 1,
            _ => self.origins.push((origin.clone(), 1)),
        }
        Ok(())
    }

    /// Returns the open batch, and starts the next one on the same schema.
    pub(super) fn close(&mut self) -> Full<O> {
        Full {
            batch: std::mem::take(&mut self.batch),
            schema: self.schema.schema(),
            origins: std::mem::take(&mut self.origins),
            offset: self.offset.take(),
        }
    }

    pub(super) fn open(&self) -> &BatchBuilder {
        &self.batch
    }
}
