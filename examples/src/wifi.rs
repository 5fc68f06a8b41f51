//! A Wi-Fi between a simulated robot and the gateway: a forwarder on loopback that carries nothing while it is down.
//!
//! UDP datagrams are dropped meanwhile, as in the air. A TCP stream pauses instead: what the air drops, TCP sends again.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
};

/// What carries the robot's session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// QUIC's datagrams.
    Udp,
    /// MQTT's stream.
    Tcp,
}

/// Opens and shuts the way. Clones share it.
#[derive(Clone, Debug)]
pub struct Gate {
    state: Arc<(Mutex<bool>, Condvar)>,
}

impl Default for Gate {
    fn default() -> Self {
        Self { state: Arc::new((Mutex::new(true), Condvar::new())) }
    }
}

impl Gate {
    /// Lets everything pass, or nothing.
    pub fn set(&self, open: bool) {
        *self.state.0.lock().unwrap_or_else(PoisonError::into_inner) = open;
        self.state.1.notify_all();
    }

    fn is_open(&self) -> bool {
        *self.state.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_open(&self) {
        let open = self.state.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.state.1.wait_while(open, |open| !*open).unwrap_or_else(PoisonError::into_inner));
    }
}

/// Starts to forward to `gateway` and returns the address for the robot. It ends with the process.
pub fn start(carrier: Carrier, gateway: SocketAddr, gate: &Gate) -> io::Result<SocketAddr> {
    match carrier {
        Carrier::Udp => start_udp(gateway, gate.clone()),
        Carrier::Tcp => start_tcp(gateway, gate.clone()),
    }
}

fn start_udp(gateway: SocketAddr, gate: Gate) -> io::Result<SocketAddr> {
    let near = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?);
    let far = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?);
    far.connect(gateway)?;
    let address = near.local_addr()?;
    let robot: Arc<Mutex<Option<SocketAddr>>> = Arc::default();
    let (up, back) =
        ((Arc::clone(&near), Arc::clone(&far), gate.clone(), Arc::clone(&robot)), (near, far, gate, robot));
    thread::spawn(move || {
        let (near, far, gate, robot) = up;
        let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
        loop {
            // An error here is an ICMP message about an earlier datagram, as when the gateway restarts.
            let Ok((length, from)) = near.recv_from(&mut datagram) else { continue };
            *robot.lock().unwrap_or_else(PoisonError::into_inner) = Some(from);
            if gate.is_open() {
                let _ = far.send(&datagram[..length]);
            }
        }
    });
    thread::spawn(move || {
        let (near, far, gate, robot) = back;
        let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
        loop {
            let Ok(length) = far.recv(&mut datagram) else { continue };
            let to = *robot.lock().unwrap_or_else(PoisonError::into_inner);
            if let (Some(to), true) = (to, gate.is_open()) {
                let _ = near.send_to(&datagram[..length], to);
            }
        }
    });
    Ok(address)
}

fn start_tcp(gateway: SocketAddr, gate: Gate) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for near in listener.incoming().flatten() {
            gate.wait_open();
            let Ok(far) = TcpStream::connect(gateway) else { continue };
            let (Ok(near_back), Ok(far_back)) = (near.try_clone(), far.try_clone()) else { continue };
            let (up, back) = (gate.clone(), gate.clone());
            thread::spawn(move || carry(near, far, &up));
            thread::spawn(move || carry(far_back, near_back, &back));
        }
    });
    Ok(address)
}

fn carry(mut from: TcpStream, mut to: TcpStream, gate: &Gate) {
    let mut bytes = vec![0; STREAM_BYTES];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        gate.wait_open();
        if to.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
    // One end has gone: the other one is to notice, also while nothing passes.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

/// The largest datagram there is.
const DATAGRAM_BYTES_MAX: usize = 65_535;

/// Carried at a time; small, so that a shut gate holds little back.
const STREAM_BYTES: usize = 4096;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn datagrams_pass_while_the_gate_is_open_and_are_lost_while_it_is_shut() {
        let gateway = UdpSocket::bind("127.0.0.1:0").unwrap();
        gateway.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let gate = Gate::default();
        let address = start(Carrier::Udp, gateway.local_addr().unwrap(), &gate).unwrap();
        let robot = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut bytes = [0; 8];
        robot.send_to(b"a", address).unwrap();
        let (_, from) = gateway.recv_from(&mut bytes).unwrap();
        gateway.send_to(b"A", from).unwrap();
        assert_eq!(robot.recv(&mut bytes).unwrap(), 1);
        gate.set(false);
        robot.send_to(b"lost", address).unwrap();
        gateway.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        assert!(gateway.recv(&mut bytes).is_err());
        gate.set(true);
        robot.send_to(b"b", address).unwrap();
        assert_eq!(gateway.recv(&mut bytes).unwrap(), 1);
        assert_eq!(bytes[0], b'b');
    }

    #[test]
    fn a_stream_loses_nothing_while_the_gate_is_shut() {
        let gateway = TcpListener::bind("127.0.0.1:0").unwrap();
        let gate = Gate::default();
        let address = start(Carrier::Tcp, gateway.local_addr().unwrap(), &gate).unwrap();
        let mut robot = TcpStream::connect(address).unwrap();
        let (mut end, _) = gateway.accept().unwrap();
        gate.set(false);
        robot.write_all(b"held back").unwrap();
        robot.shutdown(Shutdown::Write).unwrap();
        gate.set(true);
        let mut text = String::new();
        end.read_to_string(&mut text).unwrap();
        assert_eq!(text, "held back");
    }
}
