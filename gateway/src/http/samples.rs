//! `GET /v1/robots/F/R/samples`: every stored sample, streamed without a cap and in bounded memory.
//!
//! A thread that may block reads the log and fills chunks of lines; a short queue takes them to the connection. A
//! client that reads slowly slows the thread; one that reads nothing for [`STALL_MAX`] is cut off; one that leaves
//! stops it. The body says explicitly that it is complete: a read error, a stall or a panic breaks the connection off,
//! so that half an answer never looks like a whole one. Damage to the log is told as [`damage`](super::damage) says.

use std::{
    io,
    ops::ControlFlow,
    sync::{Arc, PoisonError},
    time::Duration,
};

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
    schema::Schema,
    time::WallTime,
};

use super::{
    Shared,
    answer::SampleLine,
    blocking,
    damage::{self, Known},
    lines::{Cursor, LineWriter, Wanted},
    log::Log,
    openapi::{
        parameter::{Int64, RobotPath, Selection},
        reply::{BadParameter, Busy, Failed, NoRobot, Trimmed},
    },
    parameters::{Parameters, wrong},
    problem::Problem,
    robots::{known_robot, robot_id},
};
use crate::{
    fleet::Repair,
    record::{Body as Record, Envelope},
    store::ReadError,
};

/// The media type of NDJSON.
pub(super) const MEDIA_TYPE: &str = "application/x-ndjson";

/// Most streams at once: each holds a thread and a few chunks.
pub(super) const STREAMS_MAX: usize = 64;

/// Chunks between the thread and the connection. Two to work on while two travel.
const QUEUE_CHUNKS: usize = 4;

/// Most patterns of one request. Each is tried on every channel name, for up to a quarter of a million steps.
const PATTERNS_MAX: usize = 64;

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
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A batch does not decode.
    #[error("decode the batch at offset {offset}: {source}")]
    Decode {
        /// Where it stands.
        offset: Offset,
        /// What is wrong.
        source: batch::BatchError,
    },
    /// A batch's schema is not there.
    #[error("the batch at offset {offset} refers to a schema that is not there")]
    NoSchema {
        /// Where it stands.
        offset: Offset,
    },
}

impl StreamError {
    /// Returns the offsets that are damaged for good, if that is what is wrong.
    fn damaged(&self) -> Option<(Offset, Offset)> {
        match self {
            Self::Read(ReadError::Damaged { first, end, .. }) => Some((*first, *end)),
            Self::Read(ReadError::Record { offset, .. })
            | Self::Decode { offset, .. }
            | Self::NoSchema { offset } => Some((*offset, offset.next())),
            _ => None,
        }
    }
}

/// Answers `GET /v1/robots/F/R/samples`.
#[utoipa::path(
    get,
    path = "/v1/robots/{fleet}/{robot}/samples",
    tag = "fleet",
    summary = "Every stored sample of a robot, streamed",
    description = "NDJSON: each line is a `SampleLine`. There is no cap; the lines are ordered by `o` and `i`, and \
                   `after` resumes behind the last line that was read. A stream that could not be finished breaks off: \
                   what ends well is whole.",
    params(RobotPath, Selection, Int64),
    responses(
        (
            status = 200,
            description = "The samples, one to a line; the schema is that of a line.",
            content_type = MEDIA_TYPE,
            body = SampleLine<'_>,
            headers(("muster-damaged" = String, description = "Offsets of damaged records that are left out, as in `5-8,20-20`."))
        ),
        BadParameter,
        NoRobot,
        Trimmed,
        Failed,
        Busy,
    )
)]
pub(super) async fn samples(
    State(shared): State<Shared>,
    Path((fleet, robot)): Path<(String, String)>,
    uri: Uri,
) -> Result<Response, Problem> {
    let wanted = wanted(&Parameters::parse(&uri, &["from", "to", "channels", "after"])?)?;
    let robot = robot_id(&fleet, &robot)?;
    let permit = shared.streams.0.clone().try_acquire_owned().map_err(|_| {
        Problem::busy(format!("{STREAMS_MAX} sample streams are open, and that is the most; try again later"))
    })?;
    let (asked, after) = (robot.clone(), wanted.after);
    let repair = blocking(shared.clone(), move |api| {
        let state = known_robot(api, &asked)?;
        after.map_or(Ok(()), |after| check_cursor(&*api.log, after))?;
        Ok(state.read().unwrap_or_else(PoisonError::into_inner).repair())
    })
    .await?;
    let (chunks, queue) = mpsc::channel(QUEUE_CHUNKS);
    let known = shared.damages.known();
    let damaged = known.header(after.map_or(Offset(0), |after| after.offset));
    let reader = Reader { shared, robot, known, chunks, runtime: Handle::current(), _permit: permit };
    spawn_blocking(move || reader.run(wanted, repair));
    let mut response = (StatusCode::OK, [(header::CONTENT_TYPE, MEDIA_TYPE)], body(queue)).into_response();
    response.headers_mut().extend(damaged.map(|ranges| (damage::HEADER, ranges)));
    Ok(response)
}

fn wanted(query: &Parameters) -> Result<Wanted, Problem> {
    let channels = query.text("channels").map(patterns).transpose()?;
    Ok(Wanted {
        from: query.time("from")?.unwrap_or(WallTime(i64::MIN)),
        to: query.time("to")?,
        channels: channels.unwrap_or_default(),
        after: query.parsed("after")?,
        ints: query.ints()?,
    })
}

fn patterns(text: &str) -> Result<Vec<Glob>, Problem> {
    let count = text.split(',').count();
    if count > PATTERNS_MAX {
        return Err(wrong("channels", &format!("{count} patterns; at most {PATTERNS_MAX} are allowed")));
    }
    let globs = text.split(',').map(str::parse).collect::<Result<_, _>>();
    globs.map_err(|error| wrong("channels", &error))
}

/// A cursor means something only within the log.
fn check_cursor(log: &dyn Log, after: Cursor) -> Result<(), Problem> {
    let (first, next) = (log.first(), log.next());
    if after.offset < first {
        return Err(Problem::trimmed("after", after.offset, first));
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

/// Reads the log for one stream, on a thread that may block.
struct Reader {
    shared: Shared,
    robot: RobotId,
    /// The damage that the answer's head told of.
    known: Known,
    chunks: mpsc::Sender<Chunk>,
    runtime: Handle,
    _permit: OwnedSemaphorePermit,
}

impl Reader {
    fn run(self, wanted: Wanted, repair: Repair) {
        let streams = self.shared.api.metrics.streams();
        streams.inc();
        match self.read(wanted, repair) {
            Ok(()) | Err(StreamError::ClientLeft) => {}
            Err(error) => {
                if let Some((first, end)) = error.damaged() {
                    self.shared.damages.add(first, end);
                }
                tracing::warn!(robot = %self.robot, %error, "broke off a stream of samples");
            }
        }
        streams.dec();
    }

    fn read(&self, wanted: Wanted, repair: Repair) -> Result<(), StreamError> {
        let log = &self.shared.api.log;
        // The record that the cursor stands in is read again, for the rest of it.
        let after = wanted.after.and_then(|after| after.offset.0.checked_sub(1)).map(Offset);
        // The index knows times as they came.
        let records = log.robot_records(&self.robot, repair.raw(wanted.from, wanted.to), after);
        let mut lines = LineWriter::new(wanted, repair);
        let mut schema = None;
        for record in records {
            if self.chunks.is_closed() {
                return Err(StreamError::ClientLeft);
            }
            let written = record
                .map_err(StreamError::from)
                .and_then(|(offset, envelope)| self.write(&mut lines, &mut schema, offset, &envelope));
            match written {
                Err(error) if error.damaged().is_some_and(|(first, end)| self.known.covers(first, end)) => {}
                written => written?,
            }
        }
        let rest = lines.take();
        if !rest.is_empty() {
            self.send(Chunk::Lines(rest))?;
        }
        self.send(Chunk::End)
    }

    /// Writes a record's samples; `schema` is that of the batch before.
    fn write(
        &self,
        lines: &mut LineWriter,
        schema: &mut Option<Arc<Schema>>,
        offset: Offset,
        envelope: &Envelope,
    ) -> Result<(), StreamError> {
        let Record::Batch { info, payload, .. } = &envelope.body else { return Ok(()) };
        if schema.as_ref().is_none_or(|known| known.hash() != info.schema) {
            *schema = self.shared.api.log.schema(offset, &self.robot, info.schema);
        }
        let schema = schema.as_ref().ok_or(StreamError::NoSchema { offset })?;
        let batch =
            batch::decode(payload, schema).map_err(|source| StreamError::Decode { offset, source })?;
        let mut outcome = Ok(());
        let mut hand_on = |chunk| {
            outcome = self.send(Chunk::Lines(chunk));
            if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        let _ = lines.write_batch(offset, &batch, schema, &mut hand_on);
        outcome
    }

    fn send(&self, chunk: Chunk) -> Result<(), StreamError> {
        let sent = async { tokio::time::timeout(STALL_MAX, self.chunks.send(chunk)).await };
        match self.runtime.block_on(sent) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(StreamError::ClientLeft),
            Err(_) => Err(StreamError::Stalled),
        }
    }
}
