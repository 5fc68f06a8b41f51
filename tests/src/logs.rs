//! The logs that tests put in: those of real robots where they are at hand, and always one that is made here.

use std::{
    env,
    fmt::Write as _,
    fs::{self, File},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

use flate2::read::MultiGzDecoder;
use serde_json::{Value, json};

use crate::{aloud::say_aloud, scene::Scene};

/// Returns the logs of `MUSTER_LOGS`, else of the folder where the project keeps them, and one made into the scene's
/// folder. Says aloud when it is the only one.
pub fn all(scene: &Scene) -> Vec<PathBuf> {
    let mut logs = recorded();
    if logs.is_empty() {
        say_aloud(&format!("NO LOGS OF REAL ROBOTS in {}: only a made one is put in", folder().display()));
    }
    logs.push(made(scene));
    logs
}

/// Returns the recorded log whose name begins so, else a made one.
pub fn one(scene: &Scene, name: &str) -> PathBuf {
    let named =
        |path: &PathBuf| path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(name));
    recorded().into_iter().find(named).unwrap_or_else(|| {
        say_aloud(&format!("NO LOG {name} in {}: a made one is put in", folder().display()));
        made(scene)
    })
}

/// Opens a log, compressed or not.
pub fn open(path: &Path) -> Box<dyn BufRead> {
    let file = File::open(path).expect("the log can be read");
    if path.extension().is_some_and(|ending| ending == "gz") {
        Box::new(BufReader::new(MultiGzDecoder::new(file)))
    } else {
        Box::new(BufReader::new(file))
    }
}

/// Returns the rows of a log, at most so many, each with its number from 0 in a channel of its own that ends in
/// [`ROW_CHANNEL`]: so each row can be told from all others.
pub fn numbered_rows(path: &Path, most: usize) -> Vec<Value> {
    let number = |(n, line): (usize, std::io::Result<String>)| {
        let mut row: Value = line.expect("the log is text").parse().expect("the log is NDJSON");
        if !row["v"].is_object() {
            row["v"] = json!({"it": row["v"]});
        }
        row["v"][&ROW_CHANNEL[1..]] = n.into();
        row
    };
    open(path).lines().take(most).enumerate().map(number).collect()
}

/// How the channel with a row's number ends.
pub const ROW_CHANNEL: &str = ".row-number";

/// Returns the folder of the recorded logs, whether it is there or not.
pub fn folder() -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/replay");
    env::var_os("MUSTER_LOGS").map_or_else(beside, PathBuf::from)
}

/// Returns the recorded logs that are at hand.
pub fn recorded() -> Vec<PathBuf> {
    let files = fs::read_dir(folder()).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut logs: Vec<_> = files.filter(|path| path.to_string_lossy().ends_with(".ndjson.gz")).collect();
    logs.sort();
    logs
}

/// Makes a log of everything that a value can be.
fn made(scene: &Scene) -> PathBuf {
    let mut text = String::new();
    for n in 0..ROWS {
        let t = START_NS + n * 5_000_000;
        let angle = f64::from(u32::try_from(n).expect("rows are few")) / 100.0;
        writeln!(
            text,
            r#"{{"t":{t},"ch":"pose","v":{{"x":{:?},"y":{:?},"frame":"map","seq":{n},"cells":[3.7,{},null]}}}}"#,
            angle.sin(),
            -angle.cos(),
            n % 4
        )
        .expect("text grows");
        let odd = ODD[usize::try_from(n).expect("rows are few") % ODD.len()];
        writeln!(text, r#"{{"t":{t},"ch":"odd","v":{odd}}}"#).expect("text grows");
    }
    scene.file("made.ndjson", text)
}

/// Values at the edges of their types; the channel changes its type from row to row.
const ODD: &[&str] = &[
    "0",
    "-1",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "18446744073709551616",
    "0.0",
    "-0.0",
    "5e-324",
    "1.7976931348623157e308",
    "2.2250738585072014e-308",
    "0.1",
    "1e2",
    "1E-7",
    "123456789.123456789",
    "true",
    "false",
    r#""""#,
    r#""charging""#,
    r#""tab\tquote\" \u00e9 \ud83e\udd16""#,
    r#"{"deep":{"er":[[1,[2.5]]]}}"#,
];

const ROWS: i64 = 5000;

/// A day in 2026.
const START_NS: i64 = 1_770_000_000_000_000_000;
