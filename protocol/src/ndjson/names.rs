//! Channel names that were seen before, so that a known one costs a look-up and no allocation.

use std::collections::HashMap;

use super::LineError;
use crate::{id::ChannelName, limits::SCHEMA_CHANNELS_MAX};

/// A bounded memory of names. When it is full it forgets everything and starts anew: a robot whose names keep
/// changing is slower, never larger.
#[derive(Debug, Default)]
pub(super) struct Names {
    known: HashMap<Box<str>, ChannelName>,
    text: String,
}

impl Names {
    /// Returns the name that `ch` and a path within `v` make.
    pub(super) fn of(&mut self, ch: &str, path: &str) -> Result<ChannelName, LineError> {
        self.text.clear();
        self.text.push_str(ch);
        self.text.push_str(path);
        if let Some(name) = self.known.get(self.text.as_str()) {
            return Ok(name.clone());
        }
        let name = ChannelName::new(&self.text).map_err(LineError::of_name)?;
        if self.known.len() >= SCHEMA_CHANNELS_MAX {
            self.known.clear();
        }
        self.known.insert(self.text.as_str().into(), name.clone());
        Ok(name)
    }
}
