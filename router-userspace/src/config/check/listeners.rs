//! `[[listener]]`: addresses that can be bound, with certificates that can be presented.

use std::{net::SocketAddr, time::Duration};

use super::{addresses, places};
use crate::config::{
    Admin, CertificateFiles, Certificates, ClientCertificates, Config, EarlyData, Group, LISTENERS_MAX, Listener,
    MinimumTls, certificates,
    error::{Findings, Place},
    keys::{
        ADMIN, CLIENT_CERTIFICATES, LISTENER, RawCertificate, RawClientCertificates, RawListener, WILDCARDS,
        kinds::one_of,
    },
    raw::{At, each},
};

/// The default is all of them.
const GROUPS: [(&str, Group); 4] = [
    ("X25519MLKEM768", Group::X25519MlKem768),
    ("X25519", Group::X25519),
    ("P-256", Group::P256),
    ("P-384", Group::P384),
];

pub(super) fn check(
    raw: Vec<At<RawListener>>,
    admin: Option<&At<Admin>>,
    findings: &mut Findings<'_>,
) -> Vec<Listener> {
    if raw.is_empty() {
        findings.problem(Place::Whole, "listener", "there is none: nothing to answer on");
        findings.hint("add [[listener]] with address = \"127.0.0.1:4433\", or --listen 127.0.0.1:4433");
    }
    if let Some(first_beyond) = raw.get(LISTENERS_MAX) {
        let why = format!("{} of them, at most {LISTENERS_MAX} are possible", raw.len());
        findings.problem(first_beyond.place, "listener", why);
    }
    let mut ports = Ports::default();
    ports.tcp.extend(admin.map(|at| Port { address: at.value.address, key: ADMIN.address.name(), shared: false }));
    let mut listeners = Vec::new();
    for raw in raw {
        listeners.extend(listener(raw, &mut ports, findings));
    }
    ports.check_preferred(findings);
    listeners
}

fn listener(
    At { place, value: raw }: At<RawListener>,
    ports: &mut Ports,
    findings: &mut Findings<'_>,
) -> Option<Listener> {
    let address = address(place, raw.address.as_ref(), findings);
    let redirect_from = redirect_from(&raw, findings);
    let alt_svc_max_age = alt_svc(&raw, findings);
    let early_data = early_data(&raw, findings);
    let minimum_tls = minimum_tls(&raw, findings);
    let groups = groups(&raw, findings);
    let client_certificates = raw.client_certificates.as_ref().and_then(|at| client_certificates(at, findings));
    // All else is about the address.
    let address = address?;
    ports.add(&address, &raw, redirect_from.as_ref(), findings);
    let preferred = raw.preferred_address.as_ref().and_then(|at| preferred(address.value, at, findings));
    ports.preferred.extend(preferred.clone());
    Some(Listener {
        certificates: certificates_of(&address, each(&raw.certificates), findings),
        tcp: LISTENER.tcp.read(&raw.tcp, findings),
        redirect_from: redirect_from.map(|at| at.value),
        alt_svc_max_age,
        early_data,
        client_certificates,
        minimum_tls,
        groups,
        preferred_address: preferred.map(|at| at.value),
        #[cfg(feature = "interop")]
        interop: crate::interop::Switches::default(),
        address: address.value,
    })
}

fn address(listener: Place, raw: Option<&At<String>>, findings: &mut Findings<'_>) -> Option<At<SocketAddr>> {
    let Some(at) = raw else {
        findings.problem(listener, LISTENER.address.name(), "missing");
        findings.hint("address = \"0.0.0.0:443\"");
        return None;
    };
    addresses::read(&LISTENER.address, at, findings)
}

fn has_tcp(raw: &RawListener) -> bool {
    raw.tcp.as_ref().is_some_and(|at| at.value)
}

fn redirect_from(raw: &RawListener, findings: &mut Findings<'_>) -> Option<At<SocketAddr>> {
    let at = addresses::read(&LISTENER.redirect_from, raw.redirect_from.as_ref()?, findings)?;
    if !has_tcp(raw) {
        findings.notice(
            at.place,
            "listener.redirect_from: browsers cannot follow, because they come by TCP first (mend with tcp = true)",
        );
    }
    Some(at)
}

/// None also where it is wrong.
fn alt_svc(raw: &RawListener, findings: &mut Findings<'_>) -> Option<Duration> {
    let Some(at) = &raw.alt_svc else { return Some(*LISTENER.alt_svc.default()) };
    let Some(max_age) = LISTENER.alt_svc.given(at, findings) else {
        findings.hint("or false, so that clients are not told");
        return None;
    };
    if max_age.is_some() && !has_tcp(raw) {
        findings.notice(at.place, "listener.alt_svc: without tcp = true no client is told, so it has no effect");
    }
    max_age
}

/// What comes in 0-RTT comes before the client has shown a certificate.
fn early_data(raw: &RawListener, findings: &mut Findings<'_>) -> EarlyData {
    if !LISTENER.early_data.read(&raw.early_data, findings) {
        return EarlyData::Off;
    }
    if raw.client_certificates.is_some() {
        let why = "0-RTT comes before a client shows its certificate, and client_certificates asks for one";
        findings.problem(places::place_of(&raw.early_data), LISTENER.early_data.name(), why);
        findings.hint("one of the two");
    }
    EarlyData::Safe
}

fn minimum_tls(raw: &RawListener, findings: &mut Findings<'_>) -> MinimumTls {
    if let (Some(at), false) = (&raw.minimum_tls, has_tcp(raw)) {
        findings.notice(at.place, "listener.minimum_tls: without tcp = true it has no effect, QUIC always has 1.3");
    }
    LISTENER.minimum_tls.read(&raw.minimum_tls, findings)
}

fn client_certificates(
    At { place, value: raw }: &At<RawClientCertificates>,
    findings: &mut Findings<'_>,
) -> Option<ClientCertificates> {
    let key = LISTENER.client_certificates.name();
    let Some(ca) = &raw.ca else {
        findings.problem(*place, key, "ca is missing: the file of those who sign them");
        findings.hint("client_certificates = { ca = \"FILE\" }");
        return None;
    };
    let ca = places::base(*place, findings.name()).join(&ca.value);
    if let Err(error) = certificates::authorities(&ca) {
        findings.problem(*place, key, error);
        return None;
    }
    Some(ClientCertificates { ca, required: CLIENT_CERTIFICATES.required.read(&raw.required, findings) })
}

fn groups(raw: &RawListener, findings: &mut Findings<'_>) -> Vec<Group> {
    let key = LISTENER.groups.name();
    let usual = GROUPS.map(|(_, group)| group).to_vec();
    let Some(At { place, value: names }) = &raw.groups else { return usual };
    let mut groups = Vec::new();
    for At { place, value: name } in names {
        match one_of(name, &GROUPS) {
            Ok(group) if groups.contains(&group) => {
                findings.problem(*place, key, format_args!("\"{name}\" is listed twice"));
            }
            Ok(group) => groups.push(group),
            Err(wrong) => wrong.note(*place, key, findings),
        }
    }
    if names.is_empty() {
        findings.problem(*place, key, "empty: no client could shake hands");
        return usual;
    }
    groups
}

/// A connection moves to it with its connection IDs, so what arrives there must come to the
/// listener's own sockets.
fn preferred(listener: SocketAddr, at: &At<String>, findings: &mut Findings<'_>) -> Option<At<SocketAddr>> {
    let At { place, value: address } = addresses::read(&LISTENER.preferred_address, at, findings)?;
    let why = if address.ip().is_unspecified() {
        "is the wildcard, and clients need one address"
    } else if address.port() != listener.port() || address.is_ipv4() != listener.is_ipv4() {
        "is of another port or family: its packets would not come to the listener's sockets"
    } else if !listener.ip().is_unspecified() {
        "is another address: its packets come to the listener's sockets only if those are on the wildcard"
    } else {
        return Some(At { place, value: address });
    };
    findings.problem(place, LISTENER.preferred_address.name(), format_args!("listener {listener}: {address} {why}"));
    if !address.ip().is_unspecified() {
        let wildcard = if listener.is_ipv4() { WILDCARDS[0] } else { WILDCARDS[1] };
        let family = if listener.is_ipv4() { "IPv4" } else { "IPv6" };
        let port = listener.port();
        findings.hint(format!("address = \"{wildcard}:{port}\", and an {family} address with port {port} to prefer"));
    }
    None
}

/// Who listens where, to find two who want one place.
#[derive(Default)]
struct Ports {
    udp: Vec<SocketAddr>,
    tcp: Vec<Port>,
    preferred: Vec<At<SocketAddr>>,
}

/// A TCP port and who has it.
struct Port {
    address: SocketAddr,
    key: &'static str,
    /// With other addresses of the port, of which the more exact one comes first.
    shared: bool,
}

impl Ports {
    fn add(
        &mut self,
        address: &At<SocketAddr>,
        raw: &RawListener,
        redirect_from: Option<&At<SocketAddr>>,
        findings: &mut Findings<'_>,
    ) {
        if self.udp.contains(&address.value) {
            findings.problem(address.place, LISTENER.address.name(), format_args!("{} is listed twice", address.value));
        } else if let Some(At { place, value: true }) = &raw.tcp {
            self.add_tcp(&At { place: *place, value: address.value }, LISTENER.tcp.name(), findings);
        }
        if let Some(at) = redirect_from {
            self.add_tcp(at, LISTENER.redirect_from.name(), findings);
        }
        self.udp.push(address.value);
    }

    fn add_tcp(&mut self, at: &At<SocketAddr>, key: &'static str, findings: &mut Findings<'_>) {
        let At { place, value: address } = *at;
        let clashes = |other: &&Port| match other.shared {
            true => other.address == address,
            false => addresses::overlap(other.address, address),
        };
        if let Some(other) = self.tcp.iter().find(clashes) {
            findings.problem(place, key, format_args!("TCP {address} is taken by {}, {}", other.key, other.address));
            findings.hint("another port for one of the two");
        }
        self.tcp.push(Port { address, key, shared: true });
    }

    /// The socket of an exact address comes before that of the wildcard.
    fn check_preferred(&self, findings: &mut Findings<'_>) {
        for At { place, value } in &self.preferred {
            if self.udp.contains(value) {
                let why = format!("{value} is a listener of its own, whose sockets would get the packets");
                findings.problem(*place, LISTENER.preferred_address.name(), why);
                findings.hint("leave out that listener, or prefer another address");
            }
        }
    }
}

fn certificates_of(address: &At<SocketAddr>, raw: &[At<RawCertificate>], findings: &mut Findings<'_>) -> Certificates {
    if raw.is_empty() {
        check_self_signed(address, findings);
        return Certificates::SelfSigned;
    }
    let files = raw.iter().filter_map(|raw| certificate(address.value, raw, findings)).collect();
    Certificates::Files(files)
}

/// A certificate that the router made up must mislead no client, so never on a public address.
fn check_self_signed(address: &At<SocketAddr>, findings: &mut Findings<'_>) {
    let At { place, value: address } = address;
    if Config::is_private(address.ip()) {
        findings
            .notice(*place, format_args!("listener {address} has no certificates: a self-signed one is made at start"));
        return;
    }
    let whose = if address.ip().is_unspecified() {
        "stands for every address, public ones too"
    } else {
        "is not a loopback or private address"
    };
    let why = format!("{address} has no certificates, and {whose}, so none is made up for it");
    findings.problem(*place, "listener", why);
    findings.hint("certificates = [{ cert = \"FILE\", key = \"FILE\" }] (or --cert and --key), or a private address");
}

fn certificate(
    listener: SocketAddr,
    At { place, value: raw }: &At<RawCertificate>,
    findings: &mut Findings<'_>,
) -> Option<CertificateFiles> {
    let (place, name) = (*place, LISTENER.certificates.name());
    let (Some(cert), Some(key)) = (&raw.cert, &raw.key) else {
        findings.problem(place, name, format_args!("listener {listener}: cert and key go together"));
        findings.hint("certificates = [{ cert = \"FILE\", key = \"FILE\" }] (or --cert and --key)");
        return None;
    };
    let base = places::base(place, findings.name());
    let files = CertificateFiles { cert: base.join(&cert.value), key: base.join(&key.value) };
    if let Err(error) = certificates::load(&files) {
        findings.problem(place, name, format_args!("listener {listener}: {error}"));
        return None;
    }
    Some(files)
}
