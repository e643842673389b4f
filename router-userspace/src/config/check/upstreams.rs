//! `[upstream.NAME]`: servers of one kind behind a name, or one of the built-in answers.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use http::{HeaderValue, uri::Authority as HostAndPort};

use super::places;
use crate::config::{
    CertificateFiles, HostField, Server, ServerAddress, Servers, Timeouts, Upstream, UpstreamTls, certificates,
    error::{Findings, Place},
    keys::{RawUpstream, RawUpstreamTls, UPSTREAM},
    raw::{At, RawSwitched, each},
    values,
};

mod checker;
mod health;
mod servers;

use self::checker::Checker;
pub(super) use self::checker::Kind;

/// Names end up in metrics and on terminals.
const NAME_MAX: usize = 64;

/// An upstream, and what routes may lead to it.
pub(super) struct Checked {
    pub(super) upstream: Upstream,
    pub(super) kind: Kind,
}

/// Upstreams with wrong servers are kept, less those, so that routes to them aren't called wrong too.
pub(super) type Upstreams = BTreeMap<Arc<str>, At<Checked>>;

pub(super) fn check(raw: BTreeMap<String, At<RawUpstream>>, findings: &mut Findings<'_>) -> Upstreams {
    raw.into_iter()
        .map(|(name, At { place, value })| {
            check_name(&name, place, "upstream", findings);
            let value = Checker { name: &name, place, findings }.upstream(&value);
            (Arc::from(name), At { place, value })
        })
        .collect()
}

pub(super) fn check_name(name: &str, place: Place, key: &str, findings: &mut Findings<'_>) {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(plain) {
        let why = format!("{name:?} can't be a name: 1 to {NAME_MAX} of A-Z, a-z, 0-9, '-', '_' and '.'");
        findings.problem(place, key, why);
    }
}

impl Checker<'_, '_> {
    fn upstream(mut self, raw: &RawUpstream) -> Checked {
        let servers = each(&raw.servers);
        if servers.is_empty() {
            self.findings.problem(self.place, &format!("upstream.{}", self.name), "has no servers");
            self.findings.hint("servers = [\"http://127.0.0.1:8080\"]");
        }
        match self.built_in(servers) {
            Some(upstream) => {
                self.refuse_options(raw);
                let hq = servers.iter().filter_map(servers::url).any(|(_, url)| servers::is_hq(url));
                Checked { upstream, kind: if hq { Kind::Streams } else { Kind::Http } }
            }
            None => self.servers_and_options(raw),
        }
    }

    fn servers_and_options(&mut self, raw: &RawUpstream) -> Checked {
        let (all, kind) = self.servers(each(&raw.servers));
        self.notice_what_has_no_effect(raw, kind);
        let servers = Servers {
            balance: self.read(&UPSTREAM.balance, &raw.balance),
            health: raw.health.as_ref().and_then(|at| self.health(&at.value, kind)),
            ejection: self.ejection(raw.ejection.as_ref()),
            slow_start: self.read(&UPSTREAM.slow_start, &raw.slow_start),
            max_connections: self.read(&UPSTREAM.max_connections, &raw.max_connections),
            client_share: self.read(&UPSTREAM.client_share, &raw.client_share),
            queue: self.read(&UPSTREAM.queue, &raw.queue),
            timeouts: Timeouts {
                connect: self.read(&UPSTREAM.connect_timeout, &raw.connect_timeout),
                response: self.read(&UPSTREAM.response_timeout, &raw.response_timeout),
                idle: self.read(&UPSTREAM.idle_timeout, &raw.idle_timeout),
                queue: self.read(&UPSTREAM.queue_timeout, &raw.queue_timeout),
            },
            tls: raw.tls.as_ref().map(|at| self.tls(at, &all)).unwrap_or_default(),
            host: raw.host.as_ref().map_or(HostField::Client, |at| self.host(at, kind)),
            proxy_protocol: self.proxy_protocol(raw, kind),
            all,
        };
        Checked { upstream: Upstream::Servers(servers), kind }
    }

    /// A built-in answer asks no server, so nothing that is about servers means anything.
    fn refuse_options(&mut self, raw: &RawUpstream) {
        let servers = UPSTREAM.servers.name();
        for (key, place) in raw.given().into_iter().filter(|(key, _)| key.name() != servers) {
            let why = "files: and respond: have no servers that it could be about";
            self.findings.problem(place, &self.key(key.short()), why);
            self.findings.hint(format!("leave out {}", key.short()));
        }
    }

    fn notice_what_has_no_effect(&mut self, raw: &RawUpstream, kind: Kind) {
        if kind == Kind::Streams {
            for (key, at) in [("response_timeout", &raw.response_timeout), ("idle_timeout", &raw.idle_timeout)] {
                if let Some(at) = at {
                    let sentence =
                        format!("{}: streams may pause as long as they like, it has no effect", self.key(key));
                    self.findings.notice(at.place, sentence);
                }
            }
        }
        if let (Some(at), Some(At { value: 0, .. })) = (&raw.queue_timeout, &raw.queue) {
            let sentence = format!("{}: with queue = 0 no request waits, it has no effect", self.key("queue_timeout"));
            self.findings.notice(at.place, sentence);
        }
        let ejects = !matches!(&raw.ejection, Some(At { value: RawSwitched::Switch(false), .. }));
        if let (Some(at), None, false) = (&raw.slow_start, &raw.health, ejects) {
            let sentence = format!(
                "{}: without health and ejection no server ever goes, it has no effect",
                self.key("slow_start")
            );
            self.findings.notice(at.place, sentence);
        }
    }

    fn tls(&mut self, At { place, value: raw }: &At<RawUpstreamTls>, servers: &[Server]) -> UpstreamTls {
        let key = self.key("tls");
        if !servers.iter().any(|server| matches!(server.address, ServerAddress::Https(_))) && !servers.is_empty() {
            self.findings.problem(*place, &key, "none of the servers is https://");
            self.findings.hint("leave out tls, or write https:// for servers that speak it");
        }
        let base = places::base(*place, self.findings.name());
        let ca = raw.ca.as_ref().map(|ca| base.join(&ca.value));
        if let Some(Err(error)) = ca.as_deref().map(certificates::authorities) {
            self.findings.problem(*place, &key, error);
        }
        let name = raw.name.as_ref().and_then(|at| self.tls_name(at));
        UpstreamTls { ca, name, certificate: self.certificate(*place, &base, raw) }
    }

    fn tls_name(&mut self, At { place, value: text }: &At<String>) -> Option<String> {
        match values::host(text) {
            // A certificate names an address without brackets.
            Ok(name) => Some(name.trim_start_matches('[').trim_end_matches(']').to_owned()),
            Err(_) => {
                let why = format!("\"{text}\" is not a host name or address");
                self.findings.problem(*place, &self.key("tls.name"), why);
                None
            }
        }
    }

    fn certificate(&mut self, place: Place, base: &Path, raw: &RawUpstreamTls) -> Option<CertificateFiles> {
        let key = self.key("tls");
        let files = match (&raw.cert, &raw.key) {
            (None, None) => return None,
            (Some(cert), Some(key)) => CertificateFiles { cert: base.join(&cert.value), key: base.join(&key.value) },
            (Some(_), None) | (None, Some(_)) => {
                self.findings.problem(place, &key, "cert and key go together");
                self.findings.hint("tls = { cert = \"FILE\", key = \"FILE\" }");
                return None;
            }
        };
        if let Err(error) = certificates::load(&files) {
            self.findings.problem(place, &key, error);
        }
        Some(files)
    }

    fn host(&mut self, at: &At<String>, kind: Kind) -> HostField {
        if kind == Kind::Streams {
            self.findings.problem(at.place, &self.key("host"), "tcp:// servers are told no host");
            self.findings.hint("leave out host");
        }
        match at.value.as_str() {
            "client" => HostField::Client,
            "server" => HostField::Server,
            _ => self.field_host(at, "host").map_or(HostField::Client, HostField::Fixed),
        }
    }

    /// What can stand in a `Host` field (RFC 9110 section 7.2).
    fn field_host(&mut self, At { place, value: text }: &At<String>, key: &str) -> Option<HeaderValue> {
        let authority = text.parse::<HostAndPort>().ok().filter(|authority| !authority.as_str().contains('@'));
        let value = authority.and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
        if value.is_none() {
            self.findings.problem(*place, &self.key(key), format_args!("\"{text}\" is not a host, or host and port"));
        }
        value
    }

    fn proxy_protocol(&mut self, raw: &RawUpstream, kind: Kind) -> bool {
        let wanted = self.read(&UPSTREAM.proxy_protocol, &raw.proxy_protocol);
        if wanted && kind == Kind::Http {
            let why = "only streams begin with a PROXY header: servers of HTTP are told in Forwarded";
            self.findings.problem(places::place_of(&raw.proxy_protocol), &self.key("proxy_protocol"), why);
            self.findings.hint("leave out proxy_protocol");
        }
        wanted
    }
}
