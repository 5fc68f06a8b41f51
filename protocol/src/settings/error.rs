//! Why settings are refused, in sentences that name the key, who gave it, and what would be right.

use std::fmt;

use toml::Value;

use super::key::{Key, Kind, nearest};

/// Who gave a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody: it is the program's default.
    Default,
    /// The configuration file with this path, on this line (from 1).
    File {
        /// The path as it was given.
        path: String,
        /// The line on which the key stands.
        line: usize,
    },
    /// The environment variable of this name.
    Environment(String),
    /// The flag of this name, such as `--spool`.
    Flag(&'static str),
}

/// Why settings are refused. Each is a mistake of whoever wrote them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The file is not TOML.
    #[error("{origin}: not TOML: {message}")]
    Syntax {
        /// The file and line.
        origin: Origin,
        /// What the parser says.
        message: String,
    },
    /// A key that the program does not have.
    #[error("unknown key `{key}` {origin}; the nearest known key is `{nearest}`")]
    UnknownKey {
        /// The key with its levels.
        key: String,
        /// Who gave it.
        origin: Origin,
        /// The known key that is written most like it.
        nearest: &'static str,
    },
    /// A value that its key does not take.
    #[error("{key}{given} {origin}: {reason}")]
    BadValue {
        /// The key with its levels.
        key: String,
        /// ` = ` and the value as TOML, cut to a readable length and without secrets; empty if `reason` names it.
        given: String,
        /// Who gave it.
        origin: Origin,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// A key without a default that nobody gave.
    #[error("{key} is not set: {remedy}")]
    Missing {
        /// The key.
        key: &'static str,
        /// How to give it.
        remedy: &'static str,
    },
    /// The table of keys and the program's type differ: a fault of the program.
    #[error("the settings do not have the type that the program expects: {message}")]
    Type {
        /// What differs.
        message: String,
    },
}

impl SettingsError {
    /// Names the nearest of `keys` to one that is not among them.
    pub(super) fn unknown(keys: &'static [Key], key: String, origin: Origin) -> Self {
        let nearest = nearest(keys, &key);
        Self::UnknownKey { key, origin, nearest }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => out.write_str("by default"),
            Self::File { path, line } => write!(out, "in {path}, line {line}"),
            Self::Environment(name) => write!(out, "from the environment variable {name}"),
            Self::Flag(flag) => write!(out, "from {flag}"),
        }
    }
}

/// Returns ` = ` and a value as TOML for a message: on one line, cut, never a secret.
pub(super) fn shown(key: &Key, value: &Value) -> String {
    if matches!(key.kind, Kind::Secret) {
        return String::new();
    }
    let text = value.to_string().replace(char::is_control, " ");
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!(" = {}...", &text[..end]),
        None => format!(" = {text}"),
    }
}

/// Longest value in a message, in characters. A message stays one readable sentence.
const SHOWN_CHARS_MAX: usize = 120;
