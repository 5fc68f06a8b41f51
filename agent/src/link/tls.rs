//! Whom the agent trusts: the certificates of one file, read anew for each connection, so that a renewed one counts
//! without a restart.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

use super::ConnectError;

/// Returns a TLS 1.3 configuration without early data.
pub(super) async fn client_config(ca: &Path, alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, ConnectError> {
    let unusable = |why: String| ConnectError::Ca { path: ca.display().to_string(), why };
    let path = ca.to_owned();
    let read = tokio::task::spawn_blocking(move || std::fs::read(path)).await;
    let pem =
        read.map_err(|error| unusable(error.to_string()))?.map_err(|error| unusable(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(unusable("it holds no certificate".to_owned()));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| unusable(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    config.enable_early_data = false;
    Ok(Arc::new(config))
}
