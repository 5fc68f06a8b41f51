//! Markdown tables.

use std::fmt::Write as _;

/// A table in the making.
#[derive(Debug)]
pub(super) struct Table {
    text: String,
}

impl Table {
    /// Starts with the columns' names; all but the first are aligned to the right.
    pub(super) fn new(columns: &[&str]) -> Self {
        let mut table = Self { text: String::from("\n") };
        table.row(columns.iter().map(|name| (*name).to_owned()));
        let rules = (0..columns.len()).map(|at| if at == 0 { "---" } else { "---:" }.to_owned());
        table.row(rules);
        table
    }

    /// Adds a row.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells: Vec<String> = cells.into_iter().collect();
        writeln!(self.text, "| {} |", cells.join(" | ")).expect("a String takes any text");
    }

    /// Returns the table as text.
    pub(super) fn finish(self) -> String {
        self.text
    }
}
