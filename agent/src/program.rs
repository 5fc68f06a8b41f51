//! The agent, put together: what is opened in which order, what runs, and how it ends.
//!
//! ```text
//!   start:  spool and lock -> recorder's thread -> inputs -> driver
//!   end:    inputs -> driver (says goodbye) -> recorder (syncs, closes the spool)
//! ```
//!
//! It starts, records and spools whether or not a gateway can be reached.

mod progress;
mod uplink;

use std::sync::Arc;

use anyhow::Context as _;
use tokio::{
    runtime,
    sync::{mpsc, watch},
    task::JoinHandle,
};

use muster_program::signals::asked_to_stop;
use muster_protocol::{
    id::InstanceId,
    session::sender::{Sender, SenderConfig},
};

use crate::{
    backoff::Backoff,
    clock::Clock,
    config::Config,
    delivery::{Delivery, Figures, Who},
    driver::{Driver, DriverParts, Ended, Why},
    inputs::{self, Inputs, Setting},
    intake::{Intake, IntakeConfig},
    link::Identity,
    own::{self, Host, OwnFigures},
    recorder::{self, Clocks, RecorderConfig, Recording},
    spool::{Disk, Holding, RealDisk, Recovered, Spool, SpoolConfig},
    status::{About, Asked, StatusServer},
};

pub use muster_program::console::Outcome;

/// A running agent. Within a tokio runtime, which it needs to the end.
#[derive(Debug)]
pub struct Running {
    intake: Intake,
    inputs: Inputs,
    recording: Arc<Recording>,
    driver: JoinHandle<Ended>,
    stop: watch::Sender<bool>,
    figures: watch::Receiver<Figures>,
    /// Answers `muster-agent status`, where it could be opened.
    status: Option<StatusServer>,
    /// Records the agent's own figures, if that is wanted.
    own_figures: Option<OwnFigures>,
    lost_before: bool,
}

/// Runs an agent until SIGTERM or SIGINT, or, if that is wanted, until everything is delivered.
#[expect(clippy::needless_pass_by_value, reason = "a run owns what it was told")]
pub fn run(config: Config) -> anyhow::Result<Outcome> {
    // One thread for everything that waits; the recorder and the readers of files have their own.
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .build()
        .context("start the runtime")?;
    let outcome = runtime.block_on(async {
        let asked = asked_to_stop().context("listen for signals")?;
        let mut running = Running::start(&config, Host::Program)?;
        running.seal();
        if config.input.is_empty() {
            let spool = config.spool.dir.display();
            tracing::info!(%spool, "no input: only what the spool holds is delivered");
        }
        let bar = config.once.then(|| progress::show(running.figures(), running.intake().clone()));
        tokio::select! {
            () = running.done() => {}
            name = asked => tracing::info!("{name}: shutting down"),
        }
        drop(bar);
        running.finish().await
    });
    // A thread that reads a pipe may stand there for ever.
    runtime.shutdown_background();
    outcome
}

impl Running {
    /// Starts an agent: spool, recorder, inputs, driver.
    pub fn start(config: &Config, host: Host) -> anyhow::Result<Self> {
        let clock = Clock::new();
        let [instance, instance_more, random, jitter] = random_words()?;
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(&config.spool.dir));
        let (spool, recovered) = open_spool(config, disk.clone(), random)?;
        let (holding, reader) = (Holding::of([&spool]), spool.reader());

        let own_every = own::interval_of(config, host);
        let own_channels = own_every.map(own::declarations).unwrap_or_default();
        let declarations = Arc::new(inputs::declarations(&config.channel, own_channels));
        let intake_config = IntakeConfig { declarations: declarations.clone(), ..IntakeConfig::default() };
        let (intake, outlet) = Intake::new(&intake_config);
        let clocks = Clocks { mono: clock, read: Arc::new(move || clock.reading()) };
        let recorder_config = RecorderConfig::new(config, declarations);
        let costs = recorder_config.costs.clone();
        let (recording, events) = recorder::start(spool, (intake.clone(), outlet), recorder_config, clocks)
            .context("start the recorder")?;
        let recording = Arc::new(recording);
        let setting = Setting { intake: intake.clone(), clock, limits: inputs::parser_limits(config) };
        let inputs = Inputs::start(&config.input, &setting)?;

        let (figures_in, figures) = watch::channel(Figures::default());
        let (ask, asks) = mpsc::channel(1);
        let uplink = uplink::open(&disk, config.uplink.limits(), clock.wall())?;
        let parts = DriverParts {
            delivery: delivery(config, [instance, instance_more], jitter).with_uplink(uplink),
            clock,
            urls: config.gateway.clone(),
            identity: Identity { robot: config.robot.clone(), ca: config.ca.clone() },
            recording: recording.clone(),
            events,
            reader,
            figures: Arc::new(figures_in),
            once: config.once,
            disk: Some(disk),
            asks,
        };
        let about = About {
            robot: config.robot.clone(),
            spool: config.spool.dir.clone(),
            limit_bytes: config.spool.limit.bytes(),
            lost_at_start: recovered.losses.iter().map(|loss| (loss.lane, loss.samples())).collect(),
        };
        let asked = Asked { about, clock, started: clock.mono(), ask, intake: intake.clone(), costs };
        let own_figures = own_every.map(|every| OwnFigures::start(asked.clone(), every));
        let status = StatusServer::start(&config.spool.dir, asked)
            .inspect_err(|error| tracing::warn!("`muster-agent status` will not work: {error}"))
            .ok();
        let (stop, stopped) = watch::channel(false);
        let driver = tokio::spawn(Driver::new(parts, holding, &recovered.spans).run(stopped));
        let lost_before = !recovered.losses.is_empty();
        Ok(Self { intake, inputs, recording, driver, stop, figures, status, own_figures, lost_before })
    }

    /// Returns where further samples may be put in.
    pub fn intake(&self) -> &Intake {
        &self.intake
    }

    /// Says that no further sources will be registered: with `once`, the agent ends when those that are have ended.
    pub fn seal(&self) {
        self.intake.seal();
    }

    /// Returns what the driver says of itself, live.
    pub fn figures(&self) -> watch::Receiver<Figures> {
        self.figures.clone()
    }

    /// Waits until the driver ends by itself. Cancel-safe.
    pub async fn done(&mut self) {
        let mut figures = self.figures.clone();
        // The sender is dropped when the driver ends, and not before.
        while figures.changed().await.is_ok() {}
    }

    /// Ends in order: inputs first, disks last.
    pub async fn finish(self) -> anyhow::Result<Outcome> {
        let Self { intake, mut inputs, recording, driver, stop, status, own_figures, lost_before, .. } = self;
        drop((status, own_figures));
        inputs.stop();
        stop.send_replace(true);
        let ended = driver.await.context("deliver to the gateway")?;
        let mut lost_last = false;
        if let Ok(recording) = Arc::try_unwrap(recording) {
            let finished = tokio::task::spawn_blocking(move || recording.finish()).await;
            lost_last = finished.context("close the spool")?;
        }
        inputs.ended().await;
        let input_failed = inputs.log_summaries();
        for refusal in intake.ledger().refusals() {
            let (input, reason, count) = (&refusal.input, refusal.reason, refusal.count);
            tracing::warn!(%input, reason, count, first_line = refusal.first.line, "lines or rows were refused");
        }
        if let Some(left_out) = intake.left_out() {
            tracing::info!("{left_out}");
        }
        anyhow::ensure!(
            !ended.failed,
            "the spool's disk failed and did not come back; its reason is in the log above"
        );
        anyhow::ensure!(!input_failed, "an input failed; its reason is in the log above");
        anyhow::ensure!(
            ended.why != Why::RecorderGone,
            "the spool's thread ended; its reason is in the log above"
        );
        Ok(if ended.lost || lost_before || lost_last { Outcome::DoneWithLoss } else { Outcome::Done })
    }
}

fn open_spool(config: &Config, disk: Arc<dyn Disk>, random: u64) -> anyhow::Result<(Spool, Recovered)> {
    let spool_config = SpoolConfig {
        limit_bytes: config.spool.limit.bytes(),
        segment_bytes: config.spool.segment_size.bytes(),
        robot: config.robot.clone(),
    };
    let opened = Spool::open(Arc::clone(&disk), spool_config.clone(), random);
    let (spool, recovered) = match opened {
        // What cannot be written can still be read and sent; the recorder goes on in memory meanwhile.
        Err(error) if error.is_disk_failure() => Spool::open_failed(disk, spool_config, random, error)?,
        opened => opened?,
    };
    tracing::info!(
        robot = %config.robot,
        spool = %config.spool.dir.display(),
        epoch = %spool.epoch(),
        samples = recovered.samples,
        "spool open"
    );
    for loss in &recovered.losses {
        tracing::error!(lane = %loss.lane, epoch = %loss.epoch, samples = loss.samples(), reason = %loss.reason, "samples in the spool are lost");
    }
    for segment in &recovered.unreadable {
        tracing::error!(%segment, "the disk refuses to read a segment of the spool; it is left as it is");
    }
    Ok((spool, recovered))
}

fn delivery(config: &Config, instance: [u64; 2], jitter: u64) -> Delivery {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&instance[0].to_le_bytes());
    id[8..].copy_from_slice(&instance[1].to_le_bytes());
    let who = Who {
        robot: config.robot.clone(),
        instance: InstanceId(id),
        version: env!("CARGO_PKG_VERSION"),
        labels: config.labels.clone(),
    };
    let ack_timeout_min = config.link.ack_timeout.duration();
    let sender_config = SenderConfig {
        ack_timeout_min,
        ack_timeout_max: SenderConfig::DEFAULT.ack_timeout_max.max(ack_timeout_min),
        queue_time: None,
    };
    let backoff =
        Backoff::new(config.link.backoff_min.duration(), config.link.backoff_max.duration(), jitter)
            .with_return_spread(config.link.return_spread.duration());
    let heartbeat_every = config.link.heartbeat_every.duration();
    Delivery::new(who, Sender::new(sender_config), backoff, config.gateway.len(), heartbeat_every)
}

fn random_words<const N: usize>() -> anyhow::Result<[u64; N]> {
    let mut words = [0; N];
    for word in &mut words {
        *word =
            getrandom::u64().map_err(|error| anyhow::anyhow!("the system gives no random bytes: {error}"))?;
    }
    Ok(words)
}

/// Threads for reading the spool, resolving names and reading the CA.
const BLOCKING_THREADS_MAX: usize = 4;
