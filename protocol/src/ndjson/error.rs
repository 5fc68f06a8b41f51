//! Why a line is refused.

use crate::{
    id::{ChannelName, ParseIdError},
    limits::{CH_BYTES_MAX, CHANNEL_NAME_BYTES_MAX, ROW_BYTES_MAX, UNIT_BYTES_MAX, VALUE_DEPTH_MAX},
};

/// Why a line is refused: the thing and the remedy. [`kind`](Self::kind) is a short name that stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// The line is longer than allowed.
    #[error("a line of {bytes} bytes; at most {max} are allowed: send the values in several lines")]
    LineTooLong {
        /// Its length, or how much of it was seen.
        bytes: usize,
        /// The longest allowed.
        max: usize,
    },
    /// The line is not UTF-8.
    #[error("byte {at} of the line is not UTF-8; encode text as UTF-8")]
    NotUtf8 {
        /// Where the first wrong byte stands, from 0.
        at: usize,
    },
    /// The line is not JSON.
    #[error("not JSON: {why}; write one whole JSON object in each line")]
    NotJson {
        /// What the JSON parser says.
        why: String,
    },
    /// The line is JSON, but not an object.
    #[error("JSON, but not an object; write {{\"ch\": \"NAME\", \"v\": VALUE}}")]
    NotObject,
    /// A key appears twice.
    #[error("the key `{key}` appears twice; write it once")]
    DuplicateKey {
        /// The key.
        key: &'static str,
    },
    /// Two values of `v` make one channel.
    #[error("the channel `{name}` has two values; write each key of `v` once")]
    DuplicateName {
        /// The channel.
        name: ChannelName,
    },
    /// There is no `ch`.
    #[error("no `ch`; name the channel, as in {{\"ch\": \"battery\", \"v\": 0.81}}")]
    NoCh,
    /// `ch` is no text, or has a wrong length or a control character.
    #[error(
        "`ch` has {bytes} bytes or a control character; 1 to {CH_BYTES_MAX} bytes without one are allowed"
    )]
    BadCh {
        /// Its length.
        bytes: usize,
    },
    /// `ch` is not text.
    #[error("`ch` is not a text: {why}")]
    ChNotText {
        /// What the JSON parser says.
        why: String,
    },
    /// There is no `v`.
    #[error("no `v`; give the value, as in {{\"ch\": \"battery\", \"v\": 0.81}}")]
    NoValue,
    /// `t` is not a time.
    #[error(
        "`t` is not a time: {why}; write nanoseconds since 1970 as an integer, or RFC 3339, or leave it out"
    )]
    BadT {
        /// What is wrong with it.
        why: String,
    },
    /// `lane` is not a lane.
    #[error("`lane` is wrong: {why}; write urgent, live or bulk, or leave it out")]
    BadLane {
        /// What is wrong with it.
        why: String,
    },
    /// `unit` is not a unit.
    #[error(
        "`unit` is wrong: {why}; write 1 to {UNIT_BYTES_MAX} bytes without control characters, or leave it out"
    )]
    BadUnit {
        /// What is wrong with it.
        why: String,
    },
    /// `sync` is not a scalar, or too long.
    #[error("the id of `sync` is wrong: {why}; write a number or a text of at most 128 bytes")]
    BadSync {
        /// What is wrong with it.
        why: String,
    },
    /// `sync` stands beside other keys.
    #[error("`sync` beside other keys; write it alone, as in {{\"sync\": 17}}")]
    SyncWithOthers,
    /// `sync` came where nothing can answer it.
    #[error("`sync` is answered on unix sockets only; an MQTT publish is answered by its PUBACK")]
    SyncNotHere,
    /// An array has more elements than allowed.
    #[error("the array `{path}` has more than {max} elements; send fewer, or raise the limit of this input")]
    ArrayTooLong {
        /// Where it stands, as in `v.cells`.
        path: String,
        /// The most allowed.
        max: usize,
    },
    /// A text is longer than allowed.
    #[error("the text `{path}` has {bytes} bytes; at most {max} are allowed: shorten it")]
    TextTooLong {
        /// Where it stands, as in `v.message`.
        path: String,
        /// Its length.
        bytes: usize,
        /// The longest allowed.
        max: usize,
    },
    /// `v` is nested deeper than allowed.
    #[error("`v` is nested more than {VALUE_DEPTH_MAX} deep; flatten it")]
    TooDeep,
    /// The values of the line are more than one row may hold.
    #[error("the values of the line have more than {ROW_BYTES_MAX} bytes; send them in several lines")]
    RowTooLarge,
    /// A channel's name is too long after flattening.
    #[error(
        "a channel name of {bytes} bytes after flattening; at most {CHANNEL_NAME_BYTES_MAX}: use shorter keys"
    )]
    NameTooLong {
        /// Its length.
        bytes: usize,
    },
    /// A key within `v` has a control character.
    #[error("a key makes the channel name {name:?}, which has a control character; leave it out")]
    BadName {
        /// The name, cut to a readable length.
        name: String,
    },
}

impl LineError {
    /// Returns the short name of the refusal, as in counters and in `status`. It stays the same in later versions.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::LineTooLong { .. } => "line_too_long",
            Self::NotUtf8 { .. } => "not_utf8",
            Self::NotJson { .. } => "not_json",
            Self::NotObject => "not_object",
            Self::DuplicateKey { .. } | Self::DuplicateName { .. } => "duplicate_key",
            Self::NoCh => "no_ch",
            Self::BadCh { .. } | Self::ChNotText { .. } => "bad_ch",
            Self::NoValue => "no_value",
            Self::BadT { .. } => "bad_t",
            Self::BadLane { .. } => "bad_lane",
            Self::BadUnit { .. } => "bad_unit",
            Self::BadSync { .. } | Self::SyncWithOthers | Self::SyncNotHere => "bad_sync",
            Self::ArrayTooLong { .. } => "array_too_long",
            Self::TextTooLong { .. } => "text_too_long",
            Self::TooDeep => "too_deep",
            Self::RowTooLarge => "row_too_large",
            Self::NameTooLong { .. } | Self::BadName { .. } => "bad_name",
        }
    }

    /// Returns the refusal of text that is not a channel name.
    pub(super) fn of_name(error: ParseIdError) -> Self {
        match error {
            ParseIdError::ChannelLength { bytes, .. } => Self::NameTooLong { bytes },
            ParseIdError::ChannelControl { text }
            | ParseIdError::BadName { text }
            | ParseIdError::NotFleetSlashRobot { text } => Self::BadName { name: text },
        }
    }
}
