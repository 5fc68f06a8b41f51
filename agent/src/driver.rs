//! The one driver with the one select: carries out what [`Delivery`](crate::delivery) decides, between the recorder's
//! thread (which owns the spool) and the link. It decides nothing itself.

mod asked;
mod ledger;

use std::{future::Future, pin::Pin, sync::Arc};

use tokio::{
    sync::{mpsc, watch},
    task::{JoinHandle, spawn_blocking},
    time::sleep,
};
use tracing::{debug, error, info, warn};

use muster_protocol::{loss::LossReason, message::NumberedHead, time::MonoTime};

use crate::{
    clock::Clock,
    config::GatewayUrl,
    damper::Damper,
    delivery::{Action, Delivery, Figures, Loaded},
    link::{ConnectError, Doubts, Identity, Link, LinkEvent, Stream},
    recorder::{RecorderCommand, RecorderEvent, RecorderEvents, Recording},
    spool::{Disk, Holding, ReadError, Span, SpoolReader, StoredKind},
};

use self::ledger::{Ledger, Written};

pub use asked::{Ask, DeliveryReport, LaneReport, LinkState};

/// Carries out what delivery decides.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own: what is wanted, and what has happened"
)]
pub struct Driver {
    delivery: Delivery,
    clock: Clock,
    urls: Vec<GatewayUrl>,
    identity: Identity,
    recording: Arc<Recording>,
    events: RecorderEvents,
    reader: SpoolReader,
    figures: Arc<watch::Sender<Figures>>,
    /// Stop once the inputs have ended and everything is acknowledged.
    once: bool,
    inputs_ended: bool,
    lost: bool,
    failed: bool,
    link: Option<Link>,
    connecting: Option<Connecting>,
    loading: Option<JoinHandle<Vec<Read>>>,
    ledger: Ledger,
    asks: mpsc::Receiver<Ask>,
    /// The attempt that goes on: when it began, and to which URL.
    attempt: Option<(MonoTime, usize)>,
    /// What was said of it already.
    doubt: Option<String>,
    doubts: (Doubts, mpsc::Receiver<String>),
    failures: Damper,
    facts: asked::Facts,
}

/// What a driver works with.
pub struct DriverParts {
    /// The decisions.
    pub delivery: Delivery,
    /// The machine's clocks.
    pub clock: Clock,
    /// The gateways, in order.
    pub urls: Vec<GatewayUrl>,
    /// Who connects.
    pub identity: Identity,
    /// The thread that owns the spool.
    pub recording: Arc<Recording>,
    /// What that thread says.
    pub events: RecorderEvents,
    /// Reads the spool from here.
    pub reader: SpoolReader,
    /// Where the figures are published.
    pub figures: Arc<watch::Sender<Figures>>,
    /// Whether to stop once everything is delivered.
    pub once: bool,
    /// Where the counts of bytes sent are kept; `None` keeps none.
    pub disk: Option<Arc<dyn Disk>>,
    /// Who asks for a report.
    pub asks: mpsc::Receiver<Ask>,
}

/// How the driver ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Why.
    pub why: Why,
    /// Whether accepted samples were lost. Loss records say which.
    pub lost: bool,
    /// Whether the spool's disk has failed and not come back. What it had accepted was still delivered.
    pub failed: bool,
}

/// Why the driver ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It was asked to.
    Stopped,
    /// The inputs ended and everything is acknowledged.
    Delivered,
    /// The recorder's thread is gone.
    RecorderGone,
}

/// A connection on its way.
type Connecting = Pin<Box<dyn Future<Output = Result<Link, ConnectError>> + Send>>;

/// One answer of the spool.
type Read = (NumberedHead, Result<Option<Loaded>, ReadError>);

/// What happened, as the select saw it.
enum Happened {
    Recorder(Option<Vec<RecorderEvent>>),
    Link(LinkEvent),
    Connected(Result<Link, ConnectError>),
    Doubt(String),
    Loaded(Vec<Read>),
    Saved(Written),
    Asked(Ask),
    Due,
    Stop,
}

impl Driver {
    /// Puts a driver together; `holding` and `spans` are what the spool holds at start.
    pub fn new(mut parts: DriverParts, holding: Holding, spans: &[Span]) -> Self {
        parts.delivery.handle_held(holding);
        parts.delivery.handle_found(spans);
        let DriverParts { delivery, clock, urls, identity, recording, events, reader, figures, once, .. } =
            parts;
        Self {
            delivery,
            clock,
            urls,
            identity,
            recording,
            events,
            reader,
            figures,
            once,
            inputs_ended: false,
            lost: false,
            failed: false,
            link: None,
            connecting: None,
            loading: None,
            ledger: Ledger::new(parts.disk),
            asks: parts.asks,
            attempt: None,
            doubt: None,
            doubts: mpsc::channel(1),
            failures: Damper::default(),
            facts: asked::Facts::default(),
        }
    }

    /// Runs until everything is delivered (if that is wanted), or until `stop` turns true.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) -> Ended {
        loop {
            self.count_uplink();
            while let Some(action) = self.delivery.poll_action(self.clock.mono()) {
                self.act(action).await;
            }
            self.figures.send_replace(self.delivery.figures());
            if self.once && self.inputs_ended && self.delivery.is_drained() {
                self.leave().await;
                return self.ended(Why::Delivered);
            }
            match self.happens(&mut stop).await {
                Happened::Recorder(Some(events)) => {
                    for event in events {
                        self.handle_recorder(event);
                    }
                }
                Happened::Recorder(None) => return self.ended(Why::RecorderGone),
                Happened::Link(event) => self.handle_link(event),
                Happened::Connected(result) => self.handle_connected(result),
                Happened::Doubt(doubt) => self.handle_doubt(doubt),
                Happened::Loaded(reads) => self.handle_loaded(reads).await,
                Happened::Saved((record, written)) => {
                    if self.delivery.handle_saved(record, written.is_ok()) {
                        let why = written.err().map(|error| error.to_string()).unwrap_or_default();
                        error!(
                            "cannot keep the count of bytes sent on disk: {why}; it is kept in memory until the agent ends"
                        );
                    }
                }
                // Who asked may have gone.
                Happened::Asked(ask) => drop(ask.send(self.report())),
                Happened::Due => self.delivery.handle_timeout(self.clock.reading(), self.clock.mono()),
                Happened::Stop => {
                    self.leave().await;
                    return self.ended(Why::Stopped);
                }
            }
        }
    }

    /// Waits for the next thing to happen.
    async fn happens(&mut self, stop: &mut watch::Receiver<bool>) -> Happened {
        let due = self.delivery.poll_timeout();
        let now = self.clock.mono();
        tokio::select! {
            events = self.events.next() => Happened::Recorder(events),
            event = link_event(&mut self.link) => Happened::Link(event),
            result = connected(&mut self.connecting) => Happened::Connected(result),
            Some(doubt) = self.doubts.1.recv() => Happened::Doubt(doubt),
            reads = loaded(&mut self.loading) => Happened::Loaded(reads),
            written = self.ledger.written() => Happened::Saved(written),
            Some(ask) = self.asks.recv() => Happened::Asked(ask),
            () = until(due, now) => Happened::Due,
            _ = stop.wait_for(|stop| *stop) => Happened::Stop,
        }
    }

    async fn act(&mut self, action: Action) {
        match action {
            Action::Connect(url) => {
                self.attempt = Some((self.clock.mono(), url));
                self.doubt = None;
                let url = self.urls.get(url).cloned().expect("delivery counts within the given URLs");
                let identity = self.identity.clone();
                debug!(%url, "connecting");
                let doubts = self.doubts.0.clone();
                self.connecting =
                    Some(Box::pin(async move { Link::connect_aloud(&url, &identity, &doubts).await }));
            }
            Action::Send(stream, frame) => {
                let sent = self.link.as_ref().is_some_and(|link| link.send(stream, &frame));
                if !sent && stream != Stream::Control {
                    debug!(?stream, "the link takes no more; the batch goes again after its timeout");
                }
            }
            Action::Load(heads) => {
                let reader = self.reader.clone();
                self.loading = Some(spawn_blocking(move || read(&reader, heads)));
            }
            Action::Release(released) => self.command(RecorderCommand::Release(released)).await,
            Action::GiveUp(gave_up) => {
                let head = gave_up.head;
                warn!(lane = %head.lane, seq = %head.seq, reason = ?gave_up.reason, "the gateway refused a batch for good");
                self.command(RecorderCommand::GiveUp(head, LossReason::Refused)).await;
            }
            Action::Disconnect => self.drop_link(),
            Action::SaveUplink(record) => self.ledger.write(record),
        }
    }

    async fn command(&mut self, command: RecorderCommand) {
        if self.recording.command(command).await.is_err() {
            debug!("the recorder has stopped");
        }
    }

    fn handle_recorder(&mut self, event: RecorderEvent) {
        match event {
            RecorderEvent::Spooled(spooled) => {
                for one in spooled {
                    self.delivery.sender().handle_spooled(one.head(), one.segment().number());
                }
            }
            RecorderEvent::Evicted(evicted) => {
                self.lost = true;
                for one in evicted {
                    self.facts.lose(&one);
                    self.delivery.sender().handle_evicted(one.lane(), one.epoch(), one.range());
                }
            }
            RecorderEvent::Held(held) => self.delivery.handle_held(held),
            RecorderEvent::Failed(why) => {
                error!("samples are kept in memory only: {why}");
                self.facts.fault = Some(why.to_string());
                self.failed = true;
            }
            RecorderEvent::Mended => {
                warn!("the spool's disk works again: samples are kept on it");
                self.failed = false;
                self.facts.fault = None;
            }
            RecorderEvent::Found(spans) => self.delivery.handle_found(&spans),
            RecorderEvent::InputsDrained => self.inputs_ended = true,
        }
    }

    fn handle_connected(&mut self, result: Result<Link, ConnectError>) {
        self.connecting = None;
        match result {
            Ok(link) => {
                self.delivery.set_hello_every(link.hello_every());
                self.delivery.handle_connected(link.queue_time(), self.clock.reading(), self.clock.mono());
                self.link = Some(link);
            }
            Err(error) => self.handle_no_link(&error),
        }
    }

    fn handle_no_link(&mut self, error: &ConnectError) {
        let now = self.clock.mono();
        if let Some((url, since)) = self.attempt.and_then(|(since, url)| Some((self.urls.get(url)?, since))) {
            self.delivery.handle_spent(Link::cost_of_failure(url, error, now.since(since)));
        }
        // What was said while nothing answered says more than that nothing did.
        let doubt = self.doubt.take().filter(|_| matches!(error, ConnectError::Silent(_)));
        if doubt.is_none() {
            self.say_no_link(&error.to_string(), now);
        }
        self.facts.no_link(doubt.unwrap_or_else(|| error.to_string()));
        self.delivery.handle_closed(now);
    }

    fn handle_doubt(&mut self, doubt: String) {
        if self.connecting.is_some() {
            self.say_no_link(&doubt, self.clock.mono());
            self.facts.doubt(doubt.clone());
            self.doubt = Some(doubt);
        }
    }

    fn say_no_link(&mut self, why: &str, now: MonoTime) {
        match self.failures.note(why, now) {
            Some(0) => warn!("no link: {why}"),
            Some(unsaid) => warn!("no link: {why}; {unsaid} more attempts have failed since the last word"),
            None => debug!("no link: {why}"),
        }
    }

    /// Tells delivery what the link has sent by now.
    fn count_uplink(&mut self) {
        let sent = self.link.as_ref().map_or(0, Link::sent_bytes);
        self.delivery.handle_uplink(sent, self.clock.wall(), self.clock.mono());
    }

    fn drop_link(&mut self) {
        self.count_uplink();
        self.facts.sent_before += self.link.take().map_or(0, |link| link.sent_bytes());
    }

    fn handle_link(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Frame(frame) => {
                let was_up = self.delivery.figures().up;
                if let Err(error) = self.delivery.handle_frame(&frame, self.clock.mono()) {
                    warn!("closed the link: {error}");
                }
                if !was_up && self.delivery.figures().up {
                    info!("session up");
                    self.failures.reset();
                    self.facts.up();
                }
            }
            LinkEvent::Closed(why) => {
                info!("link down: {why}");
                self.drop_link();
                self.delivery.handle_closed(self.clock.mono());
                self.facts.no_link(why);
            }
            LinkEvent::ClosedByGateway(why) => {
                info!("the gateway ended the link: {why}");
                self.drop_link();
                self.delivery.handle_closed_by_gateway(self.clock.mono());
                self.facts.no_link(why);
            }
        }
    }

    async fn handle_loaded(&mut self, reads: Vec<Read>) {
        self.loading = None;
        let mut loaded = Vec::with_capacity(reads.len());
        for (head, read) in reads {
            match read {
                Ok(found) => loaded.push((head, found)),
                Err(error @ ReadError::Corrupt { .. }) => {
                    warn!("{error}");
                    self.command(RecorderCommand::GiveUp(head, LossReason::Corrupt)).await;
                    self.delivery.sender().handle_damaged(head);
                }
                // The disk may answer again: the batch counts as sent, and is read anew after its ack timeout.
                Err(error) => warn!("{error}"),
            }
        }
        self.delivery.handle_loaded(loaded, self.clock.mono());
    }

    fn ended(&self, why: Why) -> Ended {
        Ended { why, lost: self.lost, failed: self.failed }
    }

    /// Says goodbye and closes the link.
    async fn leave(&mut self) {
        self.delivery.handle_stop(self.clock.reading());
        self.count_uplink();
        while let Some(action) = self.delivery.poll_action(self.clock.mono()) {
            if !matches!(action, Action::Load(_)) {
                self.act(action).await;
            }
        }
        if let Some(link) = self.link.take() {
            link.close().await;
        }
        if let Some(error) = self.ledger.finish(self.delivery.last_record()).await {
            warn!("cannot keep the count of bytes sent: {error}");
        }
    }
}

/// Lets the sender know what the spool held before.
/// Reads one record for sending; `None` if the spool no longer has it. A batch whose schema is gone is corrupt. Blocks.
pub fn load(reader: &SpoolReader, head: NumberedHead) -> Result<Option<Loaded>, ReadError> {
    let Some(stored) = reader.read(head)? else { return Ok(None) };
    let schema = match stored.kind {
        StoredKind::Loss => None,
        StoredKind::Batch { schema } => {
            let Some(encoded) = reader.schema(head, schema)? else {
                let NumberedHead { lane, epoch, seq } = head;
                return Err(ReadError::Corrupt { lane, epoch, seq, samples: stored.samples });
            };
            Some((schema, encoded))
        }
    };
    Ok(Some(Loaded { payload: stored.payload, schema }))
}

/// Reads records for sending. Runs on a thread that may block.
fn read(reader: &SpoolReader, heads: Vec<NumberedHead>) -> Vec<Read> {
    heads.into_iter().map(|head| (head, load(reader, head))).collect()
}

async fn link_event(link: &mut Option<Link>) -> LinkEvent {
    match link {
        Some(link) => link.event().await,
        None => std::future::pending().await,
    }
}

async fn connected(connecting: &mut Option<Connecting>) -> Result<Link, ConnectError> {
    match connecting {
        Some(connecting) => connecting.await,
        None => std::future::pending().await,
    }
}

async fn loaded(loading: &mut Option<JoinHandle<Vec<Read>>>) -> Vec<Read> {
    match loading {
        Some(loading) => loading.await.expect("reading the spool does not panic, and is never cancelled"),
        None => std::future::pending().await,
    }
}

async fn until(due: Option<MonoTime>, now: MonoTime) {
    match due {
        Some(due) => sleep(due.since(now)).await,
        None => std::future::pending().await,
    }
}
