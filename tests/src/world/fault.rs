//! What may go wrong in a world, and how often it did.

use std::collections::BTreeMap;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    AgentKilled,
    AgentStopped,
    PowerCut,
    PowerCutInStep,
    BitRot,
    DiskFull,
    DiskRefusesWrites,
    DiskRefusesSyncs,
    DiskRefusesReads,
    SlowDisk,
    SpoolWiped,
    RobotCloned,
    Outage,
    ClockStep,
    GatewayKilled,
    GatewayStopped,
    GatewayPowerCut,
    CheckpointDamaged,
    GatewayWiped,
    GatewayRestored,
    Quarantined,
    SlowCommit,
    StoreFull,
    CommitQueueFull,
    LinkCut,
    HalfOpen,
    PartitionBoth,
    PartitionUp,
    PartitionDown,
    Takeover,
    FrameLost,
    FrameDoubled,
    FrameOvertaken,
    LinkQueueFull,
}

/// How often each fault was injected.
#[derive(Clone, Debug, Default)]
pub(super) struct Injected(BTreeMap<Fault, u64>);

impl Fault {
    /// Returns the fault in words, as in the table.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::AgentKilled => "agent killed (SIGKILL)",
            Self::AgentStopped => "agent stopped in order",
            Self::PowerCut => "robot's power cut",
            Self::PowerCutInStep => "robot's power cut inside a write or sync",
            Self::BitRot => "bit flipped in the spool",
            Self::DiskFull => "robot's disk full (ENOSPC)",
            Self::DiskRefusesWrites => "robot's disk refuses writes (EIO)",
            Self::DiskRefusesSyncs => "robot's disk refuses syncs (EIO)",
            Self::DiskRefusesReads => "robot's disk refuses reads (EIO)",
            Self::SlowDisk => "robot's disk stalls",
            Self::SpoolWiped => "spool wiped",
            Self::RobotCloned => "robot cloned with its spool",
            Self::Outage => "long outage under load (spool overflows)",
            Self::ClockStep => "robot's clock steps",
            Self::GatewayKilled => "gateway killed (SIGKILL)",
            Self::GatewayStopped => "gateway stopped in order",
            Self::GatewayPowerCut => "gateway's power cut",
            Self::CheckpointDamaged => "newest checkpoint damaged",
            Self::GatewayWiped => "gateway wiped",
            Self::GatewayRestored => "gateway restored from a backup",
            Self::Quarantined => "partition quarantined",
            Self::SlowCommit => "commit stalls",
            Self::StoreFull => "gateway's disk full",
            Self::CommitQueueFull => "commit queue full",
            Self::LinkCut => "link cut",
            Self::HalfOpen => "half-open connection",
            Self::PartitionBoth => "partition",
            Self::PartitionUp => "one-way partition, robot to gateway",
            Self::PartitionDown => "one-way partition, gateway to robot",
            Self::Takeover => "takeover by a second connection",
            Self::FrameLost => "frame lost (broker)",
            Self::FrameDoubled => "frame doubled (broker)",
            Self::FrameOvertaken => "frame overtaken or late (broker)",
            Self::LinkQueueFull => "link's queue full, frame dropped",
        }
    }
}

impl Injected {
    pub(super) fn count(&mut self, fault: Fault) {
        *self.0.entry(fault).or_default() += 1;
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (fault, count) in &other.0 {
            *self.0.entry(*fault).or_default() += count;
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Fault, u64)> + '_ {
        self.0.iter().map(|(fault, count)| (*fault, *count))
    }
}
