//! Which fields make a request's head, and which trailers (RFC 9114 sections 4.2 and 4.3).

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version, header,
    uri::{self, Authority, PathAndQuery, Scheme},
};

use crate::{
    Priority,
    code::Violation,
    fields::{FIELDS, Fields, MessageLimits, Pseudo, SectionError, Taken, malformed},
    qpack::decoder::Lines,
};

/// The head of a request.
#[derive(Debug)]
pub struct RequestHead {
    /// `:method`
    pub method: Method,
    /// `:scheme`; none of CONNECT alone.
    pub scheme: Option<Scheme>,
    /// `:authority`, or else `Host`.
    pub authority: Option<Authority>,
    /// `:path`; none of CONNECT alone.
    pub path: Option<PathAndQuery>,
    /// `:protocol` of an extended CONNECT (RFC 9220).
    pub protocol: Option<Bytes>,
    /// The fields, `Host` among them.
    pub headers: HeaderMap,
    /// Octets of the content, if the client said so, once and in figures.
    pub content_length: Option<u64>,
    /// What makes the message malformed although all of it can be read: connection-specific fields, a `TE` beside
    /// `trailers`, a value that begins or ends with a blank, a Content-Length that is no number or several, several
    /// `Host`. The caller may answer it with an error before it resets the stream, but not serve it (RFC 9114
    /// section 4.1.2).
    pub fault: Option<Violation>,
}

impl RequestHead {
    /// The priority that the request asks for (RFC 9218 section 5).
    #[must_use]
    pub fn priority(&self) -> Priority {
        // Several lines are one list.
        let mut lines = self.headers.get_all(HeaderName::from_static("priority")).iter();
        match (lines.next(), lines.next()) {
            (None, _) => Priority::default(),
            (Some(line), None) => Priority::parse(line.as_bytes()),
            (Some(first), Some(second)) => {
                let all: Vec<_> = [first, second].into_iter().chain(lines).map(HeaderValue::as_bytes).collect();
                Priority::parse(&all.join(&b","[..]))
            }
        }
    }

    /// The same as a request of the `http` crate; of `:protocol` nothing is left.
    ///
    /// # Errors
    /// The parts make no URI.
    pub fn into_request(self) -> Result<Request<()>, Violation> {
        let mut parts = uri::Parts::default();
        parts.scheme = self.scheme.filter(|_| self.authority.is_some());
        parts.authority = self.authority;
        parts.path_and_query = self.path;
        let mut request = Request::new(());
        *request.uri_mut() = Uri::from_parts(parts)
            .map_err(|_| Violation::malformed(PSEUDO, "pseudo-header fields that make no URI"))?;
        *request.method_mut() = self.method;
        *request.version_mut() = Version::HTTP_3;
        *request.headers_mut() = self.headers;
        Ok(request)
    }
}

const PSEUDO: &str = "RFC 9114 section 4.3.1";

/// A request's head from its encoded field section.
pub(crate) fn request_head(section: &[u8], limits: &MessageLimits) -> Result<RequestHead, SectionError> {
    let mut fields = Fields::new(section.len(), limits);
    let mut pseudo = PseudoFields::default();
    let mut lines = Lines::of(section)?;
    while let Some(line) = lines.next()? {
        match fields.take(line)? {
            Taken::Regular => {}
            Taken::Pseudo(..) if fields.any() => {
                return malformed("RFC 9114 section 4.3", "a pseudo-header field behind a regular one");
            }
            Taken::Pseudo(name, value) => pseudo.set(name, value)?,
        }
    }
    pseudo.into_head(fields.finish()?, limits)
}

/// Trailers from their encoded field section.
pub(crate) fn trailers(section: &[u8], limits: &MessageLimits) -> Result<HeaderMap, SectionError> {
    let mut fields = Fields::new(section.len(), limits);
    let mut lines = Lines::of(section)?;
    while let Some(line) = lines.next()? {
        if let Taken::Pseudo(..) = fields.take(line)? {
            return malformed("RFC 9114 section 4.3", "a pseudo-header field in trailers");
        }
    }
    let headers = fields.finish()?;
    match connection_fault(&headers) {
        Some(fault) => Err(SectionError::Malformed(fault)),
        None => Ok(headers),
    }
}

/// The pseudo-header fields of a request, each once.
#[derive(Default)]
struct PseudoFields {
    method: Option<Bytes>,
    scheme: Option<Bytes>,
    authority: Option<Bytes>,
    path: Option<Bytes>,
    protocol: Option<Bytes>,
}

impl PseudoFields {
    fn set(&mut self, name: Pseudo, value: Bytes) -> Result<(), SectionError> {
        let field = match name {
            Pseudo::Method => &mut self.method,
            Pseudo::Scheme => &mut self.scheme,
            Pseudo::Authority => &mut self.authority,
            Pseudo::Path => &mut self.path,
            Pseudo::Protocol => &mut self.protocol,
            Pseudo::Status => return malformed("RFC 9114 section 4.3", "`:status` in a request"),
        };
        match field.replace(value) {
            None => Ok(()),
            Some(_) => malformed(PSEUDO, "a pseudo-header field twice"),
        }
    }

    fn into_head(self, headers: HeaderMap, limits: &MessageLimits) -> Result<RequestHead, SectionError> {
        let Some(method) = self.method.and_then(|method| Method::from_bytes(&method).ok()) else {
            return malformed(PSEUDO, "`:method` is missing or no token");
        };
        if self.protocol.is_some() && (method != Method::CONNECT || !limits.extended_connect) {
            return malformed("RFC 9220 section 3", "`:protocol` without CONNECT, or where it is not offered");
        }
        let is_tunnel = method == Method::CONNECT && self.protocol.is_none();
        if is_tunnel && (self.scheme.is_some() || self.path.is_some()) {
            return malformed("RFC 9114 section 4.4", "CONNECT with `:scheme` or `:path`");
        }
        let scheme = self.scheme.map(|scheme| scheme_of(&scheme)).transpose()?;
        let path = self.path.map(path).transpose()?;
        if !is_tunnel && (scheme.is_none() || path.is_none()) {
            return malformed(PSEUDO, "`:scheme` or `:path` is missing");
        }
        let (authority, host_fault) = authority(self.authority, &headers)?;
        let (content_length, length_fault) = content_length(&headers);
        let fault = connection_fault(&headers).or_else(|| value_fault(&headers)).or(host_fault).or(length_fault);
        Ok(RequestHead {
            method,
            scheme,
            authority: Some(authority),
            path,
            protocol: self.protocol,
            headers,
            content_length,
            fault,
        })
    }
}

/// RFC 3986 section 3.1: a letter first. The `http` crate takes none at all, and any.
fn scheme_of(scheme: &[u8]) -> Result<Scheme, SectionError> {
    if scheme == b"https" {
        return Ok(Scheme::HTTPS);
    }
    match Scheme::try_from(scheme) {
        Ok(parsed) if scheme.first().is_some_and(u8::is_ascii_alphabetic) => Ok(parsed),
        Ok(_) | Err(_) => malformed(PSEUDO, "`:scheme` is none"),
    }
}

/// Section 4.3.1: begins with a slash, or is `*` of OPTIONS, which is for the caller to see.
fn path(path: Bytes) -> Result<PathAndQuery, SectionError> {
    match &path[..] {
        b"/" => return Ok(PathAndQuery::from_static("/")),
        [b'/', ..] | b"*" if path.len() <= PATH_MAX => {}
        [b'/', ..] => return Err(SectionError::TooLarge),
        _ => return malformed(PSEUDO, "`:path` is empty or not absolute"),
    }
    match PathAndQuery::from_maybe_shared(path) {
        Ok(path) => Ok(path),
        Err(_) => malformed(PSEUDO, "`:path` has a character that has no place in one"),
    }
}

/// From `:authority`, or else `Host`; if both are there, they say the same (section 4.3.1).
fn authority(pseudo: Option<Bytes>, headers: &HeaderMap) -> Result<(Authority, Option<Violation>), SectionError> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (host, second) = (hosts.next(), hosts.next());
    let fault = second.map(|_| Violation::malformed(FIELDS, "several Host fields"));
    let text = match (pseudo, host) {
        (Some(pseudo), Some(host)) if !pseudo.eq_ignore_ascii_case(host.as_bytes()) => {
            return malformed(PSEUDO, "Host and :authority are not the same");
        }
        (Some(pseudo), _) => pseudo,
        (None, Some(host)) => Bytes::copy_from_slice(host.as_bytes()),
        (None, None) => return malformed(PSEUDO, "neither `:authority` nor Host"),
    };
    match Authority::from_maybe_shared(text) {
        Ok(authority) => Ok((authority, fault)),
        Err(_) => malformed(PSEUDO, "`:authority` or Host is no host and port"),
    }
}

/// RFC 9114 section 4.2: what HTTP/1.1 says about a connection.
fn connection_fault(headers: &HeaderMap) -> Option<Violation> {
    if CONNECTION_SPECIFIC.iter().any(|name| headers.contains_key(name)) {
        return Some(Violation::malformed(FIELDS, "a connection-specific field"));
    }
    let mut te = headers.get_all(header::TE).iter();
    // A keyword of RFC 9110 section 10.1.4: in whatever case.
    te.any(|value| !value.as_bytes().eq_ignore_ascii_case(b"trailers"))
        .then(|| Violation::malformed(FIELDS, "TE beside `trailers`"))
}

/// RFC 9110 section 5.5.
fn value_fault(headers: &HeaderMap) -> Option<Violation> {
    let is_blank = |octet: Option<&u8>| matches!(octet, Some(b' ' | b'\t'));
    let mut values = headers.values().map(HeaderValue::as_bytes);
    let has_blank = values.any(|value| is_blank(value.first()) || is_blank(value.last()));
    has_blank.then(|| Violation::malformed("RFC 9114 section 10.3", "a field value begins or ends with a blank"))
}

/// RFC 9110 section 8.6. A list of equal numbers is not taken either.
fn content_length(headers: &HeaderMap) -> (Option<u64>, Option<Violation>) {
    let mut values = headers.get_all(header::CONTENT_LENGTH).iter();
    let length = match (values.next(), values.next()) {
        (None, _) => return (None, None),
        (Some(value), None) => value.to_str().ok().filter(|text| text.bytes().all(|octet| octet.is_ascii_digit())),
        (Some(_), Some(_)) => None,
    };
    let malformed = |what| (None, Some(Violation::malformed("RFC 9114 section 4.1.2", what)));
    match length.and_then(|digits| digits.parse().ok()) {
        Some(length) if length <= STREAM_MAX => (Some(length), None),
        Some(_) => malformed("Content-Length is more than a stream can carry"),
        None => malformed("Content-Length is not one number"),
    }
}

/// Octets that a stream can have (RFC 9000 section 19.8).
const STREAM_MAX: u64 = (1 << 62) - 1;

/// RFC 9114 section 4.2, RFC 9110 section 7.6.1.
const CONNECTION_SPECIFIC: [HeaderName; 5] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// The longest path that the `http` crate takes.
const PATH_MAX: usize = u16::MAX as usize - 1;
