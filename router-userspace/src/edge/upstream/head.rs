//! What a request's head has to be for a server: its target and its `Host`, by the protocol that is spoken and the
//! upstream's `host`. The head itself stays as the caller made it, as another server may be asked next.

use http::{
    HeaderValue, Request, Uri, Version, header, request,
    uri::{Authority, PathAndQuery, Scheme},
};
use router_http1::RequestLine;

use super::{pooled_server::PooledServer, request_body::Forwarded};
use crate::config::{HostField, ServerAddress};

impl<B: Forwarded> PooledServer<B> {
    /// For HTTP/1.1; `root` is [`root()`].
    pub(super) fn line<'r>(&'r self, head: &'r request::Parts, root: &'r PathAndQuery) -> RequestLine<'r> {
        let target = head.uri.path_and_query().unwrap_or(root);
        RequestLine { method: &head.method, target, host: self.host(head) }
    }

    /// For HTTP/2 (RFC 9113 sections 8.2.2 and 8.3.1).
    pub(super) fn http2_request<T>(&self, head: &request::Parts, body: T) -> Request<T> {
        let server = self.server();
        let authority = match &self.settings().host {
            HostField::Server => server.authority().clone(),
            HostField::Client | HostField::Fixed(_) => {
                let host = self.host(head).as_bytes();
                Authority::try_from(host).unwrap_or_else(|_invalid| server.authority().clone())
            }
        };
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(scheme(server.address()));
        parts.authority = Some(authority);
        parts.path_and_query = Some(head.uri.path_and_query().cloned().unwrap_or_else(root));
        let mut request = Request::new(body);
        *request.method_mut() = head.method.clone();
        // Fails only if a part is missing.
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = head.headers.clone();
        for name in [header::HOST, header::CONNECTION, header::TRANSFER_ENCODING] {
            request.headers_mut().remove(name);
        }
        request
    }

    fn host<'r>(&'r self, head: &'r request::Parts) -> &'r HeaderValue {
        let server = self.server();
        match &self.settings().host {
            HostField::Client => head.headers.get(header::HOST).unwrap_or(server.host()),
            HostField::Server => server.host(),
            HostField::Fixed(host) => host,
        }
    }
}

/// The target of a request that names none.
pub(super) fn root() -> PathAndQuery {
    PathAndQuery::from_static("/")
}

fn scheme(address: &ServerAddress) -> Scheme {
    match address {
        ServerAddress::Https(_) => Scheme::HTTPS,
        ServerAddress::Http(_) | ServerAddress::H2c(_) | ServerAddress::Tcp(_) | ServerAddress::Unix(_) => Scheme::HTTP,
    }
}
