//! Progress of an export: a bar on a terminal, a line for each break.

use std::{fmt, thread, time::Duration};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use super::copy::Watcher;
use crate::muster::notes::{Level, LogFormat};

/// Shows how far an export is.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
    log: LogFormat,
}

impl Progress {
    /// Starts; with `whole`, the samples to come, the end is known. Draws nothing where stderr is no terminal.
    pub(super) fn start(whole: Option<u64>, hidden: bool, log: LogFormat) -> Self {
        let bar = match whole {
            _ if hidden => ProgressBar::hidden(),
            Some(samples) => ProgressBar::new(samples).with_style(style(KNOWN)),
            None => ProgressBar::new_spinner().with_style(style(UNKNOWN)),
        };
        Self { bar, log }
    }

    /// Takes the bar away.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

impl Watcher for Progress {
    fn copied(&mut self, samples: u64) {
        self.bar.set_position(samples);
    }

    #[expect(clippy::disallowed_methods, reason = "a gateway that is away gives no event to wait for")]
    fn broke(&mut self, why: &str, breaks: u32) {
        self.bar
            .suspend(|| self.log.say(Level::Warn, &format!("the stream broke ({why}); taking it up again")));
        thread::sleep(pause(breaks));
    }
}

/// How long to wait before the stream is taken up: not at all at first, then doubling.
fn pause(breaks: u32) -> Duration {
    match breaks {
        0 | 1 => Duration::ZERO,
        _ => PAUSE_FIRST * 2_u32.saturating_pow(breaks - 2),
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates below are well-formed").with_key(
        "rate",
        |state: &ProgressState, out: &mut dyn fmt::Write| {
            // A bar that cannot be drawn fails nothing.
            let _ = write!(out, "{:.0}/s", state.per_sec());
        },
    )
}

const KNOWN: &str = "{wide_bar} {human_pos} of {human_len} samples  {rate}  {eta}";
const UNKNOWN: &str = "{spinner} {human_pos} samples  {rate}  {elapsed}";

/// The pause before the second attempt in a row.
const PAUSE_FIRST: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_attempt_comes_at_once_and_the_others_wait_longer_each() {
        assert_eq!([1, 2, 3, 4, 5].map(|breaks| pause(breaks).as_secs()), [0, 1, 2, 4, 8]);
    }

    #[test]
    fn the_templates_are_well_formed() {
        let _ = (style(KNOWN), style(UNKNOWN));
    }
}
