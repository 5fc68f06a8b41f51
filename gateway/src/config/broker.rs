//! Where a broker is, and what the gateway is called there.

use std::{fmt, net::Ipv6Addr, str::FromStr};

use serde::{Deserialize, Serialize};

/// `mqtt://HOST:PORT`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BrokerUrl {
    host: String,
    port: u16,
}

/// A text is not a broker's URL. It is not repeated here: a password may stand in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a broker's URL; write mqtt://HOST:PORT, as in mqtt://broker.example:1883, and user and password in \
     mqtt.broker.username and mqtt.broker.password_file"
)]
pub struct ParseBrokerUrlError;

/// A client's name at a broker: 1 to 64 letters, digits, `-`, `_` or `.`, which every broker takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClientId(String);

/// A text is not a client id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a client id; write 1 to 64 letters, digits, `-`, `_` or `.`")]
pub struct ParseClientIdError;

impl BrokerUrl {
    /// Returns the host's name or address, an IPv6 one without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl ClientId {
    /// Returns it as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BrokerUrl {
    type Err = ParseBrokerUrlError;

    fn from_str(text: &str) -> Result<Self, ParseBrokerUrlError> {
        let rest = text.strip_prefix("mqtt://").ok_or(ParseBrokerUrlError)?;
        let (host, port) = rest.trim_end_matches('/').rsplit_once(':').ok_or(ParseBrokerUrlError)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or(ParseBrokerUrlError)?;
        let host = match host.strip_prefix('[') {
            Some(address) => {
                let address = address.strip_suffix(']').ok_or(ParseBrokerUrlError)?;
                address.parse::<Ipv6Addr>().map_err(|_| ParseBrokerUrlError)?.to_string()
            }
            None if is_host(host) => host.to_owned(),
            None => return Err(ParseBrokerUrlError),
        };
        Ok(Self { host, port })
    }
}

impl FromStr for ClientId {
    type Err = ParseClientIdError;

    fn from_str(text: &str) -> Result<Self, ParseClientIdError> {
        let usual = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let fits = (1..=CLIENT_ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(usual);
        if fits { Ok(Self(text.to_owned())) } else { Err(ParseClientIdError) }
    }
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') {
            write!(out, "mqtt://[{host}]:{port}")
        } else {
            write!(out, "mqtt://{host}:{port}")
        }
    }
}

impl TryFrom<String> for BrokerUrl {
    type Error = ParseBrokerUrlError;

    fn try_from(text: String) -> Result<Self, ParseBrokerUrlError> {
        text.parse()
    }
}

impl TryFrom<String> for ClientId {
    type Error = ParseClientIdError;

    fn try_from(text: String) -> Result<Self, ParseClientIdError> {
        text.parse()
    }
}

impl From<BrokerUrl> for String {
    fn from(url: BrokerUrl) -> Self {
        url.to_string()
    }
}

impl From<ClientId> for String {
    fn from(id: ClientId) -> Self {
        id.0
    }
}

fn is_host(text: &str) -> bool {
    let usual = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !text.is_empty() && text.bytes().all(usual)
}

/// Some brokers stop at 64; MQTT 3.1.1 asks them for 23.
const CLIENT_ID_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_host_and_a_port() {
        for (text, host, port) in [
            ("mqtt://broker.example:1883", "broker.example", 1883),
            ("mqtt://10.0.0.7:1884/", "10.0.0.7", 1884),
            ("mqtt://[::1]:1883", "::1", 1883),
        ] {
            let url: BrokerUrl = text.parse().unwrap();
            assert_eq!((url.host(), url.port()), (host, port));
            assert_eq!(url.to_string().parse(), Ok(url));
        }
    }

    #[test]
    fn anything_else_is_refused_without_repeating_it() {
        for text in [
            "",
            "broker:1883",
            "mqtts://broker:8883",
            "mqtt://broker",
            "mqtt://:1883",
            "mqtt://broker:0",
            "mqtt://broker:99999",
            "mqtt://user:secret@broker:1883",
            "mqtt://broker:1883/topic",
            "mqtt://[::1:1883",
            "mqtt://::1:1883",
        ] {
            let error = text.parse::<BrokerUrl>().unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
