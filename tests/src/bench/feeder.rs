//! Fills a gateway with more than an agent would send in a benchmark's time: one session that sends the same encoded
//! batches over and over under new numbers, within the window that was granted, until enough is acknowledged.
//!
//! It speaks the protocol over the agent's QUIC link and keeps nothing on disk.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use anyhow::{Context as _, bail, ensure};
use muster_agent::{
    config::GatewayUrl,
    link::{Identity, Link, LinkEvent, Stream},
};
use muster_protocol::{
    batch::EncodedBatch,
    id::{Epoch, InstanceId, Lane, RobotId, Seq},
    label::Labels,
    limits::BATCH_BYTES_MAX,
    message::{
        Ack, Bye, ByeReason, HeldLane, Hello, Message, Numbered, NumberedHead, Refuse, SchemaBody, Welcome,
        Window,
    },
};

use tokio::time::sleep;

use super::{clock, codec::Encoded};

/// What is fed, to whom, and as whom.
#[derive(Clone, Debug)]
pub(super) struct Feed<'a> {
    pub(super) url: GatewayUrl,
    pub(super) ca: PathBuf,
    pub(super) robot: RobotId,
    pub(super) log: &'a Encoded,
    /// Payload bytes to have acknowledged.
    pub(super) bytes: u64,
    /// What the robot says that it is called by.
    pub(super) labels: Labels,
}

/// What was acknowledged.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fed {
    pub(super) bytes: u64,
    pub(super) samples: u64,
}

/// Feeds one robot's data, and says goodbye.
pub(super) async fn feed(feed: Feed<'_>) -> anyhow::Result<Fed> {
    let identity = Identity { robot: feed.robot.clone(), ca: Some(feed.ca.clone()) };
    let mut link = Link::connect(&feed.url, &identity).await?;
    say(&link, Stream::Control, &hello(&feed))?;
    let welcome = welcomed(&mut link).await?;
    let schema = Message::Schema(SchemaBody { payload: feed.log.schema.encoded().clone() });
    say(&link, LIVE, &schema)?;
    let mut flying = Flying::new(welcome.window);
    let mut batches = feed.log.batches.iter().cycle();
    let mut fed = Fed::default();
    while fed.bytes < feed.bytes {
        while let Some((seq, batch)) = flying.again.pop_first() {
            send(&link, seq, batch)?;
            flying.add(seq, batch);
        }
        while flying.has_room() && fed.bytes + flying.bytes < feed.bytes {
            let batch = batches.next().context("a log has batches")?;
            let seq = flying.next;
            flying.next = seq.next();
            send(&link, seq, batch)?;
            flying.add(seq, batch);
        }
        match received(&mut link).await? {
            Message::Ack(ack) => flying.release(&ack, &mut fed),
            Message::Refuse(Refuse { batch, retry_after_ms: Some(wait), .. }) => {
                flying.refuse(batch.seq);
                sleep(Duration::from_millis(wait.into())).await;
            }
            Message::HeartbeatReply(_) => {}
            other => bail!("the gateway said {other:?}"),
        }
    }
    say(&link, Stream::Control, &Message::Bye(Bye { reason: ByeReason::Shutdown, retry_after_ms: 0 }))?;
    link.close().await;
    Ok(fed)
}

/// Batches that are not acknowledged.
#[derive(Debug)]
struct Flying<'a> {
    window: Window,
    next: Seq,
    bytes: u64,
    batches: BTreeMap<Seq, &'a EncodedBatch>,
    /// Refused for now.
    again: BTreeMap<Seq, &'a EncodedBatch>,
}

impl<'a> Flying<'a> {
    fn new(window: Window) -> Self {
        Self { window, next: Seq::FIRST, bytes: 0, batches: BTreeMap::new(), again: BTreeMap::new() }
    }

    /// Whether a batch of any size fits into the window.
    fn has_room(&self) -> bool {
        let bytes = self.bytes + BATCH_BYTES_MAX as u64;
        let batches = BATCHES_FLYING_MAX.min(self.window.batches as usize);
        bytes <= self.window.bytes.into() && self.batches.len() < batches
    }

    fn add(&mut self, seq: Seq, batch: &'a EncodedBatch) {
        self.bytes += batch.bytes.len() as u64;
        self.batches.insert(seq, batch);
    }

    fn refuse(&mut self, seq: Seq) {
        if let Some(batch) = self.batches.remove(&seq) {
            self.bytes -= batch.bytes.len() as u64;
            self.again.insert(seq, batch);
        }
    }

    fn release(&mut self, ack: &Ack, fed: &mut Fed) {
        for range in ack.lanes.iter().flat_map(|lane| &lane.ranges) {
            while let Some(seq) = self.batches.range(range.first..range.end).next().map(|(seq, _)| *seq) {
                let Some(batch) = self.batches.remove(&seq) else { break };
                let bytes = batch.bytes.len() as u64;
                self.bytes -= bytes;
                fed.bytes += bytes;
                fed.samples += u64::from(batch.info.samples);
            }
        }
    }
}

fn send(link: &Link, seq: Seq, batch: &EncodedBatch) -> anyhow::Result<()> {
    let head = NumberedHead { epoch: EPOCH, lane: Lane::Live, seq };
    say(link, LIVE, &Message::Batch(Numbered { head, payload: batch.bytes.clone() }))
}

fn hello(feed: &Feed<'_>) -> Message {
    let held = HeldLane {
        epoch: EPOCH,
        lane: Lane::Live,
        first: Seq::FIRST,
        next: Seq::FIRST,
        samples: 0,
        spooled: 0,
        gone: Vec::new(),
    };
    Message::Hello(Hello {
        robot: feed.robot.clone(),
        instance: InstanceId([7; 16]),
        version: "bench".to_owned(),
        held: vec![held],
        drained: Vec::new(),
        clock: clock::reading(),
        labels: feed.labels.clone(),
    })
}

async fn welcomed(link: &mut Link) -> anyhow::Result<Welcome> {
    match received(link).await? {
        Message::Welcome(welcome) => Ok(welcome),
        other => bail!("the gateway answered Hello with {other:?}"),
    }
}

async fn received(link: &mut Link) -> anyhow::Result<Message> {
    match link.event().await {
        LinkEvent::Frame(frame) => Ok(Message::from_frame(&frame)?),
        LinkEvent::Closed(why) | LinkEvent::ClosedByGateway(why) => bail!("the link closed: {why}"),
    }
}

fn say(link: &Link, stream: Stream, message: &Message) -> anyhow::Result<()> {
    ensure!(link.send(stream, &message.to_frame()), "the link takes no more");
    Ok(())
}

/// Batches in flight of one session. The gateway's queue is bounded by decoded bytes, many times the encoded ones, and
/// many sessions share it.
const BATCHES_FLYING_MAX: usize = 4;

const LIVE: Stream = Stream::Lane(Lane::Live);
const EPOCH: Epoch = Epoch { start: 1, random: 0x5eed_5eed_5eed_5eed };
