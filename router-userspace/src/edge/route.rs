//! Where a request or a raw connection goes: the first route that matches wins.

use std::{collections::BTreeMap, io, net::SocketAddr, path::PathBuf, sync::Arc};

use http::{HeaderMap, Method, Request, StatusCode, Uri, uri::PathAndQuery};

use super::{
    client::Client,
    files::Files,
    http::{names, request::Refusal},
    upstream::{Clients, Upstream},
};
use crate::{
    config::{self, Config, HeaderMatch, HeaderRewrite, Host, PathNormalization, Redirect, paths},
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
    paths: PathNormalization,
    /// Whether any HTTP route goes by the method.
    by_method: bool,
}

/// A route of HTTP requests.
pub(super) struct HttpRoute {
    /// What it is called in logs and metrics.
    pub(super) name: Arc<str>,
    /// The name of the upstream it leads to, if it does.
    pub(super) upstream: Option<Arc<str>>,
    pub(super) meter: Arc<RouteMeter>,
    listeners: Vec<SocketAddr>,
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
    listeners: Vec<SocketAddr>,
    alpn: String,
    sni: Option<Host>,
    pub(super) upstream: Arc<Upstream>,
}

/// The folders of a configuration's `files:` upstreams, opened.
#[derive(Default)]
pub(super) struct Folders(BTreeMap<Arc<str>, Arc<Files>>);

/// Why the folder of an upstream cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("upstream.{upstream}: {}: {source}", folder.display())]
pub struct FolderError {
    upstream: Arc<str>,
    folder: PathBuf,
    source: io::Error,
}

impl Folders {
    /// Opens them.
    ///
    /// # Errors
    /// The first that cannot be opened, by its upstream and path.
    pub(super) fn open(config: &Config) -> Result<Self, FolderError> {
        let mut folders = BTreeMap::new();
        for (name, upstream) in &config.upstreams {
            if let config::Upstream::Files(folder) = upstream {
                let named = |source| FolderError { upstream: name.clone(), folder: folder.clone(), source };
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
            paths: config.router.path_normalization,
            by_method: config
                .routes
                .iter()
                .any(|route| matches!(route, config::Route::Http(route) if !route.methods.is_empty())),
        };
        for route in &config.routes {
            match route {
                config::Route::Http(route) => {
                    // A `Config` names no upstream that it has not.
                    let Some(action) = action(&route.action, config, clients, folders) else { continue };
                    routes.http.push(Arc::new(HttpRoute::new(route, action, meter)));
                }
                config::Route::Raw(route) => {
                    #[cfg(feature = "interop")]
                    routes.hq.extend(folders.0.get(&route.upstream).map(|files| (route.alpn.clone(), files.clone())));
                    let Some(servers) = clients.get(&route.upstream) else { continue };
                    routes.raw.push(Arc::new(RawRoute::new(route, servers, meter)));
                }
            }
        }
        routes
    }

    /// Whether the built-in page answers every request.
    pub(super) fn are_page_only(&self) -> bool {
        self.http.is_empty()
    }

    /// The route of a request of `client` with an absolute URI, whose path gets its normal form: it is what servers get.
    ///
    /// # Errors
    /// The path has no normal form, or one that a server may take for another route's (contour#7703, skipper#1547).
    pub(super) fn http<B>(
        &self,
        request: &mut Request<B>,
        client: &Client,
    ) -> Result<Option<&Arc<HttpRoute>>, Refusal> {
        let as_is = self.paths == PathNormalization::AsIs || request.uri().path() == "*";
        if !as_is {
            normalize(request.uri_mut())?;
        }
        let matching = |path: &str, method: &Method| {
            self.http.iter().find(|route| is_of(&route.listeners, client) && route.matches(request, path, method))
        };
        let said = request.uri().path();
        let path = if as_is { said.into() } else { paths::merged(said) };
        let route = matching(&path, request.method());
        let wide = if as_is { None } else { paths::widest(said).map_err(unfit)? };
        if wide.is_some_and(|wide| !is_same(route, matching(&wide, request.method()))) {
            return Err(bad("the path can be read in two ways"));
        }
        if self.by_method
            && names::other_methods(request.headers()).any(|other| !is_same(route, matching(&path, &other)))
        {
            return Err(bad("the method can be read in two ways"));
        }
        Ok(route)
    }

    /// The folder of a connection that agreed on `alpn`, if that is HTTP/0.9.
    #[cfg(feature = "interop")]
    pub(super) fn hq(&self, alpn: &[u8]) -> Option<Arc<Files>> {
        self.hq.iter().find(|(known, _)| known.as_bytes() == alpn).map(|(_, files)| files.clone())
    }

    /// The route of a connection of `client` that agreed on `alpn`.
    pub(super) fn raw(&self, alpn: &[u8], client: &Client) -> Option<&Arc<RawRoute>> {
        let for_it = |sni: &Host| client.server_name.as_deref().is_some_and(|name| sni.matches(name));
        self.raw.iter().find(|route| {
            is_of(&route.listeners, client) && route.alpn.as_bytes() == alpn && route.sni.as_ref().is_none_or(for_it)
        })
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

fn is_same(route: Option<&Arc<HttpRoute>>, other: Option<&Arc<HttpRoute>>) -> bool {
    match (route, other) {
        (Some(route), Some(other)) => Arc::ptr_eq(route, other),
        (route, other) => route.is_none() && other.is_none(),
    }
}

fn normalize(uri: &mut Uri) -> Result<(), Refusal> {
    let normal = match paths::normal(uri.path()).map_err(unfit)? {
        normal if normal == uri.path() => return Ok(()),
        normal => normal.into_owned(),
    };
    let target = match uri.query() {
        Some(query) => format!("{normal}?{query}"),
        None => normal,
    };
    let mut parts = std::mem::take(uri).into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(target).map_err(|_| bad("the path is malformed"))?);
    *uri = Uri::from_parts(parts).map_err(|_| bad("the path is malformed"))?;
    Ok(())
}

fn unfit(why: paths::Unfit) -> Refusal {
    bad(why.why())
}

fn bad(sentence: &'static str) -> Refusal {
    Refusal(StatusCode::BAD_REQUEST, sentence)
}

impl HttpRoute {
    /// The route of `config`, with what it leads to.
    fn new(config: &config::HttpRoute, action: Action, meter: &Meter) -> Self {
        Self {
            name: config.name.clone(),
            upstream: match &config.action {
                config::Action::Upstream(name) => Some(name.clone()),
                config::Action::Redirect(_) => None,
            },
            meter: meter.route(&config.name),
            listeners: config.listeners.clone(),
            host: config.host.clone(),
            path: config.path.clone(),
            methods: config.methods.clone(),
            headers: config.headers.clone(),
            action,
            request_headers: config.request_headers.clone(),
            response_headers: config.response_headers.clone(),
        }
    }

    /// Whether it is for `request`, whose path and method are to be read as these.
    fn matches<B>(&self, request: &Request<B>, path: &str, method: &Method) -> bool {
        // `*` is of the whole server (RFC 9110 section 7.1).
        (paths::is_below(path, &self.path) || path == "*" && self.path == "/")
            && self.host.as_ref().is_none_or(|host| request.uri().host().is_some_and(|name| is_for(host, name)))
            && (self.methods.is_empty() || self.methods.contains(method))
            && self.headers.iter().all(|wanted| has(request.headers(), wanted))
    }
}

impl RawRoute {
    /// The route of `config`, with what it leads to.
    fn new(config: &config::RawRoute, upstream: Arc<Upstream>, meter: &Meter) -> Self {
        Self {
            name: config.name.clone(),
            upstream_name: config.upstream.clone(),
            meter: meter.route(&config.name),
            listeners: config.listeners.clone(),
            alpn: config.alpn.clone(),
            sni: config.sni.clone(),
            upstream,
        }
    }
}

/// A client that has come by no known listener has come to none that a route names.
fn is_of(listeners: &[SocketAddr], client: &Client) -> bool {
    listeners.is_empty() || client.listener.is_some_and(|listener| listeners.contains(&listener))
}

/// A name with a dot at its end is the same (RFC 1034 section 3.1).
fn is_for(host: &Host, name: &str) -> bool {
    host.matches(name.strip_suffix('.').unwrap_or(name))
}

fn has(headers: &HeaderMap, HeaderMatch { name, value }: &HeaderMatch) -> bool {
    match value {
        Some(value) => headers.get_all(name).iter().any(|said| said == value),
        None => headers.contains_key(name),
    }
}

/// What `listener` offers by ALPN over QUIC: `h3` if it has an HTTP route or no route at all, and
/// each raw route's protocol, without repetition.
pub fn offered_protocols(routes: &[config::Route], listener: SocketAddr) -> Vec<Vec<u8>> {
    let mut protocols = Vec::new();
    if !routes.iter().any(|route| route.is_of(listener)) {
        protocols.push(HTTP3.to_vec());
    }
    for route in routes.iter().filter(|route| route.is_of(listener)) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{address::Validated, edge::Origins};

    fn routes(text: &str) -> Routes {
        let listener = "[[listener]]\naddress = \"127.0.0.1:4433\"";
        let config = Config::parse(&format!("{text}\n{listener}\n{ROUTES}"), "test").unwrap();
        let origins = Origins::new(&config, None).unwrap();
        Routes::new(&config, &Clients::new(&origins.upstreams, None), &origins.folders, &Meter::default())
    }

    /// Its route's name and what its server gets, or why it is refused.
    fn led(routes: &Routes, host: &str, path: &str) -> String {
        let mut request = Request::builder().uri(format!("https://{host}{path}")).body(()).unwrap();
        match routes.http(&mut request, &Client::new(Validated::assumed("127.0.0.1:1"))) {
            Ok(route) => {
                let name = route.map_or("nowhere", |route| &*route.name).to_owned();
                format!("{name} {}", request.uri().path_and_query().unwrap())
            }
            Err(Refusal(status, why)) => format!("{} {why}", status.as_u16()),
        }
    }

    /// A server that obeys X-HTTP-Method-Override would do what another route keeps clients from.
    #[test]
    fn no_other_method_passes_a_route() {
        let listener = "[[listener]]\naddress = \"127.0.0.1:4433\"";
        let text = format!(
            "{listener}\n[[route]]\nname = \"writes\"\nmethods = [\"DELETE\", \"PUT\"]\nupstream = \"no\"\n\
             [[route]]\nname = \"rest\"\nupstream = \"no\"\n[upstream.no]\nservers = [\"respond:403\"]\n"
        );
        let config = Config::parse(&text, "test").unwrap();
        let origins = Origins::new(&config, None).unwrap();
        let routes = Routes::new(&config, &Clients::new(&origins.upstreams, None), &origins.folders, &Meter::default());
        for (method, name, value, expected) in [
            ("POST", "x-other", "DELETE", Ok("rest")),
            ("POST", "x-http-method-override", "PATCH", Ok("rest")),
            ("POST", "x-http-method-override", "DELETE", Err("the method can be read in two ways")),
            ("POST", "x_http_method_override", " delete", Err("the method can be read in two ways")),
            ("GET", "x-http-method", "PUT", Err("the method can be read in two ways")),
            ("GET", "x-method-override", "Put", Err("the method can be read in two ways")),
            ("PUT", "x-method-override", "GET", Err("the method can be read in two ways")),
            ("PUT", "x-method-override", "DELETE", Ok("writes")),
        ] {
            let uri = "https://a.example/";
            let mut request = Request::builder().method(method).uri(uri).header(name, value).body(()).unwrap();
            let route = routes.http(&mut request, &Client::new(Validated::assumed("127.0.0.1:1")));
            let led = route.map(|route| route.map_or("", |route| &*route.name)).map_err(|Refusal(_, why)| why);
            assert_eq!(led, expected, "{method} {name}: {value}");
        }
    }

    /// contour#7703, skipper#1547
    #[test]
    fn no_spelling_of_a_path_passes_a_route() {
        let routes = routes("");
        let twice = "400 the path can be read in two ways";
        for (path, expected) in [
            ("/admin/", "kept /admin/"),
            ("/admin/x?y=/../%2e", "kept /admin/x?y=/../%2e"),
            ("/x/../admin/", "kept /admin/"),
            ("/x/%2e%2e/admin/", "kept /admin/"),
            ("/./admin/", "kept /admin/"),
            ("/%61dmin/", "kept /admin/"),
            ("//admin/", "kept //admin/"),
            // An empty segment is one that `..` takes away (RFC 3986 section 5.2.4); no dots are left.
            ("/x//..//../admin//y", "rest /x/admin//y"),
            ("/x/..//admin//y", "kept //admin//y"),
            ("/x%2f..%2fadmin/", twice),
            ("/x%5c..%5cadmin/", twice),
            ("/x\\..\\admin/", twice),
            ("/%2fadmin/", twice),
            ("/admin%2fx", twice),
            ("/x/..;/admin/", twice),
            ("/x/..;a=b/admin/", twice),
            ("/admin;a=b/", twice),
            ("/x/%252e%252e/admin/", twice),
            ("/x/%25252e%252e/admin/", twice),
            ("/../admin/", "400 the path leads above the root"),
            ("/x%2f..%2f..%2fadmin/", "400 the path leads above the root"),
            ("/admin%00", "400 the path has an encoded zero octet"),
            ("/%u0061dmin/", "400 the path has a percent sign without two hexadecimal digits behind it"),
            // What leads to one route either way is no way round another.
            ("/api/a%2fb;c=d/e", "api /api/a%2Fb;c=d/e"),
            ("/a%2fb", "rest /a%2Fb"),
            ("/100%25", "rest /100%25"),
            ("/https://a.example//b", "rest /https://a.example//b"),
            ("/.well-known/x", "rest /.well-known/x"),
            ("/api", "api /api"),
            ("/api/", "api /api/"),
            ("/apis", "rest /apis"),
            ("/admin", "rest /admin"),
        ] {
            assert_eq!(led(&routes, "a.example", path), expected, "{path}");
        }
    }

    #[test]
    fn as_it_is_means_that() {
        let routes = routes("[router]\npath_normalization = \"as-is\"");
        for (path, expected) in [
            ("/admin/", "kept /admin/"),
            ("/x/../admin/%zz", "rest /x/../admin/%zz"),
            ("//admin/", "rest //admin/"),
            ("/x%2f..%2fadmin/", "rest /x%2f..%2fadmin/"),
            ("/apis", "rest /apis"),
        ] {
            assert_eq!(led(&routes, "a.example", path), expected, "{path}");
        }
    }

    #[test]
    fn a_dot_at_the_end_of_a_name_makes_no_other_host() {
        let routes = routes("");
        for host in ["b.example", "B.Example.", "b.example.:8443"] {
            assert_eq!(led(&routes, host, "/"), "b /", "{host}");
        }
    }

    const ROUTES: &str = "\
        [[route]]\nname = \"b\"\nhost = \"b.example\"\nredirect = \"/b\"\n\
        [[route]]\nname = \"kept\"\npath = \"/admin/\"\nredirect = \"/kept\"\n\
        [[route]]\nname = \"api\"\npath = \"/api\"\nredirect = \"/api\"\n\
        [[route]]\nname = \"rest\"\nredirect = \"/rest\"\n";
}
