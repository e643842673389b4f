//! The static table (RFC 9204 appendix A).

use http::{HeaderName, HeaderValue};

use crate::fields::Pseudo;

/// A field line of the table.
pub(crate) struct Entry {
    pub(crate) name: Name,
    pub(crate) value: &'static str,
    /// The same, as a header map holds it.
    pub(crate) header_value: HeaderValue,
}

/// The name of a field line of the table.
pub(crate) enum Name {
    Pseudo(Pseudo),
    Regular(HeaderName),
}

/// The field line with this index.
pub(crate) fn entry_at(index: u64) -> Option<&'static Entry> {
    usize::try_from(index).ok().and_then(|index| TABLE.get(index))
}

/// Indices of the field lines with this name; none for pseudo-header fields.
pub(super) fn indices_of(name: &str) -> &'static [u8] {
    match name {
        "age" => &[2],
        "content-disposition" => &[3],
        "content-length" => &[4],
        "date" => &[6],
        "etag" => &[7],
        "last-modified" => &[10],
        "link" => &[11],
        "location" => &[12],
        "set-cookie" => &[14],
        "accept-ranges" => &[32],
        "access-control-allow-headers" => &[33, 34, 75],
        "access-control-allow-origin" => &[35],
        "cache-control" => &[36, 37, 38, 39, 40, 41],
        "content-encoding" => &[42, 43],
        "content-type" => &[44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54],
        "strict-transport-security" => &[56, 57, 58],
        "vary" => &[59, 60],
        "x-content-type-options" => &[61],
        "x-xss-protection" => &[62],
        "access-control-allow-credentials" => &[73, 74],
        "access-control-allow-methods" => &[76, 77, 78],
        "access-control-expose-headers" => &[79],
        "alt-svc" => &[83],
        "content-security-policy" => &[85],
        "early-data" => &[86],
        "expect-ct" => &[87],
        "server" => &[92],
        "timing-allow-origin" => &[93],
        "x-frame-options" => &[97, 98],
        _ => indices_of_requests(name),
    }
}

/// The same for names that fields of requests alone have.
fn indices_of_requests(name: &str) -> &'static [u8] {
    match name {
        "cookie" => &[5],
        "if-modified-since" => &[8],
        "if-none-match" => &[9],
        "referer" => &[13],
        "accept" => &[29, 30],
        "accept-encoding" => &[31],
        "range" => &[55],
        "accept-language" => &[72],
        "access-control-request-headers" => &[80],
        "access-control-request-method" => &[81, 82],
        "authorization" => &[84],
        "forwarded" => &[88],
        "if-range" => &[89],
        "origin" => &[90],
        "purpose" => &[91],
        "upgrade-insecure-requests" => &[94],
        "user-agent" => &[95],
        "x-forwarded-for" => &[96],
        _ => &[],
    }
}

/// The index of `:status` with this value, if the table has it.
pub(super) fn index_of_status(status: u16) -> Option<u8> {
    Some(match status {
        103 => 24,
        200 => 25,
        304 => 26,
        404 => 27,
        503 => 28,
        100 => 63,
        204 => 64,
        206 => 65,
        302 => 66,
        400 => 67,
        403 => 68,
        421 => 69,
        425 => 70,
        500 => 71,
        _ => return None,
    })
}

/// An index whose name is `:status`.
pub(super) const STATUS: u8 = 24;

const fn entry(name: &'static str, value: &'static str) -> Entry {
    let kind = match Pseudo::of_static(name) {
        Some(pseudo) => Name::Pseudo(pseudo),
        None => Name::Regular(HeaderName::from_static(name)),
    };
    Entry { name: kind, value, header_value: HeaderValue::from_static(value) }
}

static TABLE: [Entry; 99] = [
    entry(":authority", ""),
    entry(":path", "/"),
    entry("age", "0"),
    entry("content-disposition", ""),
    entry("content-length", "0"),
    entry("cookie", ""),
    entry("date", ""),
    entry("etag", ""),
    entry("if-modified-since", ""),
    entry("if-none-match", ""),
    entry("last-modified", ""),
    entry("link", ""),
    entry("location", ""),
    entry("referer", ""),
    entry("set-cookie", ""),
    entry(":method", "CONNECT"),
    entry(":method", "DELETE"),
    entry(":method", "GET"),
    entry(":method", "HEAD"),
    entry(":method", "OPTIONS"),
    entry(":method", "POST"),
    entry(":method", "PUT"),
    entry(":scheme", "http"),
    entry(":scheme", "https"),
    entry(":status", "103"),
    entry(":status", "200"),
    entry(":status", "304"),
    entry(":status", "404"),
    entry(":status", "503"),
    entry("accept", "*/*"),
    entry("accept", "application/dns-message"),
    entry("accept-encoding", "gzip, deflate, br"),
    entry("accept-ranges", "bytes"),
    entry("access-control-allow-headers", "cache-control"),
    entry("access-control-allow-headers", "content-type"),
    entry("access-control-allow-origin", "*"),
    entry("cache-control", "max-age=0"),
    entry("cache-control", "max-age=2592000"),
    entry("cache-control", "max-age=604800"),
    entry("cache-control", "no-cache"),
    entry("cache-control", "no-store"),
    entry("cache-control", "public, max-age=31536000"),
    entry("content-encoding", "br"),
    entry("content-encoding", "gzip"),
    entry("content-type", "application/dns-message"),
    entry("content-type", "application/javascript"),
    entry("content-type", "application/json"),
    entry("content-type", "application/x-www-form-urlencoded"),
    entry("content-type", "image/gif"),
    entry("content-type", "image/jpeg"),
    entry("content-type", "image/png"),
    entry("content-type", "text/css"),
    entry("content-type", "text/html; charset=utf-8"),
    entry("content-type", "text/plain"),
    entry("content-type", "text/plain;charset=utf-8"),
    entry("range", "bytes=0-"),
    entry("strict-transport-security", "max-age=31536000"),
    entry("strict-transport-security", "max-age=31536000; includesubdomains"),
    entry("strict-transport-security", "max-age=31536000; includesubdomains; preload"),
    entry("vary", "accept-encoding"),
    entry("vary", "origin"),
    entry("x-content-type-options", "nosniff"),
    entry("x-xss-protection", "1; mode=block"),
    entry(":status", "100"),
    entry(":status", "204"),
    entry(":status", "206"),
    entry(":status", "302"),
    entry(":status", "400"),
    entry(":status", "403"),
    entry(":status", "421"),
    entry(":status", "425"),
    entry(":status", "500"),
    entry("accept-language", ""),
    entry("access-control-allow-credentials", "FALSE"),
    entry("access-control-allow-credentials", "TRUE"),
    entry("access-control-allow-headers", "*"),
    entry("access-control-allow-methods", "get"),
    entry("access-control-allow-methods", "get, post, options"),
    entry("access-control-allow-methods", "options"),
    entry("access-control-expose-headers", "content-length"),
    entry("access-control-request-headers", "content-type"),
    entry("access-control-request-method", "get"),
    entry("access-control-request-method", "post"),
    entry("alt-svc", "clear"),
    entry("authorization", ""),
    entry("content-security-policy", "script-src 'none'; object-src 'none'; base-uri 'none'"),
    entry("early-data", "1"),
    entry("expect-ct", ""),
    entry("forwarded", ""),
    entry("if-range", ""),
    entry("origin", ""),
    entry("purpose", "prefetch"),
    entry("server", ""),
    entry("timing-allow-origin", "*"),
    entry("upgrade-insecure-requests", "1"),
    entry("user-agent", ""),
    entry("x-forwarded-for", ""),
    entry("x-frame-options", "deny"),
    entry("x-frame-options", "sameorigin"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_line_is_found_by_its_name() {
        for (index, entry) in TABLE.iter().enumerate() {
            let index = u8::try_from(index).unwrap();
            match &entry.name {
                Name::Regular(name) => assert!(indices_of(name.as_str()).contains(&index), "{name}"),
                Name::Pseudo(Pseudo::Status) => assert_eq!(index_of_status(entry.value.parse().unwrap()), Some(index)),
                Name::Pseudo(_) => {}
            }
            assert_eq!(entry.value.as_bytes(), entry.header_value.as_bytes());
        }
        let is_regular = |entry: &&Entry| matches!(entry.name, Name::Regular(_));
        assert_eq!(TABLE.iter().filter(is_regular).count(), 74);
    }
}
