//! Names: topics and filters, robots, channels, and patterns of channels.
//!
//! Input: two texts with a zero byte between them.

use muster_gateway::link::mqtt::rehearsal::{down, filter, topic};
use muster_protocol::{
    glob::Glob,
    id::{ChannelName, Lane, RobotId},
    limits::{CHANNEL_NAME_BYTES_MAX, NAME_BYTES_MAX},
    time::WallTime,
};

/// Two texts as everything that names something.
pub fn topics(data: &[u8]) {
    let at = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    let (first, second) = data.split_at(at);
    let (first, second) = (String::from_utf8_lossy(first), String::from_utf8_lossy(second));
    let second = second.trim_start_matches('\0');
    for text in [first.as_ref(), second] {
        names(text);
        publish(text);
        subscribe(text, &first);
    }
    pattern(&first, second);
}

fn names(text: &str) {
    if let Ok(robot) = text.parse::<RobotId>() {
        assert_eq!(robot.to_string(), text);
        assert_eq!(RobotId::new(robot.fleet(), robot.robot()), Ok(robot.clone()));
        for name in [robot.fleet(), robot.robot()] {
            let allowed = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
            assert!((1..=NAME_BYTES_MAX).contains(&name.len()) && name.chars().all(allowed));
            assert!(name.starts_with(|c: char| c.is_ascii_alphanumeric()), "safe in paths");
        }
    }
    if let Ok(name) = ChannelName::new(text) {
        assert_eq!(name.as_str(), text);
        assert!((1..=CHANNEL_NAME_BYTES_MAX).contains(&text.len()) && !text.contains(char::is_control));
    }
    if let Ok(lane) = text.parse::<Lane>() {
        assert_eq!(lane.as_str(), text);
    }
    if let Ok(time) = text.parse::<WallTime>() {
        assert_eq!(time.to_string().parse(), Ok(time));
    }
}

fn publish(name: &str) {
    let Some((robot, leaf)) = topic(name) else { return };
    assert_eq!(format!("muster/1/{robot}/{leaf}"), name, "a topic is read in one way only");
    assert_eq!(leaf == "down", down(&robot) == name);
    assert_eq!(filter(name), Some((robot, leaf == "down")), "a topic is a filter of itself");
}

fn subscribe(text: &str, name: &str) {
    let Some((robot, covers_down)) = filter(text) else { return };
    assert_eq!(covers(text, &down(&robot)), covers_down, "as MQTT says");
    let other = RobotId::new(robot.fleet(), if robot.robot() == "x" { "y" } else { "x" });
    assert!(!covers(text, &down(&other.expect("a short name"))), "another robot is never covered");
    if let Some((of, _)) = topic(name) {
        assert!(of == robot || !covers(text, name), "another robot is never covered");
    }
}

/// Says whether a filter covers a topic, by the words of MQTT 5, 4.7.1.
fn covers(filter: &str, topic: &str) -> bool {
    let (mut levels, mut names) = (filter.split('/'), topic.split('/'));
    loop {
        match (levels.next(), names.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(_)) => {}
            (Some(level), Some(name)) if level == name => {}
            _ => return false,
        }
    }
}

fn pattern(pattern: &str, name: &str) {
    let Ok(glob) = pattern.parse::<Glob>() else { return };
    if pattern.len() * name.len() <= PATTERN_STEPS_MAX {
        assert_eq!(glob.matches(name), matches(pattern, name), "{pattern:?} on {name:?}");
    }
    let literal = !pattern.contains(['*', '?']);
    assert!(!literal || glob.matches(name) == (pattern == name));
}

/// Says whether a pattern matches, by a table of all prefixes of both.
fn matches(pattern: &str, name: &str) -> bool {
    let name: Vec<char> = name.chars().collect();
    let mut reached = vec![false; name.len() + 1];
    reached[0] = true;
    for wanted in pattern.chars() {
        let mut next = vec![false; name.len() + 1];
        for at in 0..=name.len() {
            next[at] = match wanted {
                '*' => reached[at] || at > 0 && next[at - 1],
                _ => at > 0 && reached[at - 1] && (wanted == '?' || wanted == name[at - 1]),
            };
        }
        reached = next;
    }
    reached[name.len()]
}

/// The table's size is the product of both.
const PATTERN_STEPS_MAX: usize = 64 * 1024;
