//! The one file of the command line that speaks HTTP: asks, and turns what comes back into a value or a sentence.

use std::{
    fs,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use muster_protocol::time::WallTime;
use serde_json::Value;
use ureq::{
    Agent, Body, RequestBuilder,
    http::Response,
    tls::{PemItem, RootCerts, TlsConfig},
};

use super::{
    failure::{Failure, Mistake},
    table::printable,
};

/// Where the gateway is and how to be let in.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// `http://HOST:PORT` or `https://HOST:PORT`; without a scheme, http.
    pub url: String,
    /// Sent as a bearer token.
    pub token: Option<String>,
    /// PEM file of the certificate authority to trust; https needs it.
    pub ca: Option<PathBuf>,
}

/// Asks one gateway.
#[derive(Debug)]
pub struct Client {
    agent: Agent,
    base: String,
    token: Option<String>,
}

/// A query: names and values, encoded when it is sent.
pub type Query = Vec<(&'static str, String)>;

impl Client {
    /// Prepares to ask; nothing is sent yet.
    pub fn new(access: Access) -> Result<Self, Failure> {
        let base = base_url(&access.url)?;
        let mut tls = TlsConfig::builder()
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()));
        match access.ca {
            Some(file) => tls = tls.root_certs(read_ca(&file)?),
            None if base.starts_with("https:") => {
                return Err(Failure::Usage(format!(
                    "{base} needs --ca FILE: the certificate authority to trust, such as ca.pem in the gateway's data folder"
                )));
            }
            None => {}
        }
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .tls_config(tls.build())
            .user_agent(concat!("muster/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(CONNECT_WAIT))
            .timeout_per_read(Some(SILENCE_MAX))
            .build()
            .new_agent();
        Ok(Self { agent, base, token: access.token })
    }

    /// Returns the gateway's URL as it is used.
    pub fn url(&self) -> &str {
        &self.base
    }

    /// Asks for one JSON value.
    pub fn json(&self, path: &str, query: &Query) -> Result<Value, Failure> {
        self.read_json(path, self.ask(path, query)?)
    }

    /// Sends a merge patch (RFC 7396), and returns what is there then.
    pub fn patch(&self, path: &str, patch: &Value) -> Result<Value, Failure> {
        let request = self.agent.patch(format!("{}{path}", self.base));
        let request = self.authorised(request).header("content-type", "application/merge-patch+json");
        let response = request.send(patch.to_string()).map_err(|error| self.explain(&error))?;
        self.read_json(path, self.granted(path, response)?)
    }

    /// Puts a value there, and returns what is there then.
    pub fn put(&self, path: &str, value: &Value) -> Result<Value, Failure> {
        let request = self.authorised(self.agent.put(format!("{}{path}", self.base)));
        let response = request.header("content-type", "application/json").send(value.to_string());
        let response = response.map_err(|error| self.explain(&error))?;
        self.read_json(path, self.granted(path, response)?)
    }

    /// Removes what is there.
    pub fn delete(&self, path: &str) -> Result<(), Failure> {
        let request = self.authorised(self.agent.delete(format!("{}{path}", self.base)));
        let response = request.call().map_err(|error| self.explain(&error))?;
        self.granted(path, response).map(drop)
    }

    /// Asks for a stream of lines of any length.
    pub fn stream(&self, path: &str, query: &Query) -> Result<impl BufRead + use<>, Failure> {
        Ok(BufReader::with_capacity(STREAM_BUFFER_BYTES, self.ask(path, query)?.into_body().into_reader()))
    }

    /// Asks what time it is on the gateway.
    pub fn now(&self) -> Result<WallTime, Failure> {
        let fleet = self.json("/v1/fleet", &Query::new())?;
        let now = fleet.get("now").and_then(Value::as_i64);
        now.map(WallTime).ok_or_else(|| self.not_ours("/v1/fleet has no `now`".to_owned()))
    }

    /// Makes the failure for an answer that no gateway of this version gives.
    pub fn not_ours(&self, why: String) -> Failure {
        Failure::NotOurs { url: self.base.clone(), why }
    }

    fn ask(&self, path: &str, query: &Query) -> Result<Response<Body>, Failure> {
        let mut request = self.agent.get(format!("{}{path}", self.base));
        for (name, value) in query {
            request = request.query(name, value);
        }
        let response = self.authorised(request).call().map_err(|error| self.explain(&error))?;
        self.granted(path, response).map_err(|failure| match failure {
            Failure::Mistake(mut mistake) => {
                let given = query.iter().find(|(name, _)| mistake.name.strip_prefix("--") == Some(name));
                mistake.text = given.map(|(_, value)| value.clone());
                Failure::Mistake(mistake)
            }
            other => other,
        })
    }

    fn authorised<T>(&self, request: RequestBuilder<T>) -> RequestBuilder<T> {
        match &self.token {
            Some(token) => request.header("authorization", format!("Bearer {token}")),
            None => request,
        }
    }

    fn read_json(&self, path: &str, response: Response<Body>) -> Result<Value, Failure> {
        let body = response.into_body().into_with_config().limit(JSON_BYTES_MAX).read_to_vec();
        let body = body.map_err(|error| self.explain(&error))?;
        serde_json::from_slice(&body).map_err(|error| self.not_ours(format!("{path} is not JSON: {error}")))
    }

    fn granted(&self, path: &str, response: Response<Body>) -> Result<Response<Body>, Failure> {
        match response.status().as_u16() {
            200..=299 => Ok(response),
            status => Err(self.refusal(status, path, response)),
        }
    }

    /// Reads an RFC 9457 problem; its `detail` is the sentence for a person.
    fn refusal(&self, status: u16, path: &str, response: Response<Body>) -> Failure {
        let body = response
            .into_body()
            .into_with_config()
            .limit(PROBLEM_BYTES_MAX)
            .read_to_vec()
            .unwrap_or_default();
        let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
        let sentence = ["detail", "title"].iter().find_map(|member| problem.get(member)?.as_str());
        match sentence {
            Some(sentence) if status == 400 => mistake(&problem, sentence),
            Some(sentence) => Failure::Refused { status, detail: printable(sentence).into_owned() },
            None => self.not_ours(format!("{path} answered {status} without a reason")),
        }
    }

    fn explain(&self, error: &ureq::Error) -> Failure {
        let url = self.base.clone();
        match error {
            ureq::Error::Io(inner) if is_tls(inner) => Failure::NotTrusted { url, why: inner.to_string() },
            ureq::Error::Rustls(inner) => Failure::NotTrusted { url, why: inner.to_string() },
            ureq::Error::Tls(why) => Failure::NotTrusted { url, why: (*why).to_owned() },
            ureq::Error::Io(inner) => Failure::NotReachable { url, why: plain(inner) },
            ureq::Error::HostNotFound => {
                Failure::NotReachable { url, why: "the host name is not known".to_owned() }
            }
            ureq::Error::Timeout(_) => Failure::NotReachable { url, why: "no answer in time".to_owned() },
            ureq::Error::ConnectionFailed => {
                Failure::NotReachable { url, why: "connection failed".to_owned() }
            }
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => {
                Failure::Usage(format!("`{url}` is not a URL: {error}"))
            }
            other => Failure::NotOurs { url, why: other.to_string() },
        }
    }
}

/// Reads the problem of a request that was written wrongly: the option it names, and the place in it.
fn mistake(problem: &Value, sentence: &str) -> Failure {
    let parameter = problem.get("parameter").and_then(Value::as_str).unwrap_or_default();
    let detail = sentence.strip_prefix(&format!("`{parameter}`: "));
    let count = |pointer: &str| problem.pointer(pointer)?.as_u64().and_then(|n| usize::try_from(n).ok());
    Failure::Mistake(Box::new(Mistake {
        name: if detail.is_some() { format!("--{}", printable(parameter)) } else { String::new() },
        detail: printable(detail.unwrap_or(sentence)).into_owned(),
        text: None,
        position: count("/position/line").zip(count("/position/column")),
    }))
}

/// Says what an I/O error is without the number that the system gives it.
pub fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

fn base_url(url: &str) -> Result<String, Failure> {
    let (scheme, host) = url.split_once("://").unwrap_or(("http", url));
    match (scheme, host.trim_end_matches('/')) {
        ("http" | "https", host) if !host.is_empty() => Ok(format!("{scheme}://{host}")),
        _ => Err(Failure::Usage(format!(
            "`{url}` is not a gateway's URL: write http://HOST:PORT or https://HOST:PORT"
        ))),
    }
}

fn read_ca(file: &Path) -> Result<RootCerts, Failure> {
    let pem =
        fs::read(file).map_err(|source| Failure::File { action: "read", path: file.to_owned(), source })?;
    let certificates: Vec<_> = ureq::tls::parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        return Err(Failure::Usage(format!(
            "{} holds no certificate in PEM: pass the gateway's ca.pem",
            file.display()
        )));
    }
    Ok(RootCerts::new_with_certs(&certificates))
}

fn is_tls(error: &io::Error) -> bool {
    let mut cause = error.get_ref().map(|inner| inner as &(dyn std::error::Error + 'static));
    while let Some(inner) = cause {
        if inner.is::<rustls::Error>() {
            return true;
        }
        cause = inner.source();
    }
    false
}

/// How long a connection may take to come about: longer than a lost SYN or two, short for a person.
const CONNECT_WAIT: Duration = Duration::from_secs(10);

/// How long a gateway may stay silent inside an answer before the connection counts as broken.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Largest JSON answer: far above a page of robots or one robot with every channel that a schema may have.
const JSON_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Largest problem document that is read.
const PROBLEM_BYTES_MAX: u64 = 64 * 1024;

/// Read at a time from a stream.
const STREAM_BUFFER_BYTES: usize = 128 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_may_lack_its_scheme_and_nothing_else() {
        assert_eq!(base_url("127.0.0.1:8080").unwrap(), "http://127.0.0.1:8080");
        assert_eq!(base_url("https://gw.example/").unwrap(), "https://gw.example");
        for bad in ["", "/", "http://", "ftp://x", "quic://x:4443"] {
            assert!(matches!(base_url(bad), Err(Failure::Usage(_))), "{bad}");
        }
    }

    #[test]
    fn a_wrong_parameter_is_named_as_it_is_typed() {
        let problem = serde_json::json!({"parameter": "where", "position": {"line": 1, "column": 3}});
        let Failure::Mistake(mistake) = mistake(&problem, "`where`: at character 3: no") else { panic!() };
        assert_eq!(
            (mistake.to_string(), mistake.position),
            ("--where: at character 3: no".into(), Some((1, 3)))
        );
        assert_eq!(super::mistake(&problem, "other words").to_string(), "other words");
    }

    #[test]
    fn https_without_a_trusted_authority_says_what_to_pass() {
        let error = Client::new(Access { url: "https://gw".into(), ..Access::default() }).unwrap_err();
        assert!(error.to_string().contains("--ca FILE"), "{error}");
        assert_eq!(error.exit_code(), 2);
    }
}
