//! `muster export`: every stored sample of a robot into a file, whole or not at all.
//!
//! Samples pass through one line at a time, so memory stays the same however long the export is. What is written goes
//! to `FILE.part` and takes its name when the stream has ended whole, after a sync. A connection that breaks is taken up
//! again behind the last sample, by the cursor `after=o:i`, a bounded number of times in a row.

mod copy;
mod progress;
mod sink;

use std::{
    fs::{self, File},
    io::{self, IsTerminal as _, Write},
    path::{Path, PathBuf},
};

use muster_protocol::id::RobotId;
use serde_json::Value;

pub use self::sink::Format;
use self::{copy::copy, progress::Progress, sink::Sink};
use super::{
    answer::{counts, number},
    client::{Client, Query},
    failure::{Failure, Outcome},
    notes::{Level, LogFormat},
    times::{self, When},
};

/// What to export and where to.
#[derive(Clone, Debug)]
pub struct Order {
    /// The robot.
    pub robot: RobotId,
    /// The first time; everything from the start without it.
    pub since: Option<When>,
    /// The time after the last; everything to the end without it.
    pub until: Option<When>,
    /// A glob over channel names.
    pub channels: Option<String>,
    /// Where to.
    pub target: Target,
}

/// Where an export goes, and in which format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Standard output.
    Stdout(Format),
    /// A file, its format by its ending.
    File(PathBuf, Format),
}

impl Target {
    /// Reads `-o FILE`; `asked` is a format that was named before the command.
    pub fn new(file: &Path, asked: Option<Format>) -> Result<Self, Failure> {
        if file.as_os_str() == "-" {
            return Ok(Self::Stdout(asked.unwrap_or(Format::Ndjson)));
        }
        let name = file.display();
        let ending = match file.extension().and_then(|ending| ending.to_str()) {
            Some("ndjson") => Format::Ndjson,
            Some("csv") => Format::Csv,
            _ => {
                let why = format!(
                    "`{name}` names no format: end it in .ndjson or .csv, or write `-o -` for NDJSON"
                );
                return Err(Failure::Usage(why));
            }
        };
        match asked {
            Some(asked) if asked != ending => Err(Failure::Usage(format!(
                "`{name}` decides its format by its ending: leave the other `-o` out"
            ))),
            _ => Ok(Self::File(file.to_owned(), ending)),
        }
    }
}

/// Exports, and tells on stderr how it went.
pub fn run(client: &Client, order: &Order, log: LogFormat) -> Result<Outcome, Failure> {
    let path = format!("/v1/robots/{}", order.robot);
    let state = client.json(&path, &Query::new())?;
    let query = query(client, order)?;
    let whole = if query.is_empty() { number(&state, "/samples") } else { None };
    let mut progress = Progress::start(whole, order.target.hides_progress(), log);
    let samples = match &order.target {
        Target::Stdout(format) => {
            let mut sink = Sink::new(io::stdout().lock(), *format)?;
            copy(&stream(client, &path, &query), &mut sink, &mut progress)?;
            let (samples, mut out) = sink.finish()?;
            out.flush()?;
            samples
        }
        Target::File(file, format) => to_file(&stream(client, &path, &query), file, *format, &mut progress)?,
    };
    progress.end();
    if let Target::File(file, _) = &order.target {
        log.say(Level::Info, &format!("{} in {}", times::samples(samples), file.display()));
    }
    let Some(loss) = known_loss(&state, &query) else { return Ok(Outcome::Done) };
    log.say(Level::Warn, &loss);
    Ok(Outcome::DoneWithLoss)
}

impl Target {
    /// Tells whether a progress bar would be drawn over the samples themselves.
    fn hides_progress(&self) -> bool {
        matches!(self, Self::Stdout(_)) && io::stdout().is_terminal()
    }
}

fn stream<'a>(
    client: &'a Client,
    path: &'a str,
    query: &'a Query,
) -> impl Fn(Option<sink::Cursor>) -> Result<Box<dyn io::BufRead>, Failure> + 'a {
    move |after| {
        let mut query = query.clone();
        query.extend(after.map(|cursor| ("after", cursor.to_string())));
        Ok(Box::new(client.stream(&format!("{path}/samples"), &query)?))
    }
}

fn query(client: &Client, order: &Order) -> Result<Query, Failure> {
    let relative = [order.since, order.until].into_iter().flatten().any(|when| matches!(when, When::Ago(_)));
    let now = if relative { client.now()? } else { muster_protocol::time::WallTime::default() };
    let time = |name, when: Option<When>| when.map(|when| (name, when.resolve(now).0.to_string()));
    let channels = order.channels.clone().map(|glob| ("channels", glob));
    Ok([time("from", order.since), time("to", order.until), channels].into_iter().flatten().collect())
}

fn to_file(
    open: &dyn Fn(Option<sink::Cursor>) -> Result<Box<dyn io::BufRead>, Failure>,
    file: &Path,
    format: Format,
    progress: &mut Progress,
) -> Result<u64, Failure> {
    let part = part_of(file);
    let failed = |action, path: &Path, source| Failure::File { action, path: path.to_owned(), source };
    let out = File::create(&part).map_err(|source| failed("create", &part, source))?;
    let written = Sink::new(out, format).and_then(|mut sink| {
        copy(open, &mut sink, progress)?;
        sink.finish()
    });
    let (samples, out) = written.map_err(|error| match error {
        Failure::Output(source) => failed("write", &part, source),
        Failure::Broken { breaks, why, .. } => {
            Failure::Broken { breaks, why, kept: format!("; {} holds what came", part.display()) }
        }
        other => other,
    })?;
    out.sync_all().map_err(|source| failed("sync", &part, source))?;
    fs::rename(&part, file).map_err(|source| failed("rename to", file, source))?;
    Ok(samples)
}

fn part_of(file: &Path) -> PathBuf {
    let mut part = file.as_os_str().to_owned();
    part.push(".part");
    part.into()
}

/// Says what the gateway knows to be lost: the export is whole, the robot's record is not.
fn known_loss(state: &Value, query: &Query) -> Option<String> {
    let lost = number(state, "/loss/samples").filter(|lost| *lost > 0 && !is_before(state, query))?;
    let (lost, reasons) = (times::samples(lost), counts(state, "/loss/by_reason", &[]));
    Some(format!("lost before it was stored: {lost} of this robot ({reasons})"))
}

/// Tells whether every loss was reported before the time that the export starts at.
fn is_before(state: &Value, query: &Query) -> bool {
    let last_at = state.pointer("/loss/last_at").and_then(Value::as_i64);
    let from =
        query.iter().find(|(name, _)| *name == "from").and_then(|(_, nanos)| nanos.parse::<i64>().ok());
    matches!((last_at, from), (Some(last_at), Some(from)) if last_at < from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_decides_the_format() {
        let target = |file: &str, asked| Target::new(Path::new(file), asked);
        assert_eq!(target("a.ndjson", None).unwrap(), Target::File("a.ndjson".into(), Format::Ndjson));
        assert_eq!(
            target("b/a.csv", Some(Format::Csv)).unwrap(),
            Target::File("b/a.csv".into(), Format::Csv)
        );
        assert_eq!(target("-", None).unwrap(), Target::Stdout(Format::Ndjson));
        assert_eq!(target("-", Some(Format::Csv)).unwrap(), Target::Stdout(Format::Csv));
        assert!(target("a.csv", Some(Format::Ndjson)).is_err());
    }

    #[test]
    fn a_loss_before_the_export_is_not_its_loss() {
        let state =
            serde_json::json!({"loss": {"samples": 5, "last_at": 100, "by_reason": {"spool_full": 5}}});
        let known = |from: Option<&str>| {
            let query = from.map(|from| ("from", from.to_owned())).into_iter().collect();
            known_loss(&state, &query)
        };
        assert!(known(None).is_some_and(|told| told.contains("5 samples") && told.contains("spool full")));
        assert!(known(Some("100")).is_some());
        assert_eq!(known(Some("101")), None);
    }

    #[test]
    fn another_ending_is_refused_and_the_two_are_named() {
        for file in ["a", "a.parquet", "a.json", ".csv", "a.NDJSON.gz"] {
            let error = Target::new(Path::new(file), None).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(".ndjson or .csv"), "{error}");
        }
    }
}
