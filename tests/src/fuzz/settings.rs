//! Configuration, as a file and from the environment.
//!
//! Input: which program and which of the two, then the text: TOML, or `NAME=VALUE` in lines.

use std::{
    ffi::OsString,
    fmt::{Debug, Display},
};

use muster_protocol::settings::{Program, Settings, SettingsError};

use super::input::Input;

/// A configuration of the agent or the gateway.
pub fn settings(data: &[u8]) {
    let mut input = Input::new(data);
    let choice = input.byte();
    let text = String::from_utf8_lossy(input.rest());
    if choice & 1 == 0 {
        use muster_agent::config::{Config, PROGRAM};
        check(&PROGRAM, read(&PROGRAM, choice, &text), Config::from_settings);
    } else {
        use muster_gateway::config::{Config, PROGRAM};
        check(&PROGRAM, read(&PROGRAM, choice, &text), Config::from_settings);
    }
}

fn read(program: &'static Program, choice: u8, text: &str) -> Result<Settings, SettingsError> {
    let mut settings = Settings::defaults(program);
    if choice & 2 == 0 {
        settings.read_file(text, "muster.toml")?;
    } else {
        let pair = |line: &str| {
            let (name, value) = line.split_once('=')?;
            Some((OsString::from(format!("{}{name}", program.env_prefix)), OsString::from(value)))
        };
        settings.read_environment(text.lines().filter_map(pair))?;
    }
    Ok(settings)
}

/// Checks that what was taken prints as a file that says the same.
fn check<T: Debug + PartialEq, E: Display>(
    program: &'static Program,
    read: Result<Settings, SettingsError>,
    config: fn(&Settings) -> Result<T, E>,
) {
    let settings = match read {
        Ok(settings) => settings,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let again = reread(program, &settings);
    // The first time it says who gave each value, from then on that the file did.
    assert_eq!(reread(program, &again).print(), again.print());
    match (config(&settings), config(&again)) {
        (Ok(first), Ok(second)) => assert_eq!(first, second),
        (Err(first), Err(second)) => assert_eq!(first.to_string(), second.to_string()),
        (first, second) => panic!("{:?} became {:?}", first.is_ok(), second.is_ok()),
    }
}

fn reread(program: &'static Program, settings: &Settings) -> Settings {
    let printed = settings.print();
    let mut again = Settings::defaults(program);
    if let Err(error) = again.read_file(&printed, "printed.toml") {
        panic!("what was printed is refused: {error}\n{printed}");
    }
    again
}
