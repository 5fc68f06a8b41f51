//! The codes: a name, how grave it is, what it means in a few words, and the remedy. RUNBOOK.md has the long form.

use std::{fmt, time::Duration};

use super::lately::COMMITS_WITHIN;
use crate::fleet::{CONFLICT_NS_OVER, LOSS_NS_WARN};

/// What a condition is. The order within a severity is the order in which they are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// Nothing is taken for lack of room.
    StoreFull,
    /// sled keeps values outside its log, which is never synced.
    BlobFiles,
    /// Records that were committed cannot be read any more.
    PartitionDamaged,
    /// The broker of the configuration does not have this gateway as a client.
    BrokerDisconnected,
    /// The gateway's certificate is over.
    CertificateExpired,
    /// New robots are turned away.
    RobotsFull,
    /// Two processes speak for one robot.
    IdentityConflict,
    /// A robot says that something of it is broken.
    HealthError,
    /// A value is out of the bounds of a threshold whose level is error.
    ThresholdError,
    /// Room runs short.
    DiskNearlyFull,
    /// The log does not say yet what a damaged partition held.
    LossNotLogged,
    /// The fleet's state cannot be saved.
    CheckpointFailed,
    /// Commits take long.
    CommitSlow,
    /// More arrives than is committed.
    CommitQueueFull,
    /// Samples of plain JSON were dropped that nobody sends again.
    JsonGivenUp,
    /// A listener has as many connections as it may.
    ConnectionsFull,
    /// Few file descriptors are left.
    DescriptorsLow,
    /// The gateway's certificate is soon over.
    CertificateExpiring,
    /// A robot cannot be heard.
    LinkDown,
    /// A robot's sessions end again and again.
    LinkUnstable,
    /// A robot is heard, and none of its values is recent.
    ValuesStale,
    /// A robot says that something of it needs a look.
    HealthWarn,
    /// A value is out of the bounds of a threshold whose level is warn.
    ThresholdWarn,
    /// A robot's clock is off.
    ClockSkew,
    /// A robot's samples carry impossible times.
    TimesNotBelieved,
    /// A robot lost samples within the last hour.
    SamplesLost,
    /// A robot's batches were refused.
    BatchesRefused,
    /// What is missing of a connected robot is old.
    BacklogOld,
    /// A connected robot records faster than it delivers.
    BacklogGrowing,
    /// A robot names more channels than are kept in the state.
    ChannelsNotKept,
    /// Fewer connections fit than are configured.
    ConnectionsLimited,
    /// Batches of the whole fleet were refused, by reason.
    Refusals,
    /// A robot's spool is gone with samples that nobody else had.
    SamplesUnknown,
}

/// How grave a condition is. The greatest comes first in lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing; nothing has to be done now.
    Info,
    /// Someone should look, today.
    Warn,
    /// Data is or will be missing, or nobody can tell: act now.
    Error,
}

/// How a condition clears. Nobody has to confirm or dismiss one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clears {
    /// With its cause: when this is so.
    When(&'static str),
    /// So long after the last of these events.
    After(Duration, &'static str),
    /// What `conditions.lately` says after the last of these events.
    Lately(&'static str),
}

/// What there is to say of a code.
struct Row {
    code: Code,
    name: &'static str,
    severity: Severity,
    title: &'static str,
    remedy: &'static str,
    clears: Clears,
}

impl Code {
    /// How many there are.
    pub const COUNT: usize = 33;

    /// Returns each of them, the gravest first.
    pub fn all() -> impl Iterator<Item = Self> {
        ROWS.iter().map(|row| row.code)
    }

    /// Returns the code of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|code| code.as_str() == name)
    }

    /// Returns the name as in the API, in metrics and as the heading in RUNBOOK.md.
    pub fn as_str(self) -> &'static str {
        self.row().name
    }

    /// Returns how grave it is.
    pub fn severity(self) -> Severity {
        self.row().severity
    }

    /// Returns whether it is about one robot, and not about the gateway.
    pub fn is_of_robot(self) -> bool {
        use Code::{
            BacklogGrowing, BacklogOld, BatchesRefused, ChannelsNotKept, ClockSkew, HealthError, HealthWarn,
            IdentityConflict, LinkDown, LinkUnstable, SamplesLost, SamplesUnknown, ThresholdError,
            ThresholdWarn, TimesNotBelieved, ValuesStale,
        };
        matches!(
            self,
            BacklogGrowing
                | BacklogOld
                | BatchesRefused
                | ChannelsNotKept
                | ClockSkew
                | HealthError
                | HealthWarn
                | IdentityConflict
                | LinkDown
                | LinkUnstable
                | SamplesLost
                | SamplesUnknown
                | ThresholdError
                | ThresholdWarn
                | TimesNotBelieved
                | ValuesStale
        )
    }

    /// Returns what it means, in a few words.
    pub fn title(self) -> &'static str {
        self.row().title
    }

    /// Returns what to do, in one sentence that names the section of RUNBOOK.md.
    pub fn remedy(self) -> String {
        format!("{}: see {}", self.row().remedy, self.runbook())
    }

    /// Returns where RUNBOOK.md says more.
    pub fn runbook(self) -> String {
        format!("RUNBOOK.md#{}", self.as_str())
    }

    /// Returns how it clears.
    pub fn clears(self) -> Clears {
        self.row().clears
    }

    /// Returns how long the cause has to be there before it is told: what passes in a moment in everyday operation is
    /// nobody's concern.
    pub(super) fn settles_after(self) -> Duration {
        match self {
            Self::LinkDown | Self::ValuesStale | Self::BrokerDisconnected => Duration::from_secs(10),
            _ => Duration::ZERO,
        }
    }

    fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }
}

impl fmt::Display for Clears {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::When(cause_gone) => write!(out, "when {cause_gone}"),
            Self::After(span, event) if span.as_secs().is_multiple_of(60) => {
                write!(out, "{} min after the last {event}", span.as_secs() / 60)
            }
            Self::After(span, event) => write!(out, "{} s after the last {event}", span.as_secs()),
            Self::Lately(event) => write!(out, "`conditions.lately` after the last {event}"),
        }
    }
}

impl Severity {
    /// Each of them, the gravest first.
    pub const ALL: [Self; 3] = [Self::Error, Self::Warn, Self::Info];

    /// Returns the name as in the API and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }

    /// Returns the severity of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|severity| severity.as_str() == name)
    }
}

use Clears::{After, Lately, When};
use Severity::{Error, Info, Warn};

const fn row(
    (code, name, severity): (Code, &'static str, Severity),
    title: &'static str,
    remedy: &'static str,
    clears: Clears,
) -> Row {
    Row { code, name, severity, title, remedy, clears }
}

const fn nanos(nanos: i64) -> Duration {
    Duration::from_nanos(nanos.unsigned_abs())
}

/// In the order of [`Code`], the gravest first.
#[rustfmt::skip] // one code, one paragraph
const ROWS: [Row; Code::COUNT] = [
    row((Code::StoreFull, "store_full", Error), "nothing is taken for lack of room",
        "free the disk, lower store.retention_size or raise store.quota_size; robots keep their samples until then",
        When("there is room")),
    row((Code::BlobFiles, "blob_files", Error), "the store uses its database wrongly",
        "take a backup and report it: what stands in these files is not synced",
        When("retention has dropped the partition")),
    row((Code::PartitionDamaged, "partition_damaged", Error), "committed records cannot be read",
        "look at the disk, then run `muster-gateway store check`; it clears when retention drops the partition",
        When("retention has dropped the partition")),
    row((Code::BrokerDisconnected, "broker_disconnected", Error), "no connection to the broker",
        "look whether the broker runs and lets this gateway in; robots behind it keep their samples",
        When("the gateway is connected")),
    row((Code::CertificateExpired, "certificate_expired", Error), "the gateway's certificate is over",
        "put a new certificate and key into the data folder and restart the gateway",
        When("the gateway has started with certificates that are valid")),
    row((Code::RobotsFull, "robots_full", Error), "new robots are turned away",
        "find out who makes robot names up, raise robots_max, or move a fleet to a second gateway",
        Lately("robot that was turned away")),
    row((Code::IdentityConflict, "identity_conflict", Error), "two processes speak for one robot",
        "give one of the two another name, or stop it",
        After(nanos(CONFLICT_NS_OVER), "time that one took over")),
    row((Code::HealthError, "health_error", Error), "the robot says that it is broken",
        "read the reason and look at the robot",
        When("the health channel says so, or is stale")),
    row((Code::ThresholdError, "threshold_error", Error), "a value is out of bounds: an error",
        "look at the robot, or correct the bounds of this [[threshold]] and restart the gateway",
        When("each value is back within its bounds, or is stale")),
    row((Code::DiskNearlyFull, "disk_nearly_full", Warn), "room runs short",
        "free the disk, or lower store.retention_size to what the disk has room for",
        When("there is room")),
    row((Code::LossNotLogged, "loss_not_logged", Warn), "the log does not name all losses yet",
        "make room if the store is full; if it stays, restart the gateway and read its log",
        When("the loss records are committed")),
    row((Code::CheckpointFailed, "checkpoint_failed", Warn), "the fleet's state cannot be saved",
        "look at the disk and at the owner of the folder `checkpoints`; the next start takes longer",
        When("the next checkpoint is saved")),
    row((Code::CommitSlow, "commit_slow", Warn), "commits take long",
        "look what else uses the disk, or move the data folder to a faster one",
        After(COMMITS_WITHIN, "slow commit")),
    row((Code::CommitQueueFull, "commit_queue_full", Warn), "more arrives than is committed",
        "give the gateway a faster disk, raise commit.queue_size, or move a fleet to a second gateway",
        Lately("refusal")),
    row((Code::JsonGivenUp, "json_given_up", Warn), "samples of plain JSON were dropped",
        "publish at QoS 1 instead of 0, and look at why the gateway could not take them",
        Lately("sample that was dropped")),
    row((Code::ConnectionsFull, "connections_full", Warn), "connections are turned away",
        "raise session.max or the limit of open files, or add a gateway",
        Lately("connection that was turned away")),
    row((Code::DescriptorsLow, "descriptors_low", Warn), "few file descriptors are left",
        "raise the limit of open files (LimitNOFILE= of systemd, ulimit -n of a shell) and restart the gateway",
        When("enough are closed")),
    row((Code::CertificateExpiring, "certificate_expiring", Warn), "the gateway's certificate is soon over",
        "put a new certificate and key into the data folder and restart the gateway",
        When("the gateway has started with certificates that are valid for longer")),
    row((Code::LinkDown, "link_down", Warn), "the robot cannot be heard",
        "look at the robot's power and network, then at `muster-agent status` on it",
        When("the robot is connected")),
    row((Code::LinkUnstable, "link_unstable", Warn), "the robot's link comes and goes",
        "look at the robot's network, and in its agent's log for why sessions end",
        When("it has connected fewer than five times within ten minutes")),
    row((Code::ValuesStale, "values_stale", Warn), "the robot is heard, but no value is recent",
        "look at what feeds the agent: `muster-agent status` on the robot shows its inputs",
        When("a recent value comes")),
    row((Code::HealthWarn, "health_warn", Warn), "the robot says that it needs a look",
        "read the reason and look at the robot",
        When("the health channel says so, or is stale")),
    row((Code::ThresholdWarn, "threshold_warn", Warn), "a value is out of bounds",
        "look at the robot, or correct the bounds of this [[threshold]] and restart the gateway",
        When("each value is back within its bounds, or is stale")),
    row((Code::ClockSkew, "clock_skew", Warn), "the robot's clock is off",
        "let the robot synchronise its clock; times that its agent stamped are repaired meanwhile",
        When("a heartbeat says that the clock is right")),
    row((Code::TimesNotBelieved, "times_not_believed", Warn), "samples carry impossible times",
        "correct the program that stamps these channels, or leave `t` out",
        When("the newest value of each channel has a time that can be")),
    row((Code::SamplesLost, "samples_lost", Warn), "samples were lost within the last hour",
        "run `muster losses FLEET/ROBOT` and remove the reason that it names",
        After(nanos(LOSS_NS_WARN), "loss record")),
    row((Code::BatchesRefused, "batches_refused", Warn), "the gateway refuses batches of this robot",
        "update the agent and the gateway to the same version, and read the gateway's log",
        Lately("refusal")),
    row((Code::BacklogOld, "backlog_old", Warn), "what is missing of a connected robot is old",
        "look at the robot's uplink and its limits: `muster-agent status` on it shows both",
        When("it is whole up to ten minutes ago")),
    row((Code::BacklogGrowing, "backlog_growing", Warn), "the robot records faster than it delivers",
        "give the robot a faster uplink or higher limits, or record less",
        When("the backlog is smaller at a look")),
    row((Code::ChannelsNotKept, "channels_not_kept", Warn), "more channels than are kept in the state",
        "stop the robot from making names up: put what varies into the value, not into the name",
        Lately("sample of such a channel")),
    row((Code::ConnectionsLimited, "connections_limited", Info), "fewer connections fit than are configured",
        "raise the limit of open files (LimitNOFILE= of systemd, ulimit -n of a shell), or lower session.max",
        When("the gateway has started with a limit that has room for session.max")),
    row((Code::Refusals, "refusals", Info), "batches were refused lately",
        "look at the conditions of the robots, and at store_full and commit_queue_full",
        Lately("refusal")),
    row((Code::SamplesUnknown, "samples_unknown", Info), "a spool is gone with samples that nobody else had",
        "put the robot's old disk back if it still exists; otherwise nobody can tell what was on it",
        When("that spool is back")),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_code_has_its_own_row_and_the_gravest_come_first() {
        for (at, row) in ROWS.iter().enumerate() {
            assert_eq!(row.code as usize, at, "{}", row.name);
            assert_eq!(Code::named(row.name), Some(row.code));
        }
        assert!(ROWS.is_sorted_by(|a, b| a.severity >= b.severity));
        let names: BTreeSet<_> = ROWS.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), Code::COUNT);
    }
}
