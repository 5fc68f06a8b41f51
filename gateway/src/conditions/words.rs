//! Figures in sentences.

use std::time::Duration;

/// Writes bytes with a decimal unit, as disks are sold: `21.3 GB`.
pub(super) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut shown = bytes as f64;
    let mut unit = "";
    for next in UNITS {
        if shown < 1000.0 {
            break;
        }
        shown /= 1000.0;
        unit = next;
    }
    format!("{shown:.1} {unit}")
}

/// Writes a span in the unit in which a person would say it.
pub(super) fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0 => format!("{} ms", span.as_millis()),
        1..=119 => format!("{:.1} s", span.as_secs_f64()),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Writes a span of nanoseconds, whatever its sign.
pub(super) fn nanos(nanos: i64) -> String {
    span(Duration::from_nanos(nanos.unsigned_abs()))
}

/// Writes a count with its noun, whose plural has an `s`.
pub(super) fn count(n: u64, noun: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", thousands(n))
}

/// Writes a count with commas.
pub(super) fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Writes `12 malformed, 3 busy`, without the zeros; empty if there is nothing.
pub(super) fn tally<'a>(counts: impl IntoIterator<Item = (&'a str, u64)>) -> String {
    let shown = counts.into_iter().filter(|(_, n)| *n > 0);
    let shown: Vec<String> =
        shown.map(|(name, n)| format!("{} {}", thousands(n), name.replace('_', " "))).collect();
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_as_a_person_would_say_them() {
        assert_eq!([0, 999, 1000, 21_340_000_000].map(bytes), ["0 B", "999 B", "1.0 kB", "21.3 GB"]);
        let spans =
            [80, 1_500, 119_000, 120_000, 7_200_000, 172_800_000].map(Duration::from_millis).map(span);
        assert_eq!(spans, ["80 ms", "1.5 s", "119.0 s", "2 min", "2 h", "2 days"]);
        assert_eq!([1, 1200, 1_000_000].map(thousands), ["1", "1,200", "1,000,000"]);
        assert_eq!((count(1, "sample"), count(2, "sample")), ("1 sample".to_owned(), "2 samples".to_owned()));
        assert_eq!(tally([("spool_full", 3), ("corrupt", 0), ("busy", 1)]), "3 spool full, 1 busy");
    }
}
