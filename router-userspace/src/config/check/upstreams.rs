//! `[upstream.NAME]`: servers of one kind behind a name.

use std::{collections::BTreeMap, mem, sync::Arc};

use crate::config::{
    Balance, Server, Upstream,
    error::{Findings, Place},
    file::{At, RawHealth, RawUpstream},
    values,
};

/// Names end up in metrics and on terminals.
const NAME_MAX: usize = 64;

const BALANCES: [(&str, Balance); 2] =
    [("round-robin", Balance::RoundRobin), ("least-requests", Balance::LeastRequests)];

/// Upstreams with wrong servers are kept, less those, so that routes to them aren't called wrong too.
pub(super) type Upstreams = BTreeMap<Arc<str>, At<Upstream>>;

pub(super) fn check(raw: BTreeMap<String, At<RawUpstream>>, findings: &mut Findings<'_>) -> Upstreams {
    raw.into_iter()
        .map(|(name, At { place, value })| {
            check_name(&name, place, findings);
            let value = upstream(&name, At { place, value }, findings);
            (Arc::from(name), At { place, value })
        })
        .collect()
}

fn check_name(name: &str, place: Place, findings: &mut Findings<'_>) {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(plain) {
        let why = format!("{name:?} can't be a name: 1 to {NAME_MAX} of A-Z, a-z, 0-9, '-', '_' and '.'");
        findings.problem(place, "upstream", why);
    }
}

fn upstream(name: &str, At { place, value: raw }: At<RawUpstream>, findings: &mut Findings<'_>) -> Upstream {
    if raw.servers.is_empty() {
        findings.problem(place, &format!("upstream.{name}"), "has no servers");
        findings.hint("servers = [\"http://127.0.0.1:8080\"]");
    }
    let servers = servers(name, raw.servers, findings);
    if let Some(At { place, value: health }) = &raw.health {
        check_health(name, health, &servers, findings);
        let sentence =
            format!("upstream.{name}.health: health checks are not in this version, every server counts as healthy");
        findings.notice(*place, sentence);
    }
    let balance =
        raw.balance.and_then(|at| super::one_of(&at, &format!("upstream.{name}.balance"), &BALANCES, findings));
    Upstream { servers, balance: balance.unwrap_or(Balance::RoundRobin) }
}

fn servers(name: &str, raw: Vec<At<String>>, findings: &mut Findings<'_>) -> Vec<Server> {
    let key = format!("upstream.{name}.servers");
    let mut servers: Vec<Server> = Vec::new();
    for At { place, value: text } in raw {
        let server = match values::server(&text) {
            Ok(server) => server,
            Err(why) => {
                findings.problem(place, &key, why);
                continue;
            }
        };
        if servers.contains(&server) {
            findings.problem(place, &key, format_args!("\"{text}\" is listed twice"));
        } else if servers.first().is_some_and(|first| mem::discriminant(first) != mem::discriminant(&server)) {
            findings.problem(place, &key, format_args!("\"{text}\" is of another kind than the servers before it"));
            findings.hint("one upstream for http:// servers, another for tcp://");
        } else {
            servers.push(server);
        }
    }
    servers
}

fn check_health(name: &str, health: &RawHealth, servers: &[Server], findings: &mut Findings<'_>) {
    let key = format!("upstream.{name}.health");
    super::duration(health.interval.as_ref(), (&format!("{key}.interval"), 2), findings);
    let Some(At { place, value: path }) = &health.path else { return };
    let key = format!("{key}.path");
    if !path.starts_with('/') {
        findings.problem(*place, &key, format_args!("\"{path}\" does not begin with a slash"));
    } else if let Some(Server::Tcp(_)) = servers.first() {
        findings.problem(*place, &key, "tcp:// servers have no paths: a connection is all that is tried");
    }
}
