//! Programs of others that tests call, such as `mosquitto_pub`.

use std::process::{Command, Output};

/// Returns whether to go on with a test that calls this program of this Debian package. Fails the test if it is
/// missing, unless `MUSTER_SKIP_EXTERNAL=1` says to go on without, which is said aloud.
pub fn there(program: &str, package: &str) -> bool {
    if Command::new(program).arg("--help").output().is_ok() {
        return true;
    }
    let skip = std::env::var("MUSTER_SKIP_EXTERNAL").is_ok_and(|text| text == "1");
    assert!(
        skip,
        "{program} is missing: install it (apt-get install {package}), or set MUSTER_SKIP_EXTERNAL=1 to go on without"
    );
    eprintln!("SKIPPED: {program} is missing, and MUSTER_SKIP_EXTERNAL=1 says to go on without");
    false
}

/// Publishes with `mosquitto_pub`.
pub fn mosquitto_pub(port: u16, args: &[&str]) -> Output {
    let mut command = Command::new("mosquitto_pub");
    command.args(["-h", "127.0.0.1", "-p", &port.to_string()]).args(args);
    command.output().expect("it is there")
}
