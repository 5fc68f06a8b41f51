//! Channel names that were seen before, so that a known one costs a look-up and no allocation.

use std::collections::HashMap;

use super::LineError;
use crate::{id::ChannelName, limits::SCHEMA_CHANNELS_MAX};

/// A bounded memory of names. When it is full it forgets everything before the next row and starts anew: a robot whose
/// names keep changing is slower, and larger by one row at most.
#[derive(Debug, Default)]
pub(super) struct Names {
    known: HashMap<Box<str>, Known>,
    /// Counts rows, so that a name that comes twice in one is noticed by the look-up that is made anyway.
    row: u64,
    text: String,
}

#[derive(Debug)]
struct Known {
    name: ChannelName,
    /// The last row that had it.
    row: u64,
}

impl Names {
    /// Begins a row, in which each name may come once.
    pub(super) fn begin_row(&mut self) {
        if self.known.len() > SCHEMA_CHANNELS_MAX {
            self.known.clear();
        }
        self.row += 1;
    }

    /// Returns the name that `ch` and a path within `v` make.
    pub(super) fn of(&mut self, ch: &str, path: &str) -> Result<ChannelName, LineError> {
        self.text.clear();
        self.text.push_str(ch);
        self.text.push_str(path);
        if let Some(known) = self.known.get_mut(self.text.as_str()) {
            if known.row == self.row {
                return Err(LineError::DuplicateName { name: known.name.clone() });
            }
            known.row = self.row;
            return Ok(known.name.clone());
        }
        let name = ChannelName::new(&self.text).map_err(LineError::of_name)?;
        self.known.insert(self.text.as_str().into(), Known { name: name.clone(), row: self.row });
        Ok(name)
    }
}
