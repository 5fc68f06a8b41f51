//! How long a certificate holds: the one field of X.509 that nobody else reads here. Pure.
//!
//! ```text
//!   Certificate ::= SEQUENCE { tbsCertificate SEQUENCE {
//!     [0] version OPTIONAL, serialNumber INTEGER, signature SEQUENCE, issuer SEQUENCE,
//!     validity SEQUENCE { notBefore Time, notAfter Time }, ... } ... }        RFC 5280, section 4.1
//! ```
//!
//! It judges nothing: whether a certificate is to be trusted, rustls says.

/// From when to when a certificate holds, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) from: i64,
    pub(super) until: i64,
}

/// Reads a certificate in DER; `None` if it is none.
pub(super) fn validity_of(der: &[u8]) -> Option<Validity> {
    let (certificate, _) = inside(der, SEQUENCE)?;
    let (mut fields, _) = inside(certificate, SEQUENCE)?;
    if fields.first() == Some(&VERSION) {
        fields = inside(fields, VERSION)?.1;
    }
    for tag in [INTEGER, SEQUENCE, SEQUENCE] {
        fields = inside(fields, tag)?.1;
    }
    let (validity, _) = inside(fields, SEQUENCE)?;
    let (from, rest) = time(validity)?;
    let (until, _) = time(rest)?;
    Some(Validity { from, until })
}

/// Returns the content of the first element, which has to have this tag, and what follows it (X.690, section 8.1).
fn inside(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (first, rest) = der.split_first()?;
    let (length, mut rest) = rest.split_first()?;
    let mut length = usize::from(*length);
    if length >= LONG_FORM {
        let bytes;
        (bytes, rest) = rest.split_at_checked(length - LONG_FORM)?;
        // Four bytes are more than any certificate is long.
        (bytes.len() <= 4).then_some(())?;
        length = bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
    }
    let parts = rest.split_at_checked(length)?;
    (*first == tag).then_some(parts)
}

/// Reads a time and returns what follows it: `YYMMDDhhmmssZ` with years from 1950, or `YYYYMMDDhhmmssZ`.
fn time(der: &[u8]) -> Option<(i64, &[u8])> {
    let (text, rest, year_digits) = match *der.first()? {
        UTC_TIME => inside(der, UTC_TIME).map(|(text, rest)| (text, rest, 2))?,
        _ => inside(der, GENERALIZED_TIME).map(|(text, rest)| (text, rest, 4))?,
    };
    let digits = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (year, others) = digits.split_at_checked(year_digits)?;
    let year: i64 = year.parse().ok()?;
    let year = match year_digits {
        2 if year < 50 => year + 2000,
        2 => year + 1900,
        _ => year,
    };
    let part = |at: usize| others.get(at..at + 2)?.parse::<i64>().ok();
    let days = days_from_1970(year, part(0)?, part(2)?);
    let seconds = days * 86_400 + part(4)? * 3600 + part(6)? * 60 + part(8)?;
    Some((seconds, rest))
}

/// Counts days of the Gregorian calendar: years begin in March, so that the leap day is the last.
fn days_from_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + day_of_year - DAYS_BEFORE_1970
}

/// From 1 March of year 0 to 1 January 1970.
const DAYS_BEFORE_1970: i64 = 719_468;

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

/// A length from here on says of how many bytes the length itself is.
const LONG_FORM: usize = 0x80;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn element(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u8::try_from(content.len()).unwrap();
        let head = if length < 0x80 { vec![tag, length] } else { vec![tag, 0x81, length] };
        [&head[..], content].concat()
    }

    fn certificate(version: bool, from: (u8, &str), until: (u8, &str)) -> Vec<u8> {
        let time = |(tag, text): (u8, &str)| element(tag, text.as_bytes());
        let validity = element(SEQUENCE, &[time(from), time(until)].concat());
        let version = if version { element(VERSION, &element(INTEGER, &[2])) } else { Vec::new() };
        let head =
            [version, element(INTEGER, &[7; 20]), element(SEQUENCE, &[5, 0]), element(SEQUENCE, &[0; 90])];
        element(SEQUENCE, &element(SEQUENCE, &[head.concat(), validity, vec![1, 2, 3]].concat()))
    }

    #[test]
    fn both_spellings_of_a_time_are_read() {
        let der = certificate(true, (UTC_TIME, "750101000000Z"), (GENERALIZED_TIME, "40960101000000Z"));
        assert_eq!(validity_of(&der), Some(Validity { from: 157_766_400, until: 67_090_118_400 }));
        let der = certificate(false, (UTC_TIME, "491231235959Z"), (UTC_TIME, "240229123456Z"));
        assert_eq!(validity_of(&der), Some(Validity { from: 2_524_607_999, until: 1_709_210_096 }));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(der: Vec<u8>, at in 0..200_usize, byte: u8) {
            let _ = validity_of(&der);
            let mut der = certificate(true, (UTC_TIME, "750101000000Z"), (UTC_TIME, "300101000000Z"));
            let place = at % der.len();
            der[place] = byte;
            let _ = validity_of(&der);
            let _ = validity_of(&der[..place]);
        }
    }
}
