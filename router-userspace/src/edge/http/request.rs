//! The head of a request as it comes from a client, and what must hold of it before it goes any
//! further. What is checked here is of one shape, whatever the request came by: an absolute URI,
//! and no `Host` beside it.

use http::{
    HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, Version, header,
    uri::{Authority, PathAndQuery, Scheme},
};

use super::headers::{self, CONNECTION_SPECIFIC};
use crate::config::Limits;

/// A request that isn't served: the status and sentence of its answer.
#[derive(Clone, Copy, Debug)]
pub(in crate::edge) struct Refusal(pub(in crate::edge) StatusCode, pub(in crate::edge) &'static str);

/// Refuses what must not reach a server, where other rules may hold for it: RFC 9114 sections
/// 4.2, 4.3.1 and 4.4, RFC 9113 section 8, RFC 9112 sections 3.2 and 6.3, RFC 9110 section 8.6.
/// Gives the rest its one shape.
pub(in crate::edge) fn check<B>(request: &mut Request<B>, limits: &Limits) -> Result<(), Refusal> {
    if request.method() == Method::CONNECT {
        return Err(Refusal(StatusCode::NOT_IMPLEMENTED, "tunnels are not offered here"));
    }
    // In HTTP/2 and HTTP/3 a cookie may come in crumbs, which are one field (RFC 9113 section 8.2.3).
    headers::join_cookies(request.headers_mut());
    if request.headers().len() > usize::from(limits.max_headers) || size(request.headers()) > limits.max_header_bytes {
        return Err(TOO_LARGE);
    }
    let path = path(request)?;
    let authority = authority(request)?;
    let headers = request.headers_mut();
    headers.remove(header::HOST);
    match request.version() {
        Version::HTTP_2 | Version::HTTP_3 => check_fields(request.headers())?,
        _ => take_hop_by_hop(request.headers_mut())?,
    }
    content_length(request.headers())?;
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(Scheme::HTTPS);
    parts.authority = Some(authority);
    parts.path_and_query = Some(path);
    *request.uri_mut() = Uri::from_parts(parts).map_err(|_| bad("the path must be absolute"))?;
    Ok(())
}

/// The answer to a head beyond the limits.
pub(in crate::edge) const TOO_LARGE: Refusal =
    Refusal(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the header fields are too many or too large");

/// The answer to a request that `limits.memory` has no room for.
pub(in crate::edge) const NO_MEMORY: Refusal =
    Refusal(StatusCode::SERVICE_UNAVAILABLE, "there is no memory for another request");

/// Octets of fields as RFC 9114 section 4.2.2 counts them.
fn size(headers: &HeaderMap) -> u32 {
    let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
    u32::try_from(size).unwrap_or(u32::MAX)
}

fn bad(sentence: &'static str) -> Refusal {
    Refusal(StatusCode::BAD_REQUEST, sentence)
}

fn path<B>(request: &Request<B>) -> Result<PathAndQuery, Refusal> {
    let of_the_server = request.uri().path() == "*" && request.method() == Method::OPTIONS;
    match request.uri().path_and_query() {
        Some(path) if path.path().starts_with('/') || of_the_server => Ok(path.clone()),
        Some(_) | None => Err(bad("the path must be absolute")),
    }
}

/// From the URI (`:authority`, or the absolute form), else from `Host`. If HTTP/2 or HTTP/3 has
/// both they must say the same (RFC 9114 section 4.3.1); in HTTP/1.1 the URI counts, and `Host`
/// must be there once all the same (RFC 9112 section 3.2).
fn authority<B>(request: &Request<B>) -> Result<Authority, Refusal> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let (host, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(bad("Host must be one host and port"));
    }
    let named = request.uri().authority();
    let authority = match (named, host) {
        (Some(named), None) if request.version() >= Version::HTTP_2 => named.clone(),
        (Some(named), Some(host)) if request.version() >= Version::HTTP_2 => {
            if !named.as_str().as_bytes().eq_ignore_ascii_case(host.as_bytes()) {
                return Err(bad("Host and :authority must be the same"));
            }
            named.clone()
        }
        (Some(named), Some(_)) => named.clone(),
        (None, Some(host)) => parse(host)?,
        (None, None) | (Some(_), None) => return Err(bad("the request names no host")),
    };
    if authority.as_str().contains('@') || authority.host().is_empty() {
        return Err(bad("the authority must be a host and port"));
    }
    Ok(authority)
}

fn parse(host: &HeaderValue) -> Result<Authority, Refusal> {
    Authority::try_from(host.as_bytes()).map_err(|_| bad("Host must be one host and port"))
}

/// RFC 9114 section 4.2, RFC 9113 sections 8.2.1 and 8.2.2.
fn check_fields(headers: &HeaderMap) -> Result<(), Refusal> {
    if CONNECTION_SPECIFIC.iter().any(|name| headers.contains_key(name)) {
        return Err(bad("a connection-specific field has no place in HTTP/2 and HTTP/3"));
    }
    // A keyword of RFC 9110 section 10.1.4: in whatever case.
    if headers.get_all(header::TE).iter().any(|value| !value.as_bytes().eq_ignore_ascii_case(b"trailers")) {
        return Err(bad("TE can only be `trailers` in HTTP/2 and HTTP/3"));
    }
    // The `http` crate takes a quotation mark for a letter of tokens in HTTP/2 (RFC 9110 section 5.6.2).
    if headers.keys().any(|name| name.as_str().contains('"')) {
        return Err(bad("a field's name must be a token"));
    }
    let blank = |octet: Option<&u8>| matches!(octet, Some(b' ' | b'\t'));
    if headers.values().any(|value| blank(value.as_bytes().first()) || blank(value.as_bytes().last())) {
        return Err(bad("a field's value can neither begin nor end with a blank"));
    }
    Ok(())
}

/// RFC 9110 section 7.6.1. hyper has undone `chunked`, and no other coding; beside one a
/// Content-Length says that a proxy on the way reads the message otherwise than we do (RFC 9112
/// section 6.1).
fn take_hop_by_hop(fields: &mut HeaderMap) -> Result<(), Refusal> {
    let mut codings = fields.get_all(header::TRANSFER_ENCODING).iter();
    let only_chunked = match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    };
    if !only_chunked {
        return Err(Refusal(StatusCode::NOT_IMPLEMENTED, "the only transfer coding understood here is chunked"));
    }
    if fields.contains_key(header::TRANSFER_ENCODING) && fields.contains_key(header::CONTENT_LENGTH) {
        return Err(bad("Transfer-Encoding and Content-Length exclude each other"));
    }
    let wants_trailers = fields.get_all(header::TE).iter().any(|value| {
        value.to_str().is_ok_and(|text| text.split(',').any(|coding| coding.trim().eq_ignore_ascii_case("trailers")))
    });
    headers::remove_hop_by_hop(fields);
    fields.remove(header::TE);
    if wants_trailers {
        fields.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    Ok(())
}

/// RFC 9110 section 8.6; a list of equal numbers is not accepted either.
fn content_length(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut values = headers.get_all(header::CONTENT_LENGTH).iter();
    let is_number = match (values.next(), values.next()) {
        (None, _) => true,
        (Some(value), None) => value
            .to_str()
            .is_ok_and(|text| text.bytes().all(|octet| octet.is_ascii_digit()) && text.parse::<u64>().is_ok()),
        (Some(_), Some(_)) => false,
    };
    if is_number { Ok(()) } else { Err(bad("Content-Length must be one number")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(request: http::request::Builder) -> Result<(Uri, HeaderMap), &'static str> {
        let mut request = request.body(()).expect("a request");
        check(&mut request, &limits()).map_err(|Refusal(_, sentence)| sentence)?;
        Ok((request.uri().clone(), request.headers().clone()))
    }

    fn limits() -> Limits {
        crate::edge::tests::lab::config("[limits]\nmax_header_bytes = 1_024\n").limits
    }

    /// 1,024 octets, and 32 for each field beside its name and value.
    #[test]
    fn heads_have_one_limit_whatever_they_came_by() {
        let field = |length| asked(Version::HTTP_11, "/").header("host", "a").header("x", "v".repeat(length));
        assert!(checked(field(1024 - 32 - 1 - 37)).is_ok());
        assert_eq!(checked(field(1024 - 32 - 1 - 36)).err(), Some("the header fields are too many or too large"));
    }

    /// mod_h2#201: crumbs were counted one by one.
    #[test]
    fn crumbs_of_a_cookie_are_one_field() {
        let request = (0..120).fold(asked(Version::HTTP_2, "https://a/"), |request, _| request.header("cookie", "a=b"));
        let (_, headers) = checked(request).expect("one field");
        assert_eq!(headers.get_all("cookie").iter().collect::<Vec<_>>(), [["a=b"; 120].join("; ").as_str()]);
    }

    #[test]
    fn names_are_tokens_and_keywords_in_any_case() {
        let quoted = http::HeaderName::from_lowercase(b"x\"y").expect("the crate takes it");
        let request = asked(Version::HTTP_2, "https://a/").header(quoted, "1");
        assert_eq!(checked(request).err(), Some("a field's name must be a token"));
        assert!(checked(asked(Version::HTTP_3, "https://a/").header("te", "Trailers")).is_ok());
    }

    fn asked(version: Version, uri: &str) -> http::request::Builder {
        Request::builder().version(version).uri(uri)
    }

    #[test]
    fn every_version_gets_one_shape() {
        for request in [
            asked(Version::HTTP_3, "https://a.example:8443/x?y"),
            asked(Version::HTTP_3, "https://a.example:8443/x?y").header("host", "A.example:8443"),
            asked(Version::HTTP_11, "/x?y").header("host", "a.example:8443"),
            asked(Version::HTTP_11, "http://a.example:8443/x?y").header("host", "b.example"),
        ] {
            let (uri, headers) = checked(request).expect("well-formed");
            assert_eq!(uri, "https://a.example:8443/x?y");
            assert!(headers.is_empty(), "{headers:?}");
        }
    }

    /// RFC 9110 section 9.3.7.
    #[test]
    fn options_may_be_about_the_server() {
        let of_the_server = asked(Version::HTTP_11, "*").method(Method::OPTIONS).header("host", "a.example");
        let (uri, _) = checked(of_the_server).expect("well-formed");
        assert_eq!((uri.host(), uri.path(), uri.query()), (Some("a.example"), "*", None));
    }

    /// mod_h2#201
    #[test]
    fn many_cookies_are_one_field() {
        for version in [Version::HTTP_2, Version::HTTP_3] {
            let asked = || asked(version, "https://a/");
            let with = |count, name| (0..count).fold(asked(), |request, _| request.header(name, "a=1"));
            let (_, headers) = checked(with(120, "cookie")).expect("not too many");
            let cookies: Vec<_> = headers.get_all("cookie").iter().collect();
            assert_eq!(cookies, [&["a=1"; 120].join("; ")]);
            assert_eq!(checked(with(101, "x")).err(), Some("the header fields are too many or too large"));
        }
    }

    #[test]
    fn what_is_about_the_connection_stays_behind() {
        let request = asked(Version::HTTP_11, "/")
            .header("host", "a")
            .header("connection", "close, x-mine")
            .header("x-mine", "1")
            .header("keep-alive", "timeout=5")
            .header("te", "gzip, trailers")
            .header("transfer-encoding", "chunked")
            .header("upgrade", "h2c");
        let (_, headers) = checked(request).expect("well-formed");
        assert_eq!(headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["te"]);
        assert_eq!(headers["te"], "trailers");
    }

    #[test]
    fn refuses_what_servers_may_read_otherwise() {
        for (request, why) in [
            (asked(Version::HTTP_3, "https://a/").header("host", "b"), "Host and :authority must be the same"),
            (asked(Version::HTTP_3, "https://u@a/"), "the authority must be a host and port"),
            (asked(Version::HTTP_3, "/"), "the request names no host"),
            (asked(Version::HTTP_11, "/"), "the request names no host"),
            (asked(Version::HTTP_11, "http://a/"), "the request names no host"),
            (asked(Version::HTTP_11, "/").header("host", "a").header("host", "a"), "Host must be one host and port"),
            (asked(Version::HTTP_11, "/").header("host", "a b"), "Host must be one host and port"),
            (asked(Version::HTTP_11, "*").header("host", "a"), "the path must be absolute"),
            (
                asked(Version::HTTP_11, "/").header("host", "a").header("transfer-encoding", "gzip, chunked"),
                "the only transfer coding understood here is chunked",
            ),
            (
                asked(Version::HTTP_3, "https://a/").header("x", "1 "),
                "a field's value can neither begin nor end with a blank",
            ),
            (
                asked(Version::HTTP_11, "/")
                    .header("host", "a")
                    .header("transfer-encoding", "chunked")
                    .header("content-length", "1"),
                "Transfer-Encoding and Content-Length exclude each other",
            ),
            (
                asked(Version::HTTP_3, "https://a/").header("content-length", "1").header("content-length", "1"),
                "Content-Length must be one number",
            ),
            (asked(Version::HTTP_3, "https://a/").header("content-length", "+1"), "Content-Length must be one number"),
            (
                asked(Version::HTTP_2, "https://a/").header("connection", "close"),
                "a connection-specific field has no place in HTTP/2 and HTTP/3",
            ),
            (
                asked(Version::HTTP_2, "https://a/").header("te", "gzip"),
                "TE can only be `trailers` in HTTP/2 and HTTP/3",
            ),
        ] {
            assert_eq!(checked(request).err(), Some(why));
        }
    }
}
