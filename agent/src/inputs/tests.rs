mod unix;

use std::{
    collections::VecDeque,
    io::{Read, Write},
    net::SocketAddr,
    path::Path,
    time::Duration,
};

use flate2::{Compression, write::GzEncoder};
use muster_protocol::{
    id::ChannelName,
    sample::{StampedBy, Value},
    time::WallTime,
};
use proptest::prelude::*;
use tokio::{net::UdpSocket, time::timeout};

use super::{
    feed::{Feeder, Syncs},
    reader::LineReader,
    replay::{Replay, ReplayConfig},
    stop::thread_stop,
    udp::UdpInput,
    *,
};
use crate::{
    batcher::Manner,
    intake::{IntakeConfig, Item, Outlet, Want},
};

const DEADLINE: Duration = Duration::from_secs(30);

fn setting() -> (Setting, Outlet) {
    let (intake, outlet) = Intake::new(&IntakeConfig::default());
    (Setting { intake, clock: Clock::new(), limits: ParserLimits::default() }, outlet)
}

/// A row as it came out of the queue: its time if its line had one, its first channel and value.
type Seen = (Option<WallTime>, String, Value);

/// Takes rows out of the queue as the recorder would, and answers sync requests at once.
fn take(outlet: &mut Outlet) -> Vec<Seen> {
    let mut items = VecDeque::new();
    outlet.take(Want::All, Some(Duration::ZERO), &mut items);
    let mut seen = Vec::new();
    for item in items {
        match item {
            Item::Row(queued) => {
                queued.origin.count_recorded();
                let t = (queued.row.by == StampedBy::Input).then_some(queued.row.t);
                let (name, value) = queued.row.row.fields[0].clone();
                seen.push((t, name.to_string(), value));
            }
            Item::Sync(mut request) => {
                request.reached();
                request.answer();
            }
        }
    }
    seen
}

/// Takes from the queue until the future is done.
async fn while_recording<T>(outlet: &mut Outlet, seen: &mut Vec<Seen>, done: impl Future<Output = T>) -> T {
    let mut done = std::pin::pin!(timeout(DEADLINE, done));
    loop {
        tokio::select! {
            biased;
            done = &mut done => return done.expect("within the deadline"),
            () = tokio::task::yield_now() => seen.extend(take(outlet)),
        }
    }
}

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

fn seen(t: Option<i64>, name: &str, value: Value) -> Seen {
    (t.map(WallTime), name.to_owned(), value)
}

/// Reads bytes as a file or a pipe would be read, with a recorder beside it.
fn read_all(bytes: impl Read + Send + 'static, replay: ReplayConfig) -> (End, Vec<Seen>, Setting) {
    let (setting, mut outlet) = setting();
    let source = setting.intake.source("stdin", Manner::Wait);
    let feeder = Feeder::new(source, &setting, Syncs::NoWayBack);
    let (_stopper, stop) = thread_stop();
    let reader = LineReader { feeder, replay: Replay::new(replay), stop };
    let thread = std::thread::spawn(move || reader.run(bytes));
    setting.intake.seal();
    let mut items = VecDeque::new();
    let mut rows = Vec::new();
    loop {
        let state = outlet.take(Want::All, Some(DEADLINE), &mut items);
        for item in items.drain(..) {
            let Item::Row(queued) = item else { panic!("no syncs here") };
            let t = (queued.row.by == StampedBy::Input).then_some(queued.row.t);
            let (name, value) = queued.row.row.fields[0].clone();
            rows.push((t, name.to_string(), value));
        }
        if state.drained {
            return (thread.join().unwrap(), rows, setting);
        }
    }
}

#[test]
fn bad_lines_are_refused_one_by_one_and_the_lines_around_them_are_kept() {
    let mut stream = Vec::new();
    stream.extend_from_slice(b"{\"t\":1,\"ch\":\"a\",\"v\":1}\n");
    stream.extend_from_slice(b"{\"t\":2,\"ch\":\"a\",\"v\":\n\n");
    stream.extend_from_slice(b"{\"t\":3,\"ch\":\"a\xff\",\"v\":1}\n");
    stream.extend_from_slice(&vec![b' '; 10_000_000]);
    stream.extend_from_slice(b"\n{\"sync\":1}\n{\"t\":4,\"ch\":\"a\",\"v\":true}");
    let (end, rows, setting) = read_all(std::io::Cursor::new(stream), ReplayConfig::default());
    assert_eq!(end, End::Whole);
    assert_eq!(rows, [seen(Some(1), "a", Value::Int(1)), seen(Some(4), "a", Value::Bool(true))]);
    let refusals = setting.intake.ledger().refusals();
    let kinds: Vec<_> = refusals.iter().map(|kind| (kind.reason, kind.first.line, kind.count)).collect();
    assert_eq!(kinds, [("not_json", 2, 1), ("not_utf8", 4, 1), ("line_too_long", 5, 1), ("bad_sync", 6, 1)]);
    assert!(refusals[2].first.why.contains("10000000"), "{}", refusals[2].first.why);
}

#[test]
fn a_row_without_time_is_stamped_by_the_agent() {
    let before = Clock::new().wall();
    let (setting, mut outlet) = setting();
    let feeder = Feeder::new(setting.intake.source("stdin", Manner::Wait), &setting, Syncs::NoWayBack);
    let name = ChannelName::new("a").unwrap();
    let row =
        muster_protocol::sample::Row { t: None, lane: None, unit: None, fields: vec![(name, Value::Int(1))] };
    feeder.push(row, crate::intake::Shown { line: 1, text: b"" }).unwrap();
    let mut items = VecDeque::new();
    outlet.take(Want::All, Some(Duration::ZERO), &mut items);
    let Some(Item::Row(queued)) = items.pop_front() else { panic!("a row") };
    assert_eq!(queued.row.by, StampedBy::Agent);
    assert!(queued.row.t >= before);
}

/// Hands its bytes out as cut, then breaks.
struct Breaks(Vec<&'static [u8]>);

impl Read for Breaks {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        if self.0.is_empty() {
            return Err(std::io::Error::other("the cable is out"));
        }
        let part = self.0.remove(0);
        into[..part.len()].copy_from_slice(part);
        Ok(part.len())
    }
}

#[test]
fn a_stream_that_breaks_keeps_what_came_before_and_says_why() {
    let parts: Vec<&[u8]> = vec![b"{\"t\":1,\"ch\":", b"\"a\",\"v\":1}\n{\"t\":2,", b"\"ch\""];
    let (end, rows, setting) = read_all(Breaks(parts), ReplayConfig::default());
    assert_eq!(end, End::Failed { why: "the cable is out".to_owned() });
    assert_eq!((rows.len(), setting.intake.ledger().total()), (1, 1));
}

#[test]
fn a_recording_is_moved_to_now_and_paced() {
    // At this speed an hour takes under a millisecond: the pace is exercised without waiting.
    let replay = ReplayConfig { speed: Some(1e7), shift_now: true };
    let line = |t: i64| format!("{{\"t\":{t},\"ch\":\"a\",\"v\":1}}\n");
    let hour = 3_600_000_000_000;
    let now = Clock::new().wall();
    let (_, rows, _) = read_all(std::io::Cursor::new(line(5) + &line(5 + hour)), replay);
    let times: Vec<WallTime> = rows.into_iter().map(|(t, _, _)| t.unwrap()).collect();
    assert!(times[0] >= now);
    assert_eq!(times[1].nanos_since(times[0]), hour);
}

#[test]
fn a_paused_replay_stops_at_once() {
    let (setting, _outlet) = setting();
    let feeder = Feeder::new(setting.intake.source("file:x", Manner::Wait), &setting, Syncs::NoWayBack);
    let (stopper, stop) = thread_stop();
    let replay = Replay::new(ReplayConfig { speed: Some(1e-9), shift_now: false });
    let reader = LineReader { feeder, replay, stop };
    let lines = b"{\"t\":1,\"ch\":\"a\",\"v\":1}\n{\"t\":9000000000,\"ch\":\"a\",\"v\":1}\n";
    let thread = std::thread::spawn(move || reader.run(&lines[..]));
    drop(stopper);
    assert_eq!(thread.join().unwrap(), End::Stopped);
}

/// Runs file inputs to their end within one runtime, and returns their rows and ends.
fn record_file(path: &Path) -> Result<(Vec<Seen>, Vec<Summary>), InputError> {
    let (setting, mut outlet) = setting();
    run(async {
        let input = Input::File { path: path.to_owned(), speed: None, shift_now: false };
        let inputs = Inputs::start(&[input], &setting)?;
        let mut rows = Vec::new();
        let ended = async {
            while inputs.summaries().is_empty() {
                tokio::task::yield_now().await;
            }
        };
        while_recording(&mut outlet, &mut rows, ended).await;
        rows.extend(take(&mut outlet));
        Ok((rows, inputs.summaries()))
    })
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn files_are_read_plain_and_gzip_by_content_with_several_members() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = ("{\"t\":1,\"ch\":\"a\",\"v\":1}\n", "{\"t\":2,\"ch\":\"a\",\"v\":2}");
    let members = [gzip(one), gzip(two)].concat();
    for (name, bytes) in
        [("plain", [one, two].concat().into_bytes()), ("x.gz", members.clone()), ("unnamed", members)]
    {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let (rows, summaries) = record_file(&path).unwrap();
        assert_eq!(rows, [seen(Some(1), "a", Value::Int(1)), seen(Some(2), "a", Value::Int(2))], "{name}");
        assert_eq!(summaries[0].end, End::Whole);
        assert_eq!(summaries[0].counts(), Counts { accepted: 2, refused: 0 });
        assert!(summaries[0].to_string().ends_with("read to its end: 2 rows taken in, 0 refused"));
    }
}

#[test]
fn a_cut_gzip_file_keeps_the_lines_before_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.gz");
    let whole = gzip(&"{\"t\":1,\"ch\":\"a\",\"v\":1}\n".repeat(10_000));
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let (rows, summaries) = record_file(&path).unwrap();
    assert!(!rows.is_empty());
    let End::Failed { why } = &summaries[0].end else { panic!("{:?}", summaries[0].end) };
    assert!(why.contains("damaged or cut"), "{why}");
    std::fs::write(&path, "{}").unwrap();
    let (_, summaries) = record_file(&path).unwrap();
    assert!(matches!(&summaries[0].end, End::Failed { why } if why.contains("not gzip")));
}

#[test]
fn an_input_that_cannot_start_names_itself_and_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.ndjson");
    let error = record_file(&missing).unwrap_err().to_string();
    assert!(error.contains("missing.ndjson") && error.contains("does not exist"), "{error}");
    assert!(record_file(folder.path()).unwrap_err().to_string().contains("this is a folder"));
    let deep = Input::Unix { path: folder.path().join("no/such/socket") };
    let error = run(async { Inputs::start(&[deep], &setting().0).unwrap_err().to_string() });
    assert!(error.contains("the folder") && error.contains("no/such"), "{error}");
}

fn udp_input() -> (Input, SocketAddr) {
    let addr = "127.0.0.1:0".parse().unwrap();
    (Input::Udp { addr }, addr)
}

#[test]
fn a_port_in_use_is_said_and_the_inputs_before_it_are_stopped() {
    run(async {
        let taken = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let list = [Input::Unix { path: path.clone() }, Input::Udp { addr: taken.local_addr().unwrap() }];
        let error = Inputs::start(&list, &setting().0).unwrap_err();
        assert!(matches!(error, InputError::AddressInUse { .. }), "{error}");
        assert!(error.to_string().contains("choose another port"));
        // Nothing is left of the input that had started.
        timeout(DEADLINE, async {
            while path.exists() {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
    });
}

#[test]
fn a_datagram_is_one_or_more_lines() {
    run(async {
        let (setting, mut outlet) = setting();
        let (input, addr) = udp_input();
        let socket = UdpInput::bind(&input.to_string(), addr).unwrap();
        let address = socket.local_address().unwrap();
        let (stop, stopped) = watch::channel(());
        let feeder = Feeder::new(setting.intake.source("udp", Manner::Live), &setting, Syncs::NoWayBack);
        let task = tokio::spawn(socket.run(feeder, stopped));
        let sender = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let two = "{\"t\":1,\"ch\":\"a\",\"v\":1}\n{\"t\":2,\"ch\":\"a\",\"v\":2}\n";
        for datagram in [two, "nonsense", "{\"t\":3,\"ch\":\"a\",\"v\":3}"] {
            sender.send_to(datagram.as_bytes(), address).await.unwrap();
        }
        let mut rows = Vec::new();
        let arrived = async {
            while setting.intake.ledger().total() < 1 {
                tokio::task::yield_now().await;
            }
        };
        while_recording(&mut outlet, &mut rows, arrived).await;
        timeout(DEADLINE, async {
            while rows.len() < 3 {
                rows.extend(take(&mut outlet));
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
        assert_eq!(rows.iter().map(|row| row.0.unwrap().0).collect::<Vec<_>>(), [1, 2, 3]);
        let refusal = &setting.intake.ledger().refusals()[0];
        assert_eq!((refusal.first.line, refusal.first.text.as_str()), (3, "nonsense"));
        drop(stop);
        assert_eq!(timeout(DEADLINE, task).await.unwrap().unwrap(), End::Stopped);
    });
}

#[test]
fn the_machine_reports_within_seconds_and_stops_at_once() {
    run(async {
        let (setting, mut outlet) = setting();
        let mut inputs = Inputs::start(&[Input::Host], &setting).unwrap();
        let mut rows = Vec::new();
        timeout(DEADLINE, async {
            while rows.is_empty() {
                rows.extend(take(&mut outlet));
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
        assert_eq!(rows[0].1, "host.cpu.usage");
        inputs.stop();
        timeout(DEADLINE, async {
            while inputs.summaries().is_empty() {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
        assert_eq!(inputs.summaries()[0].end, End::Stopped);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_bytes_from_outside_panic(stream in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let (end, rows, setting) = read_all(std::io::Cursor::new(stream.clone()), ReplayConfig::default());
        prop_assert_eq!(end, End::Whole);
        let lines = stream.split(|byte| *byte == b'\n').count() as u64;
        prop_assert!(rows.len() as u64 + setting.intake.ledger().total() <= lines);
    }
}
