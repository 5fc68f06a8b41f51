//! A sandbox for a test: mounts and networks that nothing else on the machine sees, and that the kernel removes when
//! the test ends, however it ends. Needs root, on a Linux.

mod disk;

use std::{panic, thread};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    unistd::geteuid,
};

use crate::{aloud::say_aloud, outside};

pub use disk::Disk;

/// What a test has to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Own {
    /// What it mounts.
    Mounts,
    /// Its network, and its mounts too.
    Network,
}

/// Returns whether this process has the right to a sandbox of its own: root in a container may lack it.
pub fn is_possible(own: Own) -> bool {
    thread::spawn(move || split_off(own)).join().is_ok_and(|split| split.is_ok())
}

/// Runs work on a thread with a sandbox of its own; programs that it starts are in it too.
///
/// Returns nothing where this process has no right to that and `MUSTER_SKIP_EXTERNAL=1` says to go on without; else
/// that fails the test. Either is said aloud.
pub fn alone<T: Send>(own: Own, work: impl FnOnce() -> T + Send) -> Option<T> {
    if !geteuid().is_root() {
        let what = "mounts and networks of a test's own need root";
        assert!(outside::skipped(), "{what}: run as root, or set MUSTER_SKIP_EXTERNAL=1 to go on without");
        say_aloud(&format!("SKIPPED: {what}, and MUSTER_SKIP_EXTERNAL=1 says to go on without"));
        return None;
    }
    thread::scope(|scope| {
        let on_it = move || {
            split_off(own).expect("root may have namespaces of its own");
            work()
        };
        match scope.spawn(on_it).join() {
            Ok(done) => Some(done),
            Err(failed) => panic::resume_unwind(failed),
        }
    })
}

/// Gives the calling thread namespaces of its own. They end with the last thread or process in them.
fn split_off(own: Own) -> nix::Result<()> {
    let network = match own {
        Own::Mounts => CloneFlags::empty(),
        Own::Network => CloneFlags::CLONE_NEWNET,
    };
    unshare(CloneFlags::CLONE_NEWNS | network)?;
    // Else what is mounted here would show on the machine's own mounts.
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
}
