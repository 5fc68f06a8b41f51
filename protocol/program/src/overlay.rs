//! Settings as they were typed: a configuration file, the environment and flags, each laid over the ones before.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use muster_protocol::settings::{Settings, SettingsError};

/// A key, the flag that sets it, and its texts: one, or several for a list.
pub type Flag = (&'static str, &'static str, Vec<String>);

/// Why what was typed means nothing.
#[derive(Debug, thiserror::Error)]
pub enum OverlayError {
    /// The configuration file cannot be read.
    #[error("cannot read the configuration file {path}: {source}")]
    File {
        /// The file.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// A key or its value is wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
}

/// Lays file, environment and flags over what is there.
pub fn overlay(
    settings: &mut Settings,
    file: Option<&Path>,
    flags: impl IntoIterator<Item = Flag>,
) -> Result<(), OverlayError> {
    if let Some(path) = file {
        let shown = path.display().to_string();
        let text = read(path).map_err(|source| OverlayError::File { path: shown.clone(), source })?;
        settings.read_file(&text, &shown)?;
    }
    settings.read_environment(std::env::vars_os())?;
    for (key, flag, texts) in flags {
        settings.set(key, flag, &texts)?;
    }
    Ok(())
}

/// Reads a file that somebody wrote by hand; a larger one is not what was meant.
fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    match u64::try_from(text.len()) {
        Ok(0..=FILE_BYTES_MAX) => Ok(text),
        _ => Err(io::Error::other(format!("it is longer than {FILE_BYTES_MAX} bytes"))),
    }
}

/// Largest configuration file. Every key with a page of comment fits, and thousands of channel rules; a log given by
/// mistake does not.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
