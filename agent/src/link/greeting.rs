//! Asks an address for a handshake and nothing more: who answers there, and whether it can be trusted. No Hello is said,
//! so no gateway notes a robot, and no session ends for it.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::Arc,
    time::Duration,
};

use rustls::{ClientConfig, ClientConnection, pki_types::ServerName};

use super::{quic, tls};
use crate::clock::Clock;

/// A handshake that succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Greeted {
    /// The round trip, or how long it took to be answered.
    pub(crate) took: Duration,
    /// The server's certificate in DER, if it showed one.
    pub(crate) certificate: Option<Vec<u8>>,
}

/// Why there was no handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoGreeting {
    /// The other machine says that no program has the port.
    Nobody,
    /// Nothing came back.
    Silent,
    /// The network says that the address cannot be reached.
    Unreachable(String),
    /// The certificate is not trusted, and why.
    Untrusted(String),
    /// Something else answered: what is said of it goes on after its address.
    Stranger(String),
    /// An MQTT server that lets nobody in, with its return code.
    Refused(u8),
}

/// Asks over QUIC.
pub(crate) async fn over_quic(address: SocketAddr, host: &str, ca: &Path) -> Result<Greeted, NoGreeting> {
    quic::greet(address, host, ca).await
}

/// Asks over MQTT, with TLS if a file of trusted certificates is given.
pub(crate) async fn over_mqtt(
    address: SocketAddr,
    host: &str,
    ca: Option<&Path>,
) -> Result<Greeted, NoGreeting> {
    let tls = match ca {
        None => None,
        Some(ca) => {
            let config = tls::client_config(ca, &[]).await;
            Some(config.map_err(|error| NoGreeting::Untrusted(error.to_string()))?)
        }
    };
    let host = host.to_owned();
    let asked = tokio::task::spawn_blocking(move || ask(address, &host, tls)).await;
    asked.unwrap_or_else(|error| Err(NoGreeting::Stranger(error.to_string())))
}

fn ask(address: SocketAddr, host: &str, tls: Option<Arc<ClientConfig>>) -> Result<Greeted, NoGreeting> {
    let clock = Clock::new();
    let start = clock.mono();
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(|error| match error.kind() {
        ErrorKind::ConnectionRefused => NoGreeting::Nobody,
        ErrorKind::TimedOut | ErrorKind::WouldBlock => NoGreeting::Silent,
        _ => NoGreeting::Unreachable(error.to_string()),
    })?;
    let limited =
        stream.set_read_timeout(Some(PATIENCE)).and_then(|()| stream.set_write_timeout(Some(PATIENCE)));
    limited.map_err(|error| NoGreeting::Unreachable(error.to_string()))?;
    let certificate = match tls {
        None => {
            exchange(&mut stream)?;
            None
        }
        Some(config) => {
            let name = ServerName::try_from(host.to_owned());
            let name = name.map_err(|error| NoGreeting::Untrusted(error.to_string()))?;
            let connection = ClientConnection::new(config, name);
            let mut connection = connection.map_err(|error| NoGreeting::Untrusted(error.to_string()))?;
            exchange(&mut rustls::Stream::new(&mut connection, &mut stream))?;
            connection.peer_certificates().and_then(<[_]>::first).map(|der| der.to_vec())
        }
    };
    Ok(Greeted { took: clock.mono().since(start), certificate })
}

/// Says CONNECT, hears CONNACK and says DISCONNECT (MQTT 3.1.1, sections 3.1, 3.2 and 3.14). The client's name is not
/// that of any agent, so that no session is taken over.
fn exchange(stream: &mut (impl Read + Write)) -> Result<(), NoGreeting> {
    let name = format!("muster-doctor-{}", std::process::id());
    let length = |bytes: usize| u8::try_from(bytes).expect("the name is short");
    let mut connect = vec![0x10, length(12 + name.len()), 0, 4];
    connect.extend(b"MQTT\x04\x02\x00\x0a\x00");
    connect.push(length(name.len()));
    connect.extend(name.as_bytes());
    let mut answer = [0; 4];
    stream.write_all(&connect).and_then(|()| stream.flush()).map_err(|error| broken(&error))?;
    stream.read_exact(&mut answer).map_err(|error| broken(&error))?;
    let _ = stream.write_all(&[0xe0, 0]).and_then(|()| stream.flush());
    match answer {
        [0x20, 2, _, 0] => Ok(()),
        [0x20, 2, _, code] => Err(NoGreeting::Refused(code)),
        _ => Err(NoGreeting::Stranger("what answers is not an MQTT server".to_owned())),
    }
}

fn broken(error: &io::Error) -> NoGreeting {
    if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return match tls {
            rustls::Error::InvalidCertificate(_) => NoGreeting::Untrusted(tls.to_string()),
            _ => NoGreeting::Stranger(format!("what answers does not speak TLS as a gateway does: {tls}")),
        };
    }
    NoGreeting::Stranger(match error.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => {
            "it takes the connection and says nothing; is it an MQTT server?".to_owned()
        }
        _ => "it ends the connection without an answer; is it an MQTT server, and with TLS or without?"
            .to_owned(),
    })
}

/// Long enough for an answer over any path that is of use.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use super::*;

    #[test]
    fn what_answers_is_told_apart() {
        for (answer, expected) in [
            (&b"\x20\x02\x00\x00"[..], "Ok"),
            (b"\x20\x02\x00\x05", "Refused(5)"),
            (b"HTTP/1.1 400 Bad Request\r\n", "is not an MQTT server"),
            (b"", "ends the connection"),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let server = thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let read = stream.read(&mut [0; 256]).unwrap();
                stream.write_all(answer).unwrap();
                read
            });
            let told = format!("{:?}", ask(address, "127.0.0.1", None));
            assert!(told.contains(expected), "{told}");
            assert!(server.join().unwrap() > 14);
        }
    }

    #[test]
    fn a_port_that_nobody_has_is_called_so() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(ask(free, "127.0.0.1", None), Err(NoGreeting::Nobody));
    }
}
