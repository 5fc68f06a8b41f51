//! The input `unix:PATH`: a stream socket on which any number of local programs send NDJSON lines. It is live: it
//! never makes a program wait for the spool.
//!
//! `{"sync": ID}` is answered with `{"synced": ID, "accepted": N, "refused": M}`, cumulative for the connection, when
//! everything before it is synced to the spool. While the spool's disk fails it is answered with
//! `{"sync": ID, "error": WHY}` instead: what was sent is kept in memory, and the program may ask again. A question that
//! cannot be understood is answered with `{"error": WHY}`. Answers come in the order of their questions, also after the
//! program closed its sending half. The socket's file goes when the agent stops; one that a crashed agent left is replaced.

use std::{
    io::{Error, ErrorKind},
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Semaphore, mpsc, oneshot, watch},
    task::JoinSet,
};

use muster_protocol::ndjson::{LineError, SyncId};

use crate::{
    damper::Damper,
    intake::{Counts, Refused, Source},
};

use super::{
    InputError, Setting,
    feed::{Feeder, Parsed, Syncs, shown},
    lines::{Line, LineCutter},
    stop::{Pause, pause},
};

/// Programs connected at once. Beyond it a connection is told so and closed; each costs a task and a line's memory.
pub const CLIENTS_MAX: usize = 64;

/// Questions of one connection that wait for their answer; a program that asks more is not read until one is out.
const QUESTIONS_MAX: usize = 16;

/// Bytes that are read at once.
const CHUNK_BYTES: usize = 16 * 1024;

/// How long the last answers may take when the agent stops.
const FAREWELL: Duration = Duration::from_secs(2);

/// A system that has no more file descriptors gets some back as programs leave.
const ACCEPT_RETRY: Duration = Duration::from_secs(1);

const TOO_MANY_CLIENTS: &str = "{\"error\":\"too many programs are connected to this socket\"}\n";

/// Said of a question that the recorder let go of.
const NOT_SYNCED: &str =
    "not on disk: the spool's disk failed and samples are kept in memory, or the agent stops";

/// A bound socket. Dropping it removes its file.
#[derive(Debug)]
pub struct UnixInput {
    listener: UnixListener,
    file: SocketFile,
    /// How long to wait when the system refuses to accept.
    retry: Duration,
}

/// The socket's file, and which file it was, so that only that one is removed.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    inode: Option<(u64, u64)>,
}

/// A question on its way to its answer.
enum Question {
    /// The recorder answers it.
    Sync { id: SyncId, counts: oneshot::Receiver<Counts> },
    /// It could not be understood.
    Bad(LineError),
}

impl UnixInput {
    /// Binds the socket. Needs a tokio runtime.
    pub fn bind(input: &str, path: &Path) -> Result<Self, InputError> {
        remove_stale(input, path)?;
        let listener = UnixListener::bind(path).map_err(|source| InputError::from_io(input, path, source))?;
        let file = SocketFile { path: path.to_owned(), inode: inode(path) };
        Ok(Self { listener, file, retry: ACCEPT_RETRY })
    }

    /// Serves programs until `stopped` changes or its sender is dropped.
    pub async fn run(self, source: Source, setting: Setting, mut stopped: watch::Receiver<()>) {
        let room = Arc::new(Semaphore::new(CLIENTS_MAX));
        let mut clients = JoinSet::new();
        let (clock, mut troubles) = (setting.clock, Damper::default());
        let mut warn = |what: &str| match troubles.note(what, clock.mono()) {
            Some(0) => tracing::warn!("input {}: {what}", source.input()),
            Some(unsaid) => {
                tracing::warn!("input {}: {what}; {unsaid} more times since the last word", source.input());
            }
            None => tracing::debug!("input {}: {what}", source.input()),
        };
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                Some(_) = clients.join_next() => continue,
                _ = stopped.changed() => break,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    warn(&format!("accept a connection: {error}"));
                    // Nothing tells when the cause, too many open files say, is gone.
                    match pause(self.retry, &mut stopped).await {
                        Pause::Over => continue,
                        Pause::Stopped => break,
                    }
                }
            };
            let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
                warn(&format!("a program was turned away: {CLIENTS_MAX} are connected"));
                let _ = stream.try_write(TOO_MANY_CLIENTS.as_bytes());
                continue;
            };
            let feeder = Feeder::new(source.connection(), &setting, Syncs::Answered);
            let stopped = stopped.clone();
            clients.spawn(async move {
                serve(stream, feeder, stopped).await;
                drop(permit);
            });
        }
        drop(source);
        drop(self.file);
        while clients.join_next().await.is_some() {}
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.inode.is_some() && inode(&self.path) == self.inode {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Serves one program until it is done, or the agent stops.
async fn serve(stream: UnixStream, mut feeder: Feeder, mut stopped: watch::Receiver<()>) {
    let (reader, writer) = stream.into_split();
    let (questions, waiting) = mpsc::channel(QUESTIONS_MAX);
    let mut answers = tokio::spawn(answer(writer, waiting));
    tokio::select! {
        () = read(reader, &mut feeder, &questions) => {}
        _ = stopped.changed() => {}
    }
    let counts = feeder.source().counts();
    tracing::debug!("input {}: a program left: {counts}", feeder.source().input());
    drop((feeder, questions));
    // Until the agent stops, a program may take its answers as slowly as it likes.
    tokio::select! {
        biased;
        _ = &mut answers => return,
        _ = stopped.changed() => {}
    }
    if tokio::time::timeout(FAREWELL, &mut answers).await.is_err() {
        answers.abort();
    }
}

async fn read(mut reader: OwnedReadHalf, feeder: &mut Feeder, questions: &mpsc::Sender<Question>) {
    let mut cutter = LineCutter::default();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match reader.read(&mut chunk).await {
            Ok(read) if read > 0 => cutter.push(chunk.get(..read).unwrap_or_default()),
            Ok(_) => break,
            Err(error) => {
                tracing::debug!("input {}: a connection broke: {error}", feeder.source().input());
                break;
            }
        }
        while let Some(line) = cutter.poll_line() {
            if take(line, feeder, questions).await.is_err() {
                return;
            }
        }
    }
    if let Some(line) = cutter.finish() {
        let _ = take(line, feeder, questions).await;
    }
}

/// The connection is of no use any more: the agent ends, or the program does not listen.
struct Over;

async fn take(line: Line<'_>, feeder: &mut Feeder, questions: &mpsc::Sender<Question>) -> Result<(), Over> {
    match feeder.parse(line) {
        Parsed::Row(row) => match feeder.push(row, shown(line)) {
            Err(Refused::Closed) => Err(Over),
            Ok(()) | Err(_) => Ok(()),
        },
        Parsed::Sync(id) => {
            // First the room for the answer, so that the questions in the queue are bounded too.
            let room = questions.reserve().await.map_err(|_| Over)?;
            let (respond, counts) = oneshot::channel();
            let asked = feeder.source().sync(move |counts| {
                let _ = respond.send(counts);
            });
            asked.map_err(|_| Over)?;
            room.send(Question::Sync { id, counts });
            Ok(())
        }
        Parsed::BadSync(error) => questions.send(Question::Bad(error)).await.map_err(|_| Over),
        Parsed::Nothing => Ok(()),
    }
}

/// Writes answers in the order of the questions. Ends when there are no more, or the program is gone.
async fn answer(mut writer: OwnedWriteHalf, mut waiting: mpsc::Receiver<Question>) {
    while let Some(question) = waiting.recv().await {
        let line = match question {
            Question::Sync { id, counts } => {
                let (id, counts) = (id.as_json(), counts.await);
                match counts {
                    Ok(Counts { accepted, refused }) => {
                        format!("{{\"synced\":{id},\"accepted\":{accepted},\"refused\":{refused}}}\n")
                    }
                    Err(_) => format!("{{\"sync\":{id},\"error\":\"{NOT_SYNCED}\"}}\n"),
                }
            }
            Question::Bad(error) => format!("{}\n", serde_json::json!({ "error": error.to_string() })),
        };
        if writer.write_all(line.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Removes a socket file on which nobody listens. Anything else in the place is an error.
fn remove_stale(input: &str, path: &Path) -> Result<(), InputError> {
    let failed = |source: Error| InputError::from_io(input, path, source);
    let found = match std::fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    if !found.file_type().is_socket() {
        return Err(InputError::NotASocket { input: input.to_owned() });
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(InputError::SocketInUse { input: input.to_owned() }),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            tracing::info!("input {input}: replacing a socket file on which nobody listens");
            std::fs::remove_file(path).map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}

fn inode(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use muster_protocol::ndjson::ParserLimits;
    use socket2::{Domain, Socket, Type};

    use super::*;
    use crate::{
        batcher::Manner,
        clock::Clock,
        intake::{Intake, IntakeConfig},
    };

    /// Guards: a stop waited for the end of the pause after a failure to accept.
    #[tokio::test]
    async fn a_socket_that_cannot_accept_is_stopped_at_once() {
        // One that was never told to listen.
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        let listener = UnixListener::from_std(OwnedFd::from(socket).into()).unwrap();
        listener.accept().await.unwrap_err();
        let file = SocketFile { path: PathBuf::new(), inode: None };
        let input = UnixInput { listener, file, retry: Duration::from_secs(3600) };
        let (intake, _outlet) = Intake::new(&IntakeConfig::default());
        let source = intake.source("unix", Manner::Live);
        let setting = Setting { intake, clock: Clock::new(), limits: ParserLimits::default() };
        let (stop, stopped) = watch::channel(());
        let mut run = Box::pin(input.run(source, setting, stopped));
        tokio::time::timeout(Duration::from_millis(100), &mut run).await.unwrap_err();
        drop(stop);
        tokio::time::timeout(Duration::from_secs(30), run).await.expect("it stops");
    }
}
