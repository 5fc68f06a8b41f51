//! A look at JSON text without parsing it: what stands outside of strings. Used where the parser's answer is not
//! enough, on text that it has checked or will check.

use std::borrow::Cow;

/// Returns whether there is nothing but JSON's white space.
pub(super) fn is_blank(text: &str) -> bool {
    trim(text).is_empty()
}

/// Writes the integer `-0` as `0`. The parser makes `-0` a float, but it has neither a fraction nor an exponent, so it
/// is an integer, and the integer zero has no sign.
pub(super) fn without_negative_zero(text: &str) -> Cow<'_, str> {
    let starts = |before: u8| matches!(before, b':' | b',' | b'[') || is_space(before);
    let ends = |after: u8| matches!(after, b',' | b']' | b'}') || is_space(after);
    let is_negative_zero = |bytes: &[u8]| match *bytes {
        [before, b'-', b'0', after] => starts(before) && ends(after),
        _ => false,
    };
    if !text.as_bytes().windows(4).any(is_negative_zero) {
        return Cow::Borrowed(text);
    }
    let mut kept = String::with_capacity(text.len());
    let mut from = 0;
    for (at, _) in outside_strings(text).filter(|(_, byte)| *byte == b'-') {
        if at > 0 && text.as_bytes().get(at - 1..at + 3).is_some_and(is_negative_zero) {
            kept.push_str(&text[from..at]);
            from = at + 1;
        }
    }
    kept.push_str(&text[from..]);
    Cow::Owned(kept)
}

/// Returns the text of the value in an object with one key.
pub(super) fn value_of_only_key(object: &str) -> Option<&str> {
    let (colon, _) = outside_strings(object).find(|(_, byte)| *byte == b':')?;
    let (brace, _) = outside_strings(object).filter(|(_, byte)| *byte == b'}').last()?;
    object.get(colon + 1..brace).map(trim)
}

/// The elements of an array, cut at its commas, and what follows the array.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Elements<'a> {
    pub(super) elements: Vec<&'a str>,
    pub(super) end: ArrayEnd<'a>,
}

/// How an array ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ArrayEnd<'a> {
    /// With its bracket, and this text after it.
    Closed(&'a str),
    /// With the text, or with a bracket that closes none.
    Missing,
}

/// Cuts text that starts with a bracket into the elements of the array. Whether each is JSON is not looked at.
pub(super) fn elements(array: &str) -> Elements<'_> {
    let mut elements = Vec::new();
    let mut depth = 0_usize;
    let mut from = 1;
    for (at, byte) in outside_strings(array) {
        match byte {
            b'[' | b'{' => depth += 1,
            b',' if depth == 1 => {
                elements.push(trim(&array[from..at]));
                from = at + 1;
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            push_last(&mut elements, &array[from.min(at)..at]);
            // A brace closes no array; what follows it belongs to nothing.
            let closed = byte == b']';
            let end = if closed { ArrayEnd::Closed(trim(&array[at + 1..])) } else { ArrayEnd::Missing };
            return Elements { elements, end };
        }
    }
    push_last(&mut elements, array.get(from..).unwrap_or_default());
    Elements { elements, end: ArrayEnd::Missing }
}

/// Takes the last element, which is nothing in an empty array.
fn push_last<'a>(elements: &mut Vec<&'a str>, last: &'a str) {
    let last = trim(last);
    if !last.is_empty() || !elements.is_empty() {
        elements.push(last);
    }
}

/// Returns the bytes that stand outside of strings, without the quotes, each with its place.
fn outside_strings(text: &str) -> impl Iterator<Item = (usize, u8)> {
    let (mut within, mut escaped) = (false, false);
    text.bytes().enumerate().filter(move |(_, byte)| {
        let was_within = within;
        match byte {
            _ if escaped => escaped = false,
            b'\\' if within => escaped = true,
            b'"' => within = !within,
            _ => {}
        }
        !was_within && *byte != b'"'
    })
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\r', '\n'])
}

/// Returns what follows the space at the beginning: JSON's, which has no form feed in it.
pub(super) fn trim_start(text: &[u8]) -> &[u8] {
    let blank = text.iter().take_while(|byte| is_space(**byte)).count();
    text.get(blank..).unwrap_or_default()
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_integers_that_are_negative_zero_lose_their_sign() {
        let cases = [
            (r#"{"v":-0}"#, r#"{"v":0}"#),
            (r#"{"v":[-0, -0 ,-0]}"#, r#"{"v":[0, 0 ,0]}"#),
            (r#"{"v":[-0.0,-0e0,-0.5,-1]}"#, r#"{"v":[-0.0,-0e0,-0.5,-1]}"#),
            (r#"{"v":" -0 ","w":-0}"#, r#"{"v":" -0 ","w":0}"#),
            (r#"{"v":"\" -0 ","w":-0}"#, r#"{"v":"\" -0 ","w":0}"#),
            (r#"{"v":5-0}"#, r#"{"v":5-0}"#),
            (r#"{"v":1e-0}"#, r#"{"v":1e-0}"#),
        ];
        for (text, kept) in cases {
            assert_eq!(without_negative_zero(text), kept);
        }
    }

    #[test]
    fn arrays_are_cut_at_their_own_commas() {
        let cut = elements(r#"[ {"a":[1,2]} , "x,]\"," ,3 ] "#);
        assert_eq!(cut.elements, [r#"{"a":[1,2]}"#, r#""x,]\",""#, "3"]);
        assert_eq!(cut.end, ArrayEnd::Closed(""));
        assert_eq!(elements("[]").elements, [""; 0]);
        assert_eq!(elements("[1,]").elements, ["1", ""]);
        assert_eq!(elements("[1] 2").end, ArrayEnd::Closed("2"));
        assert_eq!(elements("[1, {").end, ArrayEnd::Missing);
        assert_eq!(elements("[").elements, [""; 0]);
        assert_eq!(elements("[}").end, ArrayEnd::Missing);
        assert_eq!((elements("[1}]").elements, elements("[1}]").end), (vec!["1"], ArrayEnd::Missing));
    }
}
