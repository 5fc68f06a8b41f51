//! Topics: which name means what, on the gateway's own listener and at a broker.
//!
//! ```text
//! muster/1/F/R/up/control   frames from the agent: Hello, heartbeats, Bye
//! muster/1/F/R/up/LANE      frames from the agent: batches, schemas, losses
//! muster/1/F/R/down         frames to the agent
//! muster/1/F/R/json         samples from any MQTT client
//! ```

use muster_protocol::id::{Lane, RobotId};

/// What a client publishes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Topic {
    /// The robot whose topic it is.
    pub(super) robot: RobotId,
    /// Which of its topics.
    pub(super) leaf: Leaf,
}

/// The part of a topic after the robot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaf {
    /// `up/control`
    Control,
    /// `up/urgent`, `up/live`, `up/bulk`. Which lane a batch belongs to stands in its frame.
    Lane(Lane),
    /// `down`
    Down,
    /// `json`
    Json,
}

/// What a client subscribes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Filter {
    /// The robot whose topics it covers.
    pub(super) robot: RobotId,
    /// Whether it covers `down`, the only topic that delivers anything.
    pub(super) covers_down: bool,
}

/// Why a text is not a topic or filter of a robot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TopicError {
    /// It lies outside `muster/1/`, or covers more than one robot.
    Foreign,
    /// It lies under `muster/1/` and is none of the four, or is no valid filter.
    Invalid,
    /// A shared subscription.
    Shared,
}

/// Returns the name of the topic on which frames go to a robot.
pub(super) fn down(robot: &RobotId) -> String {
    format!("{PREFIX}{robot}/down")
}

/// Reads the name that a client publishes to.
pub(super) fn parse(name: &str) -> Result<Topic, TopicError> {
    let rest = name.strip_prefix(PREFIX).ok_or(TopicError::Foreign)?;
    let mut parts = rest.splitn(3, '/');
    let robot = robot(parts.next(), parts.next()).ok_or(TopicError::Invalid)?;
    let leaf = match parts.next().ok_or(TopicError::Invalid)? {
        "up/control" => Leaf::Control,
        "down" => Leaf::Down,
        "json" => Leaf::Json,
        other => Leaf::Lane(
            other.strip_prefix("up/").and_then(|lane| lane.parse().ok()).ok_or(TopicError::Invalid)?,
        ),
    };
    Ok(Topic { robot, leaf })
}

/// Reads a filter that a client subscribes to.
pub(super) fn parse_filter(filter: &str) -> Result<Filter, TopicError> {
    if filter.starts_with("$share/") {
        return Err(TopicError::Shared);
    }
    if !is_filter(filter) {
        return Err(TopicError::Invalid);
    }
    let mut levels = filter.split('/');
    let own = PREFIX.trim_end_matches('/').split('/').all(|level| levels.next() == Some(level));
    // A wildcard is no name, so a filter that leaves the robot open ends here too.
    let robot = own.then(|| robot(levels.next(), levels.next())).flatten().ok_or(TopicError::Foreign)?;
    let rest: Vec<&str> = levels.collect();
    let covers_down = matches!(rest.as_slice(), ["down" | "+" | "#"] | ["down" | "+", "#"]);
    Ok(Filter { robot, covers_down })
}

/// Every topic begins with this; the number is the version of the wire.
const PREFIX: &str = "muster/1/";

fn robot(fleet: Option<&str>, robot: Option<&str>) -> Option<RobotId> {
    RobotId::new(fleet?, robot?).ok()
}

/// Whether wildcards stand only where MQTT allows them: `+` alone in its level, `#` alone in the last (MQTT 5, 4.7.1).
fn is_filter(filter: &str) -> bool {
    let mut levels = filter.split('/').rev();
    let last = levels.next().unwrap_or_default();
    let single = |level: &str| level == "+" || !level.contains(['+', '#', '\0']);
    (last == "#" || single(last)) && levels.all(single) && !filter.is_empty()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn r17() -> RobotId {
        "warehouse/r-17".parse().unwrap()
    }

    #[test]
    fn the_four_topics_of_a_robot_are_read() {
        for (rest, leaf) in [
            ("up/control", Leaf::Control),
            ("up/urgent", Leaf::Lane(Lane::Urgent)),
            ("up/live", Leaf::Lane(Lane::Live)),
            ("up/bulk", Leaf::Lane(Lane::Bulk)),
            ("down", Leaf::Down),
            ("json", Leaf::Json),
        ] {
            assert_eq!(parse(&format!("muster/1/warehouse/r-17/{rest}")), Ok(Topic { robot: r17(), leaf }));
        }
        assert_eq!(parse(&down(&r17())), Ok(Topic { robot: r17(), leaf: Leaf::Down }));
    }

    #[test]
    fn other_topics_are_foreign_or_invalid() {
        for foreign in ["", "json", "muster/2/f/r/json", "muster", "/muster/1/f/r/json", "$SYS/x"] {
            assert_eq!(parse(foreign), Err(TopicError::Foreign), "{foreign}");
        }
        for rest in [
            "",
            "f",
            "f/r",
            "f/r/",
            "f/r/jso",
            "f/r/json/",
            "f/r/up",
            "f/r/up/Live",
            "f/r/up/live/x",
            "f/+/json",
            "+/r/json",
        ] {
            assert_eq!(parse(&format!("muster/1/{rest}")), Err(TopicError::Invalid), "{rest}");
        }
    }

    #[test]
    fn a_filter_covers_one_robot_and_perhaps_its_down_topic() {
        for (rest, covers_down) in [
            ("down", true),
            ("+", true),
            ("#", true),
            ("down/#", true),
            ("+/#", true),
            ("json", false),
            ("up/#", false),
            ("up/+", false),
            ("down/x", false),
            ("+/+", false),
        ] {
            let filter = parse_filter(&format!("muster/1/warehouse/r-17/{rest}"));
            assert_eq!(filter, Ok(Filter { robot: r17(), covers_down }), "{rest}");
        }
    }

    #[test]
    fn filters_over_several_robots_are_refused() {
        for foreign in [
            "#",
            "+/1/f/r/down",
            "muster/#",
            "muster/1/#",
            "muster/1/f/#",
            "muster/1/f/+/down",
            "muster/1/+/r/down",
            "other",
        ] {
            assert_eq!(parse_filter(foreign), Err(TopicError::Foreign), "{foreign}");
        }
        for invalid in ["", "muster/1/f/r/#/down", "muster/1/f/r/do#", "muster/1/f/r/+x", "muster/1/f/r/\0"] {
            assert_eq!(parse_filter(invalid), Err(TopicError::Invalid), "{invalid}");
        }
        assert_eq!(parse_filter("$share/group/muster/1/f/r/down"), Err(TopicError::Shared));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[mustr1/+#$a\\x00ü]{0,40}") {
            let _ = (parse(&text), parse_filter(&text));
        }
    }
}
