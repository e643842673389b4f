//! What a proxy changes in the heads that pass through it: RFC 9110 section 7.6, RFC 7239, RFC 9114
//! sections 4.2 and 4.3.1.

use std::{fmt::Write as _, net::IpAddr};

use bytes::{BufMut, BytesMut};
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, Uri, Version,
    header::{self, GetAll},
    response,
    uri::{self, Authority},
};

use crate::{address::Validated, edge::client::Client};

/// Fields that are about one hop (RFC 9110 section 7.6.1). HTTP/2 and HTTP/3 have none of them, and
/// those of HTTP/1.1 end here.
pub(in crate::edge) const CONNECTION_SPECIFIC: [HeaderName; 5] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const CLIENT_SUBJECT: HeaderName = HeaderName::from_static("x-client-cert-subject");
const CLIENT_FINGERPRINT: HeaderName = HeaderName::from_static("x-client-cert-fingerprint");

/// Tells the server of a checked request its `client`, and what it came by. What a route says
/// of the same fields comes later, so that it has the last word.
///
/// What the client itself said in `Forwarded` and `X-Forwarded-*`, or of its certificate, is gone
/// already ([`names`](super::names)): this is the edge, and no proxy in front of it is known.
pub(in crate::edge) fn introduce<B>(request: &mut Request<B>, client: &Client) {
    let received = request.version();
    let said = request.uri().authority().map(|authority| client.introduction(authority));
    let Introduction { forwarded, host, address, .. } = said.unwrap_or_default();
    let headers = request.headers_mut();
    headers.append(header::VIA, HeaderValue::from_static(via(received)));
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("https"));
    for (name, value) in [
        (header::FORWARDED, forwarded),
        (X_FORWARDED_HOST, host),
        (X_FORWARDED_FOR, address),
        (CLIENT_SUBJECT, client.certificate.as_ref().map(|certificate| certificate.subject.clone())),
        (CLIENT_FINGERPRINT, client.certificate.as_ref().map(|certificate| certificate.fingerprint.clone())),
    ] {
        match value {
            Some(value) => drop(headers.insert(name, value)),
            None => drop(headers.remove(name)),
        }
    }
}

/// What servers are told of a client that asks for an authority.
#[derive(Clone, Debug, Default)]
pub(in crate::edge) struct Introduction {
    of: Option<(IpAddr, Authority)>,
    forwarded: Option<HeaderValue>,
    host: Option<HeaderValue>,
    address: Option<HeaderValue>,
}

impl Introduction {
    pub(in crate::edge) fn new(client: Validated, authority: &Authority) -> Self {
        let host = HeaderValue::from_str(authority.as_str()).ok();
        Self {
            of: Some((client.ip(), authority.clone())),
            forwarded: forwarded(client, host.as_ref()),
            host,
            address: text(client.ip()),
        }
    }

    pub(in crate::edge) fn is_of(&self, client: Validated, authority: &Authority) -> bool {
        // Exactly: an authority that is the same but for its letters' case is told as it was said.
        self.of.as_ref().is_some_and(|(ip, of)| *ip == client.ip() && of.as_str() == authority.as_str())
    }
}

/// Makes a checked request such as an HTTP/1.1 server expects.
pub(in crate::edge) fn prepare_for_upstream<B>(request: &mut Request<B>, client: &Client) {
    let host = request.uri().authority().and_then(|authority| client.introduction(authority).host);
    let uri::Parts { path_and_query, .. } = std::mem::take(request.uri_mut()).into_parts();
    if let Some(path) = path_and_query {
        *request.uri_mut() = Uri::from(path);
    }
    *request.version_mut() = Version::HTTP_11;

    let headers = request.headers_mut();
    headers.remove(header::EXPECT);
    if headers.contains_key(header::TE) {
        // It says `trailers` and is about this hop, on which we take them too.
        headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
    }
    // A route may have added one.
    join_cookies(headers);
    if let Some(host) = host {
        headers.insert(header::HOST, host);
    }
}

/// RFC 7239 section 4: `for=192.0.2.1;host="example.com:8443";proto=https`.
fn forwarded(client: Validated, host: Option<&HeaderValue>) -> Option<HeaderValue> {
    let mut text = BytesMut::with_capacity(96);
    match client.ip() {
        IpAddr::V4(address) => write!(text, "for={address}").ok()?,
        IpAddr::V6(address) => write!(text, "for=\"[{address}]\"").ok()?,
    }
    // An authority holds neither quotes nor backslashes.
    if let Some(host) = host {
        text.put_slice(b";host=\"");
        text.put_slice(host.as_bytes());
        text.put_u8(b'"');
    }
    text.put_slice(b";proto=https");
    HeaderValue::from_maybe_shared(text.freeze()).ok()
}

fn text(address: IpAddr) -> Option<HeaderValue> {
    let mut text = BytesMut::with_capacity(48);
    write!(text, "{address}").ok()?;
    HeaderValue::from_maybe_shared(text.freeze()).ok()
}

/// RFC 9110 section 7.6.3.
fn via(received: Version) -> &'static str {
    match received {
        Version::HTTP_3 => "3 quic-router",
        Version::HTTP_2 => "2 quic-router",
        Version::HTTP_10 => "1.0 quic-router",
        _ => "1.1 quic-router",
    }
}

/// The head of a server's response, as a client expects it whatever it speaks.
pub(in crate::edge) fn from_upstream(head: response::Parts) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    let headers = response.headers_mut();
    if headers.contains_key(header::TRANSFER_ENCODING) {
        // It says how long the body is, whatever else does (RFC 9112 section 6.3).
        headers.remove(header::CONTENT_LENGTH);
    }
    remove_servers_own(headers);
    response
}

/// Takes out of a server's head, of a response or of one before it, what is between the server and
/// us. Another service of the server's (RFC 7838) is none that clients should go to past the router.
pub(in crate::edge) fn remove_servers_own(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
    headers.remove(header::ALT_SVC);
}

/// Takes out what is about one hop, and what `Connection` makes so.
pub(in crate::edge) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        for name in named(headers.get_all(header::CONNECTION)) {
            headers.remove(name);
        }
    }
    for name in CONNECTION_SPECIFIC {
        headers.remove(name);
    }
}

/// Whether the client waits for a word before it sends the body. It gets that word from us, as
/// the server's comes with its response only.
pub(in crate::edge) fn expects_continue(headers: &HeaderMap) -> bool {
    headers.get(header::EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// HTTP/2 and HTTP/3 let a client send one field per cookie; HTTP/1.1 has one (RFC 9113 section
/// 8.2.3, RFC 9114 section 4.2.1).
pub(in crate::edge) fn join_cookies(headers: &mut HeaderMap) {
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
        let mut request = Request::builder()
            .uri("https://example.com:8443/a/b?c=d")
            .version(Version::HTTP_3)
            .header("te", "trailers")
            .header("forwarded", "for=192.0.2.1")
            .header("x-forwarded-for", "192.0.2.1")
            .header("x-forwarded-for", "192.0.2.2")
            .header("x-forwarded-proto", "gopher")
            .header("x-client-cert-subject", "CN=admin")
            .header("cookie", "a=1")
            .header("cookie", "b=2; c=3")
            .header("cookie", "d=4")
            .header("accept", "*/*")
            .body(())
            .expect("a request");
        let client = Client::new(Validated::assumed("[::ffff:198.51.100.7]:4433"));
        introduce(&mut request, &client);
        prepare_for_upstream(&mut request, &client);
        // The same once more, and then another authority's.
        let said = |authority: &'static str| client.introduction(&Authority::from_static(authority)).host;
        assert_eq!(said("example.com:8443").unwrap(), "example.com:8443");
        assert_eq!(said("Example.com:8443").unwrap(), "Example.com:8443");

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
                "forwarded: for=198.51.100.7;host=\"example.com:8443\";proto=https",
                "host: example.com:8443",
                "te: trailers",
                "via: 3 quic-router",
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
            .header("alt-svc", "h3=\":8443\"")
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
