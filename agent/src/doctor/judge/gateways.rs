//! Whether a gateway can be reached and trusted.

use super::{Finding, Level};
use crate::{
    config::GatewayUrl,
    doctor::{
        certificate::Validity,
        facts::{Answer, Facts, GatewayFacts},
    },
    link::greeting::NoGreeting,
};

/// Says whether the trusted certificates can be used; nothing where no URL needs them.
pub(super) fn ca(facts: &Facts) -> Option<Finding> {
    let finding = |level, says: String| Some(Finding::new(level, "ca", says));
    let Some(ca) = &facts.ca else {
        let needs = facts.gateways.iter().find(|gateway| needs_ca(&gateway.url))?;
        let says = format!("none is named, and {} needs one", needs.url);
        return finding(Level::Fail, says)
            .map(|finding| finding.remedy("give --ca FILE, the ca.pem of the gateway's data folder"));
    };
    let certificates = match &ca.certificates {
        Ok(certificates) => certificates,
        Err(why) => {
            return finding(Level::Fail, format!("it cannot be used: {why}"))
                .map(|finding| finding.of(&ca.path).remedy("copy ca.pem from the gateway's data folder"));
        }
    };
    let now = seconds(facts);
    let soonest = certificates.iter().flatten().min_by_key(|validity| validity.until);
    let finding = match soonest.map(|validity| lasts(*validity, now)) {
        Some(Lasts::Ended) => Finding::new(Level::Fail, "ca", "a certificate in it has expired")
            .remedy("copy the ca.pem that the gateway has now, or set the clock if it is wrong"),
        Some(Lasts::NotYet) => {
            Finding::new(Level::Fail, "ca", "a certificate in it is not valid yet").remedy("set the clock")
        }
        Some(Lasts::Days(days)) if days <= DAYS_WARN => {
            Finding::new(Level::Warn, "ca", format!("a certificate in it expires in {days} days"))
                .remedy("copy the ca.pem that the gateway has by then")
        }
        _ => Finding::new(Level::Ok, "ca", format!("holds {}", counted(certificates.len(), "certificate"))),
    };
    Some(finding.of(&ca.path))
}

/// Says of each URL whether an agent would get through. One that does not is bad only if none does.
pub(super) fn gateways(facts: &Facts) -> Vec<Finding> {
    let findings: Vec<_> = facts.gateways.iter().map(|gateway| gateway_of(gateway, facts)).collect();
    let any_works = findings.iter().any(|finding| finding.level < Level::Fail);
    let soften = |mut finding: Finding| {
        if any_works && finding.level == Level::Fail {
            finding.level = Level::Warn;
            finding.says += " (another way works)";
        }
        finding
    };
    findings.into_iter().map(soften).collect()
}

fn gateway_of(gateway: &GatewayFacts, facts: &Facts) -> Finding {
    let url = &gateway.url;
    let finding = match &gateway.addresses {
        Err(why) => Finding::new(Level::Fail, "gateway", format!("its name has no address: {why}"))
            .remedy("check the name, and the robot's DNS"),
        // The last is the one that answered well, if any did.
        Ok(addresses) => match addresses.last() {
            Some((address, answer)) => answered(url, address, answer, facts),
            None => Finding::new(Level::Fail, "gateway", "its name resolves to nothing")
                .remedy("check the name, and the robot's DNS"),
        },
    };
    finding.of(url.to_string())
}

fn answered(url: &GatewayUrl, address: &str, answer: &Answer, facts: &Facts) -> Finding {
    let fail = |says: String| Finding::new(Level::Fail, "gateway", says);
    let is_quic = matches!(url, GatewayUrl::Quic { .. });
    let carrier = if is_quic { "UDP" } else { "TCP" };
    match answer {
        Answer::Good { took, certificate } => {
            well(url, address, took.as_secs_f64() * 1e3, *certificate, facts)
        }
        Answer::NoCa => fail(format!("{address} was not asked: no CA is named")).remedy("give --ca FILE"),
        Answer::BadCa => fail(format!("{address} was not asked: the CA cannot be used")).remedy("see ca"),
        Answer::Bad(NoGreeting::Nobody) => {
            fail(format!("no program takes {carrier} at {address}")).remedy(format!(
                "check that the gateway runs and the port is right: its ready line shows {}=",
                if is_quic { "quic" } else { "mqtt" }
            ))
        }
        Answer::Bad(NoGreeting::Silent) => {
            fail(format!("{address} does not answer over {carrier}")).remedy(if is_quic {
                "check the address and the port, and that no firewall drops UDP; mqtts:// goes over TCP"
            } else {
                "check the address and the port, and that no firewall drops TCP"
            })
        }
        Answer::Bad(NoGreeting::Unreachable(why)) => fail(format!("{address} cannot be reached: {why}"))
            .remedy("check the robot's network and its route there"),
        Answer::Bad(NoGreeting::Untrusted(why)) => {
            let remedy =
                match (why.contains("expired") || why.contains("not valid yet"), facts.clock.synchronised) {
                    (true, false) => {
                        "set the robot's clock, which is not synchronised, or renew the certificate"
                    }
                    (true, true) => "renew the gateway's certificate",
                    _ if why.contains("name") => {
                        "use a name or address that the certificate has, as in its error"
                    }
                    _ => "copy ca.pem from that gateway's data folder, or check the address",
                };
            fail(format!("the certificate of {address} is not trusted: {why}")).remedy(remedy)
        }
        Answer::Bad(NoGreeting::Stranger(what)) => fail(format!("{address}: {what}"))
            .remedy("check the port; the gateway's ready line shows its own"),
        Answer::Bad(NoGreeting::Refused(code)) => {
            fail(format!("the MQTT server at {address} refuses clients: return code {code}"))
                .remedy("let the agent in there; 4 and 5 are about user and password")
        }
    }
}

fn well(
    url: &GatewayUrl,
    address: &str,
    millis: f64,
    certificate: Option<Validity>,
    facts: &Facts,
) -> Finding {
    let what = match url {
        GatewayUrl::Quic { .. } => "speaks muster/1",
        GatewayUrl::Mqtt { .. } => "speaks MQTT; a gateway behind a broker is not seen from here",
    };
    let says = format!("{address} answers within {millis:.1} ms and {what}");
    match certificate.map(|validity| lasts(validity, seconds(facts))) {
        Some(Lasts::Days(days)) if days <= DAYS_WARN => {
            Finding::new(Level::Warn, "gateway", format!("{says}; its certificate expires in {days} days"))
                .remedy("renew it")
        }
        _ => Finding::new(Level::Ok, "gateway", says),
    }
}

fn needs_ca(url: &GatewayUrl) -> bool {
    matches!(url, GatewayUrl::Quic { .. } | GatewayUrl::Mqtt { tls: true, .. })
}

/// How long a certificate still holds.
enum Lasts {
    NotYet,
    Ended,
    Days(i64),
}

fn lasts(validity: Validity, now: i64) -> Lasts {
    if now < validity.from {
        Lasts::NotYet
    } else if now > validity.until {
        Lasts::Ended
    } else {
        Lasts::Days((validity.until - now) / 86_400)
    }
}

fn seconds(facts: &Facts) -> i64 {
    facts.clock.wall.0.div_euclid(1_000_000_000)
}

fn counted(count: usize, of: &str) -> String {
    if count == 1 { format!("1 {of}") } else { format!("{count} {of}s") }
}

/// Time to roll a certificate out to a fleet.
const DAYS_WARN: i64 = 30;
