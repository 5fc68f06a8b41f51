//! Findings as lines for people and as JSON for machines.

use std::fmt::Write as _;

use serde::Serialize;

use super::judge::{Finding, Level, worst};

/// The JSON.
#[derive(Serialize)]
struct Answer<'a> {
    /// The worst level.
    level: Level,
    findings: &'a [Finding],
}

/// Returns a line for each finding: the level, what was looked at, what was found, and what to do.
pub fn lines(findings: &[Finding]) -> String {
    let mut out = String::new();
    for Finding { level, check, subject, says, remedy } in findings {
        let level = match level {
            Level::Ok => "ok",
            Level::Warn => "warn",
            Level::Fail => "FAIL",
        };
        let subject = if subject.is_empty() { String::new() } else { format!(" {subject}") };
        let remedy = remedy.as_ref().map(|remedy| format!("; {remedy}")).unwrap_or_default();
        let _ = writeln!(out, "{level:<5} {check}{subject}: {says}{remedy}");
    }
    out
}

/// Returns one line of JSON.
pub fn json(findings: &[Finding]) -> String {
    let answer = Answer { level: worst(findings), findings };
    let json = serde_json::to_string(&answer).expect("levels and texts are JSON");
    json + "\n"
}
