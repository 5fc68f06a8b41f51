//! What `examples/deploy` offers, tried against a real Prometheus and a real gateway.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use muster_tests::{
    gateway::{Gateway, Transport},
    outside::there,
    patience::{PATIENCE, wait_for, wait_until, wait_within},
    process::Which,
    prometheus::Prometheus,
};
use serde_json::Value;

use crate::scene;

#[test]
fn the_rules_are_valid_and_call_when_they_should() {
    if !there("promtool", "prometheus") {
        return;
    }
    for args in [["check", "config", "prometheus.yml"], ["test", "rules", "rules.test.yml"]] {
        let output = Command::new("promtool").args(args).current_dir(folder()).output().unwrap();
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert!(output.status.success(), "promtool {args:?}: {said:?}");
    }
}

#[test]
fn each_alert_names_a_section_of_the_runbook() {
    let rules = file("rules.yml");
    let runbook = fs::read_to_string(folder().join("../../RUNBOOK.md")).unwrap();
    let anchors: BTreeSet<String> = runbook
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-"))
        .collect();
    let named = |line: &str| {
        Some(line.trim().strip_prefix("runbook: \"RUNBOOK.md#")?.trim_end_matches('"').to_owned())
    };
    let sections: Vec<String> = rules.lines().filter_map(named).collect();
    assert_eq!(sections.len(), rules.matches("- alert:").count());
    for section in sections {
        assert!(section == "{{ $labels.code }}" || anchors.contains(&section), "{section}");
    }
}

#[test]
fn a_prometheus_scrapes_a_gateway_and_finds_all_that_rules_and_dashboard_name() {
    if !there("prometheus", "prometheus") {
        return;
    }
    let scene = scene();
    let mut gateway = scene.gateway();
    let file = scene.file("rows.ndjson", "{\"ch\":\"a\",\"v\":1}\n");
    scene.agent("deploy/r1").to(&gateway, Transport::Quic).file(&file).once().deliver();
    let prometheus = Prometheus::start(&scene, &config(&gateway));
    wait_until("the gateway is up", || value(&prometheus, "up{job=\"muster\"}") == Some(1.0));
    wait_until("the robot is counted", || value(&prometheus, "muster_robots") == Some(1.0));
    let named = named();
    assert!(named.len() > 40, "{named:?}");
    let mut missing = Vec::new();
    // Some begin with the first scrape that was answered.
    let all = wait_within(PATIENCE, || {
        let names = prometheus.ask("/api/v1/label/__name__/values")?;
        let scraped: BTreeSet<&str> = names.as_array()?.iter().filter_map(Value::as_str).collect();
        missing = named.iter().filter(|name| !scraped.contains(name.as_str())).cloned().collect();
        missing.is_empty().then_some(())
    });
    assert!(all.is_some(), "{missing:?} are not in what was scraped");
    assert!(!prometheus.said().contains("level=warn"), "{}", prometheus.said());

    // A condition of the gateway is an alert that waits for its minute.
    let conditions = |code: &str| value(&prometheus, &format!("muster_conditions{{code=\"{code}\"}}"));
    wait_until("a robot that is down is a condition there too", || conditions("link_down") == Some(1.0));
    gateway.kill();
    let alert = wait_for("a gateway that does not answer is an alert", || {
        let alerts = prometheus.ask("/api/v1/alerts")?["alerts"].as_array()?.clone();
        alerts.into_iter().find(|alert| alert["labels"]["alertname"] == "MusterGatewayDown")
    });
    assert_eq!(alert["annotations"]["runbook"], "RUNBOOK.md#the-gateway-does-not-answer", "{alert}");
}

#[test]
fn the_dashboard_can_be_imported_and_asks_the_data_source_that_is_chosen() {
    let dashboard: Value = file("grafana-dashboard.json").parse().unwrap();
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    assert!(variables.iter().any(|one| one["name"] == "datasource" && one["type"] == "datasource"));
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "each panel has an id of its own");
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        let title = panel["title"].as_str().unwrap();
        assert!(
            !title.is_empty() && panel["description"].as_str().is_some_and(|text| !text.is_empty()),
            "{title}"
        );
        let place = &panel["gridPos"];
        assert!(place["x"].as_u64().unwrap() + place["w"].as_u64().unwrap() <= 24, "{title}");
        for target in panel["targets"].as_array().unwrap() {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
            assert!(target["expr"].as_str().is_some_and(|expr| expr.contains("$instance")), "{title}");
        }
    }
}

#[test]
fn units_start_the_programs_as_they_are_called() {
    for (program, which) in [("muster-gateway", Which::Gateway), ("muster-agent", Which::Agent)] {
        let text = file(&format!("{program}.service"));
        let start = text.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
        let mut words = start.split(' ');
        assert_eq!(words.next(), Some(format!("/usr/local/bin/{program}").as_str()));
        let flags: Vec<&str> = words.filter(|word| word.starts_with("--")).collect();
        let scene = scene();
        let help = scene.run(which, &["--help"]);
        let help = String::from_utf8_lossy(&help.stdout).into_owned();
        assert!(flags.iter().all(|flag| help.contains(flag)), "{flags:?}: {help}");
    }
}

/// Returns the offered configuration with this gateway as its target, and no patience.
fn config(gateway: &Gateway) -> String {
    let rules = folder().join("rules.yml");
    let target = gateway.http().trim_start_matches("http://").to_owned();
    let offered = file("prometheus.yml");
    assert!(offered.contains("localhost:8080") && offered.contains("- rules.yml"), "{offered}");
    let here =
        offered.replace("localhost:8080", &target).replace("- rules.yml", &format!("- {}", rules.display()));
    here.replace(": 15s", ": 1s")
}

/// Returns the value of an expression that has one.
fn value(prometheus: &Prometheus, expression: &str) -> Option<f64> {
    let encoded = expression.bytes().fold(String::new(), |encoded, byte| encoded + &format!("%{byte:02x}"));
    let answer = prometheus.ask(&format!("/api/v1/query?query={encoded}"))?;
    answer["result"][0]["value"][1].as_str()?.parse().ok()
}

/// Returns the metrics that the rules and the dashboard name.
fn named() -> BTreeSet<String> {
    let texts = [file("rules.yml"), file("grafana-dashboard.json")];
    let mut names = BTreeSet::new();
    for text in &texts {
        for word in text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_') {
            let is_metric = word.starts_with("muster_") || word.starts_with("process_");
            names.extend(is_metric.then(|| word.to_owned()));
        }
    }
    names
}

fn file(name: &str) -> String {
    fs::read_to_string(folder().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("examples/deploy")
}
