//! `GET /v1/robots/F/R/samples`: every stored sample, streamed without a cap and in bounded memory.
//!
//! A thread that may block reads the log and fills chunks of lines; a short queue takes them to the connection. A
//! client that reads slowly slows the thread; one that reads nothing for [`STALL_MAX`] is cut off; one that leaves
//! stops it. The body says explicitly that it is complete: a read error, a stall or a panic breaks the connection off,
//! so that half an answer never looks like a whole one.

use std::{io, ops::ControlFlow, sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::{Path, State},
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use futures_util::stream;
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::spawn_blocking,
};

use muster_protocol::{
    batch,
    glob::Glob,
    id::{Offset, RobotId},
    time::WallTime,
};

use super::{
    Api, Shared, blocking,
    lines::{Cursor, LineWriter, Wanted},
    log::{Log, ReadError},
    problem::Problem,
    query::{Query, wrong},
    robots::{known_robot, robot_id},
};
use crate::record::Body as Record;

/// The media type of NDJSON.
pub(super) const MEDIA_TYPE: &str = "application/x-ndjson";

/// Most streams at once: each holds a thread and a few chunks.
const STREAMS_MAX: usize = 64;

/// Chunks between the thread and the connection. Two to work on while two travel.
const QUEUE_CHUNKS: usize = 4;

/// A client that takes nothing for this long is cut off, because it holds a thread.
const STALL_MAX: Duration = Duration::from_secs(120);

/// The right to open streams, shared by all requests.
#[derive(Clone, Debug)]
pub(super) struct Streams(Arc<Semaphore>);

impl Streams {
    /// All streams are free.
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(STREAMS_MAX)))
    }
}

/// What travels from the thread to the body.
#[derive(Debug)]
enum Chunk {
    Lines(Vec<u8>),
    /// Everything that is wanted was sent.
    End,
}

/// Why a stream breaks off.
#[derive(Debug, thiserror::Error)]
enum StreamError {
    /// Nobody reads it any more.
    #[error("the client left")]
    ClientLeft,
    /// The client takes nothing.
    #[error("the client took nothing for {} s", STALL_MAX.as_secs())]
    Stalled,
    /// The log cannot be read.
    #[error("read the log: {0}")]
    Read(ReadError),
    /// A batch does not decode.
    #[error("decode the batch at offset {offset}: {source}")]
    Decode { offset: Offset, source: batch::BatchError },
    /// A batch's schema is not there.
    #[error("the batch at offset {offset} refers to a schema that is not there")]
    NoSchema { offset: Offset },
}

/// Answers `GET /v1/robots/F/R/samples`.
pub(super) async fn samples(
    State(shared): State<Shared>,
    Path((fleet, robot)): Path<(String, String)>,
    uri: Uri,
) -> Result<Response, Problem> {
    let wanted = wanted(&Query::parse(&uri, &["from", "to", "channels", "after"])?)?;
    let robot = robot_id(&fleet, &robot)?;
    let permit = shared.streams.0.clone().try_acquire_owned().map_err(|_| {
        Problem::busy(format!("{STREAMS_MAX} sample streams are open, and that is the most; try again later"))
    })?;
    let api = shared.api.clone();
    let (asked, after) = (robot.clone(), wanted.after);
    blocking(shared, move |api| {
        known_robot(api, &asked)?;
        after.map_or(Ok(()), |after| check_cursor(&*api.log, after))
    })
    .await?;
    let (chunks, queue) = mpsc::channel(QUEUE_CHUNKS);
    let sender = Sender { chunks, runtime: Handle::current() };
    spawn_blocking(move || send(&api, &robot, wanted, &sender, permit));
    Ok((StatusCode::OK, [(header::CONTENT_TYPE, MEDIA_TYPE)], body(queue)).into_response())
}

fn wanted(query: &Query) -> Result<Wanted, Problem> {
    let globs = |text: &str| text.split(',').map(str::parse).collect::<Result<Vec<Glob>, _>>();
    let channels = query.text("channels").map(globs).transpose();
    Ok(Wanted {
        from: query.time("from")?.unwrap_or(WallTime(i64::MIN)),
        to: query.time("to")?,
        channels: channels.map_err(|error| wrong("channels", &error))?.unwrap_or_default(),
        after: query.parsed("after")?,
        ints: query.ints()?,
    })
}

/// A cursor means something only within the log.
fn check_cursor(log: &dyn Log, after: Cursor) -> Result<(), Problem> {
    let (first, next) = (log.first(), log.next());
    if after.offset < first {
        return Err(Problem::trimmed(after.offset, first));
    }
    if after.offset >= next {
        let why = format!("this log has not reached offset {} yet: its next is {next}", after.offset);
        return Err(wrong(
            "after",
            &format!("{why}. The cursor is from another log, or this one was restored"),
        ));
    }
    Ok(())
}

/// Makes the chunks that arrive a body, which ends well only after [`Chunk::End`].
fn body(queue: mpsc::Receiver<Chunk>) -> Body {
    Body::from_stream(stream::try_unfold(queue, |mut queue| async move {
        match queue.recv().await {
            Some(Chunk::Lines(lines)) => Ok(Some((Bytes::from(lines), queue))),
            Some(Chunk::End) => Ok(None),
            None => Err(io::Error::other("the samples could not be read to their end")),
        }
    }))
}

fn send(api: &Api, robot: &RobotId, wanted: Wanted, sender: &Sender, permit: OwnedSemaphorePermit) {
    api.metrics.streams().inc();
    match read(api, robot, wanted, sender) {
        Ok(()) | Err(StreamError::ClientLeft) => {}
        Err(error) => tracing::warn!(%robot, %error, "broke off a stream of samples"),
    }
    api.metrics.streams().dec();
    drop(permit);
}

fn read(api: &Api, robot: &RobotId, wanted: Wanted, sender: &Sender) -> Result<(), StreamError> {
    let from = wanted.after.map_or(Offset(0), |after| after.offset);
    let records = api.log.robot_records(robot, (wanted.from, wanted.to), from);
    let mut lines = LineWriter::new(wanted);
    for record in records {
        let (offset, envelope) = record.map_err(StreamError::Read)?;
        if sender.chunks.is_closed() {
            return Err(StreamError::ClientLeft);
        }
        let Record::Batch { info, payload, .. } = envelope.body else { continue };
        let schema = api.log.schema(robot, info.schema).ok_or(StreamError::NoSchema { offset })?;
        let batch =
            batch::decode(&payload, &schema).map_err(|source| StreamError::Decode { offset, source })?;
        let mut outcome = Ok(());
        let mut hand_on = |chunk| {
            outcome = sender.send(Chunk::Lines(chunk));
            if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        let _ = lines.write_batch(offset, &batch, &schema, &mut hand_on);
        outcome?;
    }
    let rest = lines.take();
    if !rest.is_empty() {
        sender.send(Chunk::Lines(rest))?;
    }
    sender.send(Chunk::End)
}

/// The thread's end of the queue.
struct Sender {
    chunks: mpsc::Sender<Chunk>,
    runtime: Handle,
}

impl Sender {
    fn send(&self, chunk: Chunk) -> Result<(), StreamError> {
        let sent = async { tokio::time::timeout(STALL_MAX, self.chunks.send(chunk)).await };
        match self.runtime.block_on(sent) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(StreamError::ClientLeft),
            Err(_) => Err(StreamError::Stalled),
        }
    }
}
