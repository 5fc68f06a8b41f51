//! What can go wrong for an operator: one sentence each, which names the thing and the remedy.

use std::{io, path::PathBuf};

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Nothing answers at the URL.
    #[error(
        "no gateway answers at {url} ({why}): start one with `muster-gateway`, or name another with --url or MUSTER_URL"
    )]
    NotReachable {
        /// The gateway's URL as it was used.
        url: String,
        /// What the attempt met.
        why: String,
    },
    /// The TLS handshake failed.
    #[error(
        "no trusted connection to {url} ({why}): pass the certificate authority of the gateway with --ca FILE"
    )]
    NotTrusted {
        /// The gateway's URL as it was used.
        url: String,
        /// What the handshake met.
        why: String,
    },
    /// The gateway refused the request and said why.
    #[error("the gateway answered {status}: {detail}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The problem's `detail`, or its title.
        detail: String,
    },
    /// The answer is not one that a gateway of this version gives.
    #[error("{url} does not answer like a Muster gateway ({why}): check --url and the gateway's version")]
    NotOurs {
        /// The gateway's URL as it was used.
        url: String,
        /// What is wrong with the answer.
        why: String,
    },
    /// A stream broke more often than it may.
    #[error(
        "the stream broke {breaks} times in a row without a new sample ({why}){kept}: run the command again"
    )]
    Broken {
        /// The breaks in a row.
        breaks: u32,
        /// What the last attempt met.
        why: String,
        /// What was kept of the export so far; empty where there is nothing.
        kept: String,
    },
    /// The stream holds what it must not.
    #[error("the gateway's stream is wrong ({0}): check that gateway and `muster` are of the same version")]
    Stream(String),
    /// A file could not be read or written.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    File {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Standard output could not be written.
    #[error("cannot write the result: {0}")]
    Output(#[from] io::Error),
    /// The command was written wrongly.
    #[error("{0}")]
    Usage(String),
}

/// What a command that did not fail ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything asked for was done.
    Done,
    /// It was done, but the gateway knows that samples of what was asked for were lost.
    DoneWithLoss,
    /// What was asked is whether something is wrong, and it is.
    Wrong,
}

impl Failure {
    /// Returns the exit code: 2 for wrong usage, 1 for everything else.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            _ => 1,
        }
    }

    /// Tells whether the same request may succeed a little later.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::NotReachable { .. } | Self::Refused { status: 429 | 502..=504, .. })
    }

    /// Tells whether the reader of our output has gone, as `head` does: that ends a command and fails nothing.
    pub fn is_closed_output(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl Outcome {
    /// Returns the exit code: 0, 3 where data was lost, or 1 where something is wrong.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::DoneWithLoss => 3,
            Self::Wrong => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_the_contract() {
        assert_eq!(Outcome::Done.exit_code(), 0);
        assert_eq!(Failure::Refused { status: 404, detail: String::new() }.exit_code(), 1);
        assert_eq!(Failure::Usage(String::new()).exit_code(), 2);
        assert_eq!(Outcome::DoneWithLoss.exit_code(), 3);
    }

    #[test]
    fn an_unreachable_gateway_names_the_url_and_the_remedy() {
        let text =
            Failure::NotReachable { url: "http://h:1".into(), why: "connection refused".into() }.to_string();
        for part in ["http://h:1", "connection refused", "--url", "muster-gateway"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
