//! What may be sent where bytes cost money: limits per second, day and month, what was used of them, and who has to wait
//! when they run short. Pure: counts, clocks and time come in as arguments.
//!
//! Every byte counts that leaves the robot: frames, what QUIC or TLS and TCP add, IP headers, what QUIC sends again.
//! [`overhead`] says what is measured and what estimated.
//!
//! What waits, in this order:
//!
//! | | per second | per day and month, of what the reserve leaves |
//! |---|---|---|
//! | bulk | leaves half a second's worth | never runs ahead of an even pace |
//! | backlog | leaves a quarter | a quarter at once, the rest at an even pace |
//! | live | while there is some | up to all |
//! | urgent | from the reserve too | up to the limit |
//! | control | always | always; it counts |
//!
//! Counts are durable *ahead* of use: a chunk is added to the file ([`ledger`]) first and spent then. After SIGKILL the
//! count may be that chunk too high, at most 1/64 of the limit, and is never too low. Days and months: [`period`].

pub mod channels;
pub mod ledger;
pub mod overhead;
pub mod period;

mod bucket;

use std::time::Duration;

use muster_protocol::{
    session::sender::Priority,
    time::{MonoTime, WallTime},
};

use self::{
    bucket::Bucket,
    ledger::Record,
    period::{Calendar, Period},
};

/// A part of a limit in hundredths, up to 90.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share(u8);

/// What may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes in a second.
    pub per_second: Option<u64>,
    /// Bytes in a day of UTC.
    pub per_day: Option<u64>,
    /// Bytes in a month of UTC.
    pub per_month: Option<u64>,
    /// What of each is kept for what is urgent.
    pub urgent_reserve: Share,
}

/// What is sent and what may be; one per agent.
#[derive(Debug)]
pub struct Uplink {
    limits: Limits,
    second: Option<Bucket>,
    day: Period,
    month: Period,
    wall: WallTime,
    at: Option<MonoTime>,
    /// What the link that lives had counted when it was last looked at.
    link_counted: u64,
    /// What was handed to the link and is not in its count yet.
    pending: u64,
    durable: Durable,
}

/// What an operator may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// The limits.
    pub limits: Limits,
    /// Bytes of this day.
    pub today: u64,
    /// Bytes of this month.
    pub this_month: u64,
    /// The least that may be sent now; `None` for control frames alone.
    pub floor: Option<Priority>,
    /// Whether the counts are on disk.
    pub durable: bool,
}

/// How far the file is ahead.
#[derive(Clone, Copy, Debug)]
enum Durable {
    /// Nobody asked for it: an agent in memory.
    Off,
    On {
        saved: Option<Record>,
        saving: bool,
        chunk: u64,
        saved_at: Option<MonoTime>,
        failed: bool,
    },
}

/// The file is written at most this often for one limit: a chunk is this part of it.
const CHUNKS: u64 = 256;

/// Where it is written more than once a minute, chunks grow up to this part.
const CHUNKS_MIN: u64 = 64;
const CHUNK_TIME: Duration = Duration::from_mins(1);

/// Without a limit by day or month a chunk matters only to what `status` shows.
const CHUNK_BYTES: u64 = 4 * 1024 * 1024;
const CHUNK_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// How often to look whether a day or month has room again, by a clock that may step.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Closer to a limit than this, batches are read one by one.
const TIGHT_BYTES: u64 = 1024 * 1024;

/// Of a day or month, what the backlog may use at once.
const BACKLOG_HEAD_START: f64 = 0.25;

impl Share {
    /// Takes hundredths.
    ///
    /// # Panics
    /// Above 90.
    pub const fn percent(percent: u8) -> Self {
        assert!(percent <= 90, "a reserve leaves something to the rest");
        Self(percent)
    }

    /// Returns the hundredths.
    pub fn hundredths(self) -> u8 {
        self.0
    }

    /// Returns this part of a limit.
    pub fn of(self, limit: u64) -> u64 {
        u64::try_from(u128::from(limit) * u128::from(self.0) / 100).unwrap_or(u64::MAX)
    }
}

impl Limits {
    /// No limits; everything is still counted.
    pub const NONE: Self =
        Self { per_second: None, per_day: None, per_month: None, urgent_reserve: Share::percent(10) };
}

impl Default for Uplink {
    /// Without limits, counting in memory alone.
    fn default() -> Self {
        Self::new(Limits::NONE, Durable::Off)
    }
}

impl Uplink {
    /// Counts in memory alone.
    pub fn in_memory(limits: Limits) -> Self {
        Self::new(limits, Durable::Off)
    }

    /// Counts on from what the file said; then saves by [`Uplink::poll_save`].
    pub fn durable(limits: Limits, found: Option<Record>) -> Self {
        let durable = Durable::On {
            saved: found,
            saving: false,
            chunk: smallest_chunk(limits),
            saved_at: None,
            failed: false,
        };
        let mut uplink = Self::new(limits, durable);
        if let Some(Record { day, month }) = found {
            (uplink.day, uplink.month) = (day, month);
        }
        uplink
    }

    /// Counts on from a file that was damaged: nothing is known, so today only what is urgent is sent, and of the month
    /// as much counts as used as an even pace would have.
    pub fn after_damage(limits: Limits, wall: WallTime) -> Self {
        let mut uplink = Self::durable(limits, None);
        uplink.name_periods(wall);
        uplink.day.used = limits.per_day.map_or(0, |limit| limit - limits.urgent_reserve.of(limit));
        let pace = |limit: u64| (limit as f64 * Calendar::Month.elapsed(wall)).round();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a u64")]
        let used = limits.per_month.map_or(0.0, pace) as u64;
        uplink.month.used = used;
        uplink
    }

    fn new(limits: Limits, durable: Durable) -> Self {
        Self {
            limits,
            second: limits.per_second.map(|bytes| Bucket::new(bytes, limits.urgent_reserve)),
            day: Period::starting(i64::MIN),
            month: Period::starting(i64::MIN),
            wall: WallTime::default(),
            at: None,
            link_counted: 0,
            pending: 0,
            durable,
        }
    }

    /// Takes the clocks. Call it before asking for anything.
    pub fn handle_clock(&mut self, wall: WallTime, now: MonoTime) {
        let ran = self.at.map_or(Duration::ZERO, |at| now.since(at));
        (self.at, self.wall) = (Some(now), wall);
        self.name_periods(wall);
        self.day.advance(Calendar::Day, wall, ran);
        self.month.advance(Calendar::Month, wall, ran);
        if let Some(second) = &mut self.second {
            second.refill(now);
        }
    }

    /// Takes what the link has counted since it was opened; zero without one.
    pub fn handle_counted(&mut self, counted: u64) {
        let news = counted.saturating_sub(self.link_counted);
        self.link_counted = counted;
        self.use_bytes(news);
        let expected = news.min(self.pending);
        self.pending -= expected;
        if let Some(second) = &mut self.second {
            // What was expected was spent when it was handed over.
            second.spend(news - expected, Priority::Live);
        }
    }

    /// Takes what was sent outside a link: attempts to open one.
    pub fn handle_spent(&mut self, bytes: u64) {
        self.use_bytes(bytes);
        if let Some(second) = &mut self.second {
            second.spend(bytes, Priority::Live);
        }
    }

    /// Notes that a batch was handed to the link.
    pub fn handle_sent(&mut self, frame_bytes: u64, priority: Priority) {
        // A sixteenth is what headers and QUIC add to full packets.
        let expected = frame_bytes + frame_bytes / 16 + 64;
        self.pending += expected;
        if let Some(second) = &mut self.second {
            second.spend(expected, priority);
        }
    }

    /// Notes that nothing is on its way: everything handed over was counted or is lost with its link.
    pub fn handle_idle(&mut self) {
        self.pending = 0;
    }

    /// Notes that there is a new link, which counts from zero.
    pub fn handle_link_up(&mut self) {
        self.link_counted = 0;
    }

    /// Returns the least that may be sent now; `None` for control frames alone.
    pub fn floor(&self) -> Option<Priority> {
        [Priority::Bulk, Priority::Backlog, Priority::Live, Priority::Urgent]
            .into_iter()
            .find(|priority| self.allows(*priority))
    }

    /// Returns whether a limit is so close that batches should be taken one by one.
    pub fn is_tight(&self) -> bool {
        let close = |(limit, used): (u64, u64)| limit.saturating_sub(used + self.pending) < TIGHT_BYTES;
        self.second.is_some() || self.periods().any(|(_, limit, period)| close((limit, period.used)))
    }

    /// Returns when to look again because something that waits now may be sent then.
    pub fn poll_timeout(&self) -> Option<MonoTime> {
        let at = self.at?;
        if self.floor() == Some(Priority::Bulk) {
            return None;
        }
        let second = self.second.as_ref().and_then(Bucket::wait);
        let calendar = self.periods().next().is_some().then_some(LOOK_AGAIN);
        second.into_iter().chain(calendar).min().map(|wait| at + wait)
    }

    /// Returns what has to be written to the file now, if anything: then write it, and call
    /// [`Uplink::handle_saved`].
    pub fn poll_save(&mut self) -> Option<Record> {
        let (at, headroom) = (self.at?, self.headroom());
        let limits = self.limits;
        let Durable::On { saving, chunk, saved_at, .. } = &mut self.durable else { return None };
        if *saving || headroom.is_some_and(|left| left > *chunk / 2) {
            return None;
        }
        *saving = true;
        let often = saved_at.is_some_and(|last| at.since(last) < CHUNK_TIME);
        *chunk = if often { *chunk * 2 } else { *chunk / 2 };
        *chunk = (*chunk).clamp(smallest_chunk(limits), greatest_chunk(limits));
        *saved_at = Some(at);
        let ahead = self.pending + *chunk;
        let ahead_of = |period: Period| Period { used: period.used + ahead, ..period };
        Some(Record { day: ahead_of(self.day), month: ahead_of(self.month) })
    }

    /// Takes what became of a record. If it could not be written the agent goes on with counts in memory: a robot with a
    /// broken disk has to be heard. Returns whether that is new and has to be said.
    pub fn handle_saved(&mut self, record: Record, written: bool) -> bool {
        let Durable::On { saved, saving, failed, .. } = &mut self.durable else { return false };
        let news = !written && !*failed;
        (*saved, *saving, *failed) = (Some(record), false, !written);
        news
    }

    /// Returns the exact counts, to be written when the agent ends in order.
    pub fn last_record(&self) -> Option<Record> {
        self.at?;
        matches!(self.durable, Durable::On { .. }).then_some(Record { day: self.day, month: self.month })
    }

    /// Returns what an operator may ask.
    pub fn figures(&self) -> Figures {
        Figures {
            limits: self.limits,
            today: self.day.used,
            this_month: self.month.used,
            floor: self.floor(),
            durable: matches!(self.durable, Durable::On { failed: false, .. }),
        }
    }

    fn name_periods(&mut self, wall: WallTime) {
        for (calendar, period) in [(Calendar::Day, &mut self.day), (Calendar::Month, &mut self.month)] {
            if period.number == i64::MIN {
                period.number = calendar.number(wall);
            }
        }
    }

    fn use_bytes(&mut self, bytes: u64) {
        self.day.used += bytes;
        self.month.used += bytes;
    }

    fn periods(&self) -> impl Iterator<Item = (Calendar, u64, &Period)> {
        let day = self.limits.per_day.map(|limit| (Calendar::Day, limit, &self.day));
        let month = self.limits.per_month.map(|limit| (Calendar::Month, limit, &self.month));
        day.into_iter().chain(month)
    }

    fn allows(&self, priority: Priority) -> bool {
        self.second.as_ref().is_none_or(|second| second.allows(priority))
            && self.periods().all(|(calendar, limit, period)| {
                let allowed = limit as f64 * self.allowed_part(calendar, period, priority);
                ((period.used + self.pending) as f64) < allowed
            })
            && (self.periods().next().is_none() || self.headroom().is_none_or(|left| left > 0))
    }

    fn allowed_part(&self, calendar: Calendar, period: &Period, priority: Priority) -> f64 {
        let general = 1.0 - f64::from(self.limits.urgent_reserve.0) / 100.0;
        // A clock that is not in the period tells nothing about how much of it has passed.
        let now_in_it = calendar.number(self.wall) == period.number;
        let passed = if now_in_it { calendar.elapsed(self.wall) } else { 1.0 };
        match priority {
            Priority::Bulk => general * passed,
            Priority::Backlog => general * (BACKLOG_HEAD_START + (1.0 - BACKLOG_HEAD_START) * passed),
            Priority::Live => general,
            Priority::Urgent => 1.0,
        }
    }

    /// Returns how much may be used before the file has to be written; `None` if it never has to.
    fn headroom(&self) -> Option<u64> {
        let Durable::On { saved, .. } = self.durable else { return None };
        let left = |saved: Option<Period>, now: &Period| {
            let ahead = saved.filter(|saved| saved.number == now.number).map_or(0, |saved| saved.used);
            ahead.saturating_sub(now.used + self.pending)
        };
        let day = left(saved.map(|saved| saved.day), &self.day);
        Some(day.min(left(saved.map(|saved| saved.month), &self.month)))
    }
}

fn smallest_chunk(limits: Limits) -> u64 {
    chunk(limits, CHUNKS, CHUNK_BYTES)
}

fn greatest_chunk(limits: Limits) -> u64 {
    chunk(limits, CHUNKS_MIN, CHUNK_BYTES_MAX)
}

fn chunk(limits: Limits, parts: u64, without: u64) -> u64 {
    let least = limits.per_day.into_iter().chain(limits.per_month).min();
    least.map_or(without, |limit| (limit / parts).max(1))
}

#[cfg(test)]
mod tests;
