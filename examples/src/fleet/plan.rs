//! Who takes part: this machine, and four robots that replay logs or are simulated; two over QUIC, two over MQTT.

use std::path::{Path, PathBuf};

/// One robot of the demo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Planned {
    /// `fleet/robot`
    pub(super) name: String,
    /// What its agent speaks.
    pub(super) transport: Transport,
    /// What its agent records.
    pub(super) source: Source,
}

/// What an agent speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Quic,
    Mqtt,
}

/// What an agent records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// This machine's own figures.
    Host,
    /// A recorded log, from its start each time it ends.
    Log(PathBuf),
    /// A simulated robot of this seed.
    Simulated(u64),
}

impl Planned {
    /// Tells whether a person means this robot by `name`: whole, or without the fleet.
    pub(super) fn is_named(&self, name: &str) -> bool {
        self.name == name || self.name.strip_prefix(FLEET).is_some_and(|robot| robot == name)
    }
}

/// Plans the five; where there are fewer than four logs, simulated robots take the places.
pub(super) fn plan(logs: &[PathBuf]) -> Vec<Planned> {
    let host =
        Planned { name: format!("{FLEET}this-machine"), transport: Transport::Quic, source: Source::Host };
    let others = (0..OTHERS).map(|place| {
        let transport = if place < OTHERS / 2 { Transport::Quic } else { Transport::Mqtt };
        let simulated = place as u64 + 1;
        let (name, source) = logs.get(place).map_or_else(
            || (format!("{FLEET}simulated-{simulated}"), Source::Simulated(simulated)),
            |log| (robot_of(log, place), Source::Log(log.clone())),
        );
        Planned { name, transport, source }
    });
    std::iter::once(host).chain(others).collect()
}

/// Names a robot after its log, with what a name may hold.
fn robot_of(log: &Path, place: usize) -> String {
    let file = log.file_name().unwrap_or_default().to_string_lossy();
    let stem = file.split('.').next().unwrap_or_default();
    let safe =
        |letter: char| if letter.is_ascii_alphanumeric() || "_-".contains(letter) { letter } else { '-' };
    let name: String = stem.chars().map(safe).take(NAME_CHARS_MAX).collect();
    let name = name.trim_start_matches(['-', '_']);
    if name.is_empty() { format!("{FLEET}log-{place}") } else { format!("{FLEET}{name}") }
}

/// The fleet that all are in.
const FLEET: &str = "demo/";

/// How many robots there are beside this machine.
const OTHERS: usize = 4;

/// Shorter than a name may be, so that the table stays narrow.
const NAME_CHARS_MAX: usize = 40;

#[cfg(test)]
mod tests {
    use muster_protocol::id::RobotId;

    use super::*;

    #[test]
    fn two_speak_quic_and_two_speak_mqtt_beside_this_machine() {
        for logs in [vec![], vec!["a.ndjson".into()], vec!["a.ndjson.gz".into(); 6]] {
            let plan = plan(&logs);
            let quic = plan.iter().filter(|robot| robot.transport == Transport::Quic).count();
            assert_eq!((plan.len(), quic), (5, 3));
            assert_eq!(plan[0].source, Source::Host);
        }
    }

    #[test]
    fn each_log_gives_a_valid_name() {
        for log in ["drone_px4_x21_bench_250hz.ndjson.gz", "übung 1.ndjson", ".ndjson", &"x".repeat(90)] {
            assert!(robot_of(Path::new(log), 3).parse::<RobotId>().is_ok(), "{log}");
        }
    }

    #[test]
    fn a_robot_is_named_with_or_without_its_fleet() {
        let host = &plan(&[])[0];
        assert!(
            host.is_named("this-machine") && host.is_named("demo/this-machine") && !host.is_named("machine")
        );
    }
}
