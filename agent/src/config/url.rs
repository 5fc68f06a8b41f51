//! A way to a gateway, written as a URL.

use std::{fmt, net::Ipv6Addr, str::FromStr};

use serde::{Deserialize, Serialize};

/// A way to a gateway. Several ways of one agent lead to one store.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum GatewayUrl {
    /// `quic://HOST:PORT`
    Quic {
        /// A name or an address, an IPv6 one without brackets.
        host: String,
        /// The UDP port.
        port: u16,
    },
    /// `mqtt://HOST:PORT` or `mqtts://HOST:PORT`
    Mqtt {
        /// A name or an address, an IPv6 one without brackets.
        host: String,
        /// The TCP port.
        port: u16,
        /// Whether it is `mqtts`.
        tls: bool,
    },
}

/// Why a text is not a gateway's URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseUrlError {
    /// It has no scheme, or one that the agent does not speak.
    #[error("`{url}` is not a gateway's URL; write quic://HOST:PORT, mqtt://HOST:PORT or mqtts://HOST:PORT")]
    Scheme {
        /// What was given.
        url: String,
    },
    /// A user or password stands before the host. It is not repeated here.
    #[error("the gateway's URL for `{host}` has a user or password in it; write {scheme}://{host}")]
    Credentials {
        /// The scheme.
        scheme: String,
        /// What stands behind the `@`.
        host: String,
    },
    /// The host is missing, or has a character that no host has.
    #[error("`{url}` names no host; write {scheme}://HOST:PORT, as in {scheme}://gateway.example:{port}")]
    Host {
        /// What was given.
        url: String,
        /// Its scheme.
        scheme: String,
        /// The usual port.
        port: u16,
    },
    /// The port is missing.
    #[error("`{url}` names no port; write {scheme}://{host}:{port}")]
    NoPort {
        /// What was given.
        url: String,
        /// Its scheme.
        scheme: String,
        /// Its host.
        host: String,
        /// The usual port.
        port: u16,
    },
    /// The port is no number from 1 to 65535.
    #[error("`{url}` has a bad port `{port}`; write a number from 1 to 65535")]
    Port {
        /// What was given.
        url: String,
        /// Its port.
        port: String,
    },
    /// Something follows the port.
    #[error("`{url}` goes on after the port with `{rest}`; write {scheme}://HOST:PORT and nothing more")]
    Rest {
        /// What was given.
        url: String,
        /// Its scheme.
        scheme: String,
        /// What follows.
        rest: String,
    },
}

impl GatewayUrl {
    /// Returns the host's name or address, an IPv6 one without brackets.
    pub fn host(&self) -> &str {
        match self {
            Self::Quic { host, .. } | Self::Mqtt { host, .. } => host,
        }
    }

    /// Returns the port.
    pub fn port(&self) -> u16 {
        match self {
            Self::Quic { port, .. } | Self::Mqtt { port, .. } => *port,
        }
    }

    /// Whether the gateway has to show a certificate.
    pub fn is_encrypted(&self) -> bool {
        !matches!(self, Self::Mqtt { tls: false, .. })
    }

    fn scheme(&self) -> &'static str {
        match self {
            Self::Quic { .. } => "quic",
            Self::Mqtt { tls: false, .. } => "mqtt",
            Self::Mqtt { tls: true, .. } => "mqtts",
        }
    }
}

impl FromStr for GatewayUrl {
    type Err = ParseUrlError;

    fn from_str(text: &str) -> Result<Self, ParseUrlError> {
        let url = shown(text);
        let (scheme, rest) =
            text.split_once("://").ok_or_else(|| ParseUrlError::Scheme { url: url.clone() })?;
        let Some((_, usual_port)) = SCHEMES.iter().find(|(name, _)| *name == scheme) else {
            return Err(ParseUrlError::Scheme { url });
        };
        let scheme = scheme.to_owned();
        if let Some((_, host)) = rest.rsplit_once('@') {
            return Err(ParseUrlError::Credentials { scheme, host: shown(host) });
        }
        let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if !rest.is_empty() && rest != "/" {
            return Err(ParseUrlError::Rest { url, scheme, rest: shown(rest) });
        }
        let Some((host, port)) = split_host(authority) else {
            return Err(ParseUrlError::Host { url, scheme, port: *usual_port });
        };
        let Some(port) = port else {
            let host = authority.to_owned();
            return Err(ParseUrlError::NoPort { url, scheme, host, port: *usual_port });
        };
        let host = host.to_owned();
        match (port.parse::<u16>(), scheme.as_str()) {
            (Err(_) | Ok(0), _) => Err(ParseUrlError::Port { url, port: shown(port) }),
            (Ok(port), "quic") => Ok(Self::Quic { host, port }),
            (Ok(port), scheme) => Ok(Self::Mqtt { host, port, tls: scheme == "mqtts" }),
        }
    }
}

impl fmt::Display for GatewayUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, host, port) = (self.scheme(), self.host(), self.port());
        if host.contains(':') {
            write!(out, "{scheme}://[{host}]:{port}")
        } else {
            write!(out, "{scheme}://{host}:{port}")
        }
    }
}

impl TryFrom<String> for GatewayUrl {
    type Error = ParseUrlError;

    fn try_from(text: String) -> Result<Self, ParseUrlError> {
        text.parse()
    }
}

impl From<GatewayUrl> for String {
    fn from(url: GatewayUrl) -> Self {
        url.to_string()
    }
}

/// Splits `HOST:PORT`, `HOST`, `[IPV6]:PORT` or `[IPV6]`; `None` if there is no host that could be one.
fn split_host(authority: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        host.parse::<Ipv6Addr>().ok()?;
        return if rest.is_empty() {
            Some((host, None))
        } else {
            Some((host, Some(rest.strip_prefix(':')?)))
        };
    }
    let (host, port) = authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
    let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    (!host.is_empty() && host.len() <= HOST_BYTES_MAX && host.chars().all(named)).then_some((host, port))
}

/// Cuts what was given to a readable length, without control characters.
fn shown(text: &str) -> String {
    text.chars().take(HOST_BYTES_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The schemes, each with the port that the gateway listens on by default.
const SCHEMES: &[(&str, u16)] = &[("quic", 4443), ("mqtt", 1883), ("mqtts", 8883)];

/// Longest name of a host (RFC 1035, 2.3.4).
const HOST_BYTES_MAX: usize = 255;
