//! The gateway, put together: what is opened in which order, what runs, and how it ends.
//!
//! ```text
//!   start:  folder and lock -> log -> keys -> state from checkpoint and tail -> committer -> listeners -> ready line
//!   end:    listeners -> sessions' ends -> committer (drains, closes the log) -> last checkpoint
//! ```

mod watched;

use std::{
    io::{self, IsTerminal as _, Write as _},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use tokio::{
    net::TcpListener,
    runtime::Runtime,
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use muster_program::{console::Outcome, signals::asked_to_stop};
use muster_protocol::{id::LogId, message::Window};

use crate::{
    clock::Clock,
    committer::{Committer, CommitterConfig},
    config::{Config, Listen},
    control::Control,
    descriptors,
    fleet::Fleet,
    groups::Groups,
    http::{self, Api},
    ingest::{Ingest, IngestConfig},
    instance::Instance,
    link::{
        broker::{Broker, BrokerSettings},
        mqtt,
        port::Intake,
        quic::QuicListener,
    },
    log::CommittedLog,
    metrics::{Connections, Metrics},
    projection::{self, Projection, Save, Saver},
    store::{Opened, Store, StoreConfig, StoreReader},
    tls::Keys,
    watch::Board,
};

use watched::Counted;

/// Runs a gateway until SIGTERM or SIGINT, or until its log cannot be written any more.
#[expect(clippy::needless_pass_by_value, reason = "a run owns what it was told")]
pub fn run(config: Config) -> anyhow::Result<Outcome> {
    let runtime = Runtime::new().context("start the runtime")?;
    let clock = Clock::new();
    let mut opened = open_store(&config)?;
    let instance = match Instance::begin(&config.data_dir) {
        // A gateway whose disk is full serves what it has.
        Err(error) if error.is_full() && opened.store.make_room() => Instance::begin(&config.data_dir)?,
        begun => begun?,
    };
    let keys = Keys::open(&config.data_dir)?;
    let gateway = Gateway::restore(&config, clock, opened, instance)?;
    runtime.block_on(gateway.serve(&config, &keys))
}

/// A gateway whose state is restored.
struct Gateway {
    clock: Clock,
    fleet: Arc<Fleet>,
    groups: Arc<Groups>,
    ingest: Ingest,
    metrics: Arc<Metrics>,
    log: CommittedLog,
    reader: StoreReader,
    committer: Committer,
    saver: Saver,
    /// Turns true when the program has to end.
    stop: watch::Sender<bool>,
    failed: Arc<AtomicBool>,
}

/// The sockets, bound before anything is served, so that a port in use is an error of the start.
struct Listeners {
    http: Option<TcpListener>,
    quic: Option<QuicListener>,
    mqtt: Option<TcpListener>,
}

impl Gateway {
    fn restore(config: &Config, clock: Clock, opened: Opened, instance: Instance) -> anyhow::Result<Self> {
        let Opened { store, reader, checkpoints } = opened;
        let (stop, _) = watch::channel(false);
        let failed = Arc::new(AtomicBool::new(false));
        let metrics = Arc::new(Metrics::new());
        let link = Arc::new(LateLog::default());
        let ingest =
            Ingest::new(ingest_config(config, instance, &reader), clock, link.clone(), metrics.clone());
        let began = clock.mono();
        let restored = projection::restore(checkpoints.latest().as_ref(), &reader, &ingest)
            .context("restore the state from the log")?;
        tracing::info!(
            robots = restored.fleet.len(),
            replayed = restored.replayed,
            took = ?clock.mono().since(began),
            "state restored"
        );
        let mut fleet = restored.fleet;
        fleet.map(config.mapping());
        let fleet = Arc::new(fleet);
        let groups = Arc::new(Groups::open(&config.data_dir)?);
        let saver =
            Saver::start(checkpoints, clock, metrics.clone()).context("start the thread of checkpoints")?;
        let save = Save { clock, every: config.store.checkpoint_every.duration() };
        let projection =
            Projection::new(fleet.clone(), ingest.clone(), metrics.clone(), saver.sender(), save);
        let committer = Committer::spawn(
            store,
            clock,
            CommitterConfig {
                group_bytes: config.commit.group_size.in_memory(),
                queue_bytes: config.commit.queue_size.in_memory(),
            },
            Box::new(projection),
            on_fatal(stop.clone(), failed.clone()),
        )
        .context("start the committer")?;
        let log = CommittedLog::new(committer.handle(), reader.clone());
        link.set(log.clone());
        projection::end_lost_sessions(&fleet, &ingest);
        Ok(Self { clock, fleet, groups, ingest, metrics, log, reader, committer, saver, stop, failed })
    }

    async fn serve(self, config: &Config, keys: &Keys) -> anyhow::Result<Outcome> {
        let listeners = Listeners::bind(config, keys).await?;
        let ready = listeners.ready_line()?;
        let mut tasks = JoinSet::new();
        self.run_housekeeping(&mut tasks);
        self.serve_control(config, &mut tasks);
        let counted = Counted::new(&self.metrics, config, descriptors::share(config.session.max as usize));
        let watch = self.watch(config, keys, &counted);
        let board = watch.board();
        let watching = watch.start().context("start the thread that watches")?;
        let serving = self.serve_links(config, listeners, (&counted, board), &mut tasks);
        // Before the ready line: whoever reads it may ask to stop at once.
        let asked = asked_to_stop().context("listen for signals")?;
        announce(&ready)?;
        let mut stop = self.stop.subscribe();
        tokio::select! {
            name = asked => tracing::info!("{name}: shutting down"),
            _ = stop.wait_for(|stop| *stop) => {}
        }
        self.stop.send_replace(true);
        serving.join().await;
        tasks.shutdown().await;
        drop(watching);
        self.finish()
    }

    fn serve_links(
        &self,
        config: &Config,
        listeners: Listeners,
        (counted, board): (&Counted, Board),
        tasks: &mut JoinSet<()>,
    ) -> Serving {
        let most = |connections: &Connections| usize::try_from(connections.bound()).unwrap_or(usize::MAX);
        let mut links = JoinSet::new();
        let intake: Arc<dyn Intake> = Arc::new(self.ingest.clone());
        if let Some(quic) = listeners.quic {
            let (quic_max, counted) = (most(&counted.quic), counted.quic.clone());
            links.spawn(quic.run(intake.clone(), quic_max, counted, self.stop.subscribe()));
        }
        if let Some(settings) = broker_settings(config, self.reader.log_id()) {
            let connected = self.metrics.broker_connected(settings.address());
            let broker = Broker::new(settings, intake.clone(), self.clock, connected);
            links.spawn(broker.run(self.stop.subscribe()));
        }
        if let Some(socket) = listeners.mqtt {
            let stop = stopped(self.stop.subscribe());
            let settings =
                mqtt::Settings { connections_max: most(&counted.mqtt), ..mqtt::Settings::default() };
            let listener = mqtt::Listener::counted(intake, settings, counted.mqtt.clone());
            links.spawn(async move { listener.run(socket, None, stop).await });
        }
        if let Some(socket) = listeners.http {
            let api = http::router(Arc::new(self.api(board)));
            let (http_max, counted) = (most(&counted.http), counted.http.clone());
            // Answers that stream for hours are cut at the end of the program, and look cut.
            tasks.spawn(async move {
                http::serve(socket, api, http_max, counted).await;
            });
        }
        Serving { links }
    }

    fn api(&self, board: Board) -> Api {
        let failed = self.failed.clone();
        let reader = self.reader.clone();
        Api {
            fleet: self.fleet.clone(),
            log: Arc::new(self.log.clone()),
            live: Arc::new(self.ingest.clone()),
            groups: self.groups.clone(),
            labelling: Arc::new(self.ingest.clone()),
            metrics: self.metrics.clone(),
            clock: self.clock,
            board,
            ready: Arc::new(move || readiness(&failed, &reader)),
            version: env!("CARGO_PKG_VERSION"),
        }
    }

    fn run_housekeeping(&self, tasks: &mut JoinSet<()>) {
        let ingest = self.ingest.clone();
        tasks.spawn(async move { ingest.run_acks().await });
        let ingest = self.ingest.clone();
        tasks.spawn(async move {
            let mut tick = interval(SILENCE_CHECK_EVERY);
            tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
            loop {
                tick.tick().await;
                ingest.end_silent_sessions();
            }
        });
        let (ingest, fleet, reader) = (self.ingest.clone(), self.fleet.clone(), self.reader.clone());
        tasks.spawn(async move {
            let mut tick = interval(CARRY_LABELS_EVERY);
            tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
            loop {
                tick.tick().await;
                let (ingest, fleet, reader) = (ingest.clone(), fleet.clone(), reader.clone());
                let carry = move || {
                    // One partition is never dropped.
                    if reader.partitions() > 1 {
                        ingest.carry_labels(&fleet, &(reader.first()..reader.next()));
                    }
                };
                // A panic in it is in the log already, and the next try is due.
                let _ = tokio::task::spawn_blocking(carry).await;
            }
        });
    }

    /// Without its control socket a gateway still serves; only what asks for it there cannot be done.
    fn serve_control(&self, config: &Config, tasks: &mut JoinSet<()>) {
        match Control::bind(&config.data_dir) {
            Ok(socket) => {
                tasks.spawn(Control::new(self.log.committer(), self.reader.clone()).run(socket));
            }
            Err(error) => {
                tracing::warn!(%error, "no control socket: a backup has to wait until the gateway ends");
            }
        }
    }

    /// Ends in order: sessions, committer, checkpoint.
    fn finish(self) -> anyhow::Result<Outcome> {
        self.ingest.end_all_sessions();
        self.committer.shutdown();
        let failed = self.failed.load(Ordering::Relaxed);
        anyhow::ensure!(
            !failed,
            "the log cannot be written any more; nothing was acknowledged that is not in it"
        );
        self.saver.finish(&self.fleet, &self.ingest, self.reader.next());
        Ok(Outcome::Done)
    }
}

/// The listeners at work.
struct Serving {
    links: JoinSet<()>,
}

impl Serving {
    async fn join(mut self) {
        while self.links.join_next().await.is_some() {}
    }
}

impl Listeners {
    async fn bind(config: &Config, keys: &Keys) -> anyhow::Result<Self> {
        let http = bind_tcp("http", config.http).await?;
        let quic = config.quic.addr().map(|addr| QuicListener::bind(addr, keys)).transpose()?;
        let mqtt = bind_tcp("mqtt", config.mqtt.listen).await?;
        Ok(Self { http, quic, mqtt })
    }

    fn ready_line(&self) -> io::Result<String> {
        let shown = |addr: Option<SocketAddr>| addr.map_or("none".to_owned(), |addr| addr.to_string());
        let http = shown(self.http.as_ref().map(TcpListener::local_addr).transpose()?);
        let quic = shown(self.quic.as_ref().map(QuicListener::local_addr).transpose()?);
        let mqtt = shown(self.mqtt.as_ref().map(TcpListener::local_addr).transpose()?);
        Ok(format!("muster-gateway ready http={http} quic={quic} mqtt={mqtt}"))
    }
}

/// Lets ingest be made before the committer that it submits to: the committer's projection needs ingest.
#[derive(Default)]
struct LateLog(std::sync::OnceLock<CommittedLog>);

impl LateLog {
    fn set(&self, log: CommittedLog) {
        assert!(self.0.set(log).is_ok(), "the log is set once");
    }

    fn log(&self) -> &CommittedLog {
        self.0.get().expect("nothing is submitted while the state is restored")
    }
}

impl crate::ingest::Log for LateLog {
    fn submit(&self, entry: crate::committer::Entry) -> Result<(), crate::committer::Rejected> {
        self.log().submit(entry)
    }

    fn submit_all(
        &self,
        entries: Vec<crate::committer::Entry>,
    ) -> Result<(), crate::committer::RejectReason> {
        crate::ingest::Log::submit_all(self.log(), entries)
    }

    fn schema(
        &self,
        robot: &muster_protocol::id::RobotId,
        hash: muster_protocol::id::SchemaHash,
    ) -> Option<Arc<muster_protocol::schema::Schema>> {
        crate::ingest::Log::schema(self.log(), robot, hash)
    }
}

fn open_store(config: &Config) -> anyhow::Result<Opened> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|error| anyhow::anyhow!("the system gives no random bytes: {error}"))?;
    let store = StoreConfig {
        partition_bytes: config.store.partition_size.bytes(),
        retention_bytes: config.store.retention_size.bytes(),
        quota_bytes: config.store.quota().bytes(),
        ..StoreConfig::default()
    };
    Ok(Store::open(&config.data_dir, store, LogId(id))?)
}

fn ingest_config(config: &Config, instance: Instance, reader: &StoreReader) -> IngestConfig {
    let bytes = u32::try_from(config.window.size.bytes()).unwrap_or(u32::MAX);
    IngestConfig {
        window: Window { bytes, batches: config.window.batches },
        silence: config.session.silence.duration(),
        instance,
        log: reader.log_id(),
        forgot: reader.forgetting().absence_reason(),
        robots_max: config.robots_max as usize,
        lately: config.conditions.lately.duration(),
    }
}

/// Returns what there is to know of a broker, if there is one. The gateway's name there comes from its log: stable, and
/// not the same for a folder that was restored beside another.
fn broker_settings(config: &Config, log: LogId) -> Option<BrokerSettings> {
    let broker = &config.mqtt.broker;
    let url = broker.url.as_ref()?;
    let own = || format!("muster-gw-{:012x}", u128::from_be_bytes(log.0) >> 80);
    let client_id = broker.client_id.as_ref().map_or_else(own, |id| id.as_str().to_owned());
    Some(BrokerSettings {
        host: url.host().to_owned(),
        port: url.port(),
        client_id,
        keep_alive: broker.keep_alive.duration(),
        username: broker.username.clone(),
        password_file: broker.password_file.clone(),
        sessions_max: config.session.max as usize,
        silence: config.session.silence.duration(),
    })
}

fn on_fatal(stop: watch::Sender<bool>, failed: Arc<AtomicBool>) -> crate::committer::OnFatal {
    Box::new(move |error| {
        tracing::error!("stopping: {error}");
        failed.store(true, Ordering::Relaxed);
        stop.send_replace(true);
    })
}

fn readiness(failed: &AtomicBool, reader: &StoreReader) -> Result<(), String> {
    if failed.load(Ordering::Relaxed) {
        return Err("the log cannot be written any more; look at the gateway's log and its disk".to_owned());
    }
    if reader.is_refusing() {
        let remedy = "raise store.quota_size, lower store.retention_size or free the disk";
        return Err(format!("the store has no room and nothing is taken; {remedy}"));
    }
    Ok(())
}

async fn bind_tcp(name: &str, listen: Listen) -> anyhow::Result<Option<TcpListener>> {
    let Some(addr) = listen.addr() else { return Ok(None) };
    let bound = TcpListener::bind(addr).await;
    let why = || {
        format!(
            "cannot listen on {addr} for {name}; choose another with --{name} ADDR (port 0 takes a free one)"
        )
    };
    bound.map(Some).with_context(why)
}

/// Prints the one line that says that the gateway serves.
#[expect(clippy::print_stdout, reason = "the ready line is the program's result")]
fn announce(line: &str) -> anyhow::Result<()> {
    println!("{line}");
    io::stdout().flush().context("print the ready line")?;
    if io::stdout().is_terminal() {
        tracing::info!("stop with Ctrl-C");
    }
    Ok(())
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}

/// How often labels are looked for that retention would drop: far more often than half a log is written.
const CARRY_LABELS_EVERY: Duration = Duration::from_secs(5);

/// How often sessions are looked at for silence.
const SILENCE_CHECK_EVERY: Duration = Duration::from_secs(1);
