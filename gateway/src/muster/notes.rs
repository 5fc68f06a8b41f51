//! What the command line says beside its result: one line each on stderr, for a person or for a machine.

use std::io::{self, Write as _};

use serde_json::json;

/// How lines on stderr are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// `error: sentence`
    #[default]
    Human,
    /// One JSON object per line, with `level` and `message`.
    Json,
}

/// How grave a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// It went as asked.
    Info,
    /// It went on, and somebody should know.
    Warn,
    /// It did not go.
    Error,
}

impl LogFormat {
    /// Writes one line to stderr; nobody listening is no failure.
    pub fn say(self, level: Level, message: &str) {
        let _ = writeln!(io::stderr(), "{}", self.line(level, message));
    }

    /// Shows a person lines that belong to the one before; a machine has what they say in that one.
    pub fn show(self, lines: Option<&str>) {
        if let (Self::Human, Some(lines)) = (self, lines) {
            let _ = writeln!(io::stderr(), "{lines}");
        }
    }

    fn line(self, level: Level, message: &str) -> String {
        match (self, level) {
            (Self::Human, Level::Info) => message.to_owned(),
            (Self::Human, Level::Warn) => format!("warning: {message}"),
            (Self::Human, Level::Error) => format!("error: {message}"),
            (Self::Json, level) => json!({"level": level.name(), "message": message}).to_string(),
        }
    }
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_gets_level_and_message() {
        let line = LogFormat::Json.line(Level::Error, "a \"b\"");
        assert_eq!(line, r#"{"level":"ERROR","message":"a \"b\""}"#);
        assert_eq!(LogFormat::Human.line(Level::Warn, "x"), "warning: x");
    }
}
