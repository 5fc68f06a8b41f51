//! Where a listener listens, or that it does not.

use std::{fmt, net::SocketAddr, str::FromStr};

use serde::{Deserialize, Serialize};

/// Where a listener listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Listen {
    /// `none`: it is switched off.
    Off,
    /// `IP:PORT`; port 0 takes a free one.
    At(SocketAddr),
}

/// A text is neither `none` nor an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not an address; write IP:PORT, as in 127.0.0.1:8080 or [::1]:8080, with port 0 for a free one, or none"
)]
pub struct ParseListenError;

impl Listen {
    /// Returns the address, if it listens.
    pub fn addr(self) -> Option<SocketAddr> {
        match self {
            Self::Off => None,
            Self::At(addr) => Some(addr),
        }
    }
}

impl FromStr for Listen {
    type Err = ParseListenError;

    fn from_str(text: &str) -> Result<Self, ParseListenError> {
        match text {
            "none" => Ok(Self::Off),
            text => text.parse().map(Self::At).map_err(|_| ParseListenError),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => out.write_str("none"),
            Self::At(addr) => write!(out, "{addr}"),
        }
    }
}

impl TryFrom<String> for Listen {
    type Error = ParseListenError;

    fn try_from(text: String) -> Result<Self, ParseListenError> {
        text.parse()
    }
}

impl From<Listen> for String {
    fn from(listen: Listen) -> Self {
        listen.to_string()
    }
}
