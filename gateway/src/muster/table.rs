//! Tables: cells with a tone, laid out to fit the terminal, or as CSV.

use std::{borrow::Cow, io};

use comfy_table::{Attribute, Cell as Drawn, CellAlignment, Color, ContentArrangement, Table, presets};

use super::failure::Failure;

/// What surrounds the output: how wide it may be and whether colours help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Columns of the terminal; `None` where nothing has to fit.
    pub width: Option<u16>,
    /// Whether tones become colours.
    pub color: bool,
}

/// How a cell is meant; a colour only repeats what its text says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Nothing to say.
    Plain,
    /// As it should be.
    Good,
    /// Look at it.
    Warn,
    /// Act on it.
    Bad,
    /// There is nothing.
    Dim,
}

/// One cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    text: String,
    tone: Tone,
    align: CellAlignment,
}

/// A header and rows of as many cells.
#[derive(Clone, Debug, Default)]
pub struct Sheet {
    header: Vec<String>,
    spare: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

impl Look {
    /// Looks at standard output: a terminal has a width and, unless `no_color`, colours.
    pub fn of_stdout(no_color: bool) -> Self {
        let terminal = Table::new();
        Self { width: terminal.width(), color: terminal.is_tty() && !no_color }
    }
}

impl Cell {
    /// Makes a plain cell, without the control characters that `text` may have.
    pub fn new(text: impl AsRef<str>) -> Self {
        Self::toned(text, Tone::Plain)
    }

    /// Makes a cell with a tone.
    pub fn toned(text: impl AsRef<str>, tone: Tone) -> Self {
        Self { text: printable(text.as_ref()).into_owned(), tone, align: CellAlignment::Left }
    }

    /// Makes a cell of a figure, aligned to the right.
    pub fn figure(text: impl AsRef<str>) -> Self {
        Self { align: CellAlignment::Right, ..Self::new(text) }
    }

    /// Gives the cell a tone.
    #[must_use]
    pub fn with_tone(self, tone: Tone) -> Self {
        Self { tone, ..self }
    }

    /// Makes the cell for what is not known.
    pub fn none() -> Self {
        Self::toned("-", Tone::Dim)
    }

    fn drawn(&self) -> Drawn {
        let cell = Drawn::new(&self.text).set_alignment(self.align);
        match self.tone {
            Tone::Plain => cell,
            Tone::Good => cell.fg(Color::Green),
            Tone::Warn => cell.fg(Color::Yellow),
            Tone::Bad => cell.fg(Color::Red),
            Tone::Dim => cell.add_attribute(Attribute::Dim),
        }
    }
}

impl Sheet {
    /// Starts a table; an empty header is not drawn.
    pub fn new(header: &[&str]) -> Self {
        let header = header.iter().map(|name| printable(name).into_owned()).collect();
        Self { header, spare: Vec::new(), rows: Vec::new() }
    }

    /// Names the columns that a narrow terminal may go without, the first to go first.
    #[must_use]
    pub fn spare(self, names: &[&'static str]) -> Self {
        Self { spare: names.to_vec(), ..self }
    }

    /// Appends a row.
    pub fn push(&mut self, row: Vec<Cell>) {
        self.rows.push(row);
    }

    /// Draws the table, each line ended by a newline and without spaces at its end.
    pub fn render(&self, look: Look) -> String {
        let mut shown = self.clone();
        for name in &self.spare {
            if look.width.is_none_or(|width| shown.natural_width() <= usize::from(width)) {
                break;
            }
            shown.without(name);
        }
        shown.drawn(look)
    }

    fn natural_width(&self) -> usize {
        self.table().column_max_content_widths().iter().map(|width| usize::from(*width) + GAP).sum()
    }

    fn without(&mut self, name: &str) {
        if let Some(place) = self.header.iter().position(|column| *column == name) {
            self.header.remove(place);
            for row in &mut self.rows {
                row.remove(place);
            }
        }
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        if !self.header.is_empty() {
            table.set_header(self.header.iter().map(|name| Drawn::new(name).add_attribute(Attribute::Bold)));
        }
        table.add_rows(self.rows.iter().map(|row| row.iter().map(Cell::drawn)));
        table
    }

    fn drawn(&self, look: Look) -> String {
        let mut table = self.table();
        table.load_preset(presets::NOTHING).force_no_tty();
        if look.color {
            table.enforce_styling();
        }
        if let Some(width) = look.width {
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, u16::try_from(GAP).expect("it is small")));
        }
        let mut text = String::new();
        for line in table.lines() {
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Blanks between two columns.
const GAP: usize = 2;

/// Writes rows of text as CSV (RFC 4180) with a header.
pub fn write_csv(
    out: impl io::Write,
    header: &[&str],
    rows: impl IntoIterator<Item = Vec<String>>,
) -> Result<(), Failure> {
    let mut writer = csv::Writer::from_writer(out);
    writer.write_record(header).map_err(csv_error)?;
    for row in rows {
        writer.write_record(row).map_err(csv_error)?;
    }
    Ok(writer.flush()?)
}

/// Returns the text with each control character replaced, so that a robot cannot steer the operator's terminal.
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().any(is_steering) {
        Cow::Owned(text.chars().map(|letter| if is_steering(letter) { '\u{fffd}' } else { letter }).collect())
    } else {
        Cow::Borrowed(text)
    }
}

/// Control characters, and the marks that reorder what stands around them.
fn is_steering(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

pub(super) fn csv_error(error: csv::Error) -> Failure {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => Failure::Output(error),
        other => Failure::Output(io::Error::other(format!("{other:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIPE: Look = Look { width: None, color: false };

    fn sheet() -> Sheet {
        let mut sheet = Sheet::new(&["robot", "link", "lost"]);
        sheet.push(vec![Cell::new("a/b"), Cell::toned("down", Tone::Bad), Cell::figure("7")]);
        sheet
    }

    #[test]
    fn a_table_without_a_terminal_is_plain_and_aligned() {
        assert_eq!(sheet().render(PIPE), "robot  link  lost\na/b    down     7\n");
    }

    #[test]
    fn colours_come_only_when_asked_for() {
        assert!(!sheet().render(PIPE).contains('\u{1b}'));
        assert!(sheet().render(Look { color: true, ..PIPE }).contains('\u{1b}'));
    }

    #[test]
    fn a_table_fits_the_terminal() {
        let mut sheet = sheet();
        sheet.push(vec![Cell::new("long words ".repeat(20)), Cell::new("up"), Cell::none()]);
        let text = sheet.render(Look { width: Some(40), color: false });
        assert!(text.lines().all(|line| line.chars().count() <= 40), "{text}");
    }

    #[test]
    fn a_narrow_terminal_goes_without_the_spare_columns_and_no_others() {
        let sheet = sheet().spare(&["lost", "robot"]);
        let narrow = |width| sheet.render(Look { width: Some(width), color: false });
        assert_eq!(narrow(40), sheet.render(PIPE));
        assert_eq!(narrow(15), "robot  link\na/b    down\n");
        assert_eq!(narrow(8), "link\ndown\n");
    }

    #[test]
    fn a_robot_cannot_steer_the_terminal() {
        let text = Cell::new("\u{1b}[2J\u{202e}x").text;
        assert_eq!(text, "\u{fffd}[2J\u{fffd}x");
    }

    #[test]
    fn csv_quotes_what_needs_it() {
        let mut out = Vec::new();
        write_csv(&mut out, &["a", "b"], [vec!["x,y".into(), "\"".into()]]).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "a,b\n\"x,y\",\"\"\"\"\n");
    }
}
