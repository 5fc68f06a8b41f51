//! The terminal: a second screen that is drawn anew, or plain lines of what changed where there is none.

use std::{
    env,
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use anyhow::Context as _;
use crossterm::{
    cursor::{Hide, MoveTo, Show},
    queue,
    style::Print,
    terminal::{self, Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen},
};
use muster_gateway::muster::table::Look;

use super::view::View;

/// How the last table is drawn that stays when the demo has ended.
pub(super) const LAST_LOOK: Look = Look { width: None, color: false };

/// Where the demo shows itself; dropping it gives the terminal back.
#[derive(Debug)]
pub(super) enum Screen {
    Terminal { greeting: String, is_open: bool },
    Lines,
}

impl Screen {
    /// Takes the terminal, or greets where there is none.
    pub(super) fn open(greeting: &str) -> anyhow::Result<Self> {
        if !(io::stdout().is_terminal() && io::stdin().is_terminal()) {
            say(greeting)?;
            return Ok(Self::Lines);
        }
        terminal::enable_raw_mode().context("take the terminal")?;
        let screen = Self::Terminal { greeting: greeting.to_owned(), is_open: true };
        let mut out = io::stdout().lock();
        queue!(out, EnterAlternateScreen, Hide).and_then(|()| out.flush()).context("take the terminal")?;
        Ok(screen)
    }

    /// Shows the view as it is now.
    pub(super) fn show(&mut self, view: &mut View, passed: Duration) -> anyhow::Result<()> {
        match self {
            Self::Terminal { .. } => draw(view).context("draw the table"),
            Self::Lines => {
                for change in view.changes() {
                    say(&format!("{:6.1} s  {change}\n", passed.as_secs_f64()))?;
                }
                Ok(())
            }
        }
    }

    /// Gives the terminal back and leaves the last table on it.
    pub(super) fn close(&mut self, table: &str) {
        let greeting = self.leave().unwrap_or_default();
        let _ = say(&format!("{greeting}\n{table}"));
    }

    fn leave(&mut self) -> Option<String> {
        let Self::Terminal { greeting, is_open: is_open @ true } = self else { return None };
        *is_open = false;
        let mut out = io::stdout().lock();
        let _ = queue!(out, Show, LeaveAlternateScreen).and_then(|()| out.flush());
        let _ = terminal::disable_raw_mode();
        Some(std::mem::take(greeting))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Says on stderr why the demo failed; nobody listening is no failure.
pub(super) fn complain(why: &str) {
    let _ = writeln!(io::stderr(), "error: {why}");
}

fn draw(view: &View) -> io::Result<()> {
    let (width, height) = terminal::size()?;
    let color = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let text = view.screen(Look { width: Some(width), color });
    let mut out = io::stdout().lock();
    queue!(out, MoveTo(0, 0))?;
    for line in text.lines().take(usize::from(height.saturating_sub(1))) {
        queue!(out, Print(line), Clear(ClearType::UntilNewLine), Print("\r\n"))?;
    }
    queue!(out, Clear(ClearType::FromCursorDown))?;
    out.flush()
}

fn say(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("write to stdout")
}
