use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use muster_protocol::limits::LINE_BYTES_MAX;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
    time::timeout,
};

use super::{super::unix::CLIENTS_MAX, *};
use crate::{
    recorder::{self, Clocks, RecorderConfig},
    spool::{
        Spool, SpoolConfig,
        fake_disk::{FakeDisk, Faults},
    },
};

/// A running `unix:` input.
struct Unix {
    setting: Setting,
    outlet: Outlet,
    inputs: Inputs,
    path: PathBuf,
    rows: Vec<Seen>,
    _folder: TempDir,
}

impl Unix {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("muster.sock");
        let (setting, outlet) = setting();
        let inputs = Inputs::start(&[Input::Unix { path: path.clone() }], &setting).unwrap();
        Self { setting, outlet, inputs, path, rows: Vec::new(), _folder: folder }
    }

    /// Runs a client, with a recorder beside it.
    async fn with<T>(&mut self, client: impl Future<Output = T>) -> T {
        while_recording(&mut self.outlet, &mut self.rows, client).await
    }
}

/// Sends text, closes the sending half, and returns all answers.
async fn try_ask(path: &Path, text: &str) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(path).await?;
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await?;
    let mut answers = String::new();
    stream.read_to_string(&mut answers).await?;
    Ok(answers)
}

async fn ask(path: &Path, text: &str) -> String {
    try_ask(path, text).await.unwrap()
}

#[test]
fn sync_lines_are_answered_in_order_with_the_counts_of_their_connection() {
    run(async {
        let mut unix = Unix::start();
        let path = unix.path.clone();
        let row = "{\"ch\":\"a\",\"v\":1}\n";
        unix.with(ask(&path, row)).await;
        let text = [row, row, "oops\n", "{\"sync\": 1}\n", row, "{\"sync\":\"two\"}"].concat();
        let answers = unix.with(ask(&path, &text)).await;
        assert_eq!(
            answers,
            "{\"synced\":1,\"accepted\":2,\"refused\":1}\n{\"synced\":\"two\",\"accepted\":3,\"refused\":1}\n"
        );
        assert_eq!(unix.rows.len(), 4);
    });
}

/// Guards: a program that asked wrongly waited for ever, and what came after was behind it.
#[test]
fn a_question_that_cannot_be_understood_is_answered_in_its_turn_and_counted() {
    run(async {
        let mut unix = Unix::start();
        let path = unix.path.clone();
        let long = format!("{{\"sync\":\"{}\"}}", "x".repeat(127));
        for (question, words) in [
            ("{\"sync\":{\"a\":1}}", "the id of `sync` is wrong: invalid type: map"),
            ("{\"sync\":4,\"ch\":\"x\",\"v\":1}", "`sync` beside other keys; write it alone"),
            ("{\"sync\":4,\"sync\":5}", "the key `sync` appears twice"),
            (&long, "the id of `sync` is wrong: it has 129 bytes"),
        ] {
            let text = format!("{{\"sync\":1}}\n{question}\noops\n{{\"sync\":2}}\n");
            let answers = unix.with(ask(&path, &text)).await;
            let lines: Vec<serde_json::Value> =
                answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            assert_eq!(lines.len(), 3, "{answers}");
            assert!(lines[1]["error"].as_str().unwrap().starts_with(words), "{answers}");
            assert_eq!((&lines[0]["synced"], &lines[2]["synced"]), (&1.into(), &2.into()), "{answers}");
            assert_eq!(lines[2]["refused"], 2, "{answers}");
        }
    });
}

#[test]
fn no_answer_comes_before_the_recorder_gives_it() {
    run(async {
        let mut unix = Unix::start();
        let stream = UnixStream::connect(&unix.path).await.unwrap();
        let (reader, mut writer) = stream.into_split();
        writer.write_all(b"{\"ch\":\"a\",\"v\":1}\n{\"sync\":7}\n").await.unwrap();
        // The request is in the queue, and nobody has taken it.
        let mut items = VecDeque::new();
        timeout(DEADLINE, async {
            while items.len() < 2 {
                unix.outlet.take(Want::All, Some(Duration::ZERO), &mut items);
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
        assert_eq!(reader.try_read(&mut [0; 10]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        for item in items {
            match item {
                Item::Row(queued) => queued.origin.count_recorded(),
                Item::Sync(mut request) => {
                    request.reached();
                    request.answer();
                }
            }
        }
        let mut line = String::new();
        timeout(DEADLINE, BufReader::new(reader).read_line(&mut line)).await.unwrap().unwrap();
        assert_eq!(line, "{\"synced\":7,\"accepted\":1,\"refused\":0}\n");
        unix.inputs.stop();
    });
}

#[test]
fn a_program_that_never_reads_its_answers_stops_no_other_and_not_the_agent() {
    run(async {
        let mut unix = Unix::start();
        let path = unix.path.clone();
        let mut deaf = UnixStream::connect(&path).await.unwrap();
        let flood = "{\"sync\":1}\n".repeat(1000);
        let mut sent = 0;
        // It sends until nobody takes any more: its answers fill the socket.
        unix.with(async {
            while let Ok(Ok(())) = timeout(Duration::from_millis(200), deaf.write_all(flood.as_bytes())).await
            {
                sent += 1;
                assert!(sent < 10_000, "its questions are not read without bound");
            }
        })
        .await;
        let answers = unix.with(ask(&path, "{\"sync\":2}\n")).await;
        assert!(answers.contains("\"synced\":2"), "{answers}");
        unix.inputs.stop();
        let Unix { mut inputs, mut outlet, mut rows, .. } = unix;
        while_recording(&mut outlet, &mut rows, inputs.ended()).await;
        assert!(!path.exists());
    });
}

#[test]
fn a_stale_socket_file_is_replaced_and_anything_else_is_not() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let input = [Input::Unix { path: path.clone() }];
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let (setting, _outlet) = setting();
        let mut first = Inputs::start(&input, &setting).unwrap();
        let error = Inputs::start(&input, &setting).unwrap_err();
        assert!(matches!(error, InputError::SocketInUse { .. }), "{error}");
        first.stop();
        timeout(DEADLINE, first.ended()).await.unwrap();
        assert!(!path.exists());
        std::fs::write(&path, "precious").unwrap();
        let error = Inputs::start(&input, &setting).unwrap_err();
        assert!(matches!(error, InputError::NotASocket { .. }), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    });
}

#[test]
fn programs_beyond_the_bound_are_told_and_turned_away() {
    run(async {
        let mut unix = Unix::start();
        let path = unix.path.clone();
        let mut clients = Vec::new();
        for _ in 0..CLIENTS_MAX {
            clients.push(UnixStream::connect(&path).await.unwrap());
        }
        let answer = unix.with(ask(&path, "")).await;
        assert!(answer.contains("error"), "{answer}");
        clients.pop();
        // A place is free when the agent has noticed that the program left; until then this one is turned away too.
        let answered = async {
            while !try_ask(&path, "{\"sync\":1}\n").await.is_ok_and(|answer| answer.contains("synced")) {
                tokio::task::yield_now().await;
            }
        };
        unix.with(answered).await;
    });
}

#[test]
fn a_long_line_on_a_socket_costs_one_line_and_not_the_connection() {
    run(async {
        let mut unix = Unix::start();
        let path = unix.path.clone();
        let text = format!("{}\n{{\"ch\":\"a\",\"v\":1}}\n{{\"sync\":1}}\n", "x".repeat(LINE_BYTES_MAX + 1));
        let answer = unix.with(ask(&path, &text)).await;
        assert_eq!(answer, "{\"synced\":1,\"accepted\":1,\"refused\":1}\n");
        assert_eq!(unix.setting.intake.ledger().refusals()[0].reason, "line_too_long");
    });
}

#[test]
fn while_the_disk_fails_a_sync_is_answered_with_an_error_and_the_program_stays_connected() {
    let disk = FakeDisk::new();
    let robot = "fleet/robot".parse().unwrap();
    let config = SpoolConfig { limit_bytes: 1 << 20, segment_bytes: 64 * 1024, robot };
    let (spool, _) = Spool::open(Arc::new(disk.clone()), config, 7).unwrap();
    let (setting, outlet) = setting();
    let clock = setting.clock;
    let clocks = Clocks { mono: clock, read: Arc::new(move || clock.reading()) };
    let config = RecorderConfig { sync_every: Duration::from_millis(1), ..RecorderConfig::default() };
    let (recording, _events) =
        recorder::start(spool, (setting.intake.clone(), outlet), config, clocks).unwrap();
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("muster.sock");
        let mut inputs = Inputs::start(&[Input::Unix { path: path.clone() }], &setting).unwrap();
        let (reader, mut writer) = UnixStream::connect(&path).await.unwrap().into_split();
        let mut answers = BufReader::new(reader).lines();
        for (fails, id, words) in [
            (false, 1, "{\"synced\":1,\"accepted\":1,\"refused\":0}"),
            (true, 2, "{\"sync\":2,\"error\":\"not on disk: "),
            (true, 3, "{\"sync\":3,\"error\":\"not on disk: "),
        ] {
            disk.set_faults(Faults { no_syncs: fails, ..Faults::default() });
            let rows = format!("{{\"ch\":\"a\",\"v\":1}}\n{{\"sync\":{id}}}\n");
            writer.write_all(rows.as_bytes()).await.unwrap();
            let answer = timeout(DEADLINE, answers.next_line()).await.unwrap().unwrap().unwrap();
            assert!(answer.starts_with(words), "{answer}");
            serde_json::from_str::<serde_json::Value>(&answer).unwrap();
        }
        assert_eq!(setting.intake.ledger().total(), 0, "nothing is refused: it is kept in memory");
        inputs.stop();
        timeout(DEADLINE, inputs.ended()).await.unwrap();
    });
    assert!(recording.finish(), "what was in memory alone is lost with the program, which says so");
}
