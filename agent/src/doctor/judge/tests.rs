use std::time::Duration;

use muster_protocol::time::WallTime;

use super::*;
use crate::{
    doctor::{
        certificate::Validity,
        facts::{
            AgentFacts, Answer, CaFacts, ClockFacts, Folder, GatewayFacts, InputFacts, InputState, Medium,
            SpoolFacts,
        },
        json, lines,
    },
    link::greeting::NoGreeting,
    status::{Lane, Refused, Report},
};

type Change = dyn Fn(&mut SpoolFacts);

const NOW: i64 = 1_790_000_000;
const DAY: i64 = 86_400;

fn good() -> Answer {
    let certificate = Some(Validity { from: 0, until: NOW + 400 * DAY });
    Answer::Good { took: Duration::from_micros(1_800), certificate }
}

fn gateway(url: &str, answer: Answer) -> GatewayFacts {
    let addresses = Ok(vec![("192.0.2.7:4443".to_owned(), answer)]);
    GatewayFacts { url: url.parse().unwrap(), addresses }
}

/// Everything as it should be.
fn well() -> Facts {
    Facts {
        problem: None,
        robot: "f/r".to_owned(),
        clock: ClockFacts { wall: WallTime(NOW * 1_000_000_000), synchronised: true },
        ca: Some(CaFacts {
            path: "ca.pem".to_owned(),
            certificates: Ok(vec![Some(Validity { from: 0, until: NOW + 400 * DAY })]),
        }),
        gateways: vec![gateway("quic://gw:4443", good())],
        spool: SpoolFacts {
            dir: "/var/spool".to_owned(),
            folder: Folder::There,
            limit_bytes: 1 << 30,
            used_bytes: 1 << 20,
            free_bytes: Some(8 << 30),
            sync: Ok(Duration::from_millis(4)),
            medium: Medium::Card,
        },
        inputs: vec![InputFacts { input: "host".to_owned(), state: InputState::Ready }],
        agent: AgentFacts::None,
    }
}

fn report() -> Report {
    let text = r#"{"version":"0.1.0","robot":"f/r","running_ms":9,"lanes":[],"refused":[],
        "link":{"state":"up","since_ms":1,"next_attempt_ms":null,"gateway":null,"transport":null,
            "last_ack_ms":null,"failures":0,"why_not":null},
        "clock":{"wall":0,"time":"","synchronised":true},
        "uplink":{"today":0,"this_month":0,"sends":"everything","durable":true,"limits":{"per_second":null,
            "per_day":null,"per_month":null,"urgent_reserve_percent":10}},
        "channels":{"top":[],"rest":{"channel":"","today":0,"since_start":0}},
        "spool":{"dir":"d","bytes":0,"limit":0,"fault":null}}"#;
    serde_json::from_str(text).unwrap()
}

/// Returns the only finding that is not well.
fn finding(change: impl FnOnce(&mut Facts)) -> Finding {
    let mut facts = well();
    change(&mut facts);
    let bad: Vec<_> = judge(&facts).into_iter().filter(|finding| finding.level > Level::Ok).collect();
    assert_eq!(bad.len(), 1, "{bad:?}");
    bad.into_iter().next().unwrap()
}

fn assert_says(finding: &Finding, level: Level, check: &str, words: &[&str]) {
    let line = lines(std::slice::from_ref(finding));
    assert_eq!((finding.level, finding.check), (level, check), "{line}");
    for word in words {
        assert!(line.contains(word), "`{word}` is missing in {line}");
    }
    assert!(finding.remedy.is_some() || check == "configuration" || check == "agent", "what to do: {line}");
    assert_eq!(line.lines().count(), 1);
}

#[test]
fn a_robot_that_is_well_has_a_line_for_each_look_and_nothing_to_do() {
    let findings = judge(&well());
    assert_eq!(worst(&findings), Level::Ok);
    let checks: Vec<_> = findings.iter().map(|finding| finding.check).collect();
    assert_eq!(checks, ["configuration", "clock", "ca", "gateway", "spool", "disk", "input", "agent"]);
    assert!(lines(&findings).lines().all(|line| line.starts_with("ok    ")), "{}", lines(&findings));
    assert!(
        json(&findings)
            .starts_with(r#"{"level":"ok","findings":[{"check":"configuration","subject":"","level":"ok""#)
    );
}

#[test]
fn each_answer_of_a_gateway_has_its_finding() {
    use NoGreeting::{Nobody, Refused, Silent, Stranger, Unreachable, Untrusted};
    for (answer, words) in [
        (Answer::Bad(Nobody), &["no program takes UDP at 192.0.2.7:4443", "ready line shows quic="][..]),
        (Answer::Bad(Silent), &["does not answer over UDP", "firewall"]),
        (Answer::Bad(Unreachable("no route".to_owned())), &["cannot be reached: no route", "network"]),
        (Answer::Bad(Untrusted("UnknownIssuer".to_owned())), &["not trusted: UnknownIssuer", "copy ca.pem"]),
        (
            Answer::Bad(Untrusted("it has expired".to_owned())),
            &["expired", "renew the gateway's certificate"],
        ),
        (Answer::Bad(Untrusted("not valid for name".to_owned())), &["use a name or address"]),
        (Answer::Bad(Stranger("it speaks nonsense".to_owned())), &["it speaks nonsense", "check the port"]),
        (Answer::Bad(Refused(5)), &["return code 5", "user and password"]),
    ] {
        let found = finding(|facts| facts.gateways[0] = gateway("quic://gw:4443", answer));
        assert_says(&found, Level::Fail, "gateway", words);
    }
    let mqtt = gateway("mqtt://gw:1883", Answer::Bad(Nobody));
    let found = finding(|facts| facts.gateways[0] = mqtt);
    assert_says(&found, Level::Fail, "gateway", &["no program takes TCP", "ready line shows mqtt="]);
    let found = finding(|facts| facts.gateways[0].addresses = Err("no such host".to_owned()));
    assert_says(&found, Level::Fail, "gateway", &["quic://gw:4443", "no such host", "DNS"]);
    let found = finding(|facts| facts.gateways[0].addresses = Ok(Vec::new()));
    assert_says(&found, Level::Fail, "gateway", &["resolves to nothing", "DNS"]);
    let soon = Some(Validity { from: 0, until: NOW + 3 * DAY });
    let answer = Answer::Good { took: Duration::ZERO, certificate: soon };
    let found = finding(|facts| facts.gateways[0] = gateway("quic://gw:4443", answer));
    assert_says(&found, Level::Warn, "gateway", &["expires in 3 days", "renew"]);
}

#[test]
fn a_way_that_does_not_work_is_a_warning_while_another_does() {
    let dead = gateway("mqtt://gw:1883", Answer::Bad(NoGreeting::Silent));
    let found = finding(|facts| facts.gateways.push(dead.clone()));
    assert_says(
        &found,
        Level::Warn,
        "gateway",
        &["mqtt://gw:1883", "does not answer over TCP", "another way works"],
    );
    let mut facts = well();
    facts.gateways = vec![dead.clone(), dead];
    assert_eq!(judge(&facts).iter().filter(|finding| finding.level == Level::Fail).count(), 2);
}

#[test]
fn trusted_certificates_are_looked_at() {
    let with = |certificates: Result<Vec<Option<Validity>>, String>| {
        finding(|facts| facts.ca.as_mut().unwrap().certificates = certificates)
    };
    let valid = |from, until| Ok(vec![Some(Validity { from: NOW + from, until: NOW + until })]);
    assert_says(
        &with(Err("no such file".to_owned())),
        Level::Fail,
        "ca",
        &["ca.pem", "no such file", "copy"],
    );
    assert_says(&with(valid(-9, -1)), Level::Fail, "ca", &["expired", "gateway has now"]);
    assert_says(&with(valid(1, 9)), Level::Fail, "ca", &["not valid yet", "set the clock"]);
    assert_says(&with(valid(-9, 30 * DAY)), Level::Warn, "ca", &["expires in 30 days"]);
    let mut facts = well();
    (facts.ca, facts.gateways) = (None, vec![gateway("quic://gw:4443", Answer::NoCa)]);
    let bad: Vec<_> = judge(&facts).into_iter().filter(|finding| finding.level > Level::Ok).collect();
    assert_says(&bad[0], Level::Fail, "ca", &["none is named", "quic://gw:4443", "--ca FILE"]);
    facts.gateways = vec![gateway("mqtt://gw:1883", good())];
    assert_eq!(worst(&judge(&facts)), Level::Ok, "plain MQTT needs none");
}

#[test]
fn the_robot_s_own_troubles_have_their_findings() {
    let clock =
        |wall, synchronised| finding(|facts| facts.clock = ClockFacts { wall: WallTime(wall), synchronised });
    assert_says(
        &clock(NOW * 1_000_000_000, false),
        Level::Warn,
        "clock",
        &["not say that it is synchronised"],
    );
    let mut facts = well();
    facts.clock.wall = WallTime(0);
    assert!(lines(&judge(&facts)).contains("FAIL  clock: it shows 1970-01-01"), "{}", lines(&judge(&facts)));

    let changes: [(&Change, Level, &str, &str); 9] = [
        (&|spool| spool.folder = Folder::OfGateway, Level::Fail, "spool", "data folder"),
        (&|spool| spool.folder = Folder::File, Level::Fail, "spool", "a file, not a folder"),
        (
            &|spool| spool.sync = Err("read-only".to_owned()),
            Level::Fail,
            "disk",
            "cannot be written: read-only",
        ),
        (
            &|spool| spool.free_bytes = Some(512 << 20),
            Level::Warn,
            "disk",
            "512.0 MiB are free, and the spool may grow by 1023.0 MiB",
        ),
        (&|spool| spool.free_bytes = Some(1000), Level::Fail, "disk", "1000 bytes are free"),
        (
            &|spool| spool.sync = Ok(Duration::from_millis(300)),
            Level::Warn,
            "disk",
            "took 300 ms on an SD card",
        ),
        (&|spool| spool.sync = Ok(Duration::from_secs(3)), Level::Fail, "disk", "took 3000 ms"),
        (&|spool| spool.medium = Medium::Memory, Level::Warn, "disk", "is in memory"),
        (&|spool| spool.medium = Medium::Layer, Level::Warn, "disk", "a container's own layer"),
    ];
    for (change, level, check, words) in changes {
        assert_says(&finding(|facts| change(&mut facts.spool)), level, check, &[words, "/var/spool"]);
    }
    let found = finding(|facts| facts.problem = Some("robot is missing: say who".to_owned()));
    assert_says(&found, Level::Fail, "configuration", &["robot is missing"]);
    assert_eq!(unusable("bad".to_owned()).level, Level::Fail);
}

#[test]
fn inputs_that_cannot_start_are_told_and_those_of_a_running_agent_are_not() {
    let with = |state: InputState, agent: AgentFacts| {
        let mut facts = well();
        facts.inputs[0].state = state;
        facts.agent = agent;
        judge(&facts).into_iter().find(|finding| finding.check == "input").unwrap()
    };
    let unusable = InputState::Unusable("cannot be read: no such file".to_owned());
    assert_says(&with(unusable, AgentFacts::None), Level::Fail, "input", &["host", "no such file"]);
    assert_says(&with(InputState::Taken, AgentFacts::None), Level::Fail, "input", &["another program"]);
    assert_eq!(with(InputState::Taken, AgentFacts::Runs(Box::new(report()))).level, Level::Ok);
    assert_says(
        &finding(|facts| facts.inputs.clear()),
        Level::Warn,
        "input",
        &["nothing is recorded", "--input"],
    );
}

#[test]
fn a_running_agent_is_asked() {
    let with = |change: &dyn Fn(&mut Report)| {
        let mut report = report();
        change(&mut report);
        let mut facts = well();
        facts.agent = AgentFacts::Runs(Box::new(report));
        judge(&facts).pop().unwrap()
    };
    assert_says(&with(&|_| ()), Level::Ok, "agent", &["f/r", "link up", "0 samples wait"]);
    let fault = with(&|report| report.spool.fault = Some("it failed".to_owned()));
    assert_says(&fault, Level::Fail, "agent", &["in memory only: it failed", "mend the disk"]);
    let down = with(&|report| {
        report.link.state = "waiting".to_owned();
        report.link.why_not = Some("no route".to_owned());
    });
    assert_says(&down, Level::Warn, "agent", &["without a link", "no route"]);
    let again = with(&|report| {
        report.link.state = "waiting".to_owned();
        report.link.next_attempt_ms = Some(1500);
        report.link.why_not = Some("no route".to_owned());
    });
    assert_says(&again, Level::Warn, "agent", &["no route; it tries again in 1.5 s"]);
    // The gateway was stopped in order, and a backlog gathers until it is this robot's turn.
    let spread = with(&|report| {
        report.link.state = "waiting".to_owned();
        (report.link.since_ms, report.link.next_attempt_ms) = (Some(2000), Some(7200));
        report.lanes = vec![Lane { lane: "live".to_owned(), samples: 120, bytes: 9, lost: 0 }];
    });
    assert_says(
        &spread,
        Level::Ok,
        "agent",
        &["120 samples wait", "the gateway ended the session", "in 7.2 s"],
    );
    let first = with(&|report| {
        report.link.state = "connecting".to_owned();
        report.link.since_ms = None;
    });
    assert_says(&first, Level::Warn, "agent", &["connecting, no session yet"]);
    let lane = Lane { lane: "live".to_owned(), samples: 5, bytes: 0, lost: 7 };
    assert_says(
        &with(&|report| report.lanes = vec![lane.clone()]),
        Level::Warn,
        "agent",
        &["lost 7 samples"],
    );
    let refused = Refused {
        input: "stdin".to_owned(),
        reason: "not_json".to_owned(),
        lane: None,
        count: 3,
        line: 1,
        example: String::new(),
        why: "not JSON".to_owned(),
    };
    let told = with(&|report| report.refused = vec![refused.clone()]);
    assert_says(&told, Level::Warn, "agent", &["refused 3 lines", "stdin: not JSON"]);
    let found = finding(|facts| facts.agent = AgentFacts::Mute("belongs to another user".to_owned()));
    assert_says(&found, Level::Warn, "agent", &["another user"]);
}
