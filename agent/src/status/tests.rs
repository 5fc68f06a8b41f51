use std::{fs, os::unix::fs::PermissionsExt as _};

use super::*;
use crate::{config::Config, handle::Agent};

fn agent(spool: &Path) -> Agent {
    let mut config = Config::new(&"demo/r1".parse().unwrap());
    config.spool.dir = spool.to_owned();
    // Nobody listens there: everything is spooled.
    config.gateway = vec!["mqtt://127.0.0.1:9".parse().unwrap()];
    Agent::start(config).unwrap()
}

#[test]
fn a_running_agent_says_how_it_is_to_its_user_alone() {
    let folder = tempfile::tempdir().unwrap();
    let spool = folder.path().join("spool");
    let running = agent(&spool);
    running.recorder().record("battery.soc", 0.81).unwrap();
    running.recorder().record("pose.x", 3).unwrap();
    running.flush(Duration::from_secs(60)).unwrap();
    let mode = fs::metadata(spool.join(SOCKET)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // What is accepted is known to the driver a moment later.
    let mut asked = (0..10_000).map(|_| ask(&spool).unwrap());
    let held = |report: &Report| report.lanes.iter().map(|lane| lane.samples).sum::<u64>();
    let (line, report) =
        asked.find(|(_, report)| held(report) == 2 && report.link.gateway.is_some()).unwrap();
    assert_eq!(report.robot, "demo/r1");
    assert_ne!(report.link.state, "up");
    assert_eq!(report.link.gateway.as_deref(), Some("mqtt://127.0.0.1:9"));
    assert_eq!(report.link.transport, Some(Transport::Mqtt));
    let live = report.lanes.iter().find(|lane| lane.lane == "live").unwrap();
    assert_eq!((live.samples, live.lost), (2, 0));
    assert!(live.bytes > 0);
    assert_eq!(report.channels.top.len(), 2);
    let sum: u64 = report.channels.top.iter().map(|cost| cost.today).sum();
    assert!(sum > 0 && report.channels.rest.since_start == 0);
    let again: Report = serde_json::from_str(&line).unwrap();
    assert_eq!(again, report);
    let printed = print(&report);
    for word in ["demo/r1", "mqtt://127.0.0.1:9", "battery.soc", "everything is sent"] {
        assert!(printed.contains(word), "{word} in\n{printed}");
    }
    running.shutdown().unwrap();
    assert!(matches!(ask(&spool), Err(StatusError::NotRunning { .. })));
}

#[test]
fn a_refused_line_is_shown_on_a_line_of_its_own_and_widens_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let spool = folder.path().join("spool");
    let running = agent(&spool);
    let (_, mut report) = ask(&spool).unwrap();
    let refused = |reason: &str, example: String| Refused {
        input: "stdin".to_owned(),
        reason: reason.to_owned(),
        lane: None,
        count: 12,
        line: 7,
        example,
        why: "the sentence".to_owned(),
    };
    report.refused = vec![refused("no_ch", "x".repeat(300)), refused("not_json", "{\u{1b}[31m".to_owned())];
    let printed = print(&report);
    let long = format!("stdin (no_ch), line 7: the sentence\n     {}\n", "x".repeat(300));
    assert!(printed.contains(&long), "{printed}");
    assert!(printed.contains("line 7: the sentence\n     { [31m\n"), "{printed}");
    let table = printed.lines().filter(|line| line.starts_with(" refused") || line.ends_with(" 12 "));
    assert!(table.clone().count() == 3 && table.clone().all(|line| line.len() < 60), "{printed}");
    running.shutdown().unwrap();
}

#[test]
fn what_was_left_out_as_absent_is_shown_by_channel_and_only_then() {
    let folder = tempfile::tempdir().unwrap();
    let spool = folder.path().join("spool");
    let running = agent(&spool);
    let (line, mut report) = ask(&spool).unwrap();
    assert!(report.absent.is_none() && !line.contains("absent"), "{line}");
    assert!(!print(&report).contains("absent"));
    let channel = |n: u64| ChannelAbsent { channel: format!("cell.{n}"), samples: n };
    report.absent = Some(Absent { samples: 1000, channels: (1..=20).map(channel).collect() });
    let printed = print(&report);
    let table: Vec<_> = printed.lines().skip_while(|line| !line.contains("left out as absent")).collect();
    let words: Vec<Vec<_>> = table.iter().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(words[1], ["cell.20", "20"], "{printed}");
    assert_eq!(words[17], ["all", "others", "800"], "1000 less 20, 19, .. 5: {printed}");
    running.shutdown().unwrap();
}

#[test]
fn the_socket_of_an_agent_that_was_killed_is_said_to_be_nobodys_and_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let spool = folder.path().join("spool");
    fs::create_dir(&spool).unwrap();
    drop(std::os::unix::net::UnixListener::bind(spool.join(SOCKET)).unwrap());
    let error = ask(&spool).unwrap_err().to_string();
    assert!(error.contains("no agent runs on the spool"), "{error}");
    let running = agent(&spool);
    ask(&spool).unwrap();
    running.shutdown().unwrap();
}

#[test]
fn what_keeps_it_from_asking_is_said_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let error = ask(&folder.path().join("none")).unwrap_err().to_string();
    assert!(error.contains("name the agent's with --spool DIR or --config FILE"), "{error}");
    let long = folder.path().join("x".repeat(120));
    fs::create_dir(&long).unwrap();
    let error = ask(&long).unwrap_err().to_string();
    assert!(error.contains("give the spool a shorter path"), "{error}");
}
