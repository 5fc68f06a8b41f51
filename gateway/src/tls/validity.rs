//! When a certificate is over: the one field of X.509 that the gateway reads itself (RFC 5280, 4.1).
//!
//! ```text
//!   Certificate: SEQUENCE
//!     TBSCertificate: SEQUENCE
//!       [0] version, INTEGER serial, SEQUENCE signature, SEQUENCE issuer,
//!       SEQUENCE validity: notBefore, notAfter (each UTCTime or GeneralizedTime)
//! ```

use muster_protocol::time::WallTime;

/// Returns the certificate's notAfter; `None` if it cannot be found. One beyond the year 2262 is the end of all time.
pub(super) fn end(certificate: &[u8]) -> Option<WallTime> {
    let (whole, _) = part(certificate, SEQUENCE)?;
    let (mut to_be_signed, _) = part(whole, SEQUENCE)?;
    if let Some((_, rest)) = part(to_be_signed, VERSION) {
        to_be_signed = rest;
    }
    for tag in [INTEGER, SEQUENCE, SEQUENCE] {
        (_, to_be_signed) = part(to_be_signed, tag)?;
    }
    let (validity, _) = part(to_be_signed, SEQUENCE)?;
    let (_, after) = part(validity, UTC_TIME).or_else(|| part(validity, GENERALIZED_TIME))?;
    match part(after, UTC_TIME) {
        Some((text, _)) => utc_time(text),
        None => time(part(after, GENERALIZED_TIME)?.0),
    }
}

/// Returns the content of the element that `bytes` begin with, if it has this tag, and what follows it.
fn part(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (first, rest) = bytes.split_first()?;
    let (length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(*length), rest),
        // More than four bytes of length would be more than any certificate has.
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    (*first == tag).then_some(())?;
    rest.split_at_checked(length)
}

/// Reads `YYMMDDhhmmssZ`, of the years 1950 to 2049.
fn utc_time(text: &[u8]) -> Option<WallTime> {
    let century: &[u8] = if text.first()? < &b'5' { b"20" } else { b"19" };
    time(&[century, text].concat())
}

/// Reads `YYYYMMDDhhmmssZ`.
fn time(text: &[u8]) -> Option<WallTime> {
    let text = std::str::from_utf8(text).ok()?;
    let digits = text.strip_suffix('Z').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    let at = |from: usize, to: usize| digits.get(from..to);
    let (year, month, day) = (at(0, 4)?, at(4, 6)?, at(6, 8)?);
    let (hour, minute, second) = (at(8, 10)?, at(10, 12)?, at(12, 14)?);
    if digits.len() != 14 {
        return None;
    }
    if year > LAST_YEAR {
        return Some(WallTime(i64::MAX));
    }
    format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z").parse().ok()
}

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

/// The last year that nanoseconds since 1970 hold whole.
const LAST_YEAR: &str = "2261";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn certificate(year: i32) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_after = date_time_ymd(year, 3, 5);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn ends_of_both_forms_are_read() {
        for year in [1996, 2026, 2049, 2050, 2261] {
            let expected: WallTime = format!("{year}-03-05T00:00:00Z").parse().unwrap();
            assert_eq!(end(&certificate(year)), Some(expected), "{year}");
        }
        assert_eq!(end(&certificate(4096)), Some(WallTime(i64::MAX)));
    }

    #[test]
    fn what_is_cut_has_no_end() {
        let whole = certificate(2026);
        for length in 0..whole.len() {
            assert_eq!(end(&whole[..length]), None, "{length}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            end(&bytes);
        }
    }
}
