//! Every name that a robot's state has, in every place that takes names.

use serde_json::json;

use super::*;
use crate::query::{Kind, MEMBERS, Member};

/// A robot that has a value for most members, and one that has none for most.
fn world() -> World {
    let mut world = mapped::world();
    world.record("a/2", loss(3));
    world
}

/// Every word that stands for a member, with the member.
fn words() -> impl Iterator<Item = (&'static str, &'static Member)> {
    MEMBERS.iter().flat_map(|member| {
        [Some(member.name), member.also].into_iter().flatten().map(move |word| (word, member))
    })
}

/// An expression that takes every robot and reads this name as what it is.
fn condition(word: &str, kind: Kind) -> String {
    let asked = match kind {
        Kind::Bool => format!("!{word}"),
        Kind::Int | Kind::Time | Kind::Float => format!("{word} < 3"),
        Kind::Text => format!("{word} == \"x\""),
        Kind::Texts => format!("{word}.exists(text, text == \"x\")"),
    };
    format!("{asked} || known(\"other\") || !known(\"other\")")
}

#[test]
fn every_name_is_taken_wherever_names_are_taken() {
    let server = world().serve();
    for (word, member) in words() {
        let page = server.json(&asked("/v1/robots", &[("where", &condition(word, member.kind))]));
        assert_eq!((&page["matched"], &page["undecided"]), (&3.into(), &Value::Null), "{word}: {page}");
        for sort in [word.to_owned(), format!("-{word}")] {
            let page = server.json(&asked("/v1/robots", &[("sort", &sort)]));
            assert_eq!(page["robots"].as_array().unwrap().len(), 3, "{sort}");
        }
        let taken = server.json(&asked("/v1/aggregate", &[("by", word), ("of", word)]));
        assert_eq!(taken["robots"], 3, "{word}");
        assert!(taken["groups"][0]["by"].get(member.name).is_some(), "{word}: {taken}");
        assert!(taken["groups"][0]["of"].get(member.name).is_some(), "{word}: {taken}");
        let page = server.json(&asked("/v1/robots", &[("fields", word)]));
        let pointer = |name: &str| format!("/{}", name.replace('.', "/"));
        let told =
            |robot: &Value| [word, member.name].iter().any(|name| robot.pointer(&pointer(name)).is_some());
        assert!(page["robots"].as_array().unwrap().iter().all(told), "{word}: {page}");
    }
}

#[test]
fn a_short_word_means_what_the_name_means() {
    let server = world().serve();
    let taken = server
        .json(&asked("/v1/robots", &[("where", "lost > 0 && lost == loss.samples && on_robot == null")]));
    assert_eq!(taken["robots"][0]["robot"], "a/2");
    let taken =
        server.json(&asked("/v1/robots", &[("where", "link == \"up\" && last_heard == link.last_heard")]));
    assert_eq!((&taken["matched"], &taken["robots"][0]["robot"]), (&1.into(), &"a/1".into()));
    // A channel of that name is asked for as every channel is that a member hides.
    let by = server.json(&asked("/v1/aggregate", &[("by", "channels.lost")]));
    assert_eq!(by["groups"][0]["by"]["lost"], Value::Null);
}

#[test]
fn what_cannot_be_true_or_false_is_refused_with_its_position() {
    let server = world().serve();
    for (word, member) in words().filter(|(_, member)| member.kind != Kind::Bool) {
        let problem = server.problem(&asked("/v1/robots", &[("where", &format!("link.up && {word}"))]));
        assert_eq!(
            (&problem["status"], &problem["position"]["column"]),
            (&400.into(), &12.into()),
            "{problem}"
        );
        assert!(problem["detail"].as_str().unwrap().contains(word), "{}: {problem}", member.name);
    }
}

#[test]
fn a_question_that_turns_out_to_be_no_condition_says_so_of_how_many_robots() {
    let server = world().serve();
    let page = server.json(&asked("/v1/robots", &[("where", "value(\"version\")")]));
    assert_eq!(page["undecided"]["robots"], 3);
    assert_eq!(page["undecided"]["why"], "the expression is string, and not true or false");
}

/// Guards: a name that was typed wrongly sorted, grouped and showed nothing, without a word.
#[test]
fn a_name_that_no_robot_has_is_told_wherever_it_is_used() {
    let server = world().serve();
    let told =
        |path: &str, parameters: &[(&str, &str)]| server.json(&asked(path, parameters))["unheard_of"].clone();
    for (name, value) in [
        ("sort", "-batery.soc"),
        ("fields", "link.state,batery.soc"),
        ("where", "freshness(\"batery.soc\") == \"fresh\""),
        ("where", "known(\"batery.soc\") && value(\"batery.soc\") < 1.0"),
    ] {
        assert_eq!(told("/v1/robots", &[(name, value)]), json!(["batery.soc"]), "{name}={value}");
    }
    let both = [("by", "labels.nosuch"), ("of", "batery.soc,batery.soc")];
    assert_eq!(told("/v1/aggregate", &both), json!(["batery.soc", "labels.nosuch"]));
    let asked_for = [("where", "labels.nosuch == \"x\"")];
    assert_eq!(told("/v1/fleet", &asked_for), json!(["labels.nosuch"]));
    // Who asks whether there is a value knows that there may be none, and members are there or are refused.
    for (name, value) in [("where", "known(\"nothing\")"), ("sort", "battery.charge"), ("fields", "b?tery.*")]
    {
        assert_eq!(told("/v1/robots", &[(name, value)]), Value::Null, "{name}={value}");
    }
    assert_eq!(
        World::default().serve().json("/v1/robots?sort=batery.soc")["unheard_of"],
        Value::Null,
        "of no robots"
    );
}
