//! Whether inputs could start. Nothing is read from them, and no socket is left behind.

use std::{
    fs::{self, File},
    io::ErrorKind,
    net::{SocketAddr, UdpSocket},
    os::unix::{fs::FileTypeExt as _, net::UnixStream},
    path::Path,
};

use rustix::fs::{Access, access};

use crate::{
    config::Input,
    doctor::facts::{InputFacts, InputState},
};

pub(super) fn look(input: &Input) -> InputFacts {
    let state = match input {
        Input::Host | Input::Stdin => InputState::Ready,
        Input::File { path, .. } => file(path),
        Input::Unix { path } => socket(path),
        Input::Udp { addr } => port(*addr),
    };
    InputFacts { input: input.to_string(), state }
}

fn file(path: &Path) -> InputState {
    match File::open(path).and_then(|file| file.metadata()) {
        Ok(found) if found.is_dir() => InputState::Unusable("it is a folder".to_owned()),
        Ok(_) => InputState::Ready,
        Err(error) => InputState::Unusable(format!("cannot be read: {error}")),
    }
}

fn socket(path: &Path) -> InputState {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return InputState::Unusable("something is there that is no socket".to_owned());
        }
        // A running agent takes the connection for a program that had nothing to say.
        Ok(_) => match UnixStream::connect(path) {
            Ok(_) => return InputState::Taken,
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return InputState::Taken,
            Err(_) => {}
        },
        Err(_) => {}
    }
    let length = path.as_os_str().len();
    if length > SOCKET_PATH_BYTES_MAX {
        return InputState::Unusable(format!(
            "its path has {length} bytes, and {SOCKET_PATH_BYTES_MAX} fit a socket's address"
        ));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match access(folder, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) => InputState::Ready,
        Err(error) => InputState::Unusable(format!("cannot be made in {}: {error}", folder.display())),
    }
}

fn port(address: SocketAddr) -> InputState {
    match UdpSocket::bind(address) {
        Ok(_) => InputState::Ready,
        Err(error) if error.kind() == ErrorKind::AddrInUse => InputState::Taken,
        Err(error) => InputState::Unusable(format!("cannot be bound: {error}")),
    }
}

/// Longest path of a socket (unix(7)), less the final zero.
const SOCKET_PATH_BYTES_MAX: usize = 107;

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    fn state(input: &str) -> InputState {
        look(&input.parse().unwrap()).state
    }

    #[test]
    fn what_can_start_is_told_from_what_cannot() {
        let temp = tempfile::tempdir().unwrap();
        let at = |name: &str| temp.path().join(name).display().to_string();
        fs::write(at("log.ndjson"), "").unwrap();
        assert_eq!(state(&format!("file:{}", at("log.ndjson"))), InputState::Ready);
        for bad in ["file:NONE", "file:FOLDER", "unix:FOLDER/none/a.sock", "unix:FOLDER/log.ndjson"] {
            let input =
                bad.replace("NONE", &at("none")).replace("FOLDER", &temp.path().display().to_string());
            assert!(matches!(state(&input), InputState::Unusable(_)), "{input}: {:?}", state(&input));
        }
        let path = at("a.sock");
        assert_eq!(state(&format!("unix:{path}")), InputState::Ready);
        assert!(!Path::new(&path).exists(), "nothing is left");
        let listener = UnixListener::bind(&path).unwrap();
        assert_eq!(state(&format!("unix:{path}")), InputState::Taken);
        drop(listener);
        assert_eq!(state(&format!("unix:{path}")), InputState::Ready, "what a crash left is replaced");

        let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        assert_eq!(state(&format!("udp:{address}")), InputState::Taken);
        drop(taken);
        assert_eq!(state(&format!("udp:{address}")), InputState::Ready);
        assert!(matches!(state("udp:192.0.2.1:9"), InputState::Unusable(_)));
    }
}
