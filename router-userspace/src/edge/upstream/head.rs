//! What a request's head has to be for a server: its target and its `Host`, by the protocol that
//! is spoken and the upstream's `host`.

use http::{
    HeaderValue, Request, Uri, Version, header,
    uri::{Authority, PathAndQuery, Scheme},
};

use super::{body::Forwarded, pool::Member};
use crate::config::{HostField, ServerAddress};

/// What of a request's head depends on the server.
pub(super) struct Head {
    path: PathAndQuery,
    /// What the client said.
    host: Option<HeaderValue>,
    for_http2: bool,
}

impl Head {
    /// Of a request as the caller made it.
    pub(super) fn of<B>(request: &Request<B>) -> Self {
        let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        Self { path, host: request.headers().get(header::HOST).cloned(), for_http2: false }
    }

    /// Makes the head ready for a server, whatever it was made ready for before.
    pub(super) fn fit<B: Forwarded>(&mut self, request: &mut Request<B>, member: &Member<B>, http2: bool) {
        let (server, field) = (member.server(), &member.set.settings.host);
        let host = match field {
            HostField::Client => self.host.as_ref().unwrap_or(&server.host),
            HostField::Server => &server.host,
            HostField::Fixed(host) => host,
        };
        if http2 {
            let authority = match field {
                HostField::Server => server.authority.clone(),
                HostField::Client | HostField::Fixed(_) => {
                    Authority::try_from(host.as_bytes()).unwrap_or_else(|_invalid| server.authority.clone())
                }
            };
            self.fit_http2(request, authority, scheme(member));
        } else {
            self.fit_http1(request, host);
        }
        self.for_http2 = http2;
    }

    fn fit_http1<B: Forwarded>(&self, request: &mut Request<B>, host: &HeaderValue) {
        *request.uri_mut() = Uri::from(self.path.clone());
        *request.version_mut() = Version::HTTP_11;
        let ended = request.body().is_end_stream();
        let headers = request.headers_mut();
        if !ended && !headers.contains_key(header::CONTENT_LENGTH) {
            // hyper would take a GET for one without a body.
            headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        // In place: the order stays.
        headers.insert(header::HOST, host.clone());
        if self.for_http2 && headers.contains_key(header::TE) {
            headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
        }
    }

    /// RFC 9113 sections 8.2.2 and 8.3.1.
    fn fit_http2<B>(&self, request: &mut Request<B>, authority: Authority, scheme: Scheme) {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(scheme);
        parts.authority = Some(authority);
        parts.path_and_query = Some(self.path.clone());
        // Fails only if a part is missing.
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
        *request.version_mut() = Version::HTTP_2;
        let headers = request.headers_mut();
        headers.remove(header::HOST);
        headers.remove(header::CONNECTION);
        headers.remove(header::TRANSFER_ENCODING);
    }
}

fn scheme<B: Forwarded>(member: &Member<B>) -> Scheme {
    match member.address() {
        ServerAddress::Https(_) => Scheme::HTTPS,
        ServerAddress::Http(_) | ServerAddress::H2c(_) | ServerAddress::Tcp(_) | ServerAddress::Unix(_) => Scheme::HTTP,
    }
}
