//! From facts to findings: what is well, what someone should look at, what will not work, and what to do. Pure.

mod gateways;
mod robot;

use serde::Serialize;

use super::facts::Facts;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// It works, and may not for long or not well.
    Warn,
    /// It does not work.
    Fail,
}

/// What one look found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at: `configuration`, `clock`, `ca`, `gateway`, `spool`, `disk`, `input` or `agent`.
    pub check: &'static str,
    /// Which one, where there may be several; else empty.
    pub subject: String,
    /// How bad it is.
    pub level: Level,
    /// What was found.
    pub says: String,
    /// What to do about it; absent if nothing.
    pub remedy: Option<String>,
}

/// Returns the findings, in the order in which things depend on each other.
pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![robot::configuration(facts), robot::clock(&facts.clock)];
    findings.extend(gateways::ca(facts));
    findings.extend(gateways::gateways(facts));
    findings.push(robot::spool(&facts.spool));
    findings.extend(robot::disk(&facts.spool));
    findings.extend(robot::inputs(facts));
    findings.push(robot::agent(&facts.agent));
    findings
}

/// Returns the finding about a configuration that names nothing to look at.
pub(super) fn unusable(why: String) -> Finding {
    Finding { check: "configuration", subject: String::new(), level: Level::Fail, says: why, remedy: None }
}

/// Returns the worst level; [`Level::Ok`] of nothing.
pub fn worst(findings: &[Finding]) -> Level {
    findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok)
}

impl Finding {
    fn new(level: Level, check: &'static str, says: impl Into<String>) -> Self {
        Self { check, subject: String::new(), level, says: says.into(), remedy: None }
    }

    fn of(self, subject: impl Into<String>) -> Self {
        Self { subject: subject.into(), ..self }
    }

    fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }
}

#[cfg(test)]
mod tests;
