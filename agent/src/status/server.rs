//! The agent's end: a socket, and the report for whoever connects.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use muster_protocol::{
    id::{ChannelName, Lane, RobotId},
    session::sender::Priority,
    time::MonoTime,
};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::{
    io::AsyncWriteExt as _,
    net::{UnixListener, UnixStream},
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};

use super::{StatusError, report, socket_path};
use crate::{
    clock::Clock,
    delivery::Stage,
    driver::{Ask, DeliveryReport},
    intake::{Intake, LeftOut, Refusal},
    uplink::{
        self,
        channels::{ChannelCosts, Cost},
    },
};

/// What never changes while an agent runs.
#[derive(Clone, Debug)]
pub struct About {
    /// The robot.
    pub robot: RobotId,
    /// The spool's folder.
    pub spool: PathBuf,
    /// The most that the spool holds.
    pub limit_bytes: u64,
    /// Samples that were found damaged at the start.
    pub lost_at_start: Vec<(Lane, u64)>,
}

/// Where the parts of a report come from.
#[derive(Clone, Debug)]
pub struct Asked {
    /// What never changes.
    pub about: About,
    /// The machine's clocks.
    pub clock: Clock,
    /// When the agent started.
    pub started: MonoTime,
    /// Asks the driver.
    pub ask: mpsc::Sender<Ask>,
    /// Knows what was refused.
    pub intake: Intake,
    /// Knows what channels cost.
    pub costs: Arc<ChannelCosts>,
}

/// Answers until it is dropped, which removes the socket.
#[derive(Debug)]
pub struct StatusServer {
    path: PathBuf,
    serving: JoinHandle<()>,
}

/// Channels that a report names.
const CHANNELS_SHOWN: usize = 20;

/// How long one who asks may take to read; others wait meanwhile.
const WRITE_PATIENCE: Duration = Duration::from_secs(2);

/// How long after a failure to accept it is tried again.
const ACCEPT_AGAIN: Duration = Duration::from_secs(1);

impl StatusServer {
    /// Opens the socket in a spool folder, on which this process holds the lock, and serves it. Call it within a runtime.
    pub fn start(spool: &Path, asked: Asked) -> Result<Self, StatusError> {
        let path = socket_path(spool)?;
        let failed = |source| StatusError::Silent { dir: spool.display().to_string(), source };
        let listener = listen(&path).map_err(failed)?;
        let serving = tokio::spawn(serve(listener, asked));
        Ok(Self { path, serving })
    }
}

impl Drop for StatusServer {
    fn drop(&mut self) {
        self.serving.abort();
        // One that stays behind is replaced at the next start.
        let _ = fs::remove_file(&self.path);
    }
}

/// Listens on a path, replacing the socket of an agent that was killed. Nobody else can connect at any moment: the mode
/// is set before it listens.
fn listen(path: &Path) -> io::Result<UnixListener> {
    // The agent holds the spool's lock: what is there is nobody's.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    UnixListener::from_std(socket.into())
}

async fn serve(listener: UnixListener, asked: Asked) {
    loop {
        match listener.accept().await {
            // Who asks and does not read is let go; nothing depends on it.
            Ok((stream, _)) => drop(timeout(WRITE_PATIENCE, answer(stream, &asked)).await),
            // No descriptor is free, say: nothing tells when one is, and asking at once would only burn the processor.
            Err(_) => tokio::time::sleep(ACCEPT_AGAIN).await,
        }
    }
}

async fn answer(mut stream: UnixStream, asked: &Asked) -> io::Result<()> {
    let (respond, response) = oneshot::channel();
    if asked.ask.send(respond).await.is_err() {
        return Ok(());
    }
    let Ok(delivery) = response.await else { return Ok(()) };
    let mut line = serde_json::to_vec(&report(asked, &delivery))?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    stream.shutdown().await
}

fn report(asked: &Asked, delivery: &DeliveryReport) -> report::Report {
    let reading = asked.clock.reading();
    let refusals = asked.intake.ledger().refusals();
    let (top, rest) = asked.costs.top(CHANNELS_SHOWN);
    report::Report {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        robot: asked.about.robot.to_string(),
        running_ms: millis(delivery.at.since(asked.started)),
        link: link(delivery),
        lanes: lanes(asked, delivery),
        refused: refusals.iter().map(refused).collect(),
        absent: asked.intake.left_out().map(absent),
        clock: report::ClockReport {
            wall: reading.wall.0,
            time: reading.wall.to_string(),
            synchronised: reading.synchronised,
        },
        uplink: uplink(&delivery.uplink),
        channels: report::Channels { top: top.into_iter().map(cost).collect(), rest: cost(rest) },
        spool: report::Spool {
            dir: asked.about.spool.display().to_string(),
            bytes: delivery.lanes.iter().map(|lane| lane.bytes).sum(),
            limit: asked.about.limit_bytes,
            fault: delivery.spool_fault.clone(),
        },
    }
}

fn link(delivery: &DeliveryReport) -> report::Link {
    let (standing, now) = (delivery.link.standing, delivery.at);
    let (state, next_attempt_ms) = match standing.stage {
        Stage::Up => ("up", None),
        Stage::Greeting => ("greeting", None),
        Stage::Connecting => ("connecting", None),
        Stage::Waiting { until } => ("waiting", Some(millis(until.since(now)))),
    };
    let scheme = delivery.link.gateway.as_deref().and_then(|url| url.split_once(':'));
    let transport = scheme.and_then(|(scheme, _)| match scheme {
        "quic" => Some(report::Transport::Quic),
        "mqtt" => Some(report::Transport::Mqtt),
        "mqtts" => Some(report::Transport::Mqtts),
        _ => None,
    });
    report::Link {
        state: state.to_owned(),
        since_ms: standing.since.map(|since| millis(now.since(since))),
        next_attempt_ms,
        gateway: delivery.link.gateway.clone(),
        transport,
        last_ack_ms: standing.acked.map(|acked| millis(now.since(acked))),
        failures: delivery.link.failures,
        why_not: delivery.link.why_not.clone(),
    }
}

fn lanes(asked: &Asked, delivery: &DeliveryReport) -> Vec<report::Lane> {
    let at_start = |lane: Lane| -> u64 {
        asked.about.lost_at_start.iter().filter(|(of, _)| *of == lane).map(|(_, samples)| samples).sum()
    };
    let lane = |lane: &crate::driver::LaneReport| report::Lane {
        lane: lane.lane.to_string(),
        samples: lane.samples,
        bytes: lane.bytes,
        lost: lane.lost + at_start(lane.lane),
    };
    delivery.lanes.iter().map(lane).collect()
}

fn refused(refusal: &Refusal) -> report::Refused {
    report::Refused {
        input: refusal.input.to_string(),
        reason: refusal.reason.to_owned(),
        lane: refusal.lane.map(|lane| lane.to_string()),
        count: refusal.count,
        line: refusal.first.line,
        example: refusal.first.text.clone(),
        why: refusal.first.why.clone(),
    }
}

fn absent(left_out: LeftOut) -> report::Absent {
    let samples = left_out.total();
    let of = |(channel, samples): (ChannelName, u64)| report::ChannelAbsent {
        channel: channel.as_str().to_owned(),
        samples,
    };
    report::Absent { samples, channels: left_out.by_channel.into_iter().map(of).collect() }
}

fn uplink(figures: &uplink::Figures) -> report::Uplink {
    let sends = match figures.floor {
        Some(Priority::Bulk) => "everything",
        Some(Priority::Backlog) => "live backlog",
        Some(Priority::Live) => "live",
        Some(Priority::Urgent) => "urgent",
        None => "control",
    };
    report::Uplink {
        today: figures.today,
        this_month: figures.this_month,
        limits: report::UplinkLimits {
            per_second: figures.limits.per_second,
            per_day: figures.limits.per_day,
            per_month: figures.limits.per_month,
            urgent_reserve_percent: figures.limits.urgent_reserve.hundredths(),
        },
        sends: sends.to_owned(),
        durable: figures.durable,
    }
}

fn cost(cost: Cost) -> report::ChannelBytes {
    report::ChannelBytes { channel: cost.channel, today: cost.today, since_start: cost.bytes }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Who asks waits while another is answered.
const BACKLOG: i32 = 8;
