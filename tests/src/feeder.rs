//! A local program that sends rows to an agent's unix socket and asks what was accepted.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};

use crate::patience::{PATIENCE, wait_for};

/// How an agent answers to rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// All are accepted.
    Accepted,
    /// Some were refused.
    Refused,
    /// Nothing for now: it may have them, and promises nothing.
    None,
}

/// Sends rows over a socket, each once, and knows which of them were accepted. When the connection breaks it goes on
/// with the next row on a new one.
#[derive(Debug)]
pub struct Feeder {
    path: PathBuf,
    connection: Option<Connection>,
    accepted: BTreeSet<i64>,
    sent: i64,
}

#[derive(Debug)]
struct Connection {
    stream: UnixStream,
    answers: BufReader<UnixStream>,
    /// Rows sent over this connection: the answers' counts are cumulative for it.
    rows: u64,
    /// Rows that no answer covers yet.
    open: Vec<i64>,
}

impl Feeder {
    /// Will connect to this socket.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), connection: None, accepted: BTreeSet::new(), sent: 0 }
    }

    /// Sends rows, and then asks what was accepted of them. The first has `first` as its number. A connection that breaks under way leaves them in doubt.
    pub fn send(&mut self, first: i64, rows: &[Value]) {
        let end = first + i64::try_from(rows.len()).expect("rows are few");
        self.sent = end;
        let mut connection = self.connection.take().unwrap_or_else(|| Connection::open(&self.path));
        connection.open.extend(first..end);
        connection.rows += rows.len() as u64;
        if let Ok(()) = connection.ask(rows, end) {
            self.accepted.extend(connection.open.drain(..));
            self.connection = Some(connection);
        }
    }

    /// Sends rows to an agent that may have no room for them, and asks what was accepted. Unless all were, they stay
    /// in doubt, and the next ones go over a new connection.
    pub fn offer(&mut self, first: i64, rows: &[Value]) -> Answer {
        self.connection = None;
        let end = first + i64::try_from(rows.len()).expect("rows are few");
        self.sent = end;
        let mut connection = Connection::open(&self.path);
        connection.stream.set_read_timeout(Some(ANSWERS_WITHIN)).expect("the time is not zero");
        let Ok(answer) = connection.answer(rows, end) else { return Answer::None };
        if answer["accepted"] != rows.len() {
            return Answer::Refused;
        }
        self.accepted.extend(first..end);
        Answer::Accepted
    }

    /// Sends rows without asking, so that they are in doubt whatever happens next.
    pub fn send_unasked(&mut self, first: i64, rows: &[Value]) {
        let mut connection = self.connection.take().unwrap_or_else(|| Connection::open(&self.path));
        let end = first + i64::try_from(rows.len()).expect("rows are few");
        self.sent = end;
        connection.open.extend(first..end);
        connection.rows += rows.len() as u64;
        if connection.write(rows).is_ok() {
            self.connection = Some(connection);
        }
    }

    /// Lets go of a connection whose agent is gone.
    pub fn disconnect(&mut self) {
        self.connection = None;
    }

    /// Returns the numbers of the rows that are accepted for certain.
    pub fn accepted(&self) -> &BTreeSet<i64> {
        &self.accepted
    }

    /// Returns how many rows were sent, accepted or not.
    pub fn sent(&self) -> i64 {
        self.sent
    }
}

impl Connection {
    fn open(path: &Path) -> Self {
        let stream = wait_for("the agent takes connections", || UnixStream::connect(path).ok());
        stream.set_read_timeout(Some(PATIENCE)).expect("the time is not zero");
        let answers = BufReader::new(stream.try_clone().expect("a socket can be shared"));
        Self { stream, answers, rows: 0, open: Vec::new() }
    }

    fn write(&mut self, rows: &[Value]) -> anyhow::Result<()> {
        for row in rows {
            writeln!(self.stream, "{row}")?;
        }
        Ok(())
    }

    fn answer(&mut self, rows: &[Value], id: i64) -> anyhow::Result<Value> {
        self.write(rows)?;
        writeln!(self.stream, "{}", json!({"sync": id}))?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    }

    fn ask(&mut self, rows: &[Value], id: i64) -> anyhow::Result<()> {
        let answer = self.answer(rows, id)?;
        assert_eq!(answer, json!({"synced": id, "accepted": self.rows, "refused": 0}), "all rows are good");
        Ok(())
    }
}

/// An agent that has not answered after so long does not promise anything for now.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);
