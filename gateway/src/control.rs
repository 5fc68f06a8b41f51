//! The control socket of a running gateway, `DATA/control.sock`: for programs of the same user on the same machine.
//!
//! One JSON object a line in either direction. Who connects speaks first:
//!
//! ```text
//!   > {"op":"backup"}
//!   < {"log":"ID","end":OFFSET,"files":["log/00000000000000000001/db", ...]}
//!     now the named files stay as they are, for as long as the connection does
//!   > {"op":"done"}
//!   < {"done":true}          nothing that was named was removed in between
//!
//!   > {"op":"plan_trim","goal":{"to_bytes":BYTES,"older_than":NANOS}}      either may be null
//!   < {"plan":{...}}         what would go; nothing is changed
//!   > {"op":"trim","until":OFFSET}
//!   < {"trimmed":{"partitions":N,"bytes":BYTES}}
//! ```
//!
//! What cannot be done is answered by `{"error":"..."}`. The socket has mode 0600.

use std::{
    fs::{self, File, Permissions},
    io::{self, BufRead as _, BufReader, Write as _},
    os::{
        fd::AsRawFd as _,
        unix::{fs::PermissionsExt as _, net::UnixStream},
    },
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixListener,
    sync::Semaphore,
};

use muster_protocol::id::Offset;

use crate::{
    committer::CommitterHandle,
    store::{
        Hold, StoreReader,
        trim::{Goal, Plan, Trimmed},
    },
};

/// The name of the socket in the data folder.
pub const SOCKET_FILE: &str = "control.sock";

/// Answers on the control socket.
#[derive(Clone, Debug)]
pub struct Control {
    committer: CommitterHandle,
    reader: StoreReader,
}

/// The bound socket. Dropping it removes its file.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
}

/// The files of a backup, kept as they are for as long as this lives.
#[derive(Debug)]
pub struct Offer {
    /// Below which offset everything is in it.
    pub end: Offset,
    /// The files, relative to the data folder.
    pub files: Vec<PathBuf>,
    connection: BufReader<UnixStream>,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(tag = "op", rename_all = "snake_case")]
enum Request {
    Backup,
    Done,
    PlanTrim { goal: Goal },
    Trim { until: Offset },
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(untagged)]
enum Answer {
    Files { log: String, end: u64, files: Vec<String> },
    Done { done: bool },
    Plan { plan: Plan },
    Trimmed { trimmed: Trimmed },
    Error { error: String },
}

/// Longest request. A longer line is no request.
const REQUEST_BYTES_MAX: u64 = 4096;

/// Most connections at once; others wait. Each may hold retention back.
const CONNECTIONS_MAX: usize = 4;

/// Longest path of a Unix socket, with room to spare.
const SOCKET_PATH_BYTES_MAX: usize = 100;

impl Control {
    /// Joins what requests are carried out with.
    pub fn new(committer: CommitterHandle, reader: StoreReader) -> Self {
        Self { committer, reader }
    }

    /// Binds the socket of a data folder. The caller holds the folder's lock, so a socket found there is a left-over.
    pub fn bind(data_dir: &Path) -> io::Result<ControlSocket> {
        let file = data_dir.join(SOCKET_FILE);
        let _ = fs::remove_file(&file);
        let (path, _open) = short(data_dir)?;
        let socket = ControlSocket { listener: UnixListener::bind(&path)?, path: file };
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        Ok(socket)
    }

    /// Serves until the task is ended, which removes the socket's file.
    pub async fn run(self, socket: ControlSocket) {
        let room = std::sync::Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(permit) = std::sync::Arc::clone(&room).acquire_owned().await else { return };
            let Ok((stream, _)) = socket.listener.accept().await else { continue };
            let control = self.clone();
            tokio::spawn(async move {
                if let Err(error) = control.serve(stream).await {
                    tracing::debug!(%error, "a control connection broke");
                }
                drop(permit);
            });
        }
    }

    async fn serve(&self, stream: tokio::net::UnixStream) -> io::Result<()> {
        let (from, mut to) = stream.into_split();
        let mut from = tokio::io::BufReader::new(from);
        let mut held: Option<Hold> = None;
        loop {
            let mut line = String::new();
            if (&mut from).take(REQUEST_BYTES_MAX).read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let answer = match serde_json::from_str(&line) {
                Ok(Request::Done) => Answer::Done { done: held.take().is_some() },
                Ok(request) => {
                    let control = self.clone();
                    let answered = tokio::task::spawn_blocking(move || control.answer(request)).await;
                    match answered.map_err(io::Error::other)? {
                        Ok((hold, answer)) => {
                            held = hold.or(held);
                            answer
                        }
                        Err(error) => Answer::Error { error },
                    }
                }
                Err(error) => Answer::Error { error: format!("not a request: {error}") },
            };
            let mut line = serde_json::to_string(&answer).map_err(io::Error::other)?;
            line.push('\n');
            to.write_all(line.as_bytes()).await?;
        }
    }

    /// Carries out a request; what has to be held for it comes with the answer. Blocks.
    fn answer(&self, request: Request) -> Result<(Option<Hold>, Answer), String> {
        match request {
            Request::Backup => self.offer().map(|(hold, answer)| (Some(hold), answer)),
            Request::Done => Ok((None, Answer::Done { done: false })),
            Request::PlanTrim { goal } => Ok((None, Answer::Plan { plan: self.reader.plan_trim(goal) })),
            Request::Trim { until } => {
                let trimmed = self.reader.trim(until).map_err(|error| error.to_string())?;
                tracing::info!(partitions = trimmed.partitions, bytes = trimmed.bytes, "trimmed on request");
                Ok((None, Answer::Trimmed { trimmed }))
            }
        }
    }

    /// Seals what is written and names the files of a backup. Blocks.
    fn offer(&self) -> Result<(Hold, Answer), String> {
        let hold = self.reader.hold();
        let ended = || "the gateway is ending".to_owned();
        let sealed = self.committer.seal().ok_or_else(ended)?;
        sealed.settled.recv().map_err(|_| ended())?;
        let files =
            hold.files(sealed.end).map_err(|error| format!("cannot list the store's files: {error}"))?;
        let files = files.iter().map(|path| path.display().to_string()).collect();
        let log = self.reader.log_id().to_string();
        Ok((hold, Answer::Files { log, end: sealed.end.0, files }))
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // One that stays behind is replaced at the next start.
        let _ = fs::remove_file(&self.path);
    }
}

impl Offer {
    /// Asks the gateway that runs on a data folder for a backup. `None` if none runs there.
    pub fn ask(data_dir: &Path) -> io::Result<Option<Self>> {
        let Some(mut connection) = connect(data_dir)? else { return Ok(None) };
        match exchange(&mut connection, Request::Backup)? {
            Answer::Files { end, files, .. } => {
                let files = files.into_iter().map(PathBuf::from).collect();
                Ok(Some(Self { end: Offset(end), files, connection }))
            }
            answer => Err(unexpected(answer)),
        }
    }

    /// Lets the files go, and returns whether they stayed until now.
    pub fn finish(mut self) -> io::Result<bool> {
        Ok(matches!(exchange(&mut self.connection, Request::Done)?, Answer::Done { done: true }))
    }
}

/// Asks the gateway that runs on a data folder what would go. `None` if none runs there.
pub fn plan_trim(data_dir: &Path, goal: Goal) -> io::Result<Option<Plan>> {
    let Some(mut connection) = connect(data_dir)? else { return Ok(None) };
    match exchange(&mut connection, Request::PlanTrim { goal })? {
        Answer::Plan { plan } => Ok(Some(plan)),
        answer => Err(unexpected(answer)),
    }
}

/// Lets the gateway that runs on a data folder drop partitions that begin before `until`. `None` if none runs there.
pub fn trim(data_dir: &Path, until: Offset) -> io::Result<Option<Trimmed>> {
    let Some(mut connection) = connect(data_dir)? else { return Ok(None) };
    match exchange(&mut connection, Request::Trim { until })? {
        Answer::Trimmed { trimmed } => Ok(Some(trimmed)),
        answer => Err(unexpected(answer)),
    }
}

/// Connects to the gateway that runs on a data folder; `None` if none does.
fn connect(data_dir: &Path) -> io::Result<Option<BufReader<UnixStream>>> {
    let (path, _open) = match short(data_dir) {
        Ok(short) => short,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match UnixStream::connect(path) {
        Ok(stream) => Ok(Some(BufReader::new(stream))),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn unexpected(answer: Answer) -> io::Error {
    match answer {
        Answer::Error { error } => io::Error::other(error),
        _ => io::Error::other("the gateway does not answer what was asked"),
    }
}

fn exchange(connection: &mut BufReader<UnixStream>, request: Request) -> io::Result<Answer> {
    let mut request = serde_json::to_string(&request).map_err(io::Error::other)?;
    request.push('\n');
    connection.get_mut().write_all(request.as_bytes())?;
    let mut line = String::new();
    if connection.read_line(&mut line)? == 0 {
        return Err(io::Error::other("the gateway ended"));
    }
    serde_json::from_str(&line).map_err(io::Error::other)
}

/// Returns a path of the socket that is short enough for one, and what has to stay open for as long as it is used.
fn short(data_dir: &Path) -> io::Result<(PathBuf, Option<File>)> {
    let path = data_dir.join(SOCKET_FILE);
    if path.as_os_str().len() <= SOCKET_PATH_BYTES_MAX {
        return Ok((path, None));
    }
    let folder = File::open(data_dir)?;
    let path = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(SOCKET_FILE);
    Ok((path, Some(folder)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: the socket stayed behind after a clean end, and what walks a data folder met it there.
    #[tokio::test]
    async fn the_file_goes_with_the_socket_and_one_left_behind_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        // Too long for the address of a socket, so that it is bound by another path than it is removed by.
        let long = folder.path().join("d".repeat(SOCKET_PATH_BYTES_MAX));
        fs::create_dir(&long).unwrap();
        for data_dir in [folder.path(), &long] {
            let file = data_dir.join(SOCKET_FILE);
            fs::write(&file, "of a gateway that was killed").unwrap();
            let socket = Control::bind(data_dir).unwrap();
            let (path, _open) = short(data_dir).unwrap();
            UnixStream::connect(path).unwrap();
            assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
            drop(socket);
            assert!(!file.exists());
        }
    }
}
