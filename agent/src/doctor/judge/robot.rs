//! Whether the robot itself is ready: its clock, its disk, its inputs, and the agent that runs on it.

use muster_protocol::time::WallTime;

use super::{Finding, Level};
use crate::{
    doctor::facts::{AgentFacts, ClockFacts, Facts, Folder, InputState, Medium, SpoolFacts},
    status::Report,
};

pub(super) fn configuration(facts: &Facts) -> Finding {
    match &facts.problem {
        Some(why) => Finding::new(Level::Fail, "configuration", why),
        None => Finding::new(Level::Ok, "configuration", format!("of robot {}", facts.robot)),
    }
}

/// Times from before are marked by the gateway; times far from now are a clock that nobody set.
pub(super) fn clock(clock: &ClockFacts) -> Finding {
    let ClockFacts { wall, synchronised } = *clock;
    if wall < SANE_FROM || wall > SANE_UNTIL {
        return Finding::new(Level::Fail, "clock", format!("it shows {wall}"))
            .remedy("set it, and keep it set: certificates do not hold at that time, and values look old");
    }
    if synchronised {
        return Finding::new(Level::Ok, "clock", format!("{wall}, synchronised"));
    }
    Finding::new(Level::Warn, "clock", format!("{wall}, and the system does not say that it is synchronised"))
        .remedy("run systemd-timesyncd; how far it is off, `muster robot` shows once a gateway is reached")
}

pub(super) fn spool(spool: &SpoolFacts) -> Finding {
    let finding = match spool.folder {
        Folder::There => Finding::new(Level::Ok, "spool", format!("holds {}", bytes(spool.used_bytes))),
        Folder::Missing => Finding::new(Level::Ok, "spool", "is not there yet; the agent makes it"),
        Folder::OfGateway => Finding::new(Level::Fail, "spool", "is the data folder of a gateway")
            .remedy("give the agent a folder of its own with --spool"),
        Folder::File => Finding::new(Level::Fail, "spool", "is a file, not a folder")
            .remedy("give the agent a folder with --spool"),
    };
    finding.of(&spool.dir)
}

/// Says nothing of a folder that is not to be used.
pub(super) fn disk(spool: &SpoolFacts) -> Option<Finding> {
    matches!(spool.folder, Folder::There | Folder::Missing).then(|| disk_of(spool))
}

fn disk_of(spool: &SpoolFacts) -> Finding {
    let finding = |level, says: String| Finding::new(level, "disk", says).of(&spool.dir);
    let took = match &spool.sync {
        Ok(took) => took.as_millis(),
        Err(why) => {
            return finding(Level::Fail, format!("cannot be written: {why}")).remedy(
                "check the folder's owner, its disk and its free space, or name another with --spool",
            );
        }
    };
    let may_grow = spool.limit_bytes.saturating_sub(spool.used_bytes);
    if let Some(free) = spool.free_bytes.filter(|free| *free < may_grow) {
        let level = if free < FREE_BYTES_MIN { Level::Fail } else { Level::Warn };
        let (free, may_grow) = (bytes(free), bytes(may_grow));
        return finding(level, format!("{free} are free, and the spool may grow by {may_grow}")).remedy(
            "free some, or lower spool.limit: beyond it the oldest goes by lane, on a full disk what comes",
        );
    }
    if took > SYNC_MS_FAIL || took > SYNC_MS_WARN {
        let level = if took > SYNC_MS_FAIL { Level::Fail } else { Level::Warn };
        return finding(level, format!("a write with a sync took {took} ms{}", kind(spool.medium)))
            .remedy("samples are accepted no faster than that: try another disk, or raise spool.sync_every");
    }
    match spool.medium {
        Medium::Memory => {
            finding(Level::Warn, "is in memory: a power cut takes what is not delivered".to_owned())
                .remedy("name a folder on a disk with --spool")
        }
        Medium::Layer => {
            finding(Level::Warn, "is a container's own layer, which goes with the container".to_owned())
                .remedy("mount a volume and name it with --spool")
        }
        medium => {
            let free = spool.free_bytes.map(|free| format!(", {} free", bytes(free))).unwrap_or_default();
            finding(Level::Ok, format!("a write with a sync took {took} ms{}{free}", kind(medium)))
        }
    }
}

pub(super) fn inputs(facts: &Facts) -> Vec<Finding> {
    if facts.inputs.is_empty() {
        let remedy = "give --input, as in --input host; --help lists them";
        return vec![
            Finding::new(Level::Warn, "input", "there is none, so nothing is recorded").remedy(remedy),
        ];
    }
    let runs = matches!(facts.agent, AgentFacts::Runs(_));
    let finding = |input: &super::super::facts::InputFacts| {
        let finding = match &input.state {
            InputState::Ready => Finding::new(Level::Ok, "input", "can start"),
            InputState::Taken if runs => {
                Finding::new(Level::Ok, "input", "in use, by the running agent as it seems")
            }
            InputState::Taken => Finding::new(Level::Fail, "input", "in use by another program")
                .remedy("stop that one, or give another path or port"),
            InputState::Unusable(why) => Finding::new(Level::Fail, "input", why)
                .remedy("the agent does not start without an input that it was told to have"),
        };
        finding.of(&input.input)
    };
    facts.inputs.iter().map(finding).collect()
}

pub(super) fn agent(agent: &AgentFacts) -> Finding {
    match agent {
        AgentFacts::Runs(report) => running(report),
        AgentFacts::None => Finding::new(Level::Ok, "agent", "none runs on this spool"),
        AgentFacts::Mute(why) => Finding::new(Level::Warn, "agent", why),
    }
}

fn running(report: &Report) -> Finding {
    let Report { link, lanes, refused, spool, robot, .. } = report;
    if let Some(fault) = &spool.fault {
        return Finding::new(Level::Fail, "agent", format!("keeps samples in memory only: {fault}"))
            .remedy("mend the disk; the agent tries it every 30 s");
    }
    let waiting: u64 = lanes.iter().map(|lane| lane.samples).sum();
    if link.state != "up" {
        return without_link(report, waiting);
    }
    let lost: u64 = lanes.iter().map(|lane| lane.lost).sum();
    if lost > 0 {
        return Finding::new(Level::Warn, "agent", format!("has lost {lost} samples since its start"))
            .remedy("`muster losses` says why; raise spool.limit if the spool was full");
    }
    if let Some(first) = refused.first() {
        let lines: u64 = refused.iter().map(|refused| refused.count).sum();
        let says = format!("has refused {lines} lines or rows; the first of {}: {}", first.input, first.why);
        return Finding::new(Level::Warn, "agent", says)
            .remedy("`muster-agent status` shows an example of each kind");
    }
    Finding::new(Level::Ok, "agent", format!("runs for {robot}, link up, {waiting} samples wait"))
}

/// Says why there is no session. A gateway that ends one asks its robots to come back one after the other: that is no
/// failure.
fn without_link(report: &Report, waiting: u64) -> Finding {
    let link = &report.link;
    let next = link.next_attempt_ms.map(|ms| format!("{:.1} s", ms as f64 / 1e3));
    match (&link.why_not, link.since_ms, next) {
        (None, Some(_), Some(next)) => {
            let says = format!(
                "runs for {}, {waiting} samples wait: the gateway ended the session, and the agent returns in {next}, \
                 not at the same moment as all others",
                report.robot
            );
            Finding::new(Level::Ok, "agent", says)
        }
        (None, _, _) => {
            let says =
                format!("runs for {}, {waiting} samples wait: {}, no session yet", report.robot, link.state);
            Finding::new(Level::Warn, "agent", says).remedy("ask again in a moment")
        }
        (Some(why), _, next) => {
            let again = next.map_or_else(String::new, |next| format!("; it tries again in {next}"));
            let says = format!("runs without a link, {waiting} samples wait: {why}{again}");
            Finding::new(Level::Warn, "agent", says).remedy("see the findings about gateways")
        }
    }
}

fn kind(medium: Medium) -> &'static str {
    match medium {
        Medium::Card => " on an SD card or eMMC",
        Medium::Spinning => " on a spinning disk",
        Medium::Memory | Medium::Layer | Medium::Other => "",
    }
}

/// Writes bytes in the largest unit of which there is at least one.
fn bytes(bytes: u64) -> String {
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.into_iter().find(|(_, size)| bytes >= *size) {
        Some((unit, size)) => format!("{:.1} {unit}", bytes as f64 / size as f64),
        None => format!("{bytes} bytes"),
    }
}

/// The first moment of 2020: times before are not believed by gateways.
const SANE_FROM: WallTime = WallTime(1_577_836_800_000_000_000);

/// The first moment of 2100.
const SANE_UNTIL: WallTime = WallTime(4_102_444_800_000_000_000);

/// Less than some segments and a loss record: the spool cannot even make room for itself.
const FREE_BYTES_MIN: u64 = 32 * 1024 * 1024;

/// Beyond it the group sync no longer keeps its pace.
const SYNC_MS_WARN: u128 = 250;

/// Beyond it live data are seconds late whatever the link does.
const SYNC_MS_FAIL: u128 = 2000;
