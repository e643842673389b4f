//! `[[route]]`: every route leads somewhere, and to what is of its own kind.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc};

use http::Method;

use super::upstreams::{self, Kind, Upstreams};
use crate::config::{
    Action, HeaderMatch, Host, HttpRoute, PathNormalization, RawRoute as RawQuic, Route, Upstream,
    error::{Findings, Place},
    keys::{ROUTE, RawRoute},
    paths,
    raw::At,
    suggest::nearest,
    values,
};

mod fields;
mod listeners;
mod redirect;

/// Octets of an ALPN name at most (RFC 7301 section 3.1).
const ALPN_MAX: usize = 255;

/// What routes are checked against.
pub(super) struct Beside<'c> {
    pub(super) listeners: &'c [SocketAddr],
    pub(super) upstreams: &'c Upstreams,
    pub(super) paths: PathNormalization,
}

pub(super) fn check(raw: Vec<At<RawRoute>>, beside: &Beside<'_>, findings: &mut Findings<'_>) -> Vec<Route> {
    let names = Names::given(&raw, findings);
    let mut checker = Checker { beside, names, used: BTreeSet::new(), findings };
    let mut routes: Vec<Route> = Vec::new();
    for at in raw {
        let place = at.place;
        let Some(route) = checker.route(&at) else { continue };
        if routes.iter().any(|earlier| covers(earlier, &route)) {
            checker.findings.notice(place, "route: never used, an earlier one matches all that it would");
        }
        routes.push(route);
    }
    for (name, at) in beside.upstreams {
        if !checker.used.contains(&**name) {
            checker.findings.notice(at.place, format_args!("upstream.{name}: no route leads to it"));
        }
    }
    routes
}

/// What routes are called: each by a name that no other has.
struct Names(BTreeSet<String>);

impl Names {
    /// The names that the file gives, which come before those made here.
    fn given(raw: &[At<RawRoute>], findings: &mut Findings<'_>) -> Self {
        let mut taken = BTreeSet::new();
        for At { place, value: name } in raw.iter().filter_map(|at| at.value.name.as_ref()) {
            upstreams::check_name(name, *place, ROUTE.name.name(), findings);
            if !taken.insert(name.clone()) {
                findings.problem(*place, ROUTE.name.name(), format_args!("\"{name}\" is given twice"));
                findings.hint("another name, or none: it is then called by what it matches");
            }
        }
        Self(taken)
    }

    fn of(&mut self, raw: &RawRoute, matches: &str) -> Arc<str> {
        if let Some(At { value: name, .. }) = &raw.name {
            return name.as_str().into();
        }
        // It ends up on terminals.
        let matches = matches.escape_debug().to_string();
        let mut name = matches.clone();
        let mut number = 2;
        while !self.0.insert(name.clone()) {
            name = format!("{matches} #{number}");
            number += 1;
        }
        name.into()
    }
}

/// What routes are checked with, one after the other.
struct Checker<'c, 't> {
    beside: &'c Beside<'c>,
    names: Names,
    /// Upstreams that some route asks for.
    used: BTreeSet<String>,
    findings: &'c mut Findings<'t>,
}

impl Checker<'_, '_> {
    fn route(&mut self, At { place, value: raw }: &At<RawRoute>) -> Option<Route> {
        let before = self.findings.count();
        let host = self.host(raw);
        let route = match &raw.alpn {
            Some(alpn) => self.raw_quic(*place, raw, alpn, host).map(Route::Raw),
            None => self.http(*place, raw, host).map(Route::Http),
        };
        route.filter(|_| self.findings.count() == before)
    }

    fn raw_quic(&mut self, place: Place, raw: &RawRoute, alpn: &At<String>, sni: Option<Host>) -> Option<RawQuic> {
        self.check_alpn(alpn);
        self.refuse_http_keys(raw);
        let name = self.names.of(raw, &format!("alpn {}", alpn.value));
        let listeners = listeners::check(raw, self.beside.listeners, self.findings);
        let upstream = self.upstream(place, raw)?;
        Some(RawQuic { name, listeners, alpn: alpn.value.clone(), sni, upstream })
    }

    fn http(&mut self, place: Place, raw: &RawRoute, host: Option<Host>) -> Option<HttpRoute> {
        let path = self.path(raw);
        let matches = format!("{}{path}", host.as_ref().map(Host::to_string).unwrap_or_default());
        let name = self.names.of(raw, &matches);
        let listeners = listeners::check(raw, self.beside.listeners, self.findings);
        let methods = self.methods(raw);
        let headers = fields::matches(raw.headers.as_ref(), self.findings);
        let request_headers = fields::rewrite(raw.request_headers.as_ref(), fields::Of::Requests, self.findings);
        let response_headers = fields::rewrite(raw.response_headers.as_ref(), fields::Of::Responses, self.findings);
        let action = self.action(place, raw)?;
        Some(HttpRoute { name, listeners, host, path, methods, headers, action, request_headers, response_headers })
    }

    fn host(&mut self, raw: &RawRoute) -> Option<Host> {
        let At { place, value: text } = raw.host.as_ref()?;
        let why = match values::host_pattern(text) {
            Ok(Host::Exact(host)) if raw.alpn.is_some() && values::is_address(&host) => format!(
                "\"{text}\" is an address: with alpn, host is the server name that TLS carries, never an address"
            ),
            Ok(host) => return Some(host),
            Err(why) => why,
        };
        self.findings.problem(*place, ROUTE.host.name(), why);
        None
    }

    fn check_alpn(&mut self, At { place, value: alpn }: &At<String>) {
        let key = ROUTE.alpn.name();
        if alpn == "h3" {
            self.findings.problem(*place, key, "\"h3\" is HTTP/3, which needs no alpn");
            self.findings.hint("leave alpn out; host and path choose among HTTP requests");
        } else if alpn.is_empty() || alpn.len() > ALPN_MAX {
            self.findings.problem(*place, key, format_args!("{} octets; it has 1 to {ALPN_MAX}", alpn.len()));
        }
    }

    /// A raw route has none of what is about requests.
    fn refuse_http_keys(&mut self, raw: &RawRoute) {
        let of_both =
            [ROUTE.name.name(), ROUTE.listeners.name(), ROUTE.host.name(), ROUTE.alpn.name(), ROUTE.upstream.name()];
        for (key, place) in raw.given().into_iter().filter(|(key, _)| !of_both.contains(&key.name())) {
            let short = key.short();
            self.findings.problem(place, key.name(), format_args!("a raw route (one with alpn) has no {short}"));
            self.findings.hint(format!("leave out {short}, or leave out alpn for a route of HTTP requests"));
        }
    }

    fn path(&mut self, raw: &RawRoute) -> String {
        let Some(At { place, value: path }) = &raw.path else { return "/".to_owned() };
        let blank = |c: char| c.is_whitespace() || c.is_control();
        let why = if !path.starts_with('/') {
            "does not begin with a slash"
        } else if path.contains(['?', '#']) {
            "has a query or fragment, which are not matched"
        } else if path.contains(blank) {
            "has a blank, which requests write as %20"
        } else if self.beside.paths == PathNormalization::AsIs {
            return path.clone();
        } else {
            match paths::normal(path) {
                Ok(normal) => return paths::merged(&normal).into_owned(),
                Err(why) => {
                    self.findings.problem(
                        *place,
                        ROUTE.path.name(),
                        format_args!("{path:?} matches no request: {}", why.why()),
                    );
                    return path.clone();
                }
            }
        };
        self.findings.problem(*place, ROUTE.path.name(), format_args!("{path:?} {why}"));
        path.clone()
    }

    fn methods(&mut self, raw: &RawRoute) -> Vec<Method> {
        let key = ROUTE.methods.name();
        let Some(At { value: names, .. }) = &raw.methods else { return Vec::new() };
        let mut methods = Vec::new();
        for At { place, value: name } in names {
            match name.parse::<Method>() {
                Err(_) => self.findings.problem(*place, key, format_args!("{name:?} is no method")),
                Ok(Method::CONNECT) => {
                    self.findings.problem(*place, key, "CONNECT never reaches a route: it is always refused");
                }
                Ok(method) if methods.contains(&method) => {
                    self.findings.problem(*place, key, format_args!("\"{name}\" is listed twice"));
                }
                Ok(method) => {
                    let upper = name.to_ascii_uppercase();
                    if *name != upper && STANDARD.contains(&upper.as_str()) {
                        self.findings.problem(*place, key, format_args!("\"{name}\" is no method: case counts"));
                        self.findings.hint(format!("did you mean \"{upper}\"?"));
                    }
                    methods.push(method);
                }
            }
        }
        methods
    }

    fn action(&mut self, place: Place, raw: &RawRoute) -> Option<Action> {
        let Some(at) = &raw.redirect else {
            if let Some(at) = &raw.redirect_status {
                self.findings.problem(at.place, ROUTE.redirect_status.name(), "there is no redirect");
                self.findings.hint("redirect = \"https://{host}{path}{query}\", in place of upstream");
            }
            return self.upstream(place, raw).map(Action::Upstream);
        };
        if let Some(other) = &raw.upstream {
            self.used.insert(other.value.clone());
            self.findings.problem(at.place, ROUTE.redirect.name(), "a route has either an upstream or a redirect");
            self.findings.hint("two routes, if both are meant");
        }
        if let Some(at) = &raw.request_headers {
            self.findings
                .notice(at.place, "route.request_headers: a redirect sends nothing on, so they have no effect");
        }
        redirect::check(at, raw, self.findings).map(Action::Redirect)
    }

    /// The upstream's name, if it is known and of the route's kind.
    fn upstream(&mut self, place: Place, raw: &RawRoute) -> Option<Arc<str>> {
        let key = ROUTE.upstream.name();
        let Some(At { place, value: wanted }) = &raw.upstream else {
            self.findings.problem(place, key, "missing");
            self.findings.hint(match self.beside.upstreams.keys().next() {
                Some(name) => format!("upstream = \"{name}\""),
                None => "upstream = \"NAME\", and [upstream.NAME]".to_owned(),
            });
            return None;
        };
        self.used.insert(wanted.clone());
        let Some((name, upstream)) = self.beside.upstreams.get_key_value(wanted.as_str()) else {
            self.findings.problem(*place, key, format_args!("there is no upstream \"{wanted}\""));
            self.findings.hint(match nearest(wanted, self.beside.upstreams.keys().map(|name| &**name)) {
                Some(name) => format!("did you mean \"{name}\"?"),
                None => format!("add [upstream.{wanted}]"),
            });
            return None;
        };
        let (why, hint) = match (&raw.alpn, upstream.value.kind, place) {
            (Some(_), Kind::Streams | Kind::Either, _) => return Some(Arc::clone(name)),
            (None, Kind::Http | Kind::Either, _) => {
                if matches!(&upstream.value.upstream, Upstream::Servers(servers) if servers.proxy_protocol) {
                    let sentence = format!("upstream.{name}.proxy_protocol has no effect on requests, only on streams");
                    self.findings.notice(*place, sentence);
                }
                return Some(Arc::clone(name));
            }
            (None, Kind::Streams, place) => (
                "HTTP requests need http:// servers (or https://, h2c://, unix:), and this upstream's are tcp://",
                match place {
                    Place::Flag(_) => "an http:// URL, or a configuration file with alpn in the route",
                    Place::Offset(_) | Place::Whole => "another upstream, or alpn = \"NAME\" to carry raw streams",
                },
            ),
            (Some(_), Kind::Http, _) => (
                "raw streams (alpn) need tcp:// or unix: servers, and this upstream's speak HTTP",
                "another upstream, or leave out alpn to carry HTTP requests",
            ),
        };
        self.findings.problem(*place, key, why);
        self.findings.hint(hint);
        None
    }
}

/// Methods that are often written in small letters (RFC 9110 section 9.1: case counts).
const STANDARD: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"];

/// Whether `earlier` surely matches everything that `later` would.
fn covers(earlier: &Route, later: &Route) -> bool {
    match (earlier, later) {
        (Route::Http(earlier), Route::Http(later)) => {
            let methods = earlier.methods.is_empty()
                || !later.methods.is_empty() && later.methods.iter().all(|method| earlier.methods.contains(method));
            let implied = |wanted: &HeaderMatch| later.headers.iter().any(|later| implies(later, wanted));
            listeners::covers(&earlier.listeners, &later.listeners)
                && covers_host(earlier.host.as_ref(), later.host.as_ref())
                && paths::is_below(&later.path, &earlier.path)
                && methods
                && earlier.headers.iter().all(implied)
        }
        (Route::Raw(earlier), Route::Raw(later)) => {
            listeners::covers(&earlier.listeners, &later.listeners)
                && earlier.alpn == later.alpn
                && covers_host(earlier.sni.as_ref(), later.sni.as_ref())
        }
        (Route::Http(_), Route::Raw(_)) | (Route::Raw(_), Route::Http(_)) => false,
    }
}

/// Whether a request that has what `one` wants has what `other` wants too.
fn implies(one: &HeaderMatch, other: &HeaderMatch) -> bool {
    one.name == other.name && (other.value.is_none() || one.value == other.value)
}

fn covers_host(earlier: Option<&Host>, later: Option<&Host>) -> bool {
    match (earlier, later) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(earlier), Some(Host::Exact(name))) => earlier.matches(name),
        (Some(earlier), Some(below @ Host::Below(parent))) => {
            earlier == below || earlier.matches(parent) && matches!(earlier, Host::Below(_))
        }
    }
}
