//! `[[route]]`: what a connection or a request must match, and where it then goes.

use std::{fmt, net::SocketAddr, sync::Arc};

use http::{HeaderName, HeaderValue, Method, StatusCode};

/// `[[route]]`
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "a configuration has few of them, and they are not moved")]
pub enum Route {
    /// HTTP requests.
    Http(HttpRoute),
    /// Raw QUIC: every bidirectional stream of a connection.
    Raw(RawRoute),
}

/// A route of HTTP requests.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpRoute {
    /// What it is called in metrics and logs; unique. Where the file gives none: what it matches.
    pub name: Arc<str>,
    /// Addresses of the listeners that clients must have come to; empty: any.
    pub listeners: Vec<SocketAddr>,
    /// Which hosts; none matches any.
    pub host: Option<Host>,
    /// What the path begins with, octet by octet and up to the end of a segment; `"/"` matches any.
    pub path: String,
    /// Any of these; empty matches any.
    pub methods: Vec<Method>,
    /// All of these.
    pub headers: Vec<HeaderMatch>,
    /// What is done with a request.
    pub action: Action,
    /// Changes of a request's header fields on its way to the upstream.
    pub request_headers: HeaderRewrite,
    /// Changes of a response's header fields on its way to the client.
    pub response_headers: HeaderRewrite,
}

/// What is done with a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// It goes to a name in [`Config::upstreams`](super::Config::upstreams) that takes HTTP.
    Upstream(Arc<str>),
    /// It is answered with another place to ask.
    Redirect(Redirect),
}

/// Where a client is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// The URL, with `{host}`, `{path}` (with its slash) and `{query}` (with its question mark,
    /// or nothing) standing for the request's.
    pub to: String,
    /// 301, 302, 303, 307 or 308.
    pub status: StatusCode,
}

/// A host or server name, in lower case, without port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// That name alone.
    Exact(String),
    /// `*.example.com`: this holds `example.com`, and one or more labels before it match.
    Below(String),
}

/// What a header field must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderMatch {
    /// The field's name.
    pub name: HeaderName,
    /// One of its values is this; none: it is there.
    pub value: Option<HeaderValue>,
}

/// Changes of header fields: first those to remove, then those to set, then those to add.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderRewrite {
    /// Taken out.
    pub remove: Vec<HeaderName>,
    /// In place of all of the name.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Beside those of the name.
    pub add: Vec<(HeaderName, HeaderValue)>,
}

/// A route of raw QUIC connections.
#[derive(Clone, Debug, PartialEq)]
pub struct RawRoute {
    /// What it is called in metrics and logs; unique.
    pub name: Arc<str>,
    /// Addresses of the listeners that clients must have come to; empty: any.
    pub listeners: Vec<SocketAddr>,
    /// Application protocol; never `h3`.
    pub alpn: String,
    /// Which server names; none matches any.
    pub sni: Option<Host>,
    /// A name in [`Config::upstreams`](super::Config::upstreams) that takes streams.
    pub upstream: Arc<str>,
}

impl Route {
    /// What it is called in metrics and logs.
    pub fn name(&self) -> &Arc<str> {
        match self {
            Self::Http(route) => &route.name,
            Self::Raw(route) => &route.name,
        }
    }

    /// Whether it is for clients that come to the listener with this address.
    pub fn is_of(&self, listener: SocketAddr) -> bool {
        let listeners = match self {
            Self::Http(route) => &route.listeners,
            Self::Raw(route) => &route.listeners,
        };
        listeners.is_empty() || listeners.contains(&listener)
    }
}

impl Host {
    /// Whether `name` (in any case, without port) is meant.
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(exact) => name.eq_ignore_ascii_case(exact),
            Self::Below(parent) => {
                name.len().checked_sub(parent.len()).and_then(|at| name.split_at_checked(at)).is_some_and(
                    |(labels, rest)| labels.len() > 1 && labels.ends_with('.') && rest.eq_ignore_ascii_case(parent),
                )
            }
        }
    }
}

/// As the file writes it.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Below(parent) => write!(f, "*.{parent}"),
        }
    }
}

impl HeaderRewrite {
    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_stands_for_one_label_or_more() {
        let below = Host::Below("a.b".to_owned());
        for (name, matches) in [
            ("x.a.b", true),
            ("y.x.A.B", true),
            ("a.b", false),
            ("xa.b", false),
            (".a.b", false),
            ("", false),
            ("b", false),
        ] {
            assert_eq!(below.matches(name), matches, "{name}");
        }
        let exact = Host::Exact("a.b".to_owned());
        assert!(exact.matches("A.b") && !exact.matches("x.a.b"));
    }
}
