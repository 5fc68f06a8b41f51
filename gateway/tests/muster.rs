//! The program `muster` against a gateway that answers as written here: exit codes, sentences, files.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Command, Output, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::json;

/// A gateway of canned answers on a free port; it ends with the test's process.
struct Canned {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

/// One answer: its status, and its body; one that is cut ends its connection half way.
struct Answer {
    status: u16,
    body: String,
    cut: bool,
}

fn answer(body: impl Into<String>) -> Answer {
    Answer { status: 200, body: body.into(), cut: false }
}

impl Canned {
    fn start(answers: impl Fn(&str) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let head = request(&stream);
                let told = answers(head.split(' ').nth(1).unwrap_or_default());
                log.lock().unwrap().push(head);
                respond(stream, &told);
            }
        });
        Self { url, asked }
    }

    fn muster(&self, args: &[&str]) -> Output {
        muster(&[&["--url", &self.url], args].concat())
    }

    fn asked(&self) -> Vec<String> {
        let heads = self.asked.lock().unwrap();
        heads.iter().map(|head| head.split(' ').nth(1).unwrap().to_owned()).collect()
    }
}

fn request(stream: &TcpStream) -> String {
    let mut head = String::new();
    let mut reader = BufReader::new(stream);
    while reader.read_line(&mut head).is_ok_and(|n| n > 2) {}
    head
}

fn respond(mut stream: impl Write, told: &Answer) {
    let body = if told.cut { &told.body[..told.body.len() / 2] } else { &told.body };
    let mut text =
        format!("HTTP/1.1 {} X\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n", told.status);
    if !body.is_empty() {
        text = format!("{text}{:x}\r\n{body}\r\n", body.len());
    }
    if !told.cut {
        text.push_str("0\r\n\r\n");
    }
    let _ = stream.write_all(text.as_bytes()).and_then(|()| stream.flush());
}

fn muster(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
    command.args(args).env_remove("MUSTER_URL").env_remove("MUSTER_TOKEN_FILE").output().unwrap()
}

fn out(output: &Output) -> &str {
    str::from_utf8(&output.stdout).unwrap()
}

fn err(output: &Output) -> &str {
    str::from_utf8(&output.stderr).unwrap()
}

fn lines(samples: std::ops::Range<u32>) -> String {
    let line = |i| json!({"t": i, "ch": "x", "v": f64::from(i), "o": 1, "i": i}).to_string() + "\n";
    samples.map(line).collect()
}

/// A robot of a hundred samples, whose stream is cut in half when it is asked for from the start.
fn hundred(target: &str) -> Answer {
    let after = target.split_once("after=1%3A").or_else(|| target.split_once("after=1:"));
    match after {
        Some((_, after)) => answer(lines(after.parse::<u32>().unwrap() + 1..100)),
        None if target.contains("/samples") => Answer { cut: true, ..answer(lines(0..100)) },
        None => answer(json!({"robot": "a/b", "samples": 100, "loss": {"samples": 0}}).to_string()),
    }
}

#[test]
fn a_gateway_that_is_not_there_is_named_with_its_remedy() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = muster(&["--url", &format!("http://{free}"), "status"]);
    assert_eq!(output.status.code(), Some(1));
    let text = err(&output);
    assert!(text.contains(&free.to_string()) && text.contains("refused") && text.contains("--url"), "{text}");
    assert_eq!(text.lines().count(), 1, "one sentence");
}

#[test]
fn wrong_usage_exits_with_two() {
    for args in
        [&["robots", "-o", "xml"][..], &["export", "a/b", "-o", "x.parquet"], &["--url", "ftp://x", "status"]]
    {
        assert_eq!(muster(args).status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn a_problem_is_told_by_its_detail() {
    let problem =
        json!({"type": "about:blank", "title": "Not found", "detail": "no robot a/b has ever reported"});
    let gateway = Canned::start(move |_| Answer { status: 404, ..answer(problem.to_string()) });
    let output = gateway.muster(&["robot", "a/b"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("no robot a/b has ever reported"), "{}", err(&output));
}

#[test]
fn what_is_no_gateway_is_told_so() {
    let gateway = Canned::start(|_| answer("<html>"));
    let output = gateway.muster(&["status"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("does not answer like a Muster gateway"), "{}", err(&output));
}

#[test]
fn robots_follow_the_pages_up_to_the_limit() {
    let gateway = Canned::start(|target| {
        let first = json!({"robots": [{"robot": "f/a"}, {"robot": "f/b"}], "next_cursor": "x"});
        let last = json!({"robots": [{"robot": "f/c"}], "next_cursor": null});
        answer(if target.contains("cursor=x") { last } else { first }.to_string())
    });
    let output = gateway.muster(&["robots", "-o", "ndjson"]);
    assert_eq!(out(&output), "{\"robot\":\"f/a\"}\n{\"robot\":\"f/b\"}\n{\"robot\":\"f/c\"}\n");
    let cut = gateway.muster(&["robots", "-o", "csv", "--limit", "2"]);
    assert_eq!(out(&cut).lines().count(), 3);
    assert!(err(&cut).contains("--limit"), "{}", err(&cut));
}

#[test]
fn an_export_is_whole_across_a_broken_connection() {
    let gateway = Canned::start(hundred);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.ndjson");
    let output = gateway.muster(&["export", "a/b", "-o", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert_eq!(fs::read_to_string(&file).unwrap(), lines(0..100));
    assert!(err(&output).contains("100 samples"), "{}", err(&output));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "the .part file took its name");
    assert!(gateway.asked().last().unwrap().contains("after="));
}

#[test]
fn an_export_that_fails_leaves_the_file_of_before() {
    let gateway = Canned::start(|target| {
        let trimmed = json!({"detail": "offset 7 is trimmed; 90 is held"});
        let gone = Answer { status: 410, ..answer(trimmed.to_string()) };
        if target.contains("/samples") { gone } else { hundred(target) }
    });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.csv");
    fs::write(&file, "of before").unwrap();
    let output = gateway.muster(&["export", "a/b", "-o", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("90 is held"), "{}", err(&output));
    assert_eq!(fs::read_to_string(&file).unwrap(), "of before");
}

#[test]
fn an_export_of_a_robot_that_lost_samples_exits_with_three() {
    let gateway = Canned::start(|target| {
        let state = json!({"loss": {"samples": 12, "by_reason": {"spool_full": 12}}});
        answer(if target.contains("/samples") { lines(0..2) } else { state.to_string() })
    });
    let output = gateway.muster(&["export", "a/b", "-o", "-"]);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(out(&output), lines(0..2));
    assert!(err(&output).contains("12 samples") && err(&output).contains("spool full"), "{}", err(&output));
}

#[test]
fn relative_times_count_from_the_gateways_clock() {
    let gateway = Canned::start(|target| match target {
        "/v1/fleet" => answer(json!({"now": 1_000_000_000_000_i64}).to_string()),
        _ if target.contains("/samples") => answer(""),
        _ => answer("{}"),
    });
    let span = ["--since", "-15m", "--until", "now", "--channels", "imu*"];
    let output = gateway.muster(&[&["export", "a/b", "-o", "-"], &span[..]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let asked = gateway.asked().pop().unwrap();
    assert!(asked.contains("from=100000000000&to=1000000000000&channels=imu"), "{asked}");
}

#[test]
fn the_token_is_read_from_its_file_and_sent() {
    let gateway = Canned::start(|_| answer("{}"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    fs::write(&file, "secret\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
    let output =
        command.arg("status").env("MUSTER_URL", &gateway.url).env("MUSTER_TOKEN_FILE", &file).output();
    assert_eq!(output.unwrap().status.code(), Some(0));
    let head = gateway.asked.lock().unwrap().pop().unwrap().to_lowercase();
    assert!(head.contains("authorization: bearer secret"), "{head}");
}

#[test]
fn https_is_trusted_by_the_given_authority_alone() {
    let (url, folder) = start_tls();
    let ask = |ca: &str| muster(&["--url", &url, "--ca", folder.path().join(ca).to_str().unwrap(), "status"]);
    let trusted = ask("ca.pem");
    assert_eq!(trusted.status.code(), Some(0), "{}", err(&trusted));
    let other = ask("other.pem");
    assert_eq!(other.status.code(), Some(1));
    assert!(err(&other).contains("--ca FILE"), "{}", err(&other));
}

/// Serves `{}` over TLS, with its certificate as `ca.pem` in the folder and a stranger's as `other.pem`.
fn start_tls() -> (String, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let [own, other] =
        [(); 2].map(|()| rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap());
    fs::write(folder.path().join("ca.pem"), own.cert.pem()).unwrap();
    fs::write(folder.path().join("other.pem"), other.cert.pem()).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
    let config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key.into())
            .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let session = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = rustls::StreamOwned::new(session, stream);
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n > 0) {
                head.push(byte[0]);
            }
            respond(&mut stream, &answer("{}"));
        }
    });
    (url, folder)
}

#[test]
fn completions_are_scripts_that_their_shell_takes() {
    for shell in ["bash", "zsh", "fish"] {
        let script = muster(&["completions", shell]);
        assert_eq!(script.status.code(), Some(0), "{script:?}");
        // What is not installed here cannot say.
        let Ok(mut child) =
            Command::new(shell).arg("-n").stdin(Stdio::piped()).stderr(Stdio::piped()).spawn()
        else {
            continue;
        };
        child.stdin.take().unwrap().write_all(&script.stdout).unwrap();
        let parsed = child.wait_with_output().unwrap();
        assert!(parsed.status.success() && parsed.stderr.is_empty(), "{shell}: {parsed:?}");
    }
    assert_eq!(muster(&["completions", "cmd"]).status.code(), Some(2));
}

#[test]
fn manual_pages_ask_no_gateway() {
    let page = muster(&["man"]);
    assert_eq!(page.status.code(), Some(0), "{page:?}");
    assert!(String::from_utf8(page.stdout).unwrap().contains("muster\\-robots(1)"));
    let page = muster(&["man", "export", "--url", "nothing://here"]);
    assert!(String::from_utf8(page.stdout).unwrap().contains(".TH muster-export 1"));
    let refused = muster(&["man", "fly"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("no command \"fly\""));
}
