//! What a robot is called by, as one record of the log: the whole set as one source says it. So the newest record of a
//! source is all that there is to know of it, in whatever order records are read.

use muster_protocol::label::Labels;
use serde::{Deserialize, Serialize};

/// All labels of one source. A set without any says that the source gives none any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelSet {
    /// Who says so.
    pub by: LabelSource,
    /// Everything that this source says.
    pub labels: Labels,
}

/// Who gave a label. The number is on disk: new ones are appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LabelSource {
    /// The agent's configuration, with its Hello.
    Agent,
    /// An operator, over the API. Of two labels of one name this one wins.
    Operator,
}

impl LabelSource {
    /// Returns the source's name as in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Operator => "operator",
        }
    }
}
