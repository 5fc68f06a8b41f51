//! Finds out what there is to know, and decides nothing.

mod disk;
mod inputs;

use std::{net::SocketAddr, path::Path, time::Duration};

use rustls::pki_types::{CertificateDer, pem::PemObject};
use tokio::{net::lookup_host, runtime, time::timeout};

use super::{
    certificate::validity_of,
    facts::{AgentFacts, Answer, CaFacts, ClockFacts, Facts, GatewayFacts},
};
use crate::{
    clock::Clock,
    config::{Config, GatewayUrl},
    link::greeting::{self, Greeted},
    status::{self, StatusError},
};

/// Looks at everything that a configuration names.
pub(super) fn look(config: &Config, problem: Option<String>) -> Facts {
    let reading = Clock::new().reading();
    let ca = config.ca.as_deref().map(trusted);
    let usable_ca = config.ca.as_deref().filter(|_| ca.as_ref().is_some_and(|ca| ca.certificates.is_ok()));
    let (spool, limit_bytes) = (&config.spool.dir, config.spool.limit.bytes());
    Facts {
        problem,
        robot: config.robot.to_string(),
        clock: ClockFacts { wall: reading.wall, synchronised: reading.synchronised },
        gateways: gateways(&config.gateway, usable_ca, config.ca.is_some()),
        ca,
        spool: disk::look(spool, limit_bytes),
        inputs: config.input.iter().map(inputs::look).collect(),
        agent: agent(spool),
    }
}

fn trusted(path: &Path) -> CaFacts {
    let read = || {
        let pem = std::fs::read(path).map_err(|error| error.to_string())?;
        let certificates = CertificateDer::pem_slice_iter(&pem);
        let validity = |der: Result<CertificateDer<'_>, _>| match der {
            Ok(der) => Ok(validity_of(&der)),
            Err(error) => Err(format!("{error}")),
        };
        let certificates: Vec<_> = certificates.map(validity).collect::<Result<_, String>>()?;
        if certificates.is_empty() { Err("it holds no certificate".to_owned()) } else { Ok(certificates) }
    };
    CaFacts { path: path.display().to_string(), certificates: read() }
}

fn gateways(urls: &[GatewayUrl], ca: Option<&Path>, is_named: bool) -> Vec<GatewayFacts> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let look = |url: &GatewayUrl| {
        let addresses = match &runtime {
            Ok(runtime) => runtime.block_on(ask_all(url, ca, is_named)),
            Err(error) => Err(format!("cannot start to ask: {error}")),
        };
        GatewayFacts { url: url.clone(), addresses }
    };
    let facts = urls.iter().map(look).collect();
    if let Ok(runtime) = runtime {
        // A resolver that never answers would hold the program up.
        runtime.shutdown_background();
    }
    facts
}

/// Asks the addresses of a URL in the order in which an agent does, until one answers well.
async fn ask_all(
    url: &GatewayUrl,
    ca: Option<&Path>,
    is_named: bool,
) -> Result<Vec<(String, Answer)>, String> {
    let (GatewayUrl::Quic { host, port } | GatewayUrl::Mqtt { host, port, .. }) = url;
    let found = timeout(RESOLVER_PATIENCE, lookup_host((host.as_str(), *port))).await;
    let found = found.map_err(|_| format!("no answer within {RESOLVER_PATIENCE:?}"))?;
    let mut answers = Vec::new();
    for address in found.map_err(|error| error.to_string())?.take(ADDRESSES_MAX) {
        let answer = match (url, ca) {
            (GatewayUrl::Mqtt { tls: false, .. }, _) => asked(greeting::over_mqtt(address, host, None)).await,
            (GatewayUrl::Mqtt { .. }, Some(ca)) => asked(greeting::over_mqtt(address, host, Some(ca))).await,
            (GatewayUrl::Quic { .. }, Some(ca)) => asked(greeting::over_quic(address, host, ca)).await,
            (_, None) if is_named => Answer::BadCa,
            (_, None) => Answer::NoCa,
        };
        let is_good = matches!(answer, Answer::Good { .. });
        answers.push((shown(address), answer));
        if is_good {
            break;
        }
    }
    Ok(answers)
}

async fn asked(asking: impl Future<Output = Result<Greeted, greeting::NoGreeting>>) -> Answer {
    match asking.await {
        Ok(Greeted { took, certificate }) => {
            Answer::Good { took, certificate: certificate.and_then(|der| validity_of(&der)) }
        }
        Err(why) => Answer::Bad(why),
    }
}

fn shown(address: SocketAddr) -> String {
    address.to_string()
}

fn agent(spool: &Path) -> AgentFacts {
    match status::ask(spool) {
        Ok((_, report)) => AgentFacts::Runs(Box::new(report)),
        Err(StatusError::NoSpool { .. } | StatusError::NotRunning { .. }) => AgentFacts::None,
        Err(error) => AgentFacts::Mute(error.to_string()),
    }
}

/// An agent waits for the resolver as long as it waits for a link.
const RESOLVER_PATIENCE: Duration = Duration::from_secs(10);

/// Addresses of one name that are asked: one of each family, and some more. Each may take seconds.
const ADDRESSES_MAX: usize = 4;
