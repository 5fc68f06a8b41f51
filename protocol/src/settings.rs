//! Settings: what a program was told by its defaults, its file, its environment and its flags, in that order, and who
//! told it.
//!
//! This is the one place that knows TOML. It reads nothing itself: the file's text and the environment's pairs come in
//! as arguments. A program brings a table of [`Key`]s, and that table is all there is: what it does not list is refused
//! with the nearest key that it does list, each value is checked against its key when it comes in, and help,
//! `--print-config` and the documentation are made from it.
//!
//! ```text
//! defaults -> read_file -> read_environment -> set (flags) -> print | config::<T>
//! ```
//!
//! A value in the environment or on the command line is text, read by its key's [`Kind`]; in the file it is TOML.

mod error;
mod file;
mod key;
mod log;
mod print;
#[cfg(test)]
mod tests;
mod units;

use std::ffi::OsString;

use serde::de::DeserializeOwned;
use toml::{Table, Value};

pub use error::{Origin, SettingsError};
pub use key::{Key, Kind};
pub use log::LogFormat;
pub use units::{ParseSizeError, ParseSpanError, Size, Span};

use error::shown;

/// A program's name, the prefix of its environment variables, and its keys.
#[derive(Debug)]
pub struct Program {
    /// The name that it is started by, such as `muster-agent`.
    pub name: &'static str,
    /// What the names of its environment variables start with, such as `MUSTER_AGENT_`.
    pub env_prefix: &'static str,
    /// Every key that it has, in the order in which they are shown.
    pub keys: &'static [Key],
}

/// The settings of one program as they stand after the layers that were read so far.
#[derive(Debug)]
pub struct Settings {
    program: &'static Program,
    /// One for each key of the program, in the same order.
    values: Vec<Option<Setting>>,
}

/// A checked value, and who gave it.
#[derive(Debug)]
struct Setting {
    value: Value,
    origin: Origin,
}

impl Program {
    /// Returns the environment variable that sets this key: `spool.sync_every` is `MUSTER_AGENT_SPOOL__SYNC_EVERY`.
    pub fn variable(&self, key: &Key) -> String {
        self.variable_of(key.name)
    }

    fn variable_of(&self, name: &str) -> String {
        format!("{}{}", self.env_prefix, name.replace('.', "__").to_ascii_uppercase())
    }

    /// Returns the position of the key with this name.
    fn position(&self, name: &str) -> Option<usize> {
        self.keys.iter().position(|key| key.is(name))
    }

    /// Returns the position of the key that this environment variable sets.
    fn position_of_variable(&self, variable: &str) -> Option<usize> {
        let sets = |name: &str| self.variable_of(name) == variable;
        self.keys.iter().position(|key| sets(key.name) || key.short_form.is_some_and(sets))
    }

    /// Whether `name` is a table that holds keys, as `spool` is.
    fn is_level(&self, name: &str) -> bool {
        self.keys.iter().any(|key| key.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
    }
}

impl Settings {
    /// Starts with every key at its default.
    ///
    /// # Panics
    /// If a default of the table is not a value of its key: every program has a test that calls this.
    pub fn defaults(program: &'static Program) -> Self {
        let value = |key: &Key| {
            let text = key.default?;
            let value = key.read_text(text).and_then(|value| key.check(value));
            let value = value.expect("each default in the table is a value of its key");
            Some(Setting { value, origin: Origin::Default })
        };
        Self { program, values: program.keys.iter().map(value).collect() }
    }

    /// Puts what a configuration file says over what stands so far. `path` is only for messages.
    ///
    /// On an error the settings are those of before, plus the part of the file that came before the error.
    pub fn read_file(&mut self, text: &str, path: &str) -> Result<(), SettingsError> {
        for entry in file::entries(self.program, text, path)? {
            self.put(entry.position, Ok(entry.value), entry.origin)?;
        }
        Ok(())
    }

    /// Puts what the environment says over what stands so far: the variables that start with the program's prefix. All
    /// others are ignored.
    pub fn read_environment(
        &mut self,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<(), SettingsError> {
        for (name, text) in variables {
            let name = name.to_string_lossy().into_owned();
            if !name.starts_with(self.program.env_prefix) {
                continue;
            }
            let origin = Origin::Environment(name.clone());
            let Some(position) = self.program.position_of_variable(&name) else {
                return Err(SettingsError::unknown(self.program.keys, self.key_of_variable(&name), origin));
            };
            let value = match text.to_str() {
                Some(text) => self.program.keys[position].read_text(text),
                None => Err("it is not UTF-8 text".to_owned()),
            };
            self.put(position, value, origin)?;
        }
        Ok(())
    }

    /// Puts what a flag says over what stands so far: one text, or several if the flag was repeated.
    ///
    /// # Panics
    /// If the program has no key of this name.
    pub fn set(&mut self, name: &str, flag: &'static str, texts: &[String]) -> Result<(), SettingsError> {
        let position = self.program.position(name).expect("a flag sets a key of the table");
        let key = &self.program.keys[position];
        let value = match (key.kind, texts) {
            (Kind::List, _) => Ok(Value::Array(texts.iter().cloned().map(Value::String).collect())),
            (_, [.., last]) => key.read_text(last),
            (_, []) => return Ok(()),
        };
        self.put(position, value, Origin::Flag(flag))
    }

    /// Returns the settings as the program's own type.
    ///
    /// # Errors
    /// [`SettingsError::Missing`] if nobody gave a key that must be given. Anything else was refused when it came in.
    pub fn config<T: DeserializeOwned>(&self) -> Result<T, SettingsError> {
        let mut tree = Table::new();
        for (key, setting) in self.program.keys.iter().zip(&self.values) {
            match (setting, key.remedy) {
                (Some(setting), _) => plant(&mut tree, key.name, setting.value.clone()),
                (None, Some(remedy)) => return Err(SettingsError::Missing { key: key.name, remedy }),
                (None, None) => {}
            }
        }
        Value::Table(tree)
            .try_into()
            .map_err(|error| SettingsError::Type { message: error.message().to_owned() })
    }

    /// Returns the settings as TOML: a file that, read again, gives the same settings. Secrets are left out.
    pub fn print(&self) -> String {
        print::print(self.program, |position| {
            self.values[position].as_ref().map(|setting| (&setting.value, &setting.origin))
        })
    }

    /// Checks a value against its key and keeps it.
    fn put(
        &mut self,
        position: usize,
        value: Result<Value, String>,
        origin: Origin,
    ) -> Result<(), SettingsError> {
        let key = &self.program.keys[position];
        let given = value.as_ref().map_or_else(|_| String::new(), |value| shown(key, value));
        match value.and_then(|value| key.check(value)) {
            Ok(value) => self.values[position] = Some(Setting { value, origin }),
            Err(reason) => {
                return Err(SettingsError::BadValue { key: key.name.to_owned(), given, origin, reason });
            }
        }
        Ok(())
    }

    /// Returns the key that a variable's name would stand for.
    fn key_of_variable(&self, name: &str) -> String {
        name.trim_start_matches(self.program.env_prefix).replace("__", ".").to_ascii_lowercase()
    }
}

/// Puts a value at a dotted name into nested tables.
fn plant(tree: &mut Table, name: &str, value: Value) {
    match name.split_once('.') {
        None => {
            tree.insert(name.to_owned(), value);
        }
        Some((level, rest)) => {
            let below = tree.entry(level).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(below) = below {
                plant(below, rest, value);
            }
        }
    }
}
