//! The HTTP listener: a bounded number of connections, none of which may wait for ever with a request half said.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, net::TcpStream, sync::Semaphore, task::JoinSet, time::sleep};

use crate::metrics::Connections;

/// Serves the API on a socket. Further connections than `connections_max` wait in the system's queue until one ends.
/// Answers that stream are cut when this is dropped, and look cut.
pub async fn serve(
    socket: TcpListener,
    api: Router,
    connections_max: usize,
    connections: Connections,
) -> Infallible {
    let permits = Arc::new(Semaphore::new(connections_max));
    let mut tasks = JoinSet::new();
    loop {
        let permit = Arc::clone(&permits).acquire_owned().await.expect("this semaphore is never closed");
        match socket.accept().await {
            Ok((stream, _)) => {
                let (api, open) = (api.clone(), connections.opened());
                tasks.spawn(async move {
                    converse(stream, api).await;
                    drop((permit, open));
                });
            }
            Err(error) => {
                tracing::warn!("http cannot accept a connection: {error}; trying again");
                sleep(ACCEPT_PAUSE).await;
            }
        }
        while tasks.try_join_next().is_some() {}
    }
}

async fn converse(stream: TcpStream, api: Router) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(REQUEST_MAX);
    // How a client ends its connection is not the gateway's business.
    let _ = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(api)).await;
}

/// Longest wait for the head of a request, the first and every further one of a connection.
const REQUEST_MAX: Duration = Duration::from_secs(30);

/// After a failure to accept, which is mostly one of descriptors: time for some to come back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
