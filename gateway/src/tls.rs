//! The gateway's keys: its own certificate authority, its server certificate, and the keys of QUIC's resets and
//! tokens. Made on first start and kept, so that agents trust `DATA/ca.pem` once, and so that robots notice a
//! restart of the gateway at once instead of at their idle timeout.

mod validity;

use std::{fs, io, path::Path, sync::Arc};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use muster_protocol::time::WallTime;

use crate::durable_file::{self, Readable};

/// The keys of one data folder.
#[derive(Debug)]
pub struct Keys {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    quic: QuicKeys,
    /// What agents trust, if the file is there and can be read.
    ca: Vec<CertificateDer<'static>>,
}

/// Keys that let a restarted gateway speak for its earlier connections.
#[derive(Clone, Copy, Debug)]
pub struct QuicKeys {
    /// Signs stateless resets.
    pub reset: [u8; 64],
    /// Marks connection ids as ours.
    pub connection_id: u64,
    /// Signs address validation tokens.
    pub token: [u8; 32],
}

/// Why the keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// A file cannot be read or written.
    #[error("cannot read or write {path}: {error}; check its owner and permissions")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        error: io::Error,
    },
    /// A file does not hold what its name says.
    #[error(
        "{path} is damaged: {why}; restore it from a backup, or remove the .pem files to make new ones, which every agent then has to be given"
    )]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// A certificate cannot be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// The key does not fit the certificate, or TLS refuses it.
    #[error("TLS refuses the server certificate: {0}")]
    Tls(#[from] rustls::Error),
    /// The system has no random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(getrandom::Error),
}

impl Keys {
    /// Reads the keys of a data folder; makes what is not there yet.
    pub fn open(data_dir: &Path) -> Result<Self, KeysError> {
        let at = |name: &str| data_dir.join(name);
        if !at(SERVER_CERTIFICATE).exists() {
            make_certificates(data_dir)?;
        }
        if !at(QUIC_KEYS).exists() {
            let mut bytes = [0; QUIC_KEYS_BYTES];
            getrandom::fill(&mut bytes).map_err(KeysError::Random)?;
            write(&at(QUIC_KEYS), &bytes, Readable::ByOwner)?;
        }
        let damaged =
            |name: &str, why: String| KeysError::Damaged { path: at(name).display().to_string(), why };
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&read(&at(SERVER_CERTIFICATE))?)
            .collect::<Result<_, _>>()
            .map_err(|error| damaged(SERVER_CERTIFICATE, error.to_string()))?;
        let key = PrivateKeyDer::from_pem_slice(&read(&at(SERVER_KEY))?)
            .map_err(|error| damaged(SERVER_KEY, error.to_string()))?;
        let quic = QuicKeys::from_bytes(&read(&at(QUIC_KEYS))?)
            .ok_or_else(|| damaged(QUIC_KEYS, format!("it is not {QUIC_KEYS_BYTES} bytes long")))?;
        let trusted = fs::read(at(CA_CERTIFICATE)).unwrap_or_default();
        let ca = CertificateDer::pem_slice_iter(&trusted).filter_map(Result::ok).collect();
        Ok(Self { chain, key, quic, ca })
    }

    /// Returns when the first of these certificates is over, the authority's included: from then on agents refuse the
    /// gateway. `None` if that cannot be read. Those that the gateway makes itself are valid until the year 4096, so only
    /// ones that an operator put there are ever over; nothing renews them.
    pub fn end(&self) -> Option<WallTime> {
        self.chain.iter().chain(&self.ca).filter_map(|certificate| validity::end(certificate)).min()
    }

    /// Returns a TLS configuration for a server that speaks one application protocol: TLS 1.3, no early data.
    pub fn server_config(&self, alpn: &[u8]) -> Result<rustls::ServerConfig, KeysError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), self.key.clone_key())?;
        config.alpn_protocols = vec![alpn.to_vec()];
        config.max_early_data_size = 0;
        Ok(config)
    }

    /// Returns the keys of QUIC's resets, connection ids and tokens.
    pub fn quic(&self) -> &QuicKeys {
        &self.quic
    }
}

impl QuicKeys {
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (reset, rest) = bytes.split_first_chunk()?;
        let (connection_id, rest) = rest.split_first_chunk()?;
        let token = rest.try_into().ok()?;
        Some(Self { reset: *reset, connection_id: u64::from_le_bytes(*connection_id), token })
    }
}

/// What agents trust.
pub const CA_CERTIFICATE: &str = "ca.pem";
const CA_KEY: &str = "ca-key.pem";
const SERVER_CERTIFICATE: &str = "server.pem";
const SERVER_KEY: &str = "server-key.pem";
const QUIC_KEYS: &str = "quic-keys";
const QUIC_KEYS_BYTES: usize = 64 + 8 + 32;

fn make_certificates(data_dir: &Path) -> Result<(), KeysError> {
    let mut ca = CertificateParams::new(Vec::new())?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    ca.distinguished_name.push(DnType::CommonName, "Muster gateway CA");
    let ca_key = KeyPair::generate()?;
    let ca_certificate = ca.self_signed(&ca_key)?;
    let ca_key_pem = ca_key.serialize_pem();
    let issuer = Issuer::new(ca, ca_key);

    let mut server = CertificateParams::new(server_names())?;
    server.distinguished_name.push(DnType::CommonName, "Muster gateway");
    server.use_authority_key_identifier_extension = true;
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let server_key = KeyPair::generate()?;
    let server_certificate = server.signed_by(&server_key, &issuer)?;

    // The server certificate comes last: where it is, everything is.
    let put = |name: &str, pem: &str, readable| write(&data_dir.join(name), pem.as_bytes(), readable);
    put(CA_KEY, &ca_key_pem, Readable::ByOwner)?;
    put(CA_CERTIFICATE, &ca_certificate.pem(), Readable::ByAll)?;
    put(SERVER_KEY, &server_key.serialize_pem(), Readable::ByOwner)?;
    put(SERVER_CERTIFICATE, &server_certificate.pem(), Readable::ByAll)
}

/// The names under which agents may reach this machine: itself, and its host name.
fn server_names() -> Vec<String> {
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    let is_dns_name =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte));
    if !host.is_empty() && host != "localhost" && is_dns_name(host) {
        names.push(host.to_owned());
    }
    names
}

fn read(path: &Path) -> Result<Vec<u8>, KeysError> {
    fs::read(path).map_err(|error| KeysError::Io { path: path.display().to_string(), error })
}

fn write(path: &Path, bytes: &[u8], readable: Readable) -> Result<(), KeysError> {
    durable_file::replace(path, bytes, readable)
        .map_err(|error| KeysError::Io { path: path.display().to_string(), error })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn keys_are_made_once_and_secret() {
        let folder = tempfile::tempdir().unwrap();
        let first = Keys::open(folder.path()).unwrap();
        let again = Keys::open(folder.path()).unwrap();
        assert_eq!(first.chain, again.chain);
        assert_eq!(first.quic.reset, again.quic.reset);
        for secret in [CA_KEY, SERVER_KEY, QUIC_KEYS] {
            let mode = fs::metadata(folder.path().join(secret)).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{secret}");
        }
        first.server_config(b"muster/1").unwrap();
        assert!(first.end().is_some_and(|end| end >= "2262-04-11T00:00:00Z".parse().unwrap()));
    }

    #[test]
    fn a_damaged_key_is_named() {
        let folder = tempfile::tempdir().unwrap();
        Keys::open(folder.path()).unwrap();
        fs::write(folder.path().join(SERVER_KEY), "no key").unwrap();
        let error = Keys::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("server-key.pem is damaged"), "{error}");
    }
}
