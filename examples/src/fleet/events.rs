//! What ends or steers the demo: keys, SIGINT and SIGTERM, all through one bounded channel.

use std::{
    io::{self, IsTerminal as _, Read as _},
    sync::mpsc::{self, Receiver, SyncSender},
    thread,
};

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

/// Something that happened outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A key was pressed.
    Key(Key),
    /// The demo is to end.
    Stop,
}

/// A key that means something here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Up,
    Down,
    Kill,
    Start,
    Quit,
}

/// Starts to listen. Keys come once the terminal is in raw mode.
pub(super) fn listen() -> anyhow::Result<Receiver<Event>> {
    let (sender, receiver) = mpsc::sync_channel(EVENTS_WAITING_MAX);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().build().context("start to listen")?;
    let context = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    drop(context);
    let of_signals = sender.clone();
    thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        let _ = of_signals.send(Event::Stop);
        // Held open for as long as the process lives.
        loop {
            thread::park();
        }
    });
    if io::stdin().is_terminal() && io::stdout().is_terminal() {
        thread::spawn(move || read_keys(&sender));
    }
    Ok(receiver)
}

fn read_keys(sender: &SyncSender<Event>) {
    let mut stdin = io::stdin().lock();
    let mut bytes = [0; 16];
    while let Ok(length @ 1..) = stdin.read(&mut bytes) {
        if let Some(key) = key(&bytes[..length])
            && sender.send(Event::Key(key)).is_err()
        {
            return;
        }
    }
}

/// Knows a key by the bytes that a terminal in raw mode sends for it.
fn key(bytes: &[u8]) -> Option<Key> {
    match bytes {
        b"\x1b[A" | b"\x1bOA" => Some(Key::Up),
        b"\x1b[B" | b"\x1bOB" => Some(Key::Down),
        b"k" => Some(Key::Kill),
        b"s" => Some(Key::Start),
        b"q" | b"\x03" | b"\x04" => Some(Key::Quit),
        _ => None,
    }
}

/// More keys than a person presses between two redraws.
const EVENTS_WAITING_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ctrl_c_ends_the_demo_in_raw_mode_too() {
        assert_eq!(key(b"\x03"), Some(Key::Quit));
        assert_eq!(key(b"\x1b[A"), Some(Key::Up));
        assert_eq!(key(b"x"), None);
    }
}
