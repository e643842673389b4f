//! The small languages inside values: durations, host names, servers' URLs. Each reader gives the
//! value or one sentence that says what is wrong with it.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    path::PathBuf,
    time::Duration,
};

use super::{Authority, Host, ServerAddress};

/// Longest duration that any key takes.
pub(super) const DURATION_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// `sun_path` of a Unix socket's address, less the terminating zero.
pub(super) const SOCKET_PATH_MAX: usize = 107;

/// Reads a duration: `"500ms"`, `"60s"`, `"2m"`, `"1h"`; above 0, at most 24 hours.
///
/// # Errors
/// What is wrong with it, in a sentence.
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => 0,
    };
    if digits == 0 || milliseconds == 0 {
        return Err(format!("\"{text}\" is not a duration: write it as \"500ms\", \"30s\", \"2m\" or \"1h\""));
    }
    let duration = number.parse::<u64>().ok().and_then(|n| n.checked_mul(milliseconds)).map(Duration::from_millis);
    match duration {
        Some(duration) if !duration.is_zero() && duration <= DURATION_MAX => Ok(duration),
        _ => Err(format!("\"{text}\" is out of range: above 0, at most 24h")),
    }
}

/// Reads a size: `"512 KiB"`, `"64 MiB"`, `"1 GiB"`; in octets.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let octets = match unit.trim_start() {
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => 0,
    };
    match number.parse::<u64>().ok().filter(|_| octets > 0) {
        Some(number) => number.checked_mul(octets).ok_or_else(|| format!("\"{text}\" is out of range")),
        None => Err(format!("\"{text}\" is not a size: write it as \"512 KiB\", \"64 MiB\" or \"1 GiB\"")),
    }
}

/// An exact host name in lower case, without port; a trailing dot is dropped. IP addresses as in
/// a URL: `192.0.2.1`, `[2001:db8::1]`.
pub(super) fn host(text: &str) -> Result<String, String> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    if let Some(inner) = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let address = inner.parse::<Ipv6Addr>().map_err(|_| format!("\"{text}\" is not an IPv6 address"))?;
        return Ok(format!("[{address}]"));
    }
    if name.contains('*') {
        return Err(format!("\"{text}\": a wildcard stands for whole labels in front: *.example.com"));
    }
    if !name.is_ascii() {
        return Err(format!("\"{text}\" is not ASCII: write the name as it goes over the wire, xn--..."));
    }
    if name.contains([':', '/']) {
        return Err(format!("\"{text}\" is not a host name: write it without scheme, port and path"));
    }
    let label_ok = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_')
    };
    // RFC 1035 section 2.3.4: labels of 63 octets, names of 255 on the wire, 253 as text.
    if name.len() > 253 || !name.split('.').all(label_ok) {
        return Err(format!("\"{text}\" is not a host name"));
    }
    Ok(name)
}

/// Whether a host as [`host`] returns it is an IP address, which SNI can't carry (RFC 6066 section 3).
pub(super) fn is_address(host: &str) -> bool {
    host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok()
}

/// The URL of a server: `http://HOST[:PORT]`, `https://HOST[:PORT]`, `h2c://HOST[:PORT]`,
/// `tcp://HOST:PORT` or `unix:PATH`.
pub(super) fn server(text: &str) -> Result<ServerAddress, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return socket(text, path.strip_prefix("//").unwrap_or(path)).map(ServerAddress::Unix);
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(format!("\"{text}\" has no scheme: write {FORMS}"));
    };
    let without_slash = rest.strip_suffix('/').unwrap_or(rest);
    match scheme {
        "http" => authority(text, without_slash, Some(80)).map(ServerAddress::Http),
        "https" => authority(text, without_slash, Some(443)).map(ServerAddress::Https),
        "h2c" => authority(text, without_slash, Some(80)).map(ServerAddress::H2c),
        "tcp" => authority(text, rest, None).map(ServerAddress::Tcp),
        _ => Err(format!("\"{text}\": unknown scheme {scheme}://: write {FORMS}")),
    }
}

/// The forms of [`server`], and of what answers in place of servers.
const FORMS: &str = "http://HOST:PORT, https://HOST:PORT, h2c://HOST:PORT, tcp://HOST:PORT, unix:PATH, files:DIR or \
                     respond:STATUS";

/// The path of a Unix socket, in the URL `text`.
fn socket(text: &str, path: &str) -> Result<PathBuf, String> {
    if !path.starts_with('/') {
        return Err(format!("\"{text}\": a socket's path begins with a slash: unix:/run/server.sock"));
    }
    if path.len() > SOCKET_PATH_MAX {
        return Err(format!("\"{text}\": a socket's path has at most {SOCKET_PATH_MAX} octets"));
    }
    Ok(PathBuf::from(path))
}

/// A name as [`host`] reads it, or `*.` and a name below which all are meant.
pub(super) fn host_pattern(text: &str) -> Result<Host, String> {
    match text.strip_prefix("*.") {
        Some(parent) if is_address(parent) => Err(format!("\"{text}\": there is nothing below an address")),
        Some(parent) => host(parent).map(Host::Below),
        None => host(text).map(Host::Exact),
    }
}

/// Host and port of the URL `text`, which are `rest`.
fn authority(text: &str, rest: &str, default_port: Option<u16>) -> Result<Authority, String> {
    if rest.contains(['/', '?', '#']) {
        return Err(format!("\"{text}\" has a path: a server is host and port alone, requests keep their own path"));
    }
    if rest.contains('@') {
        return Err(format!("\"{text}\" holds credentials, which are not passed on: remove them"));
    }
    let (name, port) = match rest.rsplit_once(':') {
        // The last colon of `[::1]` is the address's own.
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (rest, None),
    };
    let port = match port {
        Some(port) => port.parse::<u16>().ok().filter(|port| *port != 0),
        None => default_port,
    };
    let port = port.ok_or_else(|| format!("\"{text}\" needs a port, 1 to 65535"))?;
    let host = host(name).map_err(|_| format!("\"{text}\": \"{name}\" is not a host name or address"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok(Authority { host, port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, expected) in [
            ("1ms", Duration::from_millis(1)),
            ("500ms", Duration::from_millis(500)),
            ("60s", Duration::from_secs(60)),
            ("2m", Duration::from_secs(120)),
            ("24h", DURATION_MAX),
        ] {
            assert_eq!(duration(text), Ok(expected), "{text}");
        }
        for text in ["", "s", "60", "60 s", "-1s", "1.5s", "1d", "1S", "s60"] {
            assert!(duration(text).unwrap_err().contains("is not a duration"), "{text}");
        }
        for text in ["0s", "0ms", "25h", "99999999999999999999s", "18446744073709551615h"] {
            assert!(duration(text).unwrap_err().contains("out of range"), "{text}");
        }
    }

    #[test]
    fn hosts() {
        assert_eq!(host("Example.COM."), Ok("example.com".to_owned()));
        assert_eq!(host("192.0.2.1"), Ok("192.0.2.1".to_owned()));
        assert_eq!(host("[2001:DB8::0:1]"), Ok("[2001:db8::1]".to_owned()));
        for text in
            ["", ".", "a..b", "*.example.com", "example.com:443", "https://a", "a/b", "bücher.example", "a b", "[x]"]
        {
            assert!(host(text).is_err(), "{text}");
        }
        assert!(host(&"a".repeat(64)).is_err());
        assert_eq!(host_pattern("*.Example.com"), Ok(Host::Below("example.com".to_owned())));
        assert_eq!(host_pattern("example.com"), Ok(Host::Exact("example.com".to_owned())));
        for text in ["*", "*.", "*.192.0.2.1", "*.[::1]", "a.*.b", "*a.b", "*.*.b"] {
            assert!(host_pattern(text).is_err(), "{text}");
        }
        assert!(is_address("192.0.2.1") && is_address("[::1]") && !is_address("example.com"));
    }

    #[test]
    fn servers() {
        let authority = |host: &str, port| Authority { host: host.to_owned(), port };
        assert_eq!(server("http://127.0.0.1:8080"), Ok(ServerAddress::Http(authority("127.0.0.1", 8080))));
        assert_eq!(server("http://Origin.example/"), Ok(ServerAddress::Http(authority("origin.example", 80))));
        assert_eq!(server("http://[::1]"), Ok(ServerAddress::Http(authority("::1", 80))));
        assert_eq!(server("tcp://[::1]:7"), Ok(ServerAddress::Tcp(authority("::1", 7))));
        assert_eq!(server("https://a"), Ok(ServerAddress::Https(authority("a", 443))));
        assert_eq!(server("h2c://a:8080/"), Ok(ServerAddress::H2c(authority("a", 8080))));
        assert_eq!(server("h2c://a"), Ok(ServerAddress::H2c(authority("a", 80))));
        assert_eq!(server("unix:/run/a"), Ok(ServerAddress::Unix("/run/a".into())));
        assert_eq!(server("unix:///run/a"), Ok(ServerAddress::Unix("/run/a".into())));
        for (text, why) in [
            ("127.0.0.1:80", "no scheme"),
            ("tcp://a", "needs a port"),
            ("tcp://a:0", "needs a port"),
            ("http://a:65536", "needs a port"),
            ("http://a/b", "has a path"),
            ("http://a?b", "has a path"),
            ("http://user@a", "credentials"),
            ("http://:80", "not a host name"),
            ("http://", "not a host name"),
            ("https://a/b", "has a path"),
            ("unix:run/a", "begins with a slash"),
            ("unix://run/a", "begins with a slash"),
            ("unix:", "begins with a slash"),
            (&format!("unix:/{}", "a".repeat(SOCKET_PATH_MAX)), "at most 107 octets"),
            ("ftp://a", "unknown scheme"),
        ] {
            let error = server(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
