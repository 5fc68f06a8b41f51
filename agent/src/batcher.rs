//! Collects rows into batches, by lane. Pure: time comes in as an argument.
//!
//! How to drive it: [`push`](Batcher::push) each row, then [`poll_batch`](Batcher::poll_batch) until it returns
//! `None`; call it again at [`poll_timeout`](Batcher::poll_timeout). A batch closes when it is full, when its first
//! row has waited for its lane's linger, or on [`close_all`](Batcher::close_all). The urgent lane has no linger: its
//! batch closes at the next poll, with the rows that were pushed together.
//!
//! ```text
//!  row -> book of its lane and manner -> page that has its channels -> open batch -> closed -> encoded
//! ```
//!
//! The agent's own stamps in one batch are all from one side of a step of the wall clock, and the batch carries the clocks
//! as they were on that side: so the gateway can move them all by one amount when it learns the true time.
//!
//! A row is never split, and rows of inputs that wait for room never share a batch with rows of inputs that cannot:
//! when the spool is full, the first kind is kept back and the second makes room for itself.

mod declared;
mod page;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use muster_protocol::{
    batch::{EncodedBatch, RowError},
    id::Lane,
    limits::ROW_BYTES_MAX,
    loss::LossReason,
    message::Clock,
    sample::{Row, StampedBy},
    schema::Schema,
    time::{MonoTime, WallTime},
};

pub use declared::{Declaration, Declarations};
pub use page::Run;

use page::{DoesNotFit, Full, Page};

/// Pages of one book: schemas in use at once. More than a few only cost memory. At the bound the oldest page is closed and forgotten.
const PAGES_MAX: usize = 4;

/// Uncompressed bytes of all open batches together. At the bound all of them are closed, whatever their linger.
const OPEN_BYTES_MAX: usize = 2 * 1024 * 1024;

/// A wall clock that moves by more than this against the monotonic one was set.
const CLOCK_STEP_NANOS: u64 = 100_000_000;

/// What an input can do when there is no room: the one thing that decides whether a slow gateway slows it down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Manner {
    /// It waits: a file or a pipe does not run away.
    Wait,
    /// It cannot wait: the machine goes on. The oldest data makes room, and if that does not help, its rows are
    /// refused and counted.
    Live,
}

/// A row whose time is decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Stamped {
    /// The row's time.
    pub t: WallTime,
    /// Who gave it.
    pub by: StampedBy,
    /// How far the wall clock was ahead of the monotonic one when the agent stamped it, in nanoseconds; `None` if the
    /// input stamped it, or nobody looked.
    pub offset: Option<i64>,
    /// The row; its own `t` is not looked at any more.
    pub row: Row,
}

/// How long rows wait for others to share a batch with, and what is declared of channels.
#[derive(Clone, Debug)]
pub struct BatcherConfig {
    /// The wait of the live lane.
    pub linger_live: Duration,
    /// The wait of the bulk lane.
    pub linger_bulk: Duration,
    /// What is declared of channels.
    pub declarations: Arc<Declarations>,
}

/// Collects rows into batches; see the module. `O` says where a row came from and comes back with its batch.
#[derive(Debug)]
pub struct Batcher<O> {
    config: BatcherConfig,
    /// One for each lane and manner, see [`book_of`].
    books: [VecDeque<Page<O>>; BOOKS],
    /// Batches that take no more rows, with their book.
    full: VecDeque<(usize, Full<O>)>,
    /// Encoded batches of the one that was finished last: an encoding that is too long comes in parts.
    encoded: VecDeque<Closed<O>>,
    open_bytes: usize,
}

/// A batch for the spool.
#[derive(Clone, Debug)]
pub struct Closed<O> {
    /// Its lane.
    pub lane: Lane,
    /// Whether its inputs can wait for room.
    pub manner: Manner,
    /// The batch.
    pub encoded: EncodedBatch,
    /// The schema that it refers to.
    pub schema: Arc<Schema>,
    /// Where its rows came from, in their order.
    pub origins: Vec<Run<O>>,
}

/// Why a row does not go into any batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RowRefused {
    /// What the row itself is.
    #[error(transparent)]
    Row(#[from] RowError),
    /// The row alone has more channels, or longer names, than a schema holds.
    #[error("a row of {channels} channels, more than one schema holds: send them in several lines")]
    TooManyChannels {
        /// Channels of the row.
        channels: usize,
    },
}

impl Default for BatcherConfig {
    fn default() -> Self {
        Self {
            linger_live: Duration::from_millis(500),
            linger_bulk: Duration::from_secs(2),
            declarations: Arc::default(),
        }
    }
}

impl Stamped {
    /// Takes the row's own time, or `now` where it has none.
    pub fn new(row: Row, now: WallTime) -> Self {
        match row.t {
            Some(t) => Self { t, by: StampedBy::Input, offset: None, row },
            None => Self { t: now, by: StampedBy::Agent, offset: None, row },
        }
    }

    /// Takes the row's own time, or `wall` where it has none. With the monotonic time of the same moment, no batch will
    /// hold rows that the agent stamped before and after a step of the wall clock.
    pub fn at(row: Row, wall: WallTime, mono: MonoTime) -> Self {
        let stamped = Self::new(row, wall);
        let offset = (stamped.by == StampedBy::Agent).then(|| offset_of(wall, mono));
        Self { offset, ..stamped }
    }
}

impl RowRefused {
    /// Returns the short stable name of the refusal, as in counters and in `status`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Row(RowError::Oversize { .. }) => "row_too_large",
            Self::Row(RowError::ValueTooLong { .. }) => "value_too_long",
            Self::Row(RowError::Empty) => "row_empty",
            Self::Row(RowError::Full) => "batch_full",
            Self::TooManyChannels { .. } => "row_channels",
        }
    }

    /// Returns why the samples are lost; `None` if there were none.
    pub fn loss(&self) -> Option<LossReason> {
        match self {
            Self::Row(RowError::Empty) => None,
            Self::Row(_) | Self::TooManyChannels { .. } => Some(LossReason::Oversize),
        }
    }
}

/// Returns how far the wall clock is ahead of the monotonic one, in nanoseconds.
fn offset_of(wall: WallTime, mono: MonoTime) -> i64 {
    wall.0.saturating_sub_unsigned(mono.0)
}

/// Returns the reading that goes with rows that were stamped at this offset: after a step, the clock as it was before.
fn before_step(clock: Clock, offset: Option<i64>) -> Clock {
    match offset {
        Some(offset) if is_step(offset_of(clock.wall, clock.mono), offset) => Clock {
            wall: WallTime(offset.saturating_add_unsigned(clock.mono.0)),
            synchronised: false,
            ..clock
        },
        _ => clock,
    }
}

/// Says whether a clock with these offsets stepped in between. Drift and slewing do far less while a batch is open.
fn is_step(one: i64, other: i64) -> bool {
    one.abs_diff(other) > CLOCK_STEP_NANOS
}

/// Checks what can be known of a row without a batch, so that it is refused where its line is still known.
pub fn check_row(row: &Row) -> Result<(), RowRefused> {
    let bytes = row.raw_bytes();
    if row.fields.is_empty() {
        Err(RowError::Empty.into())
    } else if bytes > ROW_BYTES_MAX {
        Err(RowError::Oversize { bytes, max: ROW_BYTES_MAX }.into())
    } else {
        Ok(())
    }
}

impl<O: Clone + PartialEq> Batcher<O> {
    /// Starts without rows.
    pub fn new(config: BatcherConfig) -> Self {
        Self {
            config,
            books: std::array::from_fn(|_| VecDeque::new()),
            full: VecDeque::new(),
            encoded: VecDeque::new(),
            open_bytes: 0,
        }
    }

    /// Takes a row that came from `origin`. Then poll for batches.
    pub fn push(
        &mut self,
        stamped: Stamped,
        manner: Manner,
        origin: &O,
        now: MonoTime,
    ) -> Result<(), RowRefused> {
        check_row(&stamped.row)?;
        let names = stamped.row.fields.iter().map(|(name, _)| name);
        let lane = stamped.row.lane.unwrap_or_else(|| self.config.declarations.lane_of_all(names));
        let book = book_of(lane, manner);
        let at = self.page_for(book, &stamped.row)?;
        let linger = self.linger(lane);
        let open_offset = self.page(book, at).offset;
        if open_offset.zip(stamped.offset).is_some_and(|(open, new)| is_step(open, new)) {
            self.close(book, at);
        }
        let page = self.page(book, at);
        let bytes_before = page.open().raw_bytes();
        page.push(stamped, origin)?;
        if page.open().rows() == 1 {
            page.close_at = now + linger;
        }
        let (bytes, is_full) = (page.open().raw_bytes() - bytes_before, page.open().is_full());
        self.open_bytes += bytes;
        if is_full {
            self.close(book, at);
        } else if self.open_bytes > OPEN_BYTES_MAX {
            self.close_all();
        }
        Ok(())
    }

    /// Returns when [`Batcher::poll_batch`] has something to return next, unless a row comes first.
    pub fn poll_timeout(&self) -> Option<MonoTime> {
        if !self.full.is_empty() || !self.encoded.is_empty() {
            return Some(MonoTime::default());
        }
        self.open_pages().map(|(_, _, page)| page.close_at).min()
    }

    /// Returns the next closed batch, encoded with the clocks as they are now.
    pub fn poll_batch(&mut self, now: MonoTime, clock: Clock) -> Option<Closed<O>> {
        let due: Vec<_> = self
            .open_pages()
            .filter(|(_, _, page)| page.close_at <= now)
            .map(|(book, at, _)| (book, at))
            .collect();
        for (book, at) in due {
            self.close(book, at);
        }
        while self.encoded.is_empty() {
            let (book, full) = self.full.pop_front()?;
            self.encode(book, full, clock);
        }
        self.encoded.pop_front()
    }

    /// Closes every open batch, whatever its linger. Then poll for batches.
    pub fn close_all(&mut self) {
        let open: Vec<_> = self.open_pages().map(|(book, at, _)| (book, at)).collect();
        for (book, at) in open {
            self.close(book, at);
        }
    }

    fn linger(&self, lane: Lane) -> Duration {
        match lane {
            Lane::Urgent => Duration::ZERO,
            Lane::Live => self.config.linger_live,
            Lane::Bulk => self.config.linger_bulk,
        }
    }

    fn open_pages(&self) -> impl Iterator<Item = (usize, usize, &Page<O>)> {
        let pages = self
            .books
            .iter()
            .enumerate()
            .flat_map(|(book, pages)| pages.iter().enumerate().map(move |(at, page)| (book, at, page)));
        pages.filter(|(_, _, page)| !page.open().is_empty())
    }

    /// Returns where in the book the row goes: the newest page that has its channels, else the newest page that has
    /// room for them, else a new one.
    fn page_for(&mut self, book: usize, row: &Row) -> Result<usize, RowRefused> {
        let pages = &mut self.books[book];
        if let Some(at) = (0..pages.len()).rev().find(|at| pages[*at].finds(row)) {
            return Ok(at);
        }
        let declarations = &self.config.declarations;
        if let Some(newest) = pages.back_mut()
            && newest.learn(row, declarations) == Ok(())
        {
            return Ok(pages.len() - 1);
        }
        let mut page = Page::new();
        page.learn(row, declarations)
            .map_err(|DoesNotFit| RowRefused::TooManyChannels { channels: row.fields.len() })?;
        if pages.len() == PAGES_MAX {
            self.close(book, 0);
            self.books[book].pop_front();
        }
        self.books[book].push_back(page);
        Ok(self.books[book].len() - 1)
    }

    fn close(&mut self, book: usize, at: usize) {
        let page = self.page(book, at);
        if !page.open().is_empty() {
            let bytes = page.open().raw_bytes();
            let full = page.close();
            self.open_bytes -= bytes;
            self.full.push_back((book, full));
        }
    }

    fn page(&mut self, book: usize, at: usize) -> &mut Page<O> {
        self.books[book].get_mut(at).expect("pages are named by their place in the book")
    }

    fn encode(&mut self, book: usize, full: Full<O>, clock: Clock) {
        let (lane, manner) = lane_and_manner_of(book);
        let schema = full.schema;
        let mut runs: VecDeque<_> = full.origins.into();
        for encoded in full.batch.finish(&schema, before_step(clock, full.offset)) {
            let origins = take_runs(&mut runs, encoded.info.rows);
            self.encoded.push_back(Closed { lane, manner, encoded, schema: Arc::clone(&schema), origins });
        }
    }
}

const BOOKS: usize = Lane::ALL.len() * 2;

fn book_of(lane: Lane, manner: Manner) -> usize {
    lane.index() * 2 + usize::from(manner == Manner::Wait)
}

fn lane_and_manner_of(book: usize) -> (Lane, Manner) {
    let lane = Lane::from_index(book / 2).expect("a book for each lane");
    (lane, if book % 2 == 1 { Manner::Wait } else { Manner::Live })
}

/// Splits the runs of the first `rows` rows off.
fn take_runs<O: Clone>(runs: &mut VecDeque<Run<O>>, mut rows: u32) -> Vec<Run<O>> {
    let mut taken = Vec::new();
    while rows > 0 {
        let Some((origin, run)) = runs.front_mut() else { break };
        let part = rows.min(*run);
        taken.push((origin.clone(), part));
        rows -= part;
        *run -= part;
        if *run == 0 {
            runs.pop_front();
        }
    }
    taken
}

#[cfg(test)]
mod tests;
