//! The fleet demo. It starts a real gateway and five real agents as processes, and shows what the gateway tells of them.
//!
//! What it shows comes from the HTTP API alone, as any backend would ask it. A killed agent stays killed until it is
//! started again, so that one sees its robot turn late, stale and down.

mod events;
mod folder;
mod gateway;
mod options;
mod plan;
mod robots;
mod screen;
mod view;

use std::{
    process::ExitCode,
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use clap::Parser as _;

use self::{
    events::{Event, Key},
    folder::Folder,
    gateway::Gateway,
    options::Options,
    robots::Robots,
    screen::Screen,
    view::View,
};
use crate::clock;

/// Runs the demo as the command line asks.
pub fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            screen::complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> anyhow::Result<()> {
    let plan = plan::plan(&options.logs()?);
    if let Some(name) = &options.kill
        && !plan.iter().any(|robot| robot.is_named(name))
    {
        let known: Vec<_> = plan.iter().map(|robot| robot.name.as_str()).collect();
        bail!("there is no robot `{name}` to kill; there are {}", known.join(", "));
    }
    let events = events::listen()?;
    let folder = Folder::open(options.data.as_deref())?;
    let gateway = Gateway::start(&folder)?;
    let robots = Robots::start(plan, &gateway, &folder)?;
    let mut demo =
        Demo { view: View::new(gateway.url()), gateway, robots, started: clock::now(), killed: false };
    let mut screen = Screen::open(&demo.view.greeting(&folder))?;
    let outcome = demo.watch(options, &events, &mut screen);
    screen.close(&demo.view.table(screen::LAST_LOOK));
    outcome
}

/// The demo while it runs. Its robots end before its gateway.
struct Demo {
    robots: Robots,
    gateway: Gateway,
    view: View,
    started: Instant,
    killed: bool,
}

impl Demo {
    fn watch(
        &mut self,
        options: &Options,
        events: &Receiver<Event>,
        screen: &mut Screen,
    ) -> anyhow::Result<()> {
        loop {
            let passed = self.started.elapsed();
            self.kill_in_time(options, passed);
            self.robots.tend(&self.gateway)?;
            self.gateway.check()?;
            self.view.update(&self.gateway, &self.robots)?;
            screen.show(&mut self.view, passed)?;
            match options.span().map(|span| span.saturating_sub(self.started.elapsed())) {
                Some(Duration::ZERO) => return Ok(()),
                left => match events.recv_timeout(left.unwrap_or(REDRAW_EVERY).min(REDRAW_EVERY)) {
                    Ok(Event::Stop | Event::Key(Key::Quit)) => return Ok(()),
                    Ok(Event::Key(key)) => self.obey(key)?,
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => bail!("nothing listens for signals any more"),
                },
            }
        }
    }

    fn obey(&mut self, key: Key) -> anyhow::Result<()> {
        match key {
            Key::Up => self.view.select_before(),
            Key::Down => self.view.select_after(),
            Key::Kill => self.robots.kill(self.view.selected()),
            Key::Start => {
                self.robots.restart(self.view.selected(), &self.gateway).context("start the agent again")?;
            }
            Key::Quit => {}
        }
        Ok(())
    }

    fn kill_in_time(&mut self, options: &Options, passed: Duration) {
        if let Some(name) = &options.kill
            && !self.killed
            && passed >= options.after()
        {
            self.killed = true;
            self.robots.kill_named(name);
        }
    }
}

/// How often the table is drawn anew.
const REDRAW_EVERY: Duration = Duration::from_secs(1);
