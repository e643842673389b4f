//! What a proxy changes in the heads that pass through it: RFC 9110 section 7.6, RFC 9114
//! sections 4.2 and 4.3.1.

use std::net::SocketAddr;

use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, Uri, Version,
    header::{self, GetAll},
    response, uri,
};

/// Fields that are about one hop (RFC 9110 section 7.6.1). HTTP/3 has none of them, and those of
/// an HTTP/1.1 server end here.
pub(super) const CONNECTION_SPECIFIC: [HeaderName; 5] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// A checked request from the client at `peer`, as an HTTP/1.1 server expects it.
///
/// What the client itself said in `Forwarded` and `X-Forwarded-*` is dropped: this is the edge,
/// and nobody in front of it can be trusted with that.
pub(super) fn to_upstream<B>(mut request: Request<B>, peer: SocketAddr) -> Request<B> {
    let uri::Parts { authority, path_and_query, .. } = std::mem::take(request.uri_mut()).into_parts();
    if let Some(path) = path_and_query {
        *request.uri_mut() = Uri::from(path);
    }
    *request.version_mut() = Version::HTTP_11;

    let headers = request.headers_mut();
    headers.remove(header::EXPECT);
    headers.remove(header::FORWARDED);
    if headers.contains_key(header::TE) {
        // It says `trailers` and is about this hop, on which we take them too.
        headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
    }
    join_cookies(headers);
    if let Some(host) = authority.and_then(|authority| HeaderValue::from_str(authority.as_str()).ok()) {
        headers.insert(header::HOST, host.clone());
        headers.insert(X_FORWARDED_HOST, host);
    }
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("https"));
    if let Ok(address) = HeaderValue::from_str(&peer.ip().to_canonical().to_string()) {
        headers.insert(X_FORWARDED_FOR, address);
    }
    request
}

/// The head of a server's response, as an HTTP/3 client expects it.
pub(super) fn from_upstream(head: response::Parts) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    let headers = response.headers_mut();
    for name in named(headers.get_all(header::CONNECTION)) {
        headers.remove(name);
    }
    for name in CONNECTION_SPECIFIC {
        headers.remove(name);
    }
    response
}

/// Whether the client waits for a word before it sends the body. It gets that word from us, as
/// the server's comes with its response only.
pub(super) fn expects_continue(headers: &HeaderMap) -> bool {
    headers.get(header::EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// HTTP/3 lets a client send one field per cookie; HTTP/1.1 has one (RFC 9114 section 4.2.1).
fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(header::COOKIE).iter();
    if let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) {
        let mut joined = first.as_bytes().to_vec();
        for crumb in [second].into_iter().chain(crumbs) {
            joined.extend_from_slice(b"; ");
            joined.extend_from_slice(crumb.as_bytes());
        }
        if let Ok(joined) = HeaderValue::from_bytes(&joined) {
            headers.insert(header::COOKIE, joined);
        }
    }
}

/// The fields that `Connection` makes connection-specific too.
fn named(connection: GetAll<'_, HeaderValue>) -> Vec<HeaderName> {
    connection
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_gets_what_http_1_1_wants_and_loses_what_the_client_made_up() {
        let request = Request::builder()
            .uri("https://example.com:8443/a/b?c=d")
            .version(Version::HTTP_3)
            .header("te", "trailers")
            .header("forwarded", "for=192.0.2.1")
            .header("x-forwarded-for", "192.0.2.1")
            .header("x-forwarded-for", "192.0.2.2")
            .header("x-forwarded-proto", "gopher")
            .header("cookie", "a=1")
            .header("cookie", "b=2; c=3")
            .header("cookie", "d=4")
            .header("accept", "*/*")
            .body(())
            .expect("a request");
        let request = to_upstream(request, "[::ffff:198.51.100.7]:4433".parse().expect("an address"));

        assert_eq!(request.uri(), "/a/b?c=d");
        assert_eq!(request.version(), Version::HTTP_11);
        let mut fields: Vec<_> = request
            .headers()
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().expect("text")))
            .collect();
        fields.sort();
        assert_eq!(
            fields,
            [
                "accept: */*",
                "connection: te",
                "cookie: a=1; b=2; c=3; d=4",
                "host: example.com:8443",
                "te: trailers",
                "x-forwarded-for: 198.51.100.7",
                "x-forwarded-host: example.com:8443",
                "x-forwarded-proto: https",
            ]
        );
    }

    #[test]
    fn a_response_loses_what_was_about_the_connection() {
        let (head, ()) = Response::builder()
            .status(206)
            .header("connection", "keep-alive, X-Private")
            .header("connection", "x-other")
            .header("keep-alive", "timeout=5")
            .header("transfer-encoding", "chunked")
            .header("upgrade", "h2c")
            .header("proxy-connection", "close")
            .header("x-private", "1")
            .header("x-other", "2")
            .header("x-kept", "3")
            .body(())
            .expect("a response")
            .into_parts();
        let response = from_upstream(head);
        assert_eq!(response.status(), 206);
        let fields: Vec<_> = response.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(fields, [("x-kept", b"3".as_slice())]);
    }

    #[test]
    fn a_client_that_waits_for_a_word_is_recognised() {
        let mut headers = HeaderMap::new();
        assert!(!expects_continue(&headers));
        headers.insert(header::EXPECT, HeaderValue::from_static("100-Continue"));
        assert!(expects_continue(&headers));
    }
}
