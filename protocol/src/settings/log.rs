//! How a program writes its logs.

use serde::{Deserialize, Serialize};

/// The form of the logs on stderr.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people, with colour on a terminal.
    #[default]
    Human,
    /// One JSON object a line, for machines.
    Json,
}
