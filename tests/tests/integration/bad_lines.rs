//! Lines that are not samples, and settings that are none: each is named once, and what is good around it is kept.

use muster_tests::{gateway::Transport, process::Which};

use crate::scene;

/// Good lines around bad ones, each of another kind.
fn mixed() -> Vec<u8> {
    let good = |n: u32| format!("{{\"t\":{n},\"ch\":\"n\",\"v\":{n}}}\n").into_bytes();
    let huge = [&b"{\"t\":0,\"ch\":\"n\",\"v\":\""[..], &vec![b'x'; 10_000_000], b"\"}\n"].concat();
    let bad: [&[u8]; 5] = [
        b"{\"t\":0,\"ch\":\"n\"\n",
        &huge,
        b"{\"t\":0,\"ch\":\"n\",\"v\":\"\xff\xfe\"}\n",
        b"{\"t\":\"noon\",\"ch\":\"n\",\"v\":1}\n",
        b"[1,2]\n",
    ];
    let mut text = good(0);
    for (n, bad) in bad.iter().enumerate() {
        text.extend_from_slice(bad);
        text.extend(good(u32::try_from(n).unwrap() + 1));
    }
    text
}

/// What has to be said of the bad lines: where it stands, and what to do.
const SAID: [[&str; 2]; 5] = [
    ["line 2:", "write one whole JSON object in each line"],
    ["a line of 10000023 bytes; at most", "send the values in several lines"],
    ["byte 21 of the line is not UTF-8", "encode text as UTF-8"],
    ["`t` is not a time", "write nanoseconds since 1970 as an integer, or RFC 3339"],
    ["JSON, but not an object", "write {\"ch\": \"NAME\", \"v\": VALUE}"],
];

#[test]
fn bad_lines_of_a_file_are_named_with_a_remedy_and_the_good_ones_are_stored() {
    let scene = scene();
    let gateway = scene.gateway();
    let log = scene.file("mixed.ndjson", mixed());
    let (code, said) = scene.agent("lines/file").to(&gateway, Transport::Quic).file(&log).once().run();
    assert_eq!(code, Some(0), "what was never accepted is not lost: {said}");
    assert_all_named(&said);
    assert_eq!(gateway.sample_lines("lines/file").lines().count(), 6);
}

#[test]
fn bad_lines_on_a_pipe_are_named_with_a_remedy_and_the_good_ones_are_stored() {
    use std::io::Write as _;

    let scene = scene();
    let gateway = scene.gateway();
    let plan = scene.agent("lines/pipe").to(&gateway, Transport::Mqtt).input("stdin").once();
    let mut agent = plan.start();
    let mut stdin = agent.take_stdin();
    stdin.write_all(&mixed()).unwrap();
    drop(stdin);
    assert_eq!(agent.wait().code(), Some(0), "{}", agent.said());
    assert_all_named(&agent.said());
    assert_eq!(gateway.sample_lines("lines/pipe").lines().count(), 6);
}

fn assert_all_named(said: &str) {
    let refused: Vec<_> = said.lines().filter(|line| line.contains("refused: ")).collect();
    assert_eq!(refused.len(), SAID.len(), "one sentence for each kind: {said}");
    for (line, [thing, remedy]) in refused.iter().zip(SAID) {
        assert!(
            line.contains(thing) && line.contains(remedy),
            "{line}\n  names neither {thing} nor {remedy}"
        );
        assert!(line.len() < 1000, "a long line is not shown whole");
    }
}

#[test]
fn unknown_keys_of_either_programs_configuration_are_refused_with_the_nearest_known_one() {
    let scene = scene();
    let table = [
        (Which::Gateway, "[session]\nsilense = \"5s\"\n", "session.silence", &[][..]),
        (Which::Agent, "[spool]\nlimmit = \"1GiB\"\n", "spool.limit", &["--robot", "a/b"][..]),
    ];
    for (which, text, nearest, args) in table {
        let file = scene.file("config.toml", text);
        let output = scene.run(which, &[&["--config", file.to_str().unwrap()], args].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains("unknown key") && said.contains("line 2") && said.contains(nearest), "{said}");
    }
}
