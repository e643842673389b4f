//! Where a request or a raw connection goes: the first route that matches wins.

use std::{collections::BTreeMap, io, sync::Arc};

use http::{HeaderMap, Method, Request, StatusCode};

use super::{
    files::Files,
    upstream::{Clients, Upstream},
};
use crate::{
    config::{self, Config, HeaderMatch, HeaderRewrite, Host, Redirect},
    telemetry::{Meter, RouteMeter},
};

/// ALPN of HTTP/3 (RFC 9114 section 3.1).
pub(super) const HTTP3: &[u8] = b"h3";

/// The routes of a configuration, split by what they match.
pub(super) struct Routes {
    http: Vec<Arc<HttpRoute>>,
    raw: Vec<Arc<RawRoute>>,
    /// Folders for HTTP/0.9, by their ALPN.
    #[cfg(feature = "interop")]
    hq: Vec<(String, Arc<Files>)>,
}

/// A route of HTTP requests.
pub(super) struct HttpRoute {
    /// What it is called in logs and metrics.
    pub(super) name: Arc<str>,
    /// The name of the upstream it leads to, if it does.
    pub(super) upstream: Option<Arc<str>>,
    pub(super) meter: Arc<RouteMeter>,
    host: Option<Host>,
    path: String,
    methods: Vec<Method>,
    headers: Vec<HeaderMatch>,
    pub(super) action: Action,
    pub(super) request_headers: HeaderRewrite,
    pub(super) response_headers: HeaderRewrite,
}

/// What is done with a request.
pub(super) enum Action {
    Servers(Arc<Upstream>),
    Files(Arc<Files>),
    Respond(StatusCode),
    Redirect(Redirect),
}

/// A route of raw connections.
pub(super) struct RawRoute {
    /// What it is called in logs and metrics.
    pub(super) name: Arc<str>,
    pub(super) upstream_name: Arc<str>,
    pub(super) meter: Arc<RouteMeter>,
    alpn: String,
    sni: Option<Host>,
    pub(super) upstream: Arc<Upstream>,
}

/// The folders of a configuration's `files:` upstreams, opened.
#[derive(Default)]
pub(super) struct Folders(BTreeMap<Arc<str>, Arc<Files>>);

impl Folders {
    /// Opens them.
    ///
    /// # Errors
    /// The first that cannot be opened, by its upstream and path.
    pub(super) fn open(config: &Config) -> Result<Self, io::Error> {
        let mut folders = BTreeMap::new();
        for (name, upstream) in &config.upstreams {
            if let config::Upstream::Files(folder) = upstream {
                let named =
                    |e: io::Error| io::Error::new(e.kind(), format!("upstream.{name}: {}: {e}", folder.display()));
                folders.insert(name.clone(), Arc::new(Files::open(folder).map_err(named)?));
            }
        }
        Ok(Self(folders))
    }
}

impl Routes {
    /// Those of `config`, over `clients` and `folders` of the same configuration.
    pub(super) fn new(config: &Config, clients: &Clients, folders: &Folders, meter: &Meter) -> Self {
        let mut routes = Self {
            http: Vec::new(),
            raw: Vec::new(),
            #[cfg(feature = "interop")]
            hq: Vec::new(),
        };
        for route in &config.routes {
            match route {
                config::Route::Http(route) => {
                    // A `Config` names no upstream that it has not.
                    let Some(action) = action(&route.action, config, clients, folders) else { continue };
                    routes.http.push(Arc::new(HttpRoute {
                        name: route.name.clone(),
                        upstream: match &route.action {
                            config::Action::Upstream(name) => Some(name.clone()),
                            config::Action::Redirect(_) => None,
                        },
                        meter: meter.route(&route.name),
                        host: route.host.clone(),
                        path: route.path.clone(),
                        methods: route.methods.clone(),
                        headers: route.headers.clone(),
                        action,
                        request_headers: route.request_headers.clone(),
                        response_headers: route.response_headers.clone(),
                    }));
                }
                config::Route::Raw(config::RawRoute { name, alpn, sni, upstream }) => {
                    #[cfg(feature = "interop")]
                    routes.hq.extend(folders.0.get(upstream).map(|files| (alpn.clone(), files.clone())));
                    let Some(servers) = clients.get(upstream) else { continue };
                    routes.raw.push(Arc::new(RawRoute {
                        name: name.clone(),
                        upstream_name: upstream.clone(),
                        meter: meter.route(name),
                        alpn: alpn.clone(),
                        sni: sni.clone(),
                        upstream: servers,
                    }));
                }
            }
        }
        routes
    }

    /// Whether the built-in page answers every request.
    pub(super) fn are_page_only(&self) -> bool {
        self.http.is_empty()
    }

    /// The route of a request with an absolute URI.
    pub(super) fn http<B>(&self, request: &Request<B>) -> Option<&Arc<HttpRoute>> {
        self.http.iter().find(|route| route.matches(request))
    }

    /// The folder of a connection that agreed on `alpn`, if that is HTTP/0.9.
    #[cfg(feature = "interop")]
    pub(super) fn hq(&self, alpn: &[u8]) -> Option<Arc<Files>> {
        self.hq.iter().find(|(known, _)| known.as_bytes() == alpn).map(|(_, files)| files.clone())
    }

    /// The route of a connection that agreed on `alpn` and asked for `name`.
    pub(super) fn raw(&self, alpn: &[u8], name: Option<&str>) -> Option<&Arc<RawRoute>> {
        let for_it = |sni: &Host| name.is_some_and(|name| sni.matches(name));
        self.raw.iter().find(|route| route.alpn.as_bytes() == alpn && route.sni.as_ref().is_none_or(for_it))
    }
}

fn action(action: &config::Action, config: &Config, clients: &Clients, folders: &Folders) -> Option<Action> {
    Some(match action {
        config::Action::Redirect(redirect) => Action::Redirect(redirect.clone()),
        config::Action::Upstream(name) => match config.upstreams.get(name)? {
            config::Upstream::Servers(_) => Action::Servers(clients.get(name)?),
            config::Upstream::Files(_) => Action::Files(folders.0.get(name)?.clone()),
            config::Upstream::Respond(status) => Action::Respond(*status),
        },
    })
}

impl HttpRoute {
    fn matches<B>(&self, request: &Request<B>) -> bool {
        let path = request.uri().path();
        // `*` is of the whole server (RFC 9110 section 7.1).
        (path.starts_with(&self.path) || path == "*" && self.path == "/")
            && self.host.as_ref().is_none_or(|host| request.uri().host().is_some_and(|name| host.matches(name)))
            && (self.methods.is_empty() || self.methods.contains(request.method()))
            && self.headers.iter().all(|wanted| has(request.headers(), wanted))
    }
}

fn has(headers: &HeaderMap, HeaderMatch { name, value }: &HeaderMatch) -> bool {
    match value {
        Some(value) => headers.get_all(name).iter().any(|said| said == value),
        None => headers.contains_key(name),
    }
}

/// What a listener offers by ALPN over QUIC: `h3` if there is an HTTP route or no route at all, and
/// each raw route's protocol, without repetition.
pub fn offered_protocols(routes: &[config::Route]) -> Vec<Vec<u8>> {
    let mut protocols = Vec::new();
    if routes.is_empty() {
        protocols.push(HTTP3.to_vec());
    }
    for route in routes {
        let protocol = match route {
            config::Route::Http(_) => HTTP3.to_vec(),
            config::Route::Raw(config::RawRoute { alpn, .. }) => alpn.as_bytes().to_vec(),
        };
        if !protocols.contains(&protocol) {
            protocols.push(protocol);
        }
    }
    protocols
}
