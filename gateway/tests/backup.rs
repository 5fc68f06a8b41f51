//! `backup` and `store check|list` as an operator runs them, beside a running gateway and without one.
#![expect(clippy::unwrap_used, reason = "a test that cannot be prepared fails")]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use tempfile::TempDir;

/// A gateway that serves, and ends with the test.
struct Running(Child);

impl Running {
    fn start(data: &Path) -> Self {
        let mut child = command(data).args(ADDRESSES).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("ready"), "{line}");
        Self(child)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

const ADDRESSES: [&str; 6] = ["--http", "none", "--quic", "127.0.0.1:0", "--mqtt", "none"];

fn command(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_muster-gateway"));
    command.env_clear().arg("--data-dir").arg(data);
    command
}

fn backup(data: &Path, to: &Path) -> Output {
    command(data).arg("backup").arg(to).output().unwrap()
}

fn store(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_muster-gateway"));
    command.env_clear().arg("store").args(args).output().unwrap()
}

fn said(output: &Output) -> (Option<i32>, String) {
    let text = [&output.stdout[..], &output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn a_running_gateway_is_copied_and_the_copy_is_whole_and_starts() {
    let root = folder();
    let (data, copy) = (root.path().join("data"), root.path().join("copy"));
    let gateway = Running::start(&data);
    let mode = fs::metadata(data.join("control.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let (code, text) = said(&backup(&data, &copy));
    assert_eq!(code, Some(0), "{text}");
    assert!(text.starts_with("copied the running gateway's log"), "{text}");
    for name in ["ca.pem", "server-key.pem", "store.backup", "starts"] {
        assert!(copy.join(name).exists(), "{name}");
    }
    let (code, text) = said(&store(&["check", data.to_str().unwrap()]));
    assert!(code == Some(1) && text.contains("in use by another gateway"), "{text}");
    drop(gateway);

    let (code, text) = said(&store(&["check", copy.to_str().unwrap()]));
    assert!(code == Some(0) && text.ends_with("whole\n"), "{text}");
    let (code, text) = said(&store(&["list", "-o", "json", copy.to_str().unwrap()]));
    assert_eq!(code, Some(0), "{text}");
    let _restored = Running::start(&copy);
    assert!(!copy.join("store.backup").exists());
    assert_eq!(fs::read_to_string(copy.join("store.forgot")).unwrap().split(' ').next(), Some("restored"));
    let log = |data: &Path| {
        fs::read_to_string(data.join("store.version")).unwrap().lines().nth(1).map(str::to_owned)
    };
    assert_ne!(log(&copy), log(&data));
}

#[test]
fn the_control_socket_is_gone_after_a_clean_end_and_one_that_a_kill_left_is_replaced() {
    let root = folder();
    let (data, socket) = (root.path().join("data"), root.path().join("data/control.sock"));
    drop(Running::start(&data));
    assert!(socket.exists(), "a kill leaves it");
    let mut gateway = Running::start(&data);
    let (code, text) = said(&backup(&data, &root.path().join("copy")));
    assert!(code == Some(0) && text.starts_with("copied the running gateway's log"), "{text}");
    assert!(Command::new("kill").arg(gateway.0.id().to_string()).status().unwrap().success());
    assert_eq!(gateway.0.wait().unwrap().code(), Some(0));
    assert!(!socket.exists());
}

#[test]
fn a_target_that_is_not_empty_and_a_folder_that_is_none_are_refused_in_a_sentence() {
    let root = folder();
    let data = root.path().join("data");
    drop(Running::start(&data));
    let (code, text) = said(&backup(&data, root.path()));
    assert!(code == Some(1) && text.contains("is not empty"), "{text}");
    let (code, text) = said(&backup(&root.path().join("none"), &root.path().join("copy")));
    assert!(code == Some(1) && text.contains("is not a data folder"), "{text}");
    let (code, text) = said(&store(&["list", root.path().to_str().unwrap()]));
    assert!(code == Some(1) && text.contains("is not a data folder"), "{text}");
    assert_eq!(said(&store(&["check"])).0, Some(2));
}

#[test]
fn what_a_kill_left_is_whole_and_a_damaged_checkpoint_ends_with_three() {
    let root = folder();
    let data = root.path().join("data");
    drop(Running::start(&data));
    let path = data.to_str().unwrap();
    let (code, text) = said(&store(&["check", path]));
    assert_eq!(code, Some(0), "{text}");
    fs::write(data.join("checkpoints/00000000000000000001.checkpoint"), "nonsense").unwrap();
    let (code, text) = said(&store(&["check", path]));
    assert!(code == Some(3) && text.contains("damaged"), "{text}");
    let (code, text) = said(&store(&["check", "--repair", path]));
    assert!(code == Some(0) && text.contains("repaired: "), "{text}");
}
