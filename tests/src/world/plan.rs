//! What a seed decides before a world begins: how many robots, over what links, how much they record, and which faults
//! may come how often.

use std::time::Duration;

use super::{dice::Dice, fault::Fault};

/// A world's plan.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) robots: usize,
    pub(super) wire: Wire,
    /// How long things go wrong; then all is mended and has to settle.
    pub(super) trouble: Duration,
    /// The mean time between two rows of one robot.
    pub(super) row_every: Duration,
    /// Bytes of a large value; none if all values are small.
    pub(super) blob_bytes: Option<u64>,
    pub(super) limit_bytes: u64,
    pub(super) latency: Duration,
    /// How long a group commit takes, at most.
    pub(super) commit: Duration,
    pub(super) queue_bytes: usize,
    pub(super) window_batches: u32,
    pub(super) checkpoint_every: Duration,
    pub(super) linger: Duration,
    pub(super) sync_every: Duration,
    /// The mean time between two faults.
    pub(super) fault_every: Duration,
    /// What may go wrong.
    pub(super) faults: Vec<Fault>,
    /// Of a thousand frames through a broker: lost, doubled, late.
    pub(super) broker: [u64; 3],
    /// Of a thousand frames on a lane: not taken by the link's queue.
    pub(super) link_queue_full: u64,
    /// What a robot's link carries to the gateway each second; any amount if it is not limited.
    pub(super) uplink_bytes: Option<u64>,
}

/// How frames travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    /// QUIC: a stream for control and one for each lane. Frames of one stream stay in order.
    Streams,
    /// MQTT at the gateway itself: one stream.
    Single,
    /// MQTT through a broker, which loses, doubles and delays frames inside a session.
    Broker,
}

/// Every fault that comes at a moment; frames through a broker suffer theirs one by one.
const FAULTS: &[Fault] = &[
    Fault::AgentKilled,
    Fault::AgentStopped,
    Fault::PowerCut,
    Fault::PowerCutInStep,
    Fault::BitRot,
    Fault::DiskFull,
    Fault::DiskRefusesWrites,
    Fault::DiskRefusesSyncs,
    Fault::DiskRefusesReads,
    Fault::SlowDisk,
    Fault::SpoolWiped,
    Fault::RobotCloned,
    Fault::Outage,
    Fault::ClockStep,
    Fault::GatewayKilled,
    Fault::GatewayStopped,
    Fault::GatewayPowerCut,
    Fault::CheckpointDamaged,
    Fault::GatewayWiped,
    Fault::GatewayRestored,
    Fault::SlowCommit,
    Fault::StoreFull,
    Fault::LinkCut,
    Fault::HalfOpen,
    Fault::PartitionBoth,
    Fault::PartitionUp,
    Fault::PartitionDown,
    Fault::Takeover,
];

/// Kinds that came later. They are drawn apart, so that the worlds of kept seeds stay what they were.
const LATER_FAULTS: &[Fault] = &[Fault::Quarantined];

/// In how many of a thousand worlds each of them happens.
const LATER_PER_MILLE: u64 = 150;

impl Plan {
    /// Decides; `later` are dice for [`LATER_FAULTS`].
    pub(super) fn draw(dice: &mut Dice, later: &mut Dice) -> Self {
        let ms = |dice: &mut Dice, from, to| Duration::from_millis(dice.within(from..to));
        let wire = *dice.pick(&[Wire::Streams, Wire::Streams, Wire::Single, Wire::Broker]);
        let large = dice.chance(120);
        // A world has some kinds of faults, not all: each gets through to what it breaks.
        let per_mille = *dice.pick(&[0, 200, 350, 600, 1000]);
        let mut faults: Vec<Fault> = FAULTS.iter().copied().filter(|_| dice.chance(per_mille)).collect();
        faults.extend(LATER_FAULTS.iter().filter(|_| per_mille > 0 && later.chance(LATER_PER_MILLE)));
        let broker = match wire {
            Wire::Broker => [dice.within(0..80), dice.within(0..80), dice.within(0..200)],
            _ => [0; 3],
        };
        Self {
            robots: *dice.pick(&[1, 1, 1, 2, 3]),
            wire,
            trouble: ms(dice, 15_000, 120_000),
            row_every: if large { ms(dice, 150, 800) } else { ms(dice, 400, 4_000) },
            blob_bytes: large.then(|| dice.within(2_000..14_000)),
            limit_bytes: 1024 * 1024,
            latency: ms(dice, 1, 150),
            commit: ms(dice, 1, 400),
            queue_bytes: if dice.chance(200) { 4 * 1024 } else { 1024 * 1024 },
            window_batches: *dice.pick(&[1, 4, 64, 64]),
            checkpoint_every: ms(dice, 1_000, 40_000),
            linger: ms(dice, 1, 1_500),
            sync_every: ms(dice, 50, 2_000),
            fault_every: ms(dice, 700, 10_000),
            faults,
            broker,
            link_queue_full: if dice.chance(200) { dice.within(0..50) } else { 0 },
            uplink_bytes: None,
        }
    }
}
