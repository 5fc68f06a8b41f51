//! Connections: how many there may be, and what becomes of those that say nothing.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use super::*;

/// Guards: idle connections took every file descriptor, the store found none, and the gateway ended.
#[test]
fn beyond_the_bound_a_connection_waits_until_another_ends() {
    let api = Arc::new(World::default().api());
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let address = socket.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let socket = tokio::net::TcpListener::from_std(socket).unwrap();
            tokio::select! {
                _ = serve(socket, router(api), 2, crate::metrics::Connections::default()) => {}
                _ = stopped => {}
            }
        });
    });
    let connect = || TcpStream::connect(address).unwrap();
    let ask = |mut stream: &TcpStream| {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    };
    let hear = |mut stream: &TcpStream| {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    };
    let (silent, other) = (connect(), connect());
    // Both are taken once one of them is answered: they are accepted in order.
    ask(&other);
    hear(&other);
    let (second, third) = (connect(), connect());
    ask(&third);
    third.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!((&third).read(&mut [0]).is_err(), "there is no room for it");
    third.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    drop(second);
    hear(&third);
    drop((silent, stop));
    server.join().unwrap();
}
