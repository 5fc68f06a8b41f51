//! `muster-gateway store trim`: says what would go, asks, and lets it go, through a running gateway or without one.

use std::{
    fmt::Write as _,
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    path::Path,
    process::ExitCode,
};

use muster_program::console::{EXIT_FAILED, sentence};
use muster_protocol::{id::Offset, settings::Size, time::WallTime};

use super::super::{
    CONSOLE,
    age::Age,
    args::{OutputForm, StoreTarget},
};
use crate::{
    clock::Clock,
    control,
    store::trim::{Goal, Plan, Stop, Trimmed, plan_of_folder, trim_folder},
};

/// Whether a gateway runs on the folder.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// It does, and is asked to do it.
    Running,
    /// It does not.
    Folder,
}

/// Runs the command.
pub(super) fn run(target: &StoreTarget, wanted: (Option<Size>, Option<Age>), yes: bool) -> ExitCode {
    let (to_size, older_than) = wanted;
    let goal = Goal {
        to_bytes: to_size.map(Size::bytes),
        older_than: older_than.map(|age| age.resolve(Clock::new().wall())),
    };
    match trim(target, goal, yes) {
        Ok(code) => code,
        Err(error) => CONSOLE.fail(&sentence(&error), EXIT_FAILED),
    }
}

fn trim(target: &StoreTarget, goal: Goal, yes: bool) -> anyhow::Result<ExitCode> {
    let dir = &target.dir;
    let (way, plan) = match control::plan_trim(dir, goal)? {
        Some(plan) => (Way::Running, plan),
        None => (Way::Folder, plan_of_folder(dir, goal)?),
    };
    if target.output == OutputForm::Table {
        let shown = CONSOLE.print(&table(&plan));
        if shown != ExitCode::SUCCESS {
            return Ok(shown);
        }
    }
    let trimmed = if plan.going.is_empty() {
        Some(Trimmed::default())
    } else if yes || is_agreed(target.output)? {
        Some(let_go(way, dir, Offset(plan.first))?)
    } else {
        None
    };
    Ok(end(target.output, &plan, trimmed))
}

fn let_go(way: Way, dir: &Path, until: Offset) -> anyhow::Result<Trimmed> {
    match way {
        Way::Running => control::trim(dir, until)?.ok_or_else(|| {
            anyhow::anyhow!("the gateway on {} has ended; run this again without it", dir.display())
        }),
        Way::Folder => Ok(trim_folder(dir, until)?),
    }
}

/// Asks on a terminal. Without one nobody can agree.
fn is_agreed(output: OutputForm) -> io::Result<bool> {
    if output == OutputForm::Json || !io::stdin().is_terminal() {
        return Ok(false);
    }
    write!(io::stderr(), "Let them go? [y/N] ")?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}

/// Says how it ended.
fn end(output: OutputForm, plan: &Plan, trimmed: Option<Trimmed>) -> ExitCode {
    let is_done = trimmed.is_some_and(|trimmed| trimmed.partitions == plan.going.len());
    if output == OutputForm::Json {
        let answer = serde_json::json!({ "plan": plan, "trimmed": trimmed });
        let printed = CONSOLE.print(&format!("{answer}\n"));
        let is_reached = is_done && plan.stops.is_none();
        return if is_reached || printed != ExitCode::SUCCESS {
            printed
        } else {
            ExitCode::from(EXIT_FAILED)
        };
    }
    let Some(Trimmed { partitions, bytes }) = trimmed else {
        return CONSOLE.fail(&"nothing was dropped; agree to it with y, or with --yes", EXIT_FAILED);
    };
    if partitions > 0 {
        let printed = CONSOLE.print(&format!("dropped {}, {bytes} bytes\n", counted(partitions)));
        if printed != ExitCode::SUCCESS {
            return printed;
        }
    }
    match plan.stops {
        _ if !is_done => CONSOLE.fail(&"not all of them could go; run it again to see why", EXIT_FAILED),
        Some(stop) => CONSOLE.fail(&why(stop), EXIT_FAILED),
        None => ExitCode::SUCCESS,
    }
}

fn table(plan: &Plan) -> String {
    let mut out = String::new();
    let time = |t: Option<i64>| t.map_or("-".to_owned(), |t| WallTime(t).to_string());
    let Plan { going, robots, robots_more, kept, kept_bytes, first, .. } = plan;
    if going.is_empty() {
        let _ = writeln!(out, "nothing goes: {} with {kept_bytes} bytes stay", counted(*kept));
        return out;
    }
    let bytes: u64 = going.iter().map(|going| going.disk_bytes).sum();
    let _ = writeln!(
        out,
        "{} with {bytes} bytes go, {kept} with {kept_bytes} bytes stay; the log begins at offset {first} then",
        counted(going.len())
    );
    let _ = writeln!(
        out,
        "{:>12} {:>12} {:>11} {:>6} {:>11}  sealed",
        "first", "end", "samples", "robots", "on disk"
    );
    for one in going {
        let _ = writeln!(
            out,
            "{:>12} {:>12} {:>11} {:>6} {:>11}  {}",
            one.first,
            one.end,
            one.samples,
            one.robots,
            one.disk_bytes,
            time(one.sealed_at)
        );
    }
    for robot in robots.iter().take(ROBOTS_SHOWN) {
        let (from, to) = (time(Some(robot.t_min)), time(Some(robot.t_max)));
        let _ = writeln!(out, "{}: {} samples of {from} / {to}", robot.robot, robot.samples);
    }
    let more = robots.len().saturating_sub(ROBOTS_SHOWN) + robots_more;
    if more > 0 {
        let _ = writeln!(out, "and of {more} more robots");
    }
    out
}

fn why(stop: Stop) -> &'static str {
    match stop {
        Stop::Written => "the goal is not reached: what is written now stays",
        Stop::Checkpoints => {
            "the goal is not reached: the next partition is not covered by two checkpoints yet; let the gateway run \
             for a while (store.checkpoint_every)"
        }
        Stop::Unaccounted => {
            "the goal is not reached: the next partition is damaged, and the log does not say yet what it held; let the \
             gateway run with some room"
        }
    }
}

fn counted(partitions: usize) -> String {
    if partitions == 1 { "1 partition".to_owned() } else { format!("{partitions} partitions") }
}

/// Robots that are shown; `-o json` names more.
const ROBOTS_SHOWN: usize = 20;
