//! A place where samples come from, as it is written with `--input`.

use std::{fmt, net::SocketAddr, path::PathBuf, str::FromStr};

use serde::{Deserialize, Serialize};

/// A place where samples come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Input {
    /// `host`: this machine's own figures.
    Host,
    /// `stdin`: NDJSON on standard input.
    Stdin,
    /// `file:PATH[?speed=N][&shift=now]`: an NDJSON file, `.gz` too.
    File {
        /// The file.
        path: PathBuf,
        /// How much faster than recorded it is replayed, above zero; `None` for as fast as the spool accepts.
        speed: Option<f64>,
        /// Whether all times are moved by one constant so that the first is now.
        shift_now: bool,
    },
    /// `unix:PATH`: a stream socket that takes NDJSON from any number of local programs.
    Unix {
        /// The socket, made at start.
        path: PathBuf,
    },
    /// `udp:IP:PORT`: datagrams of NDJSON lines.
    Udp {
        /// Where it listens; port 0 takes a free one.
        addr: SocketAddr,
    },
}

/// Why a text is not an input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseInputError {
    /// It starts like no input.
    #[error(
        "`{input}` is not an input; write host, stdin, file:PATH, file:PATH?speed=1&shift=now, unix:PATH or \
         udp:IP:PORT"
    )]
    Form {
        /// What was given.
        input: String,
    },
    /// The path is missing.
    #[error("`{input}` names no path; write {form}:PATH")]
    NoPath {
        /// What was given.
        input: String,
        /// `file` or `unix`.
        form: &'static str,
    },
    /// The address is not one.
    #[error("`{input}` names no address; write udp:IP:PORT, as in udp:127.0.0.1:9000")]
    Address {
        /// What was given.
        input: String,
    },
    /// A parameter of a file is unknown, bad or given twice.
    #[error(
        "`{input}` has the parameter `{parameter}`; a file knows speed=N with N above 0, and shift=now, each once"
    )]
    Parameter {
        /// What was given.
        input: String,
        /// The parameter.
        parameter: String,
    },
}

impl Input {
    /// Whether both would read the same samples.
    pub fn is_same_source(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File { path: a, .. }, Self::File { path: b, .. }) => a == b,
            (Self::Udp { addr }, Self::Udp { addr: other }) => addr == other && addr.port() != 0,
            _ => self == other,
        }
    }
}

impl FromStr for Input {
    type Err = ParseInputError;

    fn from_str(text: &str) -> Result<Self, ParseInputError> {
        let input = || text.chars().take(SHOWN_CHARS_MAX).collect::<String>();
        match text.split_once(':') {
            None if text == "host" => Ok(Self::Host),
            None if text == "stdin" => Ok(Self::Stdin),
            Some(("file", rest)) => {
                // The last one, so that a path with a question mark can still be given with parameters.
                let (path, parameters) = rest.rsplit_once('?').unwrap_or((rest, ""));
                let (speed, shift_now) = parse_parameters(parameters)
                    .map_err(|parameter| ParseInputError::Parameter { input: input(), parameter })?;
                match path {
                    "" => Err(ParseInputError::NoPath { input: input(), form: "file" }),
                    path => Ok(Self::File { path: path.into(), speed, shift_now }),
                }
            }
            Some(("unix", "")) => Err(ParseInputError::NoPath { input: input(), form: "unix" }),
            Some(("unix", path)) => Ok(Self::Unix { path: path.into() }),
            Some(("udp", addr)) => match addr.parse() {
                Ok(addr) => Ok(Self::Udp { addr }),
                Err(_) => Err(ParseInputError::Address { input: input() }),
            },
            _ => Err(ParseInputError::Form { input: input() }),
        }
    }
}

impl fmt::Display for Input {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => out.write_str("host"),
            Self::Stdin => out.write_str("stdin"),
            Self::Unix { path } => write!(out, "unix:{}", path.display()),
            Self::Udp { addr } => write!(out, "udp:{addr}"),
            Self::File { path, speed, shift_now } => {
                let path = path.display().to_string();
                write!(out, "file:{path}")?;
                match (speed, shift_now) {
                    (Some(speed), false) => write!(out, "?speed={speed}"),
                    (Some(speed), true) => write!(out, "?speed={speed}&shift=now"),
                    (None, true) => write!(out, "?shift=now"),
                    // Ends the path, so that a question mark in it is not taken for the start of parameters.
                    (None, false) if path.contains('?') => write!(out, "?"),
                    (None, false) => Ok(()),
                }
            }
        }
    }
}

impl TryFrom<String> for Input {
    type Error = ParseInputError;

    fn try_from(text: String) -> Result<Self, ParseInputError> {
        text.parse()
    }
}

impl From<Input> for String {
    fn from(input: Input) -> Self {
        input.to_string()
    }
}

/// Reads `speed=N&shift=now` in any order; the error is the parameter that is wrong.
fn parse_parameters(text: &str) -> Result<(Option<f64>, bool), String> {
    let (mut speed, mut shift_now) = (None, false);
    for parameter in text.split('&').filter(|parameter| !parameter.is_empty()) {
        match parameter.split_once('=') {
            Some(("speed", factor)) if speed.is_none() => {
                let factor = factor.parse().ok().filter(|factor: &f64| factor.is_finite() && *factor > 0.0);
                speed = Some(factor.ok_or_else(|| parameter.to_owned())?);
            }
            Some(("shift", "now")) if !shift_now => shift_now = true,
            _ => return Err(parameter.to_owned()),
        }
    }
    Ok((speed, shift_now))
}

/// Longest input in a message, in characters.
const SHOWN_CHARS_MAX: usize = 200;
