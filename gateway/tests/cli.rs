//! What an operator meets first: help, the version, printed settings, and one clear sentence for each mistake.
#![expect(clippy::unwrap_used, reason = "a test that cannot be prepared fails")]

use std::process::{Command, Output};

/// Runs the gateway with nothing in its environment but what is given.
fn gateway(args: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_muster-gateway"));
    command.env_clear().envs(environment.iter().copied()).args(args);
    command.output().unwrap()
}

fn printed(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Returns the sentence of a run that was refused for its usage or configuration.
fn refused(args: &[&str], environment: &[(&str, &str)]) -> String {
    let output = gateway(args, environment);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.starts_with("muster-gateway: "), "{text}");
    text
}

/// The same, for a mistake that is told in one line.
fn refused_in_a_line(args: &[&str], environment: &[(&str, &str)]) -> String {
    let text = refused(args, environment);
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

fn file(text: &str) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gateway.toml");
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (dir, path)
}

#[test]
fn help_shows_every_flag_of_the_contract() {
    let text = printed(&gateway(&["--help"], &[]));
    for flag in
        ["--config", "--data-dir", "--http", "--quic", "--mqtt", "--insecure-listen", "--print-config"]
    {
        assert!(text.contains(flag), "{flag} in {text}");
    }
}

#[test]
fn the_version_is_that_of_the_crate() {
    let text = printed(&gateway(&["--version"], &[]));
    assert_eq!(text.trim(), format!("muster-gateway {}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn an_unknown_flag_is_refused_with_usage() {
    let text = refused(&["--htp", "none"], &[]);
    assert!(text.contains("unexpected argument '--htp'") && text.contains("--http"), "{text}");
}

#[test]
fn a_listener_that_others_reach_is_refused_with_the_remedy() {
    for listener in ["http", "quic", "mqtt"] {
        let text = refused_in_a_line(&[&format!("--{listener}"), "0.0.0.0:7000"], &[]);
        assert!(text.contains(&format!("{listener} = \"0.0.0.0:7000\" can be reached")), "{text}");
        assert!(text.contains("127.0.0.1:7000") && text.contains("--insecure-listen"), "{text}");
    }
    let risk = ["--http", "0.0.0.0:7000", "--insecure-listen", "--print-config"];
    assert!(printed(&gateway(&risk, &[])).contains("http = \"0.0.0.0:7000\" # from --http"));
}

#[test]
fn a_bad_address_or_size_is_named_with_its_remedy() {
    let text = refused_in_a_line(&["--http", "8080"], &[]);
    assert!(text.contains("http = \"8080\" from --http: not an address; write IP:PORT"), "{text}");
    let text = refused_in_a_line(&[], &[("MUSTER_GATEWAY_STORE__PARTITION_SIZE", "128")]);
    assert!(
        text.contains("store.partition_size = \"128\" from the environment variable MUSTER_GATEWAY_STORE__")
    );
    assert!(text.contains("not a size; write a whole number and a unit"), "{text}");
}

#[test]
fn an_unknown_key_of_the_file_is_refused_with_the_nearest() {
    let (_dir, path) = file("htpp = \"none\"\n");
    let text = refused_in_a_line(&["--config", &path], &[]);
    let expected = format!("unknown key `htpp` in {path}, line 1; the nearest known key is `http`");
    assert!(text.contains(&expected), "{text}");
}

#[test]
fn an_unknown_variable_is_refused_with_the_nearest() {
    let text = refused_in_a_line(&[], &[("MUSTER_GATEWAY_DATADIR", "/data")]);
    assert!(text.contains("MUSTER_GATEWAY_DATADIR; the nearest known key is `data_dir`"), "{text}");
}

#[test]
fn a_file_that_is_absent_is_named() {
    let text = refused_in_a_line(&["--config", "/nowhere/gateway.toml"], &[]);
    assert!(text.contains("cannot read the configuration file /nowhere/gateway.toml: "), "{text}");
}

#[test]
fn what_is_printed_can_be_read_again() {
    let (_dir, path) = file("quic = \"none\"\n[window]\nbatches = 12\n");
    let first = printed(&gateway(&["--config", &path, "--data-dir", "/data", "--print-config"], &[]));
    assert!(
        first.contains("quic = \"none\"") && first.contains("data_dir = \"/data\" # from --data-dir"),
        "{first}"
    );

    let (_dir, path) = file(&first);
    let second = printed(&gateway(&["--config", &path, "--print-config"], &[]));
    let values = |text: &str| -> Vec<String> {
        let values = text.lines().filter(|line| !line.starts_with('#'));
        values.map(|line| line.split(" # ").next().unwrap().to_owned()).collect()
    };
    assert_eq!(values(&first), values(&second));
}

#[test]
fn a_trim_without_a_goal_is_wrong_usage_and_of_no_store_fails() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    for (args, code, words) in [
        (&["store", "trim", dir][..], 2, "--to-size"),
        (&["store", "trim", dir, "--older-than", "tuesday"], 2, "not a time; write how long ago, as in 30d"),
        (&["store", "trim", dir, "--to-size", "10"], 2, "write a whole number and a unit"),
        (&["store", "trim", dir, "--to-size", "1GiB", "--yes"], 1, "is not a data folder of a gateway"),
    ] {
        let output = gateway(args, &[]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{told}");
        assert!(told.contains(words) && !told.contains("panicked"), "`{words}` is missing in {told}");
    }
}
