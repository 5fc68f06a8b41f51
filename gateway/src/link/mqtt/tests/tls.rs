//! The same listener behind TLS.

use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    rustls::{ClientConfig, RootCertStore, ServerConfig, crypto::ring, pki_types::PrivatePkcs8KeyDer},
};

use super::*;

/// A certificate for `localhost` and both ends' configurations that trust it.
fn configurations() -> (ServerConfig, ClientConfig) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(ring::default_provider());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key.into())
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (server, client)
}

#[tokio::test]
async fn a_client_behind_tls_is_served_and_one_without_is_not() {
    let (server, client) = configurations();
    let (ask, mut asked) = mpsc::channel(16);
    let listener = Listener::new(Arc::new(FakeIntake(ask)), Settings::default());
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let tls = TlsAcceptor::from(Arc::new(server));
    let running =
        tokio::spawn(async move { listener.run(socket, Some(tls), async { drop(stopped.await) }).await });

    let mut plain = Client::open(address, V4).await;
    plain.write(&connect(V4, "plain", 60)).await;
    let mut rest = Vec::new();
    let _ = soon(plain.stream.read_to_end(&mut rest)).await;
    assert_ne!(rest.first(), Some(&0x20), "no CONNACK in the clear");

    let stream = TcpStream::connect(address).await.unwrap();
    let name = "localhost".try_into().unwrap();
    let mut stream = soon(TlsConnector::from(Arc::new(client)).connect(name, stream)).await.unwrap();
    stream.write_all(&[connect(V4, "secret", 60), publish(V4, 1, 7, JSON, b"{}")].concat()).await.unwrap();
    let Some(Asked::Json(_, _, issuer)) = soon(asked.recv()).await else { panic!("no message") };
    issuer.resolve(Ok(()));
    let mut answers = [0; 8];
    soon(stream.read_exact(&mut answers)).await.unwrap();
    assert_eq!(answers, [0x20, 2, 0, 0, 0x40, 2, 0, 7]);
    drop(stop);
    soon(running).await.unwrap();
}
