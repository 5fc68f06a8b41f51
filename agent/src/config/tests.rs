use muster_protocol::sample::Value;
use proptest::prelude::*;

use super::*;

fn config(file: &str) -> Result<Config, ConfigError> {
    let mut settings = Settings::defaults(&PROGRAM);
    settings.read_file("robot = \"f/r\"", "first.toml")?;
    settings.read_file(file, "agent.toml")?;
    Config::from_settings(&settings)
}

fn defaults() -> Config {
    Config::new(&"f/r".parse().unwrap())
}

fn names(table: &tree::Table, level: &str) -> Vec<String> {
    table
        .iter()
        .flat_map(|(name, value)| match value {
            tree::Value::Object(below) if !below.is_empty() => names(below, &format!("{level}{name}.")),
            _ => vec![format!("{level}{name}")],
        })
        .collect()
}

/// The configuration as a tree, whatever it is written in.
mod tree {
    pub(super) use serde_json::{Map, Value};
    pub(super) type Table = Map<String, Value>;
}

#[test]
fn every_field_is_a_key_and_every_key_a_field() {
    let tree = serde_json::to_value(defaults()).unwrap();
    let mut fields = names(tree.as_object().unwrap(), "");
    let mut keys: Vec<_> = PROGRAM.keys.iter().map(|key| key.name.to_owned()).collect();
    fields.sort();
    keys.sort();
    assert_eq!(fields, keys);
}

#[test]
fn labels_come_from_a_table_and_each_wrong_one_is_named() {
    let labels = config("[labels]\nsite = \"berlin\"\n\"rack/3\" = \"Hall 3, left\"").unwrap().labels;
    let told: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(told, ["rack/3=Hall 3, left", "site=berlin"]);
    let refused = |file| config(file).unwrap_err().to_string();
    assert!(refused("[labels]\nsite = \"\"").contains("site: \"\" is not a label's value"));
    let key = refused("[labels]\n\"a b\" = \"x\"");
    assert!(key.contains("\"a b\" is not a label's name") && key.contains("line 1"), "{key}");
}

#[test]
fn every_field_of_a_channel_rule_is_a_key_of_it() {
    let rule: ChannelRule = serde_json::from_str(r#"{"match": "a"}"#).unwrap();
    let tree = serde_json::to_value(rule).unwrap();
    let mut fields = names(tree.as_object().unwrap(), "");
    let muster_protocol::settings::Kind::Tables(keys) = PROGRAM.keys.last().unwrap().kind else { panic!() };
    let mut keys: Vec<_> = keys.iter().map(|key| key.name.to_owned()).collect();
    fields.sort();
    keys.sort();
    assert_eq!(fields, keys);
}

#[test]
fn the_defaults_go_together_and_are_those_of_the_contract() {
    let config = defaults();
    config.check().unwrap();
    assert_eq!(config.gateway, [GatewayUrl::Quic { host: "127.0.0.1".into(), port: 4443 }]);
    assert_eq!(config.spool.limit.to_string(), "1GiB");
    assert_eq!(config.sample.array_elements_max as usize, muster_protocol::limits::ARRAY_ELEMENTS_MAX);
    assert_eq!((config.ca, config.input, config.once), (None, vec![], false));
}

#[test]
fn what_is_printed_gives_the_same_configuration_again() {
    let text = "gateway = [\"mqtts://[::1]:8883\", \"quic://gw:1\"]\nca = \"/etc/ca.pem\"\n\
        input = [\"host\", \"file:/a b.gz?speed=8&shift=now\"]\nonce = true\nspool.limit = \"2GB\"\n\
        [[channel]]\nmatch = \"alarm.*\"\nlane = \"urgent\"\n\
        [[channel]]\nmatch = \"cells[?]\"\nunit = \"V\"\ninterval = \"20ms\"\non_change = false\n\
        absent = [255.99609375, -1, nan, -inf, \"n/a\", false]\n";
    let mut settings = Settings::defaults(&PROGRAM);
    settings.read_file("robot = \"f/r\"", "first.toml").unwrap();
    settings.read_file(text, "agent.toml").unwrap();
    let first = Config::from_settings(&settings).unwrap();
    let mut again = Settings::defaults(&PROGRAM);
    again.read_file(&settings.print(), "printed.toml").unwrap();
    assert_eq!(Config::from_settings(&again).unwrap(), first);
    assert_eq!(first.channel.len(), 2);
}

#[test]
fn values_that_are_none_are_numbers_texts_and_flags_and_nothing_else() {
    let absent = |values: &str| {
        let read = config(&format!("[[channel]]\nmatch = \"a\"\nabsent = {values}\n"));
        read.map(|config| config.channel[0].absent.clone().unwrap())
    };
    let seen = absent("[255.5, -1, nan, \"n/a\", false]").unwrap();
    for value in [Value::Float(255.5), Value::Float(-1.0), Value::Float(f64::NAN), Value::Bool(false)] {
        assert!(seen.hold(&value), "{value:?}");
    }
    assert!(seen.hold(&Value::Text("n/a".to_owned())) && !seen.hold(&Value::Text("nan".to_owned())));
    assert_eq!(absent("[]"), Ok(AbsentValues::default()));
    for wrong in ["255.5", "\"n/a\"", "[[1]]", "[2026-11-23]", "[{ a = 1 }]", "{ a = 1 }"] {
        let told = absent(wrong).unwrap_err().to_string();
        assert!(told.contains("in agent.toml, line 1: number 1: absent = "), "{told}");
        assert!(
            told.contains("write a list of numbers, texts in quotes, true or false, as in [-1, "),
            "{told}"
        );
    }
    let many: Vec<_> = (0..=ABSENT_VALUES_MAX).map(|n| n.to_string()).collect();
    let told = absent(&format!("[{}]", many.join(","))).unwrap_err().to_string();
    assert!(told.contains("65 values; a rule lists at most 64: leave out what the source never"), "{told}");
    assert!(absent("[nul]").unwrap_err().to_string().contains("not TOML"), "TOML has no null");

    let mut settings = Settings::defaults(&PROGRAM);
    let variable = "[{ match = \"a\", absent = [nan] }]";
    let read = settings.read_environment([("MUSTER_AGENT_CHANNEL".into(), variable.into())]);
    read.and_then(|()| settings.set("robot", "--robot", &["f/r".to_owned()])).unwrap();
    let config = Config::from_settings(&settings).unwrap();
    assert!(config.channel[0].absent.as_ref().unwrap().hold(&Value::Float(-f64::NAN)));
}

#[test]
fn settings_that_do_not_go_together_are_refused_with_both_values() {
    let refused = |file: &str| config(file).unwrap_err().to_string();
    assert!(refused("gateway = []").contains("give at least one, as in --gateway quic://127.0.0.1:4443"));
    assert!(refused("input = [\"stdin\", \"host\", \"stdin\"]").contains("`stdin` is given twice"));
    assert!(refused("input = [\"file:a\", \"file:a?speed=1\"]").contains("`file:a?speed=1` is given twice"));
    assert!(refused("link.backoff_min = \"1m\"").contains("link.backoff_max = \"30s\""));
    assert!(refused("uplink.bytes_per_day = \"1GB\"\nuplink.bytes_per_month = \"10MB\"").contains(
        "uplink.bytes_per_day = \"1GB\" is more than uplink.bytes_per_month = \"10MB\" lets through"
    ));
    assert!(refused("uplink.urgent_reserve = \"100%\"").contains("0% to 90%"));
    assert!(refused("spool.limit = \"1MiB\"").contains("spool.segment_size = \"4MiB\""));
    config("input = [\"udp:127.0.0.1:0\", \"udp:127.0.0.1:0\"]").unwrap();
}

#[test]
fn a_gateway_url_is_refused_with_the_one_that_would_be_right() {
    for (text, expected) in [
        (
            "http://gw:80",
            "`http://gw:80` is not a gateway's URL; write quic://HOST:PORT, mqtt://HOST:PORT or mqtts",
        ),
        ("gw:4443", "`gw:4443` is not a gateway's URL"),
        ("quic://gw", "`quic://gw` names no port; write quic://gw:4443"),
        ("mqtt://[::1]", "`mqtt://[::1]` names no port; write mqtt://[::1]:1883"),
        ("mqtts://gw:", "has a bad port ``"),
        ("quic://gw:70000", "`quic://gw:70000` has a bad port `70000`; write a number from 1 to 65535"),
        ("quic://gw:0", "has a bad port `0`"),
        (
            "quic://:4443",
            "`quic://:4443` names no host; write quic://HOST:PORT, as in quic://gateway.example:4443",
        ),
        ("quic://a b:1", "names no host"),
        ("quic://[::zz]:1", "names no host"),
        ("quic://::1:4443", "names no host"),
        ("quic://gw:1/path", "goes on after the port with `/path`"),
        ("mqtt://me:hunter2@gw:1883", "the gateway's URL for `gw:1883` has a user or password in it"),
    ] {
        let sentence = text.parse::<GatewayUrl>().unwrap_err().to_string();
        assert!(sentence.contains(expected), "{text}: {sentence}");
        assert!(!sentence.contains("hunter2"));
    }
}

#[test]
fn gateway_urls_round_trip() {
    for text in ["quic://127.0.0.1:4443", "mqtt://gw.example:1883", "mqtts://[2001:db8::1]:8883"] {
        assert_eq!(text.parse::<GatewayUrl>().unwrap().to_string(), text);
    }
    let v6: GatewayUrl = "quic://[::1]:4443/".parse().unwrap();
    assert_eq!((v6.host(), v6.port(), v6.is_encrypted()), ("::1", 4443, true));
}

#[test]
fn inputs_round_trip() {
    for text in [
        "host",
        "stdin",
        "file:/log.ndjson.gz",
        "file:log?speed=1",
        "file:log?speed=0.5&shift=now",
        "file:log?shift=now",
        "file:what?.ndjson?",
        "file:c:/windows",
        "unix:/run/muster.sock",
        "udp:[::1]:9000",
    ] {
        assert_eq!(text.parse::<Input>().unwrap().to_string(), text);
    }
    let shifted = "file:log?shift=now&speed=8".parse().unwrap();
    assert_eq!(Input::File { path: "log".into(), speed: Some(8.0), shift_now: true }, shifted);
}

#[test]
fn an_input_is_refused_with_the_forms_that_would_be_right() {
    for (text, expected) in [
        ("tcp:1.2.3.4:5", "`tcp:1.2.3.4:5` is not an input; write host, stdin, file:PATH"),
        ("", "`` is not an input"),
        ("host:", "`host:` is not an input"),
        ("file:", "`file:` names no path; write file:PATH"),
        ("file:?speed=1", "names no path"),
        ("unix:", "`unix:` names no path; write unix:PATH"),
        ("udp:9000", "`udp:9000` names no address; write udp:IP:PORT, as in udp:127.0.0.1:9000"),
        ("file:a?speed=0", "has the parameter `speed=0`; a file knows speed=N with N above 0, and shift=now"),
        ("file:a?speed=-1", "the parameter `speed=-1`"),
        ("file:a?speed=nan", "the parameter `speed=nan`"),
        ("file:a?speed=inf", "the parameter `speed=inf`"),
        ("file:a?speed=1&speed=2", "the parameter `speed=2`"),
        ("file:a?sped=1", "the parameter `sped=1`"),
        ("file:a?shift=yesterday", "the parameter `shift=yesterday`"),
    ] {
        let sentence = text.parse::<Input>().unwrap_err().to_string();
        assert!(sentence.contains(expected), "{text}: {sentence}");
    }
}

#[test]
fn a_bad_unit_or_lane_of_a_channel_is_refused() {
    let refused = |file: &str| config(file).unwrap_err().to_string();
    assert!(refused("[[channel]]\nmatch = \"a\"\nunit = \"\"").contains("number 1: unit = \"\": not a unit"));
    assert!(refused("[[channel]]\nmatch = \"a\"\nlane = \"fast\"").contains("number 1: lane = \"fast\": "));
    assert!(refused("[[channel]]\nmatch = \"\"").contains("a pattern of 0 bytes"));
}

proptest! {
    #[test]
    fn no_text_panics_and_what_parses_round_trips(text in "(quic|mqtts?|file|udp|unix)?:?/{0,2}[ -~]{0,20}") {
        if let Ok(url) = text.parse::<GatewayUrl>() {
            prop_assert_eq!(url.to_string().parse(), Ok(url));
        }
        if let Ok(input) = text.parse::<Input>() {
            prop_assert_eq!(input.to_string().parse(), Ok(input));
        }
    }
}
