//! `[[listener]]`: addresses that can be bound, with certificates that can be presented.

use std::net::{IpAddr, SocketAddr};

use crate::config::{
    CertificateFiles, Certificates, Config, LISTENERS_MAX, Listener, certificates,
    error::{Findings, Place},
    file::{At, RawCertificate, RawListener},
};

pub(super) fn check(raw: Vec<At<RawListener>>, findings: &mut Findings<'_>) -> Vec<Listener> {
    if raw.is_empty() {
        findings.problem(Place::Whole, "listener", "there is none: nothing to answer on");
        findings.hint("add [[listener]] with address = \"127.0.0.1:4433\", or --listen 127.0.0.1:4433");
    }
    if let Some(first_beyond) = raw.get(LISTENERS_MAX) {
        let why = format!("{} of them, at most {LISTENERS_MAX} are possible", raw.len());
        findings.problem(first_beyond.place, "listener", why);
    }
    let mut listeners: Vec<Listener> = Vec::new();
    for At { place, value: raw } in raw {
        let Some(address) = address(place, raw.address, findings) else { continue };
        if listeners.iter().any(|other| other.address == address.value) {
            findings.problem(address.place, "listener.address", format_args!("{} is listed twice", address.value));
        }
        let certificates = certificates_of(&address, raw.certificates, findings);
        listeners.push(Listener { address: address.value, certificates });
    }
    listeners
}

fn address(listener: Place, raw: Option<At<String>>, findings: &mut Findings<'_>) -> Option<At<SocketAddr>> {
    let Some(At { place, value: text }) = raw else {
        findings.problem(listener, "listener.address", "missing");
        findings.hint("address = \"0.0.0.0:443\"");
        return None;
    };
    let Ok(address) = text.parse::<SocketAddr>() else {
        findings.problem(place, "listener.address", format_args!("\"{text}\" is not an IP address and port"));
        findings.hint(match text.parse::<IpAddr>() {
            Ok(ip) => format!("{}, with a port", SocketAddr::new(ip, 443)),
            Err(_) => "an address such as 0.0.0.0:443 or [::]:443".to_owned(),
        });
        return None;
    };
    if let Some(why) = unfit(address) {
        findings.problem(place, "listener.address", format_args!("{text} {why}"));
        return None;
    }
    Some(At { place, value: address })
}

/// Why no UDP socket of ours can be bound there.
fn unfit(address: SocketAddr) -> Option<&'static str> {
    if address.port() == 0 {
        return Some("has port 0: clients need to know the port, 1 to 65535");
    }
    if address.ip().is_multicast() {
        return Some("is a multicast address");
    }
    match address {
        SocketAddr::V4(v4) if v4.ip().is_broadcast() => Some("is the broadcast address"),
        SocketAddr::V6(v6) if v6.ip().to_ipv4_mapped().is_some() => Some("is an IPv4 address: write it as one"),
        SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() && v6.scope_id() == 0 => {
            Some("is link-local and needs its interface's index, [fe80::1%2]:443 (`ip link` shows it)")
        }
        SocketAddr::V4(_) | SocketAddr::V6(_) => None,
    }
}

fn certificates_of(
    address: &At<SocketAddr>,
    raw: Vec<At<RawCertificate>>,
    findings: &mut Findings<'_>,
) -> Certificates {
    if raw.is_empty() {
        check_self_signed(address, findings);
        return Certificates::SelfSigned;
    }
    let files = raw.into_iter().filter_map(|raw| certificate(address.value, raw, findings)).collect();
    Certificates::Files(files)
}

/// Nobody may be misled by a certificate that we made up, so never on a public address.
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
    At { place, value: raw }: At<RawCertificate>,
    findings: &mut Findings<'_>,
) -> Option<CertificateFiles> {
    let (Some(cert), Some(key)) = (raw.cert, raw.key) else {
        findings.problem(place, "listener.certificates", format_args!("listener {listener}: cert and key go together"));
        findings.hint("certificates = [{ cert = \"FILE\", key = \"FILE\" }] (or --cert and --key)");
        return None;
    };
    let base = super::base(place, findings.name());
    let files = CertificateFiles { cert: base.join(cert), key: base.join(key) };
    if let Err(error) = certificates::load(&files) {
        findings.problem(place, "listener.certificates", format_args!("listener {listener}: {error}"));
        return None;
    }
    Some(files)
}
