//! Medians and ranges of few runs, and how figures are written.

use std::time::Duration;

/// Returns the value at this quantile, between 0 and 1, by nearest rank.
pub(super) fn quantile(values: &[f64], at: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank within the list")]
    let rank = (at * last as f64).round() as usize;
    sorted.get(rank).copied().unwrap_or(f64::NAN)
}

/// Returns median and range: `1.2 (1.1–1.4)`.
pub(super) fn spread(values: &[f64], write: impl Fn(f64) -> String) -> String {
    let [low, median, high] = [0.0, 0.5, 1.0].map(|at| write(quantile(values, at)));
    if values.len() > 1 { format!("{median} ({low}–{high})") } else { median }
}

/// Writes a figure with three significant digits, and an SI prefix above a thousand.
pub(super) fn si(value: f64) -> String {
    let (value, prefix) = match value {
        value if value >= 1e9 => (value / 1e9, " G"),
        value if value >= 1e6 => (value / 1e6, " M"),
        value if value >= 1e4 => (value / 1e3, " k"),
        value => (value, ""),
    };
    format!("{}{prefix}", digits(value))
}

/// Writes a figure with about three significant digits.
pub(super) fn digits(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Writes bytes as MiB.
pub(super) fn mib(bytes: f64) -> String {
    format!("{:.1}", bytes / 1_048_576.0)
}

/// Writes seconds as milliseconds.
pub(super) fn ms(seconds: f64) -> String {
    digits(seconds * 1e3)
}

/// Returns a rate; without time, nothing is known.
pub(super) fn per_second(count: u64, span: Duration) -> f64 {
    count as f64 / span.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_three_is_the_middle_one() {
        assert_eq!(spread(&[3.0, 1.0, 2.0], digits), "2.00 (1.00–3.00)");
        assert_eq!(spread(&[7.0], digits), "7.00");
    }

    #[test]
    fn figures_keep_three_digits() {
        assert_eq!([999.4, 12_345.0, 1_234_567.0].map(si), ["999", "12.3 k", "1.23 M"]);
    }
}
