use muster_protocol::{sample::Value, time::WallTime};

use super::*;
use crate::{
    config::Config,
    fleet::rehearsal::{self, NOW, S, row_record},
    query::expression::tests::fleet,
};

#[test]
fn members_are_in_the_order_of_the_alphabet() {
    assert!(MEMBERS.is_sorted_by_key(|member| member.name));
}

#[test]
fn names_are_members_labels_or_channels() {
    let kind = |text: &str| match Name::parse(text) {
        Ok(Name::Member(member)) => format!("member {}", member.name),
        Ok(Name::Label(key)) => format!("label {key}"),
        Ok(Name::Channel(channel)) => format!("channel {}", channel.as_str()),
        Err(error) => error.to_string(),
    };
    assert_eq!(kind("link.up"), "member link.up");
    assert_eq!(kind("labels.site.east"), "label site.east");
    assert_eq!(kind("battery.soc"), "channel battery.soc");
    assert_eq!(kind("channels.link.up"), "channel link.up");
    assert!(kind("link.upp").contains("nearest that it has is `link.up`"), "{}", kind("link.upp"));
    assert!(kind("").contains("neither a member"), "{}", kind(""));
    assert!(kind("a\u{7}").contains("neither a member"));
}

#[test]
fn a_short_word_is_taken_for_one_member_and_hides_no_name() {
    let words: Vec<_> = MEMBERS.iter().filter_map(|member| Some((member.also?, member.name))).collect();
    assert_eq!(
        words,
        [
            ("on_robot", "completeness.on_robot"),
            ("health", "health.level"),
            ("last_heard", "link.last_heard"),
            ("link", "link.state"),
            ("lost", "loss.samples")
        ]
    );
    for (word, name) in words {
        assert_eq!(Name::parse(word).unwrap().to_string(), name);
        assert!(MEMBERS.iter().all(|member| member.name != word), "{word}");
    }
}

#[test]
fn every_member_is_what_its_kind_says_or_unknown() {
    let mut fleet = fleet();
    fleet.map(Config::default().mapping());
    let row = [
        ("gps.lat", Value::Float(52.5)),
        ("gps.lon", Value::Float(13.2)),
        ("gps.alt", Value::Float(30.0)),
        ("pose.x", Value::Float(1.0)),
        ("pose.heading", Value::Float(1.0)),
        ("pose.map", Value::Text("hall".into())),
        ("battery.charging", Value::Bool(true)),
        ("version", Value::Text("2.3.1".into())),
    ];
    row_record(9, "berlin/r1".parse().unwrap(), NOW - S, &row).apply_to(&fleet);
    let (id, live) = ("berlin/r1".parse().unwrap(), rehearsal::heard(NOW - S));
    let state = fleet.robot(&id).unwrap();
    let state = state.read().unwrap();
    let view = View::new(&id, &state, WallTime(NOW), Some(&live).into());
    let mut unknown = Vec::new();
    for member in MEMBERS {
        let kind = match (member.read)(&view) {
            Fact::Unknown => {
                unknown.push(member.name);
                continue;
            }
            Fact::Bool(_) => vec![Kind::Bool],
            Fact::Int(_) => vec![Kind::Int, Kind::Time],
            Fact::Float(_) => vec![Kind::Float],
            Fact::Text(_) => vec![Kind::Text],
            Fact::Texts(_) => vec![Kind::Texts],
        };
        assert!(kind.contains(&member.kind), "{}", member.name);
    }
    assert_eq!(unknown, ["loss.last_at"]);
}

#[test]
fn what_is_mapped_is_read_once_of_a_robot() {
    let mut fleet = fleet();
    fleet.map(Config::default().mapping());
    let id = "berlin/r1".parse().unwrap();
    let state = fleet.robot(&id).unwrap();
    let state = state.read().unwrap();
    let view = View::new(&id, &state, WallTime(NOW), None.into());
    let (first, again) = (view.battery().unwrap(), view.battery().unwrap());
    assert!(std::ptr::eq(first, again));
    assert!(std::ptr::eq(view.pose().unwrap(), view.pose().unwrap()));
}
