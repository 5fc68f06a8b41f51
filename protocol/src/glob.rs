//! Patterns of channel names, as in `battery.*`. They know `*` and `?` and nothing else: brackets are literal, because
//! channel names have them, as in `battery.cells[0]`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::limits::CHANNEL_NAME_BYTES_MAX;

/// A pattern: `*` stands for any number of characters, also none and also dots, `?` for exactly one character,
/// everything else for itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Glob(String);

/// A text is empty, or longer than any name that it could match.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a pattern of {bytes} bytes; 1 to {CHANNEL_NAME_BYTES_MAX} are allowed, as in battery.*")]
pub struct ParseGlobError {
    /// The length given.
    pub bytes: usize,
}

impl Glob {
    /// Returns the pattern as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the whole of `name` matches. Takes at most pattern length times name length steps.
    pub fn matches(&self, name: &str) -> bool {
        let (mut pattern, mut rest) = (self.0.chars(), name.chars());
        // Where to go on if what follows the last star does not match: the star takes one character more.
        let mut retry = None;
        loop {
            let here = rest.clone();
            match (pattern.next(), rest.next()) {
                (None, None) => return true,
                (Some('*'), _) => {
                    retry = Some((pattern.clone(), here.clone()));
                    rest = here;
                }
                (Some('?'), Some(_)) => {}
                (Some(wanted), Some(found)) if wanted == found => {}
                _ => {
                    let Some((after_star, mut longer)) = retry.take() else { return false };
                    if longer.next().is_none() {
                        return false;
                    }
                    (pattern, rest) = (after_star.clone(), longer.clone());
                    retry = Some((after_star, longer));
                }
            }
        }
    }
}

impl std::str::FromStr for Glob {
    type Err = ParseGlobError;

    fn from_str(text: &str) -> Result<Self, ParseGlobError> {
        if text.is_empty() || text.len() > CHANNEL_NAME_BYTES_MAX {
            return Err(ParseGlobError { bytes: text.len() });
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Glob {
    type Error = ParseGlobError;

    fn try_from(text: String) -> Result<Self, ParseGlobError> {
        text.parse()
    }
}

impl From<Glob> for String {
    fn from(glob: Glob) -> Self {
        glob.0
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_star_takes_any_characters_and_a_question_mark_one() {
        let cases = [
            ("battery.*", "battery.soc", true),
            ("battery.*", "battery.", true),
            ("battery.*", "batteries.soc", false),
            ("*", "anything.at[0].all", true),
            ("*.temp", "motor.left.temp", true),
            ("*.temp", "motor.left.temperature", false),
            ("a*b*c", "a1b2b3c", true),
            ("a*b*c", "a1c2b3", false),
            ("motor?", "motor1", true),
            ("motor?", "motor", false),
            ("motor?", "motor12", false),
            ("?", "é", true),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(pattern.parse::<Glob>().unwrap().matches(name), expected, "{pattern} on {name}");
        }
    }

    #[test]
    fn brackets_are_literal() {
        let glob: Glob = "cells[*]".parse().unwrap();
        assert!(glob.matches("cells[12]"));
        assert!(!"cells[0-9]".parse::<Glob>().unwrap().matches("cells[1]"));
    }

    #[test]
    fn a_hostile_pattern_takes_bounded_time() {
        let glob: Glob = "*a".repeat(200).parse().unwrap();
        assert!(!glob.matches(&("a".repeat(500) + "b")));
    }

    /// The definition, as slow as it is short.
    fn by_definition(pattern: &[char], name: &[char]) -> bool {
        match (pattern, name) {
            ([], []) => true,
            (['*', rest @ ..], _) => (0..=name.len()).any(|taken| by_definition(rest, &name[taken..])),
            (['?', rest @ ..], [_, name @ ..]) => by_definition(rest, name),
            ([wanted, rest @ ..], [found, name @ ..]) => wanted == found && by_definition(rest, name),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_definition(pattern in "[ab*?]{1,8}", name in "[ab]{0,10}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            let expected = by_definition(&chars(&pattern), &chars(&name));
            prop_assert_eq!(pattern.parse::<Glob>().unwrap().matches(&name), expected);
        }
    }
}
