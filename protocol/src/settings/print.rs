//! Settings and keys as text for people: the resolved file, and the table of the documentation.

use std::fmt::Write as _;

use toml::Value;

use super::{
    Program,
    error::Origin,
    key::{Key, Kind},
};

/// Writes a file that gives the same settings again, each key below what it is for. `setting` returns the value of the
/// key at a position and who gave it.
pub(super) fn print<'a>(
    program: &Program,
    setting: impl Fn(usize) -> Option<(&'a Value, &'a Origin)>,
) -> String {
    let mut out = format!("# The settings of {} as they stand.\n\n", program.name);
    let mut levels: Vec<&str> = Vec::new();
    for key in program.keys {
        let level = key.level();
        if !levels.contains(&level) {
            levels.push(level);
        }
    }
    levels.sort_by_key(|level| !level.is_empty());
    let keys = || program.keys.iter().enumerate();
    for level in levels {
        if !level.is_empty() {
            line(&mut out, format_args!("\n[{level}]"));
        }
        for (position, key) in keys().filter(|(_, key)| key.level() == level && !key.is_tables()) {
            print_key(&mut out, key, setting(position));
        }
    }
    for (position, key) in keys().filter(|(_, key)| key.is_tables()) {
        print_tables(&mut out, key, setting(position).map(|(value, _)| value));
    }
    out
}

impl Key {
    /// Returns the name's part before the last dot.
    fn level(&self) -> &'static str {
        self.name.rsplit_once('.').map_or("", |(level, _)| level)
    }

    /// Returns the name's part after the last dot.
    fn short(&self) -> &'static str {
        self.name.rsplit_once('.').map_or(self.name, |(_, short)| short)
    }

    fn is_tables(&self) -> bool {
        matches!(self.kind, Kind::Tables(_))
    }
}

impl Program {
    /// Returns the table of keys as Markdown, for the documentation.
    pub fn markdown(&self) -> String {
        let mut out = String::from("| key | default | allowed | meaning |\n|---|---|---|---|\n");
        for key in self.keys {
            let default = match key.default {
                Some("") | None => "-".to_owned(),
                Some(text) => format!("`{text}`"),
            };
            let allowed =
                key.bounds.map_or_else(|| key.kind.words().to_owned(), |(a, b)| format!("{a} to {b}"));
            line(&mut out, format_args!("| `{}` | {default} | {allowed} | {} |", key.name, key.doc));
            let Kind::Tables(columns) = key.kind else { continue };
            for column in columns {
                let (name, words) = (column.name, column.kind.words());
                line(&mut out, format_args!("| `{}`: `{name}` | - | {words} | {} |", key.name, column.doc));
            }
        }
        out
    }
}

impl Kind {
    /// Returns what values look like, in a word or two.
    pub fn words(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Secret => "text, never shown",
            Self::Size => "size",
            Self::Span => "duration",
            Self::Count => "whole number",
            Self::Number => "number",
            Self::Flag => "true or false",
            Self::Values => "list of values",
            Self::List => "list of texts",
            Self::Map => "table of texts",
            Self::Tables(_) => "tables",
        }
    }
}

fn print_key(out: &mut String, key: &Key, setting: Option<(&Value, &Origin)>) {
    line(out, format_args!("# {}", key.doc));
    let short = key.short();
    match setting {
        None => line(out, format_args!("# {short} is not set")),
        Some(_) if matches!(key.kind, Kind::Secret) => {
            line(out, format_args!("# {short} is set and not shown"));
        }
        Some((value, Origin::Default)) => line(out, format_args!("{short} = {value}")),
        Some((value, origin)) => {
            let origin = origin.to_string().replace(char::is_control, " ");
            line(out, format_args!("{short} = {value} # {origin}"));
        }
    }
}

fn print_tables(out: &mut String, key: &Key, value: Option<&Value>) {
    line(out, format_args!("\n# {}", key.doc));
    let tables = value.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if tables.is_empty() {
        line(out, format_args!("# [[{}]] is not set", key.name));
    }
    for table in tables.iter().filter_map(Value::as_table) {
        line(out, format_args!("[[{}]]", key.name));
        for (name, value) in table {
            line(out, format_args!("{name} = {value}"));
        }
    }
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(out, "{text}").expect("a string takes every text");
}
