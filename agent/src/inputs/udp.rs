//! The input `udp:ADDR`: each datagram is one or more NDJSON lines. It is live.
//!
//! UDP promises nothing: what the network or a full socket buffer drops is not seen here and not counted. A program
//! that has to know uses a `unix:` socket.

use std::{net::SocketAddr, time::Duration};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::{net::UdpSocket, sync::watch};

use crate::damper::Damper;

use super::{
    End, InputError,
    feed::Feeder,
    lines::{Line, LineText},
    stop::{Pause, pause},
};

/// Longer than any datagram can be.
const DATAGRAM_BYTES_MAX: usize = 64 * 1024;

/// Bytes that the system is asked to keep for a burst; it may give less.
const SOCKET_BUFFER_BYTES: usize = 1024 * 1024;

/// Long enough for an interface to come back.
const RECEIVE_RETRY: Duration = Duration::from_secs(1);

/// A bound socket.
#[derive(Debug)]
pub struct UdpInput {
    socket: UdpSocket,
    /// How long to wait when the system refuses to receive.
    retry: Duration,
}

impl UdpInput {
    /// Binds the socket. Needs a tokio runtime.
    pub fn bind(input: &str, address: SocketAddr) -> Result<Self, InputError> {
        let bind = || {
            let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
            // Only a wish: a smaller buffer loses more of a burst, and works.
            let _ = socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
            socket.set_nonblocking(true)?;
            socket.bind(&address.into())?;
            UdpSocket::from_std(socket.into())
        };
        let socket = bind().map_err(|source| InputError::from_bind(input, source))?;
        Ok(Self { socket, retry: RECEIVE_RETRY })
    }

    /// Returns the address, with the port that the system chose where port 0 was asked for.
    pub fn local_address(&self) -> std::io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Takes datagrams until `stopped` changes or its sender is dropped.
    pub async fn run(self, mut feeder: Feeder, mut stopped: watch::Receiver<()>) -> End {
        let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
        let (mut number, mut troubles) = (0, Damper::default());
        loop {
            let received = tokio::select! {
                received = self.socket.recv_from(&mut datagram) => received,
                _ = stopped.changed() => return End::Stopped,
            };
            let bytes = match received {
                Ok((bytes, _)) => {
                    troubles.reset();
                    datagram.get(..bytes).unwrap_or_default()
                }
                // Nothing is ever sent from here, so this is the socket itself, as when its interface went away.
                Err(error) => {
                    let input = feeder.source().input();
                    match troubles.note(&error.to_string(), feeder.clock().mono()) {
                        Some(0) => tracing::warn!("input {input}: receive: {error}"),
                        Some(unsaid) => {
                            tracing::warn!(
                                "input {input}: receive: {error}; {unsaid} more times since the last word"
                            );
                        }
                        None => tracing::debug!("input {input}: receive: {error}"),
                    }
                    match pause(self.retry, &mut stopped).await {
                        Pause::Over => continue,
                        Pause::Stopped => return End::Stopped,
                    }
                }
            };
            for text in bytes.strip_suffix(b"\n").unwrap_or(bytes).split(|byte| *byte == b'\n') {
                number += 1;
                if feeder.feed(Line { number, text: LineText::Whole(text) }).is_err() {
                    return End::Stopped;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use muster_protocol::ndjson::ParserLimits;

    use super::*;
    use crate::{
        batcher::Manner,
        clock::Clock,
        inputs::{Setting, feed::Syncs},
        intake::{Intake, IntakeConfig},
    };

    /// Guards: a stop waited for the end of the pause after a failure to receive.
    #[tokio::test]
    async fn a_socket_that_cannot_receive_is_stopped_at_once() {
        // What is sent to an address where nobody listens comes back as an error of the next receive.
        let closed = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(closed).await.unwrap();
        socket.send(b"anyone?").await.unwrap();
        let (intake, _outlet) = Intake::new(&IntakeConfig::default());
        let setting = Setting { intake, clock: Clock::new(), limits: ParserLimits::default() };
        let feeder = Feeder::new(setting.intake.source("udp", Manner::Live), &setting, Syncs::NoWayBack);
        let (stop, stopped) = watch::channel(());
        let mut run = Box::pin(UdpInput { socket, retry: Duration::from_secs(3600) }.run(feeder, stopped));
        tokio::time::timeout(Duration::from_millis(100), &mut run).await.unwrap_err();
        drop(stop);
        let ended = tokio::time::timeout(Duration::from_secs(30), run).await;
        assert_eq!(ended.expect("it stops"), End::Stopped);
    }
}
