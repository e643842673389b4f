//! Where a request or a raw connection goes: the first route that matches wins.

use std::{collections::BTreeMap, sync::Arc};

use super::upstream::Upstream;
use crate::config::{self, Config};

/// ALPN of HTTP/3 (RFC 9114 section 3.1).
pub(super) const HTTP3: &[u8] = b"h3";

/// The routes of a configuration with their upstreams, split by what they match.
pub(super) struct Routes {
    http: Vec<HttpRoute>,
    raw: Vec<RawRoute>,
    upstreams: BTreeMap<Arc<str>, (config::Upstream, Arc<Upstream>)>,
}

struct HttpRoute {
    host: Option<String>,
    path: String,
    upstream: Arc<Upstream>,
}

struct RawRoute {
    alpn: String,
    sni: Option<String>,
    upstream: Arc<Upstream>,
}

impl Routes {
    /// Those of `config`. Upstreams that were the same `before` are the same: they keep their
    /// connections, and their count of what is in flight.
    pub(super) fn new(config: &Config, before: Option<&Self>) -> Self {
        let same = |name: &Arc<str>, upstream: &config::Upstream| {
            let (was, kept) = before?.upstreams.get(name)?;
            (was == upstream).then(|| kept.clone())
        };
        let upstream = |(name, upstream): (&Arc<str>, &config::Upstream)| {
            let one = same(name, upstream).unwrap_or_else(|| Arc::new(Upstream::new(upstream)));
            (name.clone(), (upstream.clone(), one))
        };
        let upstreams: BTreeMap<_, _> = config.upstreams.iter().map(upstream).collect();
        let mut routes = Self { http: Vec::new(), raw: Vec::new(), upstreams };
        // The index holds: every name that a route of a `Config` uses is among its upstreams.
        let upstreams = routes.upstreams.clone();
        let upstream = |name: &Arc<str>| upstreams[name].1.clone();
        for route in config.routes.iter().cloned() {
            match route {
                config::Route::Http { host, path, upstream: name } => {
                    routes.http.push(HttpRoute { host, path, upstream: upstream(&name) });
                }
                config::Route::Raw { alpn, sni, upstream: name } => {
                    routes.raw.push(RawRoute { alpn, sni, upstream: upstream(&name) });
                }
            }
        }
        routes
    }

    /// Whether the built-in page answers every request.
    pub(super) fn are_page_only(&self) -> bool {
        self.http.is_empty()
    }

    /// The upstream of a request to `host` (without port, in any case) for `path`.
    pub(super) fn http(&self, host: &str, path: &str) -> Option<&Arc<Upstream>> {
        self.http
            .iter()
            .find(|route| {
                path.starts_with(&route.path)
                    && route.host.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(host))
            })
            .map(|route| &route.upstream)
    }

    /// The upstream of a connection that agreed on `alpn` and asked for `name`.
    pub(super) fn raw(&self, alpn: &[u8], name: Option<&str>) -> Option<&Arc<Upstream>> {
        self.raw
            .iter()
            .find(|route| {
                route.alpn.as_bytes() == alpn
                    && route
                        .sni
                        .as_ref()
                        .is_none_or(|wanted| name.is_some_and(|name| wanted.eq_ignore_ascii_case(name)))
            })
            .map(|route| &route.upstream)
    }
}

/// What a listener offers by ALPN: `h3` if there is an HTTP route or no route at all, and each
/// raw route's protocol, without repetition.
pub fn offered_protocols(routes: &[config::Route]) -> Vec<Vec<u8>> {
    let mut protocols = Vec::new();
    if routes.is_empty() {
        protocols.push(HTTP3.to_vec());
    }
    for route in routes {
        let protocol = match route {
            config::Route::Http { .. } => HTTP3.to_vec(),
            config::Route::Raw { alpn, .. } => alpn.as_bytes().to_vec(),
        };
        if !protocols.contains(&protocol) {
            protocols.push(protocol);
        }
    }
    protocols
}
