//! Named groups of robots: questions that operators saved, by name.
//!
//! Which robots a group has is decided whenever somebody asks; a group holds none. All of them are one small file in the
//! data folder, replaced whole:
//!
//! ```json
//! {"version": 1, "groups": {"low": "known(\"battery.soc\") && value(\"battery.soc\") < 0.2"}}
//! ```

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{PoisonError, RwLock},
};

use muster_protocol::id::is_name;
use serde::{Deserialize, Serialize};

use crate::{
    durable_file::{self, Readable},
    query::{Expression, ExpressionError},
};

/// The groups of a data folder. Readers wait for a change that is being written; changes are rare.
#[derive(Debug)]
pub struct Groups {
    path: PathBuf,
    groups: RwLock<BTreeMap<String, String>>,
}

/// The file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    groups: BTreeMap<String, String>,
}

/// Why the groups cannot be read at a start. The file is left as it is.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be read.
    #[error("cannot read {path}: {error}")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        error: io::Error,
    },
    /// It is not what this program writes.
    #[error(
        "{path} does not hold groups: {why}; restore it from a backup, or move it away to start without groups"
    )]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// A later program wrote it.
    #[error("{path} has version {found}, and this program reads version {VERSION}; update the gateway")]
    Version {
        /// The file.
        path: String,
        /// The version found.
        found: u32,
    },
}

/// Why a group is not changed. The groups are as they were.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The name is none.
    #[error(
        "`{name}` is not a group's name; letters, digits, `.`, `_` and `-`, at most 63, starting with a letter or digit"
    )]
    Name {
        /// The name given.
        name: String,
    },
    /// What it should hold is not an expression.
    #[error(transparent)]
    Expression(#[from] ExpressionError),
    /// There are as many as there may be.
    #[error("there are {GROUPS_MAX} groups, and that is the most; remove one")]
    Full,
    /// The file cannot be written.
    #[error("cannot write {path}: {error}; check the folder's owner and free space")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        error: io::Error,
    },
}

/// Most groups.
pub const GROUPS_MAX: usize = 256;

const VERSION: u32 = 1;
const FILE: &str = "groups";

impl Groups {
    /// Reads the groups of a data folder; none if there is no file.
    pub fn open(data_dir: &Path) -> Result<Self, OpenError> {
        let path = data_dir.join(FILE);
        let shown = path.display().to_string();
        let groups = match fs::read(&path) {
            Ok(bytes) => {
                let damaged = |error: serde_json::Error| OpenError::Damaged {
                    path: shown.clone(),
                    why: error.to_string(),
                };
                let version = serde_json::from_slice::<serde_json::Value>(&bytes).map_err(damaged)?;
                let version = version["version"].as_u64().and_then(|found| u32::try_from(found).ok());
                if let Some(found) = version.filter(|found| *found > VERSION) {
                    return Err(OpenError::Version { path: shown, found });
                }
                serde_json::from_slice::<Stored>(&bytes).map_err(damaged)?.groups
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(OpenError::Io { path: shown, error }),
        };
        Ok(Self { path, groups: RwLock::new(groups) })
    }

    /// Returns the groups by name, with the expression of each.
    pub fn all(&self) -> BTreeMap<String, String> {
        self.groups.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns a group's expression.
    pub fn expression(&self, name: &str) -> Option<String> {
        self.groups.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Saves a group, durably. Returns whether it is a new one.
    pub fn set(&self, name: &str, expression: &str) -> Result<bool, ChangeError> {
        if !is_name(name) {
            return Err(ChangeError::Name { name: name.chars().take(SHOWN_CHARS_MAX).collect() });
        }
        Expression::parse(expression)?;
        let mut groups = self.groups.write().unwrap_or_else(PoisonError::into_inner);
        let mut changed = groups.clone();
        let is_new = changed.insert(name.to_owned(), expression.to_owned()).is_none();
        if changed.len() > GROUPS_MAX {
            return Err(ChangeError::Full);
        }
        self.write(&changed)?;
        *groups = changed;
        Ok(is_new)
    }

    /// Removes a group, durably. Returns whether there was one.
    pub fn remove(&self, name: &str) -> Result<bool, ChangeError> {
        let mut groups = self.groups.write().unwrap_or_else(PoisonError::into_inner);
        let mut changed = groups.clone();
        if changed.remove(name).is_none() {
            return Ok(false);
        }
        self.write(&changed)?;
        *groups = changed;
        Ok(true)
    }

    fn write(&self, groups: &BTreeMap<String, String>) -> Result<(), ChangeError> {
        let stored = Stored { version: VERSION, groups: groups.clone() };
        let mut bytes = serde_json::to_vec_pretty(&stored).expect("names and texts are JSON");
        bytes.push(b'\n');
        durable_file::replace(&self.path, &bytes, Readable::ByAll)
            .map_err(|error| ChangeError::Io { path: self.path.display().to_string(), error })
    }
}

/// A name from outside is shown up to here.
const SHOWN_CHARS_MAX: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_outlive_the_program() {
        let folder = tempfile::tempdir().unwrap();
        let groups = Groups::open(folder.path()).unwrap();
        assert!(groups.all().is_empty());
        assert!(groups.set("up", "link.up").unwrap());
        assert!(!groups.set("up", "link.up && true").unwrap());
        groups.set("gone", "!link.up").unwrap();
        assert!(groups.remove("gone").unwrap() && !groups.remove("gone").unwrap());
        let again = Groups::open(folder.path()).unwrap();
        assert_eq!(again.expression("up").as_deref(), Some("link.up && true"));
        assert_eq!(again.all().len(), 1);
    }

    #[test]
    fn what_is_no_group_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let groups = Groups::open(folder.path()).unwrap();
        assert!(matches!(groups.set("a b", "link.up"), Err(ChangeError::Name { .. })));
        assert!(matches!(groups.set("a", "link.upp"), Err(ChangeError::Expression(_))));
        let full: BTreeMap<_, _> = (0..GROUPS_MAX).map(|n| (format!("g{n}"), "link.up".to_owned())).collect();
        groups.write(&full).unwrap();
        let groups = Groups::open(folder.path()).unwrap();
        assert!(matches!(groups.set("more", "link.up"), Err(ChangeError::Full)));
        groups.set("g0", "!link.up").unwrap();
    }

    #[test]
    fn a_file_that_is_none_is_left_alone_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE);
        for (text, words) in [
            ("x", "does not hold groups"),
            (r#"{"version": 2, "sets": {}}"#, "update the gateway"),
            (r#"{"version": 1, "sets": {}}"#, "does not hold groups"),
        ] {
            fs::write(&file, text).unwrap();
            let error = Groups::open(folder.path()).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
        }
    }
}
