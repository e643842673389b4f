//! `redirect` of a route: a URL whatever the request's parts are, and one that stays where it points.

use http::{StatusCode, Uri};

use crate::config::{
    Redirect,
    error::Findings,
    keys::{ROUTE, RawRoute},
    raw::At,
};

const EXAMPLE: &str = "redirect = \"https://{host}{path}{query}\"";

pub(super) fn check(
    At { place, value: to }: &At<String>,
    raw: &RawRoute,
    findings: &mut Findings<'_>,
) -> Option<Redirect> {
    let status = StatusCode::from_u16(ROUTE.redirect_status.read(&raw.redirect_status, findings)).ok();
    if let Err(why) = check_url(to) {
        findings.problem(*place, ROUTE.redirect.name(), format_args!("\"{to}\" {why}"));
        findings.hint(EXAMPLE);
        return None;
    }
    Some(Redirect { to: to.clone(), status: status? })
}

/// Tries it with stand-ins for a request's parts.
fn check_url(to: &str) -> Result<(), &'static str> {
    let sample = to.replace("{host}", "example.com").replace("{path}", "/path").replace("{query}", "?query");
    if sample.contains(['{', '}']) {
        return Err("has braces around something else than {host}, {path} and {query}");
    }
    // A request for //other.example would be sent there: two slashes begin a host (RFC 3986 section 4.2).
    if to.contains("/{path}") {
        return Err("has a slash too many: {path} begins with its own");
    }
    let absolute = to.starts_with("https://") || to.starts_with("http://");
    if to.starts_with("//") || !absolute && !to.starts_with('/') {
        return Err("does not begin with https://, http:// or one slash");
    }
    let url = sample.parse::<Uri>().map_err(|_| "is no URL")?;
    if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("holds credentials");
    }
    // RFC 3986 section 2.1.
    if sample.is_ascii() { Ok(()) } else { Err("is not ASCII: write other letters as %..") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_stay_urls_whatever_is_asked() {
        for to in [
            "https://{host}{path}{query}",
            "http://{host}:8080{path}",
            "https://new.{host}/old{path}{query}",
            "https://example.com",
            "https://[2001:db8::1]{path}",
            "/new{path}",
            "/{host}{path}",
            "/search{query}",
            "/page#part",
        ] {
            assert_eq!(check_url(to), Ok(()), "{to}");
        }
        for (to, why) in [
            ("https://{hots}/", "braces"),
            ("https://{host", "braces"),
            ("{path}", "does not begin with"),
            ("//{host}{path}", "does not begin with"),
            ("example.com", "does not begin with"),
            ("ftp://example.com/", "does not begin with"),
            ("javascript:alert(1)", "does not begin with"),
            ("", "does not begin with"),
            ("/{path}", "a slash too many"),
            ("https://{host}/{path}", "a slash too many"),
            ("https://{path}", "a slash too many"),
            ("https://{query}", "is no URL"),
            ("https://a b/", "is no URL"),
            ("/a\n", "is no URL"),
            ("https://user:word@{host}/", "credentials"),
            ("/bücher", "ASCII"),
        ] {
            let said = check_url(to).expect_err(to);
            assert!(said.contains(why), "{to}: {said}");
        }
    }
}
