//! `muster-agent status`: asks the agent that runs on a spool how it is.
//!
//! The agent listens on the unix socket `status.sock` in its spool folder, readable and writable by its user alone
//! (mode 0600). Whoever connects gets one [`Report`] as a line of JSON, and the connection is closed. The socket of an
//! agent that was killed stays behind; nobody answers there, and the next start replaces it.

mod report;
mod server;
mod table;

use std::{
    io::{self, BufRead as _, BufReader, Read as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

pub use report::{
    Absent, ChannelAbsent, Channels, ClockReport, Lane, Link, Refused, Report, Spool, Transport, Uplink,
    UplinkLimits,
};
pub use server::{About, Asked, StatusServer};
pub use table::print;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// There is no spool.
    #[error("there is no spool in {dir}; name the agent's with --spool DIR or --config FILE")]
    NoSpool {
        /// The folder.
        dir: String,
    },
    /// No agent runs on it.
    #[error(
        "no agent runs on the spool {dir}; start one with muster-agent --spool {dir}, or name another spool with --spool DIR"
    )]
    NotRunning {
        /// The folder.
        dir: String,
    },
    /// It is another user's.
    #[error("the agent on the spool {dir} belongs to another user; ask as that user, or as root")]
    NotAllowed {
        /// The folder.
        dir: String,
    },
    /// The path does not fit a socket's address.
    #[error(
        "{path} is too long for a socket's address: {length} bytes, and 107 fit; give the spool a shorter path"
    )]
    PathTooLong {
        /// The path.
        path: String,
        /// Its length.
        length: usize,
    },
    /// It did not answer.
    #[error("the agent on the spool {dir} does not answer: {source}; look at its log")]
    Silent {
        /// The folder.
        dir: String,
        /// What the system says.
        source: io::Error,
    },
    /// What it answered cannot be read.
    #[error("the agent on the spool {dir} answers something else: {source}; is it of another version?")]
    Unreadable {
        /// The folder.
        dir: String,
        /// What is wrong.
        source: serde_json::Error,
    },
}

/// The socket's name in the spool folder.
const SOCKET: &str = "status.sock";

/// How long an agent may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Longest answer that is read: some hundred refusals and channels are far below.
const REPORT_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Longest path of a socket (unix(7)), less the final zero.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Asks the agent on a spool. Returns what it answered, a line of JSON, and what that says.
pub fn ask(spool: &Path) -> Result<(String, Report), StatusError> {
    let dir = || spool.display().to_string();
    if !spool.is_dir() {
        return Err(StatusError::NoSpool { dir: dir() });
    }
    let stream = UnixStream::connect(socket_path(spool)?).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => StatusError::NotRunning { dir: dir() },
        io::ErrorKind::PermissionDenied => StatusError::NotAllowed { dir: dir() },
        _ => StatusError::Silent { dir: dir(), source: error },
    })?;
    let mut line = String::new();
    let read = stream
        .set_read_timeout(Some(PATIENCE))
        .and_then(|()| BufReader::new(stream.take(REPORT_BYTES_MAX)).read_line(&mut line));
    read.map_err(|source| StatusError::Silent { dir: dir(), source })?;
    let report =
        serde_json::from_str(&line).map_err(|source| StatusError::Unreadable { dir: dir(), source })?;
    Ok((line, report))
}

fn socket_path(spool: &Path) -> Result<PathBuf, StatusError> {
    let path = spool.join(SOCKET);
    let length = path.as_os_str().len();
    if length > SOCKET_PATH_BYTES_MAX {
        return Err(StatusError::PathTooLong { path: path.display().to_string(), length });
    }
    Ok(path)
}

#[cfg(test)]
mod tests;
