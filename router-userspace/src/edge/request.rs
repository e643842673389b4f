//! The head of a request as it comes from an HTTP/3 client, and what must hold of it before it
//! goes any further.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

use bytes::Bytes;
use h3::{
    error::StreamError,
    server::{RequestResolver, RequestStream},
};
use http::{HeaderMap, Method, Request, StatusCode, header};

use super::{
    headers::CONNECTION_SPECIFIC,
    transport::{Allowance, BidiStream, Connection},
};

/// What a well-formed request says that decides how it is served.
pub(super) struct Facts {
    /// Octets of the body, if the client said so.
    pub(super) content_length: Option<u64>,
}

/// A request that isn't served: the status and sentence of its answer.
#[derive(Debug)]
pub(super) struct Refusal(pub(super) StatusCode, pub(super) &'static str);

/// What h3 lets through and must not reach an HTTP/1.1 server, where other rules hold for it:
/// RFC 9114 sections 4.2, 4.3.1 and 4.4, RFC 9110 section 8.6.
pub(super) fn check(request: &Request<()>) -> Result<Facts, Refusal> {
    let bad = |sentence| Err(Refusal(StatusCode::BAD_REQUEST, sentence));
    if request.method() == Method::CONNECT {
        return Err(Refusal(StatusCode::NOT_IMPLEMENTED, "tunnels are not offered here"));
    }
    let path = request.uri().path();
    let of_the_server = path == "*" && request.method() == Method::OPTIONS;
    if !path.starts_with('/') && !of_the_server {
        return bad("the path must be absolute");
    }
    if request.uri().authority().is_none_or(|authority| authority.as_str().contains('@')) {
        return bad("the authority must be a host and port");
    }
    let headers = request.headers();
    if CONNECTION_SPECIFIC.iter().any(|name| headers.contains_key(name)) {
        return bad("a connection-specific field has no place in HTTP/3");
    }
    if headers.get_all(header::TE).iter().any(|value| value != "trailers") {
        return bad("TE can only be `trailers` in HTTP/3");
    }
    match content_length(headers) {
        Ok(content_length) => Ok(Facts { content_length }),
        Err(()) => bad("Content-Length must be one number"),
    }
}

/// Why a request stream didn't become a request.
#[derive(Debug, thiserror::Error)]
pub(super) enum ResolveError {
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error("the head takes more than {} octets", Allowance::BYTES)]
    TooBig,
}

/// Reads a request's head. h3 has already answered or stopped the stream when this fails.
pub(super) async fn resolve(
    resolver: RequestResolver<Connection, Bytes>,
    allowance: &Allowance,
) -> Result<(Request<()>, RequestStream<BidiStream, Bytes>), ResolveError> {
    let mut resolving = pin!(resolver.resolve_request());
    let resolved = poll_fn(|cx| match resolving.as_mut().poll(cx) {
        Poll::Pending if allowance.is_spent() => Poll::Ready(Err(ResolveError::TooBig)),
        Poll::Pending => Poll::Pending,
        Poll::Ready(resolved) => Poll::Ready(Ok(resolved?)),
    });
    resolved.await
}

/// RFC 9110 section 8.6; a list of equal numbers is not accepted either.
fn content_length(headers: &HeaderMap) -> Result<Option<u64>, ()> {
    let mut values = headers.get_all(header::CONTENT_LENGTH).iter();
    let (first, second) = (values.next(), values.next());
    match (first, second) {
        (None, _) => Ok(None),
        (Some(value), None) => {
            let digits = value.to_str().ok().filter(|text| text.bytes().all(|octet| octet.is_ascii_digit()));
            digits.and_then(|digits| digits.parse().ok()).map(Some).ok_or(())
        }
        (Some(_), Some(_)) => Err(()),
    }
}
