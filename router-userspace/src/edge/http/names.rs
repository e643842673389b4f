//! Field names that a client has no say in: its address, what it asked for at the edge, and what a proxy in front of a
//! server vouches for. A server that believes such a field believes the router, so what a client says under these
//! names never reaches one, neither in a head nor in trailers, over any version of HTTP.
//!
//! Names are compared as CGI and its relatives make variables of them: many servers do not tell `X_Forwarded_For` from
//! `X-Forwarded-For` (RFC 3875 section 4.1.18), and some fold every other sign too.

use http::{HeaderMap, HeaderName, Method};

/// The families, each whole: a name that ends in `-` stands for itself without the dash and for every name that begins
/// with it, another for itself alone. In alphabetical order. docs/security.md lists them with what they are for.
pub(in crate::edge) const FAMILIES: [&str; 39] = [
    "cf-connecting-",
    "client-cert-",
    "client-ip",
    "fastly-client-",
    "forwarded-",
    "front-end-https",
    "proxy-",
    "remote-",
    "ssl-",
    "true-client-",
    "x-amzn-mtls-",
    "x-amzn-oidc-",
    "x-arr-",
    "x-auth-request-",
    "x-authenticated-",
    "x-azure-clientip",
    "x-azure-socketip",
    "x-client-cert-",
    "x-client-dn",
    "x-client-ip",
    "x-client-verify",
    "x-cluster-client-",
    "x-envoy-",
    "x-forwarded-",
    "x-host",
    "x-http-destinationurl",
    "x-http-host-override",
    "x-original-",
    "x-originating-",
    "x-proxy-",
    "x-proxyuser-",
    "x-quic-router-",
    "x-real-",
    "x-remote-",
    "x-rewrite-",
    "x-scheme",
    "x-ssl-",
    "x-url-scheme",
    "x-webauth-",
];

/// Fields beside those of [`FAMILIES`] that mean nothing good behind a body (RFC 9110 section 6.5.1): they frame a
/// message, route it, say what sends it or how to read it. A receiver that merges trailers into the head would obey.
const NOT_IN_TRAILERS: [&str; 31] = [
    "alt-svc",
    "authorization",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "early-data",
    "expect",
    "host",
    "http2-settings",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "keep-alive",
    "location",
    "max-forwards",
    "pragma",
    "range",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "vary",
    "via",
    "www-authenticate",
];

/// Fields by which a client says that its method is to be read as another. They pass, because clients behind firewalls and
/// forms of HTML need them; but no route's methods are passed by them.
const METHOD_OVERRIDES: [&str; 3] = ["x-http-method", "x-http-method-override", "x-method-override"];

/// What else a server may take for the request's method.
pub(in crate::edge) fn other_methods(headers: &HeaderMap) -> impl Iterator<Item = Method> + use<'_> {
    let said = headers.iter().filter(|(name, _)| METHOD_OVERRIDES.iter().any(|other| is(name.as_str(), other)));
    said.filter_map(|(_, value)| Method::from_bytes(&value.as_bytes().trim_ascii().to_ascii_uppercase()).ok())
}

/// Takes out of a request's head what a client has no say in.
pub(in crate::edge) fn take_from_head(headers: &mut HeaderMap) {
    remove(headers, is_reserved);
}

/// Takes out of trailers, of a request or of a response, what has no place there.
pub(in crate::edge) fn take_from_trailers(trailers: &mut HeaderMap) {
    remove(trailers, |name| is_reserved(name) || NOT_IN_TRAILERS.iter().any(|other| is(name, other)));
}

fn remove(headers: &mut HeaderMap, unwanted: impl Fn(&str) -> bool) {
    // An ordinary request has none of them, and is not to pay for a list.
    let names: Vec<HeaderName> = headers.keys().filter(|name| unwanted(name.as_str())).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

fn is_reserved(name: &str) -> bool {
    // Most names begin otherwise.
    if !matches!(name.bytes().next().map(folded), Some(b'c' | b'f' | b'p' | b'r' | b's' | b't' | b'x')) {
        return false;
    }
    FAMILIES.iter().any(|family| match family.strip_suffix('-') {
        Some(bare) => is(name, bare) || begins(name, family),
        None => is(name, family),
    })
}

fn is(name: &str, other: &str) -> bool {
    name.len() == other.len() && begins(name, other)
}

fn begins(name: &str, with: &str) -> bool {
    name.len() >= with.len() && name.bytes().map(folded).zip(with.bytes()).all(|(octet, wanted)| octet == wanted)
}

/// A field name has no other signs than those that CGI variables cannot have.
fn folded(octet: u8) -> u8 {
    if octet.is_ascii_alphanumeric() { octet.to_ascii_lowercase() } else { b'-' }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(taken: impl Fn(&mut HeaderMap), names: &[&'static str]) -> Vec<String> {
        let named = |name: &&'static str| (HeaderName::from_bytes(name.as_bytes()).unwrap(), "1".parse().unwrap());
        let mut headers: HeaderMap = names.iter().map(named).collect();
        taken(&mut headers);
        let mut left: Vec<_> = headers.keys().map(ToString::to_string).collect();
        left.sort_unstable();
        left
    }

    #[test]
    fn the_first_look_lets_no_family_pass() {
        assert!(FAMILIES.iter().all(|family| is_reserved(family.trim_end_matches('-'))));
    }

    #[test]
    fn no_spelling_of_an_identity_passes() {
        let said = [
            "X-Client-Cert-Subject",
            "X_Client_Cert_Subject",
            "x.client.cert.fingerprint",
            "X-Client-Cert",
            "Client-Cert-Chain",
            "X_Forwarded-For",
            "x_forwarded_for",
            "X-Forwarded-Port",
            "X-Forwarded-Server",
            "X-Forwarded-Prefix",
            "X-Forwarded-Client-Cert",
            "x-forwarded",
            "Forwarded",
            "Forwarded-For",
            "X-Real-IP",
            "X_REAL_IP",
            "X-Original-URL",
            "X-Original-Host",
            "X-Rewrite-URL",
            "True-Client-IP",
            "CF-Connecting-IP",
            "CF-Connecting-IPv6",
            "X-Cluster-Client-IP",
            "X-Envoy-Original-Path",
            "Remote-User",
            "Remote_Addr",
            "SSL_CLIENT_S_DN",
            "X-SSL-Client-Verify",
            "Proxy",
            "Proxy-Authorization",
            "X-Quic-Router-Slot",
        ];
        assert_eq!(left(take_from_head, &said), [""; 0]);
        assert_eq!(left(take_from_trailers, &said), [""; 0]);
    }

    #[test]
    fn what_only_looks_like_one_stays() {
        let said = [
            "x-forwardedfor",
            "xforwarded-for",
            "x-client-certainty",
            "x-client-version",
            "x-real",
            "x-reality",
            "proxying",
            "client-ips",
            "x-request-id",
            "authorization",
            "cookie",
            "host",
        ];
        // `x-real` is the bare name of a family.
        let mut kept: Vec<_> = said.into_iter().filter(|name| *name != "x-real").collect();
        kept.sort_unstable();
        assert_eq!(left(take_from_head, &said), kept);
    }

    #[test]
    fn trailers_neither_frame_nor_route_nor_vouch() {
        let said =
            ["transfer_encoding", "Content-Length", "te", "upgrade", "Host", "Authorization", "set-cookie", "x-sum"];
        assert_eq!(left(take_from_trailers, &said), ["x-sum"]);
        assert_eq!(left(take_from_trailers, &["grpc-status", "grpc-message", "digest"]).len(), 3);
    }

    #[test]
    fn every_family_is_folded_sorted_and_documented() {
        let document = include_str!("../../../../docs/security.md");
        for family in FAMILIES {
            assert!(family.bytes().all(|octet| folded(octet) == octet), "{family}");
            let shown = if family.ends_with('-') { format!("`{family}*`") } else { format!("`{family}`") };
            assert!(document.contains(&shown), "docs/security.md lacks {shown}");
        }
        assert!(FAMILIES.is_sorted());
        let trailers = NOT_IN_TRAILERS.iter().find(|name| !document.contains(&format!("`{name}`")));
        assert_eq!(trailers, None, "docs/security.md lacks it");
    }
}
