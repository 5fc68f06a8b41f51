//! Why an input does not start.

use std::{
    io::{Error, ErrorKind},
    path::Path,
};

/// Why an input does not start. Each sentence names the input and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// There is nothing at the path.
    #[error(
        "input {input}: {missing} does not exist; check the path, a relative one starts at the working folder"
    )]
    NotFound {
        /// The input, as configured.
        input: String,
        /// What is not there.
        missing: String,
    },
    /// The path may not be used by this user.
    #[error(
        "input {input}: no permission; let the agent's user read it (a socket: write to its folder), or choose another path"
    )]
    NotAllowed {
        /// The input, as configured.
        input: String,
    },
    /// A folder stands where a file is expected.
    #[error("input {input}: this is a folder; name one file in it")]
    IsFolder {
        /// The input, as configured.
        input: String,
    },
    /// Another program has the port.
    #[error("input {input}: the address is in use; stop the other program or choose another port")]
    AddressInUse {
        /// The input, as configured.
        input: String,
    },
    /// Another program listens on the socket.
    #[error("input {input}: another program listens on this socket; stop it or choose another path")]
    SocketInUse {
        /// The input, as configured.
        input: String,
    },
    /// Something else stands where the socket should be.
    #[error("input {input}: a file that is not a socket is in the way; remove it or choose another path")]
    NotASocket {
        /// The input, as configured.
        input: String,
    },
    /// Everything else, in the system's words.
    #[error("input {input}: {source}")]
    Io {
        /// The input, as configured.
        input: String,
        /// What the system says.
        source: Error,
    },
}

impl InputError {
    pub(super) fn from_io(input: &str, path: &Path, source: Error) -> Self {
        let input = input.to_owned();
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists());
        match source.kind() {
            ErrorKind::NotFound => {
                let missing =
                    folder.map_or("the file".to_owned(), |folder| format!("the folder {}", folder.display()));
                Self::NotFound { input, missing }
            }
            ErrorKind::PermissionDenied => Self::NotAllowed { input },
            ErrorKind::AddrInUse => Self::SocketInUse { input },
            _ => Self::Io { input, source },
        }
    }

    pub(super) fn from_bind(input: &str, source: Error) -> Self {
        let input = input.to_owned();
        match source.kind() {
            ErrorKind::AddrInUse => Self::AddressInUse { input },
            ErrorKind::PermissionDenied => Self::NotAllowed { input },
            _ => Self::Io { input, source },
        }
    }
}
