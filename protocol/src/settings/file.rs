//! A configuration file: TOML text taken apart into keys and values, each with its line.

use toml::{
    Table, Value,
    de::{DeTable, DeValue},
};

use super::{Program, error::Origin, error::SettingsError};

/// A value that the file gives to a key of the program.
pub(super) struct Entry {
    /// The key's position in the program's table.
    pub(super) position: usize,
    /// The value, not checked yet.
    pub(super) value: Value,
    /// The file and line.
    pub(super) origin: Origin,
}

/// Takes a file apart. Refuses what is not TOML and what the program does not know.
pub(super) fn entries(
    program: &'static Program,
    text: &str,
    path: &str,
) -> Result<Vec<Entry>, SettingsError> {
    let file = File { program, text, path };
    let refused = |error: toml::de::Error| SettingsError::Syntax {
        origin: file.origin(error.span().map_or(0, |span| span.start)),
        message: error.message().replace('\n', ", "),
    };
    // Parsed twice: one knows where each key stands, the other gives plain values.
    let places = DeTable::parse(text).map_err(refused)?;
    let values: Table = toml::from_str(text).map_err(refused)?;
    let mut entries = Vec::new();
    file.walk("", places.get_ref(), &values, &mut entries)?;
    Ok(entries)
}

/// What stays the same while a file is taken apart.
#[derive(Clone, Copy)]
struct File<'a> {
    program: &'static Program,
    text: &'a str,
    path: &'a str,
}

impl File<'_> {
    /// Collects the keys below `level`. Recursion is bounded by the parser, which refuses deep nesting.
    fn walk(
        self,
        level: &str,
        places: &DeTable<'_>,
        values: &Table,
        entries: &mut Vec<Entry>,
    ) -> Result<(), SettingsError> {
        for (place, below) in places {
            let name = if level.is_empty() {
                place.get_ref().to_string()
            } else {
                format!("{level}.{}", place.get_ref())
            };
            let origin = self.origin(place.span().start);
            let value = values.get(place.get_ref().as_ref()).cloned();
            let value = value.expect("both parses are of one text");
            // A level may also be the short form of one of its keys; a table is the level then.
            let is_level = self.program.is_level(&name);
            let position = self.program.position(&name).filter(|_| !(is_level && value.is_table()));
            match (position, below.get_ref(), &value) {
                (Some(position), _, _) => entries.push(Entry { position, value, origin }),
                (None, DeValue::Table(places), Value::Table(values)) if !values.is_empty() => {
                    self.walk(&name, places, values, entries)?;
                }
                (None, _, _) if is_level => {
                    if !value.is_table() {
                        let reason = format!("`{name}` is a table; write its keys below [{name}]");
                        return Err(SettingsError::BadValue {
                            key: name,
                            given: String::new(),
                            origin,
                            reason,
                        });
                    }
                }
                (None, _, _) => return Err(SettingsError::unknown(self.program.keys, name, origin)),
            }
        }
        Ok(())
    }

    /// Returns the place of a byte of the text.
    fn origin(self, at: usize) -> Origin {
        let before = self.text.as_bytes().iter().take(at);
        let line = 1 + before.filter(|byte| **byte == b'\n').count();
        Origin::File { path: self.path.to_owned(), line }
    }
}
