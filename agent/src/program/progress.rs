//! How far a run with `--once` is, on a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use crate::{delivery::Figures, intake::Intake};

/// A line that is redrawn until this is dropped. indicatif draws nothing where stderr is no terminal.
pub(super) struct Shown {
    bar: ProgressBar,
    redraw: JoinHandle<()>,
}

pub(super) fn show(figures: watch::Receiver<Figures>, intake: Intake) -> Shown {
    let style = ProgressStyle::with_template("{spinner} {msg}").expect("the template is right");
    let bar = ProgressBar::new_spinner().with_style(style);
    let shown = bar.clone();
    let redraw = tokio::spawn(async move {
        let mut tick = interval(REDRAW_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tick.tick().await;
            let Figures { up, released, .. } = *figures.borrow();
            let link = if up { "link up" } else { "no link, spooling" };
            let refused = intake.ledger().total();
            shown.set_message(format!("{released} batches delivered, {refused} lines refused, {link}"));
            shown.tick();
        }
    });
    Shown { bar, redraw }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.redraw.abort();
        self.bar.finish_and_clear();
    }
}

const REDRAW_EVERY: Duration = Duration::from_millis(200);
