//! `[[route]]`: every route leads to an upstream of its own kind.

use std::{collections::BTreeSet, sync::Arc};

use super::upstreams::Upstreams;
use crate::config::{
    Route, Server,
    error::{Findings, Place},
    file::{At, RawRoute},
    suggest::nearest,
    values,
};

/// Octets of an ALPN name at most (RFC 7301 section 3.1).
const ALPN_MAX: usize = 255;

pub(super) fn check(raw: Vec<At<RawRoute>>, upstreams: &Upstreams, findings: &mut Findings<'_>) -> Vec<Route> {
    let mut routes: Vec<Route> = Vec::new();
    let mut used = BTreeSet::new();
    for at in raw {
        let place = at.place;
        if let Some(at) = &at.value.upstream {
            used.insert(at.value.clone());
        }
        let Some(route) = route(at, upstreams, findings) else { continue };
        if routes.iter().any(|earlier| covers(earlier, &route)) {
            findings.notice(place, "route: never used, an earlier one matches all that it would");
        }
        routes.push(route);
    }
    for (name, at) in upstreams {
        if !used.contains(&**name) {
            findings.notice(at.place, format_args!("upstream.{name}: no route leads to it"));
        }
    }
    routes
}

fn route(At { place, value: raw }: At<RawRoute>, upstreams: &Upstreams, findings: &mut Findings<'_>) -> Option<Route> {
    let before = findings.count();
    let host = host(&raw, findings);
    let alpn = raw.alpn.as_ref().inspect(|at| check_alpn(at, findings));
    if let Some(path) = &raw.path {
        check_path(path, alpn.is_some(), findings);
    }
    let upstream = upstream(place, &raw, upstreams, findings)?;
    let route = match alpn {
        Some(alpn) => Route::Raw { alpn: alpn.value.clone(), sni: host, upstream },
        None => Route::Http { host, path: raw.path.map_or_else(|| "/".to_owned(), |path| path.value), upstream },
    };
    (findings.count() == before).then_some(route)
}

fn host(raw: &RawRoute, findings: &mut Findings<'_>) -> Option<String> {
    let At { place, value: text } = raw.host.as_ref()?;
    match values::host(text) {
        Ok(host) if raw.alpn.is_some() && values::is_address(&host) => {
            findings.problem(
                *place,
                "route.host",
                format_args!(
                    "\"{text}\" is an address: with alpn, host is the server name that TLS carries, never an address"
                ),
            );
            None
        }
        Ok(host) => Some(host),
        Err(why) => {
            findings.problem(*place, "route.host", why);
            None
        }
    }
}

fn check_alpn(At { place, value: alpn }: &At<String>, findings: &mut Findings<'_>) {
    if alpn == "h3" {
        findings.problem(*place, "route.alpn", "\"h3\" is HTTP/3, which needs no alpn");
        findings.hint("leave alpn out; host and path choose among HTTP/3 requests");
    } else if alpn.is_empty() || alpn.len() > ALPN_MAX {
        findings.problem(*place, "route.alpn", format_args!("{} octets; it has 1 to {ALPN_MAX}", alpn.len()));
    }
}

fn check_path(At { place, value: path }: &At<String>, raw_route: bool, findings: &mut Findings<'_>) {
    if raw_route {
        findings.problem(*place, "route.path", "a raw route (one with alpn) has no path");
        findings.hint("leave out path, or leave out alpn for a route of HTTP/3 requests");
    } else if !path.starts_with('/') {
        findings.problem(*place, "route.path", format_args!("\"{path}\" does not begin with a slash"));
    } else if path.contains(['?', '#']) {
        findings.problem(*place, "route.path", format_args!("\"{path}\": queries and fragments are not matched"));
    }
}

/// The upstream's name, if it is known and of the route's kind.
fn upstream(place: Place, raw: &RawRoute, upstreams: &Upstreams, findings: &mut Findings<'_>) -> Option<Arc<str>> {
    let Some(At { place, value: wanted }) = &raw.upstream else {
        findings.problem(place, "route.upstream", "missing");
        findings.hint(match upstreams.keys().next() {
            Some(name) => format!("upstream = \"{name}\""),
            None => "upstream = \"NAME\", and [upstream.NAME]".to_owned(),
        });
        return None;
    };
    let Some((name, upstream)) = upstreams.get_key_value(wanted.as_str()) else {
        findings.problem(*place, "route.upstream", format_args!("there is no upstream \"{wanted}\""));
        findings.hint(match nearest(wanted, upstreams.keys().map(|name| &**name)) {
            Some(name) => format!("did you mean \"{name}\"?"),
            None => format!("add [upstream.{wanted}]"),
        });
        return None;
    };
    // Without servers there is no kind; that has been noted where the upstream is.
    match (&raw.alpn, upstream.value.servers.first()) {
        (None, Some(Server::Tcp(_))) => {
            findings.problem(
                *place,
                "route.upstream",
                "HTTP/3 requests need http:// servers, and this upstream's are tcp://",
            );
            findings.hint(match place {
                Place::Flag(_) => "an http:// URL, or a configuration file with alpn in the route",
                Place::Offset(_) | Place::Whole => "another upstream, or alpn = \"NAME\" to carry raw streams",
            });
            None
        }
        (Some(_), Some(Server::Http(_))) => {
            findings.problem(
                *place,
                "route.upstream",
                "raw streams (alpn) need tcp:// servers, and this upstream's are http://",
            );
            findings.hint("another upstream, or leave out alpn to carry HTTP/3 requests");
            None
        }
        (None, Some(Server::Http(_)) | None) | (Some(_), Some(Server::Tcp(_)) | None) => Some(Arc::clone(name)),
    }
}

/// Whether `earlier` matches everything that `later` would.
fn covers(earlier: &Route, later: &Route) -> bool {
    let any_or_same = |earlier: &Option<String>, later: &Option<String>| earlier.is_none() || earlier == later;
    match (earlier, later) {
        (Route::Http { host, path, .. }, Route::Http { host: later_host, path: later_path, .. }) => {
            any_or_same(host, later_host) && later_path.starts_with(path.as_str())
        }
        (Route::Raw { alpn, sni, .. }, Route::Raw { alpn: later_alpn, sni: later_sni, .. }) => {
            alpn == later_alpn && any_or_same(sni, later_sni)
        }
        (Route::Http { .. }, Route::Raw { .. }) | (Route::Raw { .. }, Route::Http { .. }) => false,
    }
}
