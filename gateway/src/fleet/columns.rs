//! What is asked of every robot, kept in columns across the fleet: a question that compares a channel or a label reads
//! one place after the other instead of going to each robot's state, which no cache holds.
//!
//! A column is no second truth. Each of its cells says at which change of its robot it was read, and counts for nothing
//! once the robot has changed again; the robot's state is asked then, and the column learns what it said. Folding a
//! record costs a column nothing but that count. Columns belong to one listing of robots and end with it.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use muster_protocol::sample::Value;

use super::{Robot, RobotState};

/// What a column holds of each robot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ColumnKey {
    /// A channel's newest value.
    Channel(Box<str>),
    /// A label's value.
    Label(Box<str>),
}

/// What a column says of one robot.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Cell {
    /// Nothing: the robot's state has to be asked.
    #[default]
    Elsewhere,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number with a fraction.
    Float(f64),
    /// Text; robots that say the same share it.
    Text(Arc<str>),
}

/// The columns that were asked for lately.
#[derive(Debug, Default)]
pub(super) struct Columns(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// The robots that the columns are of.
    robots: Option<Arc<[Robot]>>,
    /// The one asked for last comes last.
    columns: Vec<(ColumnKey, Column)>,
}

/// The cells of one column, a place for each robot of the listing.
type Column = Arc<Vec<Stamped>>;

#[derive(Clone, Debug)]
struct Stamped {
    /// The robot's changes when the cell was read; [`NEVER`] if it was not.
    changes: u64,
    cell: Cell,
}

/// The robots and some columns of theirs, as one walk sees them.
#[derive(Debug)]
pub struct Table<'k> {
    robots: Arc<[Robot]>,
    keys: &'k [ColumnKey],
    columns: Vec<Column>,
}

/// One robot's cells.
#[derive(Clone, Copy, Debug)]
pub struct Row<'t> {
    table: &'t Table<'t>,
    at: usize,
}

/// What a walk read of robots of which the columns said nothing.
#[derive(Debug, Default)]
pub struct Learned {
    /// The places of the robots, each with its changes.
    robots: Vec<(usize, u64)>,
    /// A cell for each key, robot after robot.
    cells: Vec<Cell>,
    texts: HashMap<Box<str>, Arc<str>>,
}

/// Counts the changes of one robot. The counters of many robots stand side by side.
#[derive(Clone, Debug)]
pub(super) struct Changes {
    block: Arc<[AtomicU64]>,
    at: usize,
}

/// Counters for the robots that come.
#[derive(Debug, Default)]
pub(super) struct Counters {
    block: Option<Arc<[AtomicU64]>>,
    used: usize,
}

/// Most columns that are kept: more than a page of an operator asks for, and a few megabytes of ten thousand robots.
const COLUMNS_MAX: usize = 16;

/// Longest text in a column: names and modes, not messages.
const TEXT_BYTES_MAX: usize = 64;

/// Counters that stand side by side.
const COUNTERS: usize = 1024;

/// No robot changes so often.
const NEVER: u64 = u64::MAX;

impl Columns {
    /// Returns these columns of these robots; those that were not kept are still empty.
    pub(super) fn table<'k>(&self, robots: Arc<[Robot]>, keys: &'k [ColumnKey]) -> Table<'k> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let columns = keys.iter().map(|key| kept.column(&robots, key)).collect();
        Table { robots, keys, columns }
    }

    /// Keeps what a walk learned.
    pub(super) fn learn(&self, table: Table<'_>, learned: Vec<Learned>) {
        let Table { robots, keys, columns } = table;
        // Nobody else may hold a column that is written to, or all of it would be copied.
        drop(columns);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !kept.are_of(&robots) {
            return;
        }
        for learned in learned {
            let mut cells = learned.cells.into_iter();
            for (at, changes) in learned.robots {
                for (key, cell) in keys.iter().zip(&mut cells) {
                    if let Some(column) = kept.find(key) {
                        Arc::make_mut(column)[at].take(Stamped { changes, cell });
                    }
                }
            }
        }
    }
}

impl Kept {
    fn are_of(&self, robots: &Arc<[Robot]>) -> bool {
        self.robots.as_ref().is_some_and(|ours| Arc::ptr_eq(ours, robots))
    }

    fn find(&mut self, key: &ColumnKey) -> Option<&mut Column> {
        self.columns.iter_mut().find(|(kept, _)| kept == key).map(|(_, column)| column)
    }

    /// Returns a column, which makes it the last that was asked for.
    fn column(&mut self, robots: &Arc<[Robot]>, key: &ColumnKey) -> Column {
        if !self.are_of(robots) {
            *self = Self { robots: Some(robots.clone()), columns: Vec::new() };
        }
        let empty = Stamped { changes: NEVER, cell: Cell::Elsewhere };
        let entry = match self.columns.iter().position(|(kept, _)| kept == key) {
            Some(place) => self.columns.remove(place),
            None => (key.clone(), Arc::new(vec![empty; robots.len()])),
        };
        let column = entry.1.clone();
        self.columns.push(entry);
        if self.columns.len() > COLUMNS_MAX {
            self.columns.remove(0);
        }
        column
    }
}

impl Stamped {
    /// Becomes what was read later, if it was.
    fn take(&mut self, other: Self) {
        if self.changes == NEVER || self.changes < other.changes {
            *self = other;
        }
    }
}

impl Table<'_> {
    /// Returns the robots.
    pub fn robots(&self) -> &[Robot] {
        &self.robots
    }

    /// Returns the cells of the robot at a place, if they say what its state says now.
    pub fn row(&self, at: usize) -> Option<Row<'_>> {
        let changes = self.robots[at].changes.count();
        let is_current = self.columns.iter().all(|column| column[at].changes == changes);
        is_current.then_some(Row { table: self, at })
    }

    /// Reads what the columns do not know of the robot at a place, whose lock the caller holds.
    pub fn read(&self, at: usize, state: &RobotState, learned: &mut Learned) {
        if self.keys.is_empty() || self.row(at).is_some() {
            return;
        }
        learned.robots.push((at, self.robots[at].changes.count()));
        for key in self.keys {
            let cell = learned.cell(state, key);
            learned.cells.push(cell);
        }
    }
}

impl<'t> Row<'t> {
    /// Returns a channel's newest value.
    pub fn channel(&self, name: &str) -> &'t Cell {
        self.cell(|key| matches!(key, ColumnKey::Channel(channel) if **channel == *name))
    }

    /// Returns a label's value.
    pub fn label(&self, name: &str) -> &'t Cell {
        self.cell(|key| matches!(key, ColumnKey::Label(label) if **label == *name))
    }

    fn cell(&self, is: impl Fn(&ColumnKey) -> bool) -> &'t Cell {
        let column = self.table.keys.iter().position(is);
        column.map_or(&Cell::Elsewhere, |column| &self.table.columns[column][self.at].cell)
    }
}

impl Learned {
    fn cell(&mut self, state: &RobotState, key: &ColumnKey) -> Cell {
        match key {
            ColumnKey::Label(label) => {
                state.labels().get(label).map_or(Cell::Elsewhere, |(value, _)| self.text(value.as_str()))
            }
            ColumnKey::Channel(channel) => match state.channel(channel).map(|channel| state.value(channel)) {
                Some(Value::Bool(value)) => Cell::Bool(*value),
                Some(Value::Int(value)) => Cell::Int(*value),
                Some(Value::Float(value)) => Cell::Float(*value),
                Some(Value::Text(value)) => self.text(value.as_str()),
                Some(Value::Bytes(_)) | None => Cell::Elsewhere,
            },
        }
    }

    fn text(&mut self, text: &str) -> Cell {
        if text.len() > TEXT_BYTES_MAX {
            return Cell::Elsewhere;
        }
        let shared = self.texts.get(text).cloned();
        Cell::Text(shared.unwrap_or_else(|| {
            let shared: Arc<str> = text.into();
            self.texts.insert(text.into(), shared.clone());
            shared
        }))
    }
}

impl Changes {
    /// Counts a change. Called under the robot's lock before the change, so that a cell of the state before it is seen
    /// to be old from then on.
    pub(super) fn add(&self) {
        self.block[self.at].fetch_add(1, Ordering::Release);
    }

    fn count(&self) -> u64 {
        self.block[self.at].load(Ordering::Acquire)
    }
}

impl Counters {
    /// Returns a counter that nobody else counts with.
    pub(super) fn next(&mut self) -> Changes {
        let block = self.block.take().filter(|_| self.used < COUNTERS).unwrap_or_else(|| {
            self.used = 0;
            (0..COUNTERS).map(|_| AtomicU64::new(0)).collect()
        });
        self.block = Some(block.clone());
        self.used += 1;
        Changes { block, at: self.used - 1 }
    }
}
