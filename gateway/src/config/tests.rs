use serde_json::Value;

use super::*;
use crate::fleet::Level;

fn config(file: &str) -> Result<Config, ConfigError> {
    let mut settings = Settings::defaults(&PROGRAM);
    settings.read_file(file, "gateway.toml")?;
    Config::from_settings(&settings)
}

fn refused(file: &str) -> String {
    config(file).unwrap_err().to_string()
}

fn names(tree: &Value, level: &str) -> Vec<String> {
    let below = |(name, value): (&String, &Value)| match value {
        Value::Object(_) => names(value, &format!("{level}{name}.")),
        _ => vec![format!("{level}{name}")],
    };
    tree.as_object().unwrap().iter().flat_map(below).collect()
}

#[test]
fn every_field_is_a_key_and_every_key_a_field() {
    let mut fields = names(&serde_json::to_value(Config::default()).unwrap(), "");
    let mut keys: Vec<_> = PROGRAM.keys.iter().map(|key| key.name.to_owned()).collect();
    fields.sort();
    keys.sort();
    assert_eq!(fields, keys);
}

#[test]
fn the_defaults_go_together_and_are_those_of_the_contract() {
    let config = Config::default();
    config.check().unwrap();
    let listeners = [config.http, config.quic, config.mqtt.listen].map(|listen| listen.to_string());
    assert_eq!(listeners, ["127.0.0.1:8080", "127.0.0.1:4443", "127.0.0.1:1883"]);
    assert_eq!(config.data_dir, PathBuf::from("./muster-data"));
    assert_eq!(config.session.silence.to_string(), "45s");
    assert_eq!(config.store.quota().to_string(), "80GiB");
}

#[test]
fn a_listener_that_others_reach_is_refused_unless_the_risk_is_taken() {
    assert_eq!(
        refused("mqtt = \"0.0.0.0:1883\""),
        "mqtt = \"0.0.0.0:1883\" can be reached from other machines, and nothing there is authenticated: use a \
         loopback address, as in --mqtt 127.0.0.1:1883, or take the risk with --insecure-listen"
    );
    assert!(refused("http = \"[::]:80\"").contains("as in --http [::1]:80, or"));
    assert!(refused("quic = \"192.168.1.2:0\"").contains("quic = \"192.168.1.2:0\""));
    config("http = \"0.0.0.0:80\"\ninsecure_listen = true").unwrap();
    for loopback in ["127.8.9.10:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "none"] {
        config(&format!("http = \"{loopback}\"")).unwrap();
    }
}

#[test]
fn a_listener_is_an_address_or_none() {
    assert_eq!(config("http = \"none\"").unwrap().http, Listen::Off);
    for text in ["", ":8080", "8080", "localhost:8080", "127.0.0.1", "off", "127.0.0.1:99999"] {
        let sentence = refused(&format!("http = \"{text}\""));
        assert!(
            sentence.contains("not an address; write IP:PORT, as in 127.0.0.1:8080"),
            "{text}: {sentence}"
        );
    }
}

#[test]
fn a_broker_has_a_url_and_the_listener_both_its_forms() {
    let told =
        config("[mqtt]\nlisten = \"none\"\n[mqtt.broker]\nurl = \"mqtt://broker.example:1883\"").unwrap();
    assert_eq!(told.mqtt.listen, Listen::Off);
    let url = told.mqtt.broker.url.unwrap();
    assert_eq!((url.host(), url.port()), ("broker.example", 1883));
    assert_eq!(config("mqtt = \"none\"").unwrap().mqtt.listen, Listen::Off);
    assert_eq!(config("").unwrap().mqtt.broker.url, None);
    assert!(refused("mqtt.broker.password_file = \"p\"").contains("username is not: set both"));
    assert!(refused("[mqtt.broker]\nurl = \"mqtts://b:8883\"").contains("write mqtt://HOST:PORT"));
    assert!(refused("[mqtt.broker]\nclient_id = \"\"").contains("write 1 to 64"));
}

#[test]
fn channels_that_belong_together_stand_side_by_side() {
    let defaults = Config::default().mapping();
    let first = &defaults.positions[0];
    assert_eq!(
        (first.latitude.to_string(), first.longitude.to_string()),
        ("/fix.lat".into(), "/fix.lon".into())
    );
    assert_eq!(defaults.positions.iter().filter(|source| source.altitude.is_none()).count(), 0);
    assert_eq!(
        defaults.poses.iter().filter(|pose| pose.heading.is_none() || pose.frame.is_none()).count(),
        0
    );
    assert_eq!(defaults.batteries.iter().filter(|battery| battery.charging.is_none()).count(), 1);
    let told =
        "[map]\nlatitude = [\"a\", \"b*1e-7\"]\nlongitude = [\"c\", \"d*1e-7\"]\naltitude = [\"-\", \"e\"]";
    let mapping = config(told).unwrap().mapping();
    assert_eq!(mapping.positions[0].altitude, None);
    assert_eq!(mapping.positions[1].longitude.factor, Some(1e-7));
    assert_eq!(config("map.health = []").unwrap().mapping().healths, []);
    assert_eq!(
        refused("map.latitude = \"a\""),
        "map.latitude has 1 channels and map.longitude has 9: they stand side by side, so give one for one, and - for \
         a part that is not there"
    );
    assert!(refused("map.charge = \"a\"").starts_with("map.charging has 9 channels and map.charge has 1"));
    assert!(refused("map.charge = \"a*0\"").contains("give a factor that is finite and not 0"));
    let many = format!("map.version = [{}]", "\"v\",".repeat(33));
    assert!(refused(&many).starts_with("map.version has 33 entries, and may have 32"));
}

#[test]
fn a_threshold_has_a_name_a_channel_and_a_bound() {
    let rule =
        |more: &str| format!("[[threshold]]\nname = \"low battery\"\nchannel = \"battery.soc\"\n{more}");
    let told = config(&rule("below = 0.2\nlevel = \"error\"")).unwrap().mapping();
    assert_eq!((told.thresholds[0].bounds.below, told.thresholds[0].level), (Some(0.2), Level::Error));
    let told = config(&rule("above = 80")).unwrap().mapping();
    assert_eq!((told.thresholds[0].bounds.above, told.thresholds[0].level), (Some(80.0), Level::Warn));
    assert!(refused(&rule("")).contains("\"low battery\" has neither below nor above"));
    assert!(refused(&rule("below = nan")).contains("neither below nor above"));
    assert!(refused(&rule("below = \"x\"")).contains("write a number, as in 0.2"));
    assert!(refused(&rule("level = \"stale\"")).contains("expected `warn` or `error`"));
    assert!(refused("[[threshold]]\nchannel = \"a\"\nbelow = 1").contains("has no name: give it a name"));
}

#[test]
fn a_part_that_is_larger_than_its_whole_is_refused_with_both() {
    assert_eq!(
        refused("store.partition_size = \"1GiB\"\nstore.retention_size = \"1GiB\""),
        "store.partition_size = \"1GiB\" is too large for store.retention_size = \"1GiB\": it has to fit in 2 times"
    );
    assert!(
        refused("store.quota_size = \"63GiB\"").contains("store.retention_size = \"64GiB\" is too large")
    );
    assert!(refused("commit.queue_size = \"1MiB\"").contains("commit.group_size = \"4MiB\" is too large"));
}

#[test]
fn a_greater_retention_takes_the_quota_with_it() {
    let config = config("store.retention_size = \"100GiB\"").unwrap();
    assert_eq!(config.store.quota().to_string(), "125GiB");
}

#[test]
fn what_is_printed_gives_the_same_configuration_again() {
    let text = "data_dir = \"/var/lib/muster\"\nquic = \"none\"\n[store]\nretention_size = \"10GB\"\n\
        quota_size = \"11GB\"\n[session]\nmax = 7\n[log]\nformat = \"json\"\n";
    let mut settings = Settings::defaults(&PROGRAM);
    settings.read_file(text, "gateway.toml").unwrap();
    assert_eq!(config(&settings.print()), config(text));
    assert!(settings.print().contains("quic = \"none\""));
}
