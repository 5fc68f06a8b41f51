//! What can go wrong for an operator: one sentence each, which names the thing and the remedy.

use std::{fmt, io, path::PathBuf};

use super::table::printable;

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
    /// The gateway refused a parameter as wrong: the request has to be written in another way.
    #[error("{0}")]
    Mistake(Box<Mistake>),
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

/// A parameter that the gateway does not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// How the operator calls it, such as `--where`.
    pub name: String,
    /// What is wrong with it, as a sentence.
    pub detail: String,
    /// What was given.
    pub text: Option<String>,
    /// The line and the column of the mistake, from 1; the column in characters.
    pub position: Option<(usize, usize)>,
}

impl fmt::Display for Mistake {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.as_str() {
            "" => out.write_str(&self.detail),
            name => write!(out, "{name}: {}", self.detail),
        }
    }
}

impl Mistake {
    fn excerpt(&self) -> Option<String> {
        let (line, column) = self.position?;
        let text = self.text.as_deref()?;
        let (shown, before) = place(text, line, column)?;
        let first = before.saturating_sub(EXCERPT_CHARS / 2);
        let cut: String = shown.chars().skip(first).take(EXCERPT_CHARS).collect();
        let (more, behind) =
            (if first > 0 { "…" } else { "" }, first + EXCERPT_CHARS < shown.chars().count());
        let caret = before - first + more.chars().count();
        Some(format!(
            "  {more}{}{}\n  {}^",
            printable(&cut),
            if behind { "…" } else { "" },
            " ".repeat(caret)
        ))
    }
}

/// Returns the line of a text in which a place is, and how many characters are before it there. A column beyond the end
/// of its line goes on in the next one.
fn place(text: &str, line: usize, column: usize) -> Option<(&str, usize)> {
    let mut before = column.checked_sub(1)?;
    let mut lines = text.split('\n').skip(line.checked_sub(1)?).peekable();
    while let Some(shown) = lines.next() {
        let chars = shown.chars().count();
        if before <= chars || lines.peek().is_none() {
            return Some((shown, before.min(chars)));
        }
        before -= chars + 1;
    }
    None
}

/// Characters of an expression that are shown around a mistake: they fit a line of any terminal.
const EXCERPT_CHARS: usize = 68;

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
            Self::Usage(_) | Self::Mistake(_) => 2,
            _ => 1,
        }
    }

    /// Says by which name a parameter was typed, and its text, where that is not an option of the same name.
    #[must_use]
    pub fn spelled(self, name: &str, text: &str) -> Self {
        match self {
            Self::Mistake(mistake) => Self::Mistake(Box::new(Mistake {
                name: name.to_owned(),
                text: Some(text.to_owned()),
                ..*mistake
            })),
            other => other,
        }
    }

    /// Returns whether it is a mistake in this option.
    pub fn is_about(&self, name: &str) -> bool {
        matches!(self, Self::Mistake(mistake) if mistake.name == name)
    }

    /// Returns what was typed with a caret below the mistake, in two lines, where its place is known.
    pub fn excerpt(&self) -> Option<String> {
        match self {
            Self::Mistake(mistake) => mistake.excerpt(),
            _ => None,
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
    fn a_mistake_has_a_caret_below_it() {
        let excerpt = |text: &str, line, column| {
            let (text, position) = (Some(text.to_owned()), Some((line, column)));
            let mistake = Mistake { name: "--where".into(), detail: "no".into(), text, position };
            Failure::Mistake(Box::new(mistake)).excerpt().unwrap()
        };
        assert_eq!(excerpt("a < é.b", 1, 5), "  a < é.b\n      ^");
        assert_eq!(excerpt("a", 1, 2), "  a\n   ^", "it may end too early");
        assert_eq!(excerpt("a &&\n  bad", 2, 3), "    bad\n    ^");
        assert_eq!(excerpt("a &&\n  bad", 1, 8), "    bad\n    ^", "counted over all lines");
        assert_eq!(excerpt("a\tb", 1, 3), "  a\u{fffd}b\n    ^");
        let long = excerpt(&format!("{}!{}", "a".repeat(500), "b".repeat(500)), 1, 501);
        let (shown, caret) = long.split_once('\n').unwrap();
        assert_eq!(shown.chars().nth(caret.find('^').unwrap()), Some('!'), "{long}");
        assert!(shown.chars().count() < 80);
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
