//! Parameters parameters: each is known, given once, and means something, or the answer says which is not and why.

use std::{fmt::Display, str::FromStr};

use axum::http::Uri;
use muster_protocol::time::WallTime;

use super::{answer::Ints, problem::Problem};

/// The parameters of one request, decoded.
#[derive(Debug)]
pub(super) struct Parameters {
    pairs: Vec<(String, String)>,
}

/// Which part of a list is wanted; the same words for every list.
#[derive(Clone, Debug)]
pub(super) struct Page<C> {
    /// Entries, at most.
    pub(super) limit: usize,
    /// Where the page before ended.
    pub(super) after: Option<C>,
}

/// The parameters of a list.
pub(super) const PAGING: [&str; 2] = ["limit", "cursor"];

/// Entries on a page when the request does not say.
pub(super) const PAGE: u32 = 100;

/// Most entries on a page, whose robots are each read under a lock and whose losses may each name thousands of batches.
pub(super) const PAGE_MAX: u32 = 1000;

/// The parameter that every path takes.
const INT64: &str = "int64";

impl Parameters {
    /// Decodes the query of `uri`. Only `known` parameters and `int64` are taken.
    pub(super) fn parse(uri: &Uri, known: &[&str]) -> Result<Self, Problem> {
        let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|error| Problem::parameter("", format!("the query does not decode: {error}")))?
            .0;
        for (at, (name, _)) in pairs.iter().enumerate() {
            if !known.contains(&name.as_str()) && name != INT64 {
                return Err(unknown(name, known));
            }
            if pairs[..at].iter().any(|(before, _)| before == name) {
                return Err(Problem::parameter(name, format!("`{name}` is given twice; give it once")));
            }
        }
        Ok(Self { pairs })
    }

    /// Returns a parameter's text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// Returns a parameter parsed by its type, whose error is the sentence.
    pub(super) fn parsed<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Option<T>, Problem> {
        let parse = |text: &str| text.parse().map_err(|error: T::Err| wrong(name, &error));
        self.text(name).map(parse).transpose()
    }

    /// Returns which part of a list is wanted.
    pub(super) fn page<C: FromStr<Err: Display>>(&self) -> Result<Page<C>, Problem> {
        let [limit, cursor] = PAGING;
        let entries = self.parsed(limit)?.unwrap_or(PAGE);
        if !(1..=PAGE_MAX).contains(&entries) {
            return Err(wrong(limit, &format!("{entries} is not from 1 to {PAGE_MAX}")));
        }
        Ok(Page { limit: entries as usize, after: self.parsed(cursor)? })
    }

    /// Returns a time: integer nanoseconds since 1970, or RFC 3339.
    pub(super) fn time(&self, name: &str) -> Result<Option<WallTime>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        if let Ok(nanos) = text.parse() {
            return Ok(Some(WallTime(nanos)));
        }
        // A `+` of an offset that was not percent-encoded arrives as a space.
        let parsed = text.replace(' ', "+").parse::<WallTime>();
        let sentence = |error| format!("{error}, nor is it an integer of nanoseconds since 1970");
        parsed.map(Some).map_err(|error| wrong(name, &sentence(error)))
    }

    /// Returns how 64-bit integers are printed.
    pub(super) fn ints(&self) -> Result<Ints, Problem> {
        match self.text(INT64) {
            None | Some("number") => Ok(Ints::Numbers),
            Some("string") => Ok(Ints::Strings),
            Some(other) => Err(wrong(INT64, &format!("{other:?} is neither `string` nor `number`"))),
        }
    }
}

/// Makes the problem of a parameter whose value is wrong.
pub(super) fn wrong(name: &str, why: &dyn Display) -> Problem {
    Problem::parameter(name, format!("`{name}`: {why}"))
}

fn unknown(name: &str, known: &[&str]) -> Problem {
    let nearest = known.iter().chain([&INT64]).min_by_key(|known| edits(name, known));
    let nearest = nearest.expect("there is always one that is known");
    Problem::parameter(
        name,
        format!("the parameter `{name}` is not known here; the nearest one is `{nearest}`"),
    )
}

/// Returns the Levenshtein distance of two short texts.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().take(SHORT_CHARS_MAX).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// A name from outside is compared up to here.
const SHORT_CHARS_MAX: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Result<Parameters, Problem> {
        Parameters::parse(&format!("/x?{query}").parse().unwrap(), &["from", "to", "channels"])
    }

    fn detail(problem: &Problem) -> String {
        format!("{problem:?}")
    }

    #[test]
    fn an_unknown_parameter_is_named_with_the_nearest_one() {
        let problem = parse("chanels=x").unwrap_err();
        assert!(detail(&problem).contains("`chanels` is not known here; the nearest one is `channels`"));
        assert!(detail(&parse("int46=string").unwrap_err()).contains("`int64`"));
    }

    #[test]
    fn a_parameter_is_given_once() {
        assert!(detail(&parse("from=1&from=2").unwrap_err()).contains("given twice"));
    }

    #[test]
    fn times_are_nanoseconds_or_rfc_3339() {
        let time = |text: &str| parse(&format!("from={text}")).unwrap().time("from");
        assert_eq!(time("1381518692966203289").unwrap(), Some(WallTime(1_381_518_692_966_203_289)));
        assert_eq!(time("-5").unwrap(), Some(WallTime(-5)));
        let same = WallTime(1_381_518_692_966_203_289);
        for text in ["2013-10-11T19:11:32.966203289Z", "2013-10-11T21:11:32.966203289+02:00"] {
            assert_eq!(time(text).unwrap(), Some(same), "{text}");
            assert_eq!(time(&text.replace('+', "%2B")).unwrap(), Some(same), "{text}");
        }
        assert!(
            detail(&time("yesterday").unwrap_err()).contains("`from`: `yesterday` is not an RFC 3339 time")
        );
        assert!(time("").is_err());
        assert_eq!(parse("").unwrap().time("from").unwrap(), None);
    }

    #[test]
    fn edits_count_changes() {
        for (a, b, count) in
            [("", "abc", 3), ("abc", "", 3), ("limt", "limit", 1), ("sort", "sort", 0), ("ab", "ba", 2)]
        {
            assert_eq!(edits(a, b), count, "{a} {b}");
        }
    }
}
