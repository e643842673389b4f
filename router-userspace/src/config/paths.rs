//! Paths in the one form in which routes compare them and servers get them (RFC 3986 section 6.2.2), and the other ways
//! in which a server may read them. A path that passes one route and reaches a server as another route's would make
//! both worthless.

use std::borrow::Cow;

/// `router.path_normalization`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathNormalization {
    /// Paths get their normal form; what servers may read as another route's is refused.
    Normalize,
    /// Routes compare, and servers get, what the client said.
    AsIs,
}

/// Why a path has no normal form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// A percent sign without two hexadecimal digits.
    Percent,
    /// `%00`, at which some servers end the path.
    Zero,
    /// More `..` than there are segments before.
    AboveRoot,
}

impl Unfit {
    /// A sentence for the client, or for the operator who wrote it.
    pub fn why(self) -> &'static str {
        match self {
            Self::Percent => "the path has a percent sign without two hexadecimal digits behind it",
            Self::Zero => "the path has an encoded zero octet",
            Self::AboveRoot => "the path leads above the root",
        }
    }
}

/// The normal form of an absolute path: percent-encodings in capitals, none of unreserved characters, no dot segments
/// (RFC 3986 sections 6.2.2.1 to 6.2.2.3). Encoded slashes stay encoded, as they are no slashes.
///
/// # Errors
/// It has none.
pub fn normal(path: &str) -> Result<Cow<'_, str>, Unfit> {
    if !path.contains('%') && !path.contains("/.") {
        return Ok(Cow::Borrowed(path));
    }
    let decoded = decoded(path, |octet| is_unreserved(octet).then_some(octet))?;
    without_dot_segments(&decoded).map(Cow::Owned)
}

/// A path with each run of slashes as one: what routes compare. Servers that keep empty segments apart get them all.
pub fn merged(path: &str) -> Cow<'_, str> {
    if !path.contains("//") {
        return Cow::Borrowed(path);
    }
    let mut merged = String::with_capacity(path.len());
    for character in path.chars() {
        if character != '/' || !merged.ends_with('/') {
            merged.push(character);
        }
    }
    Cow::Owned(merged)
}

/// What a server may make of a path in normal form that decodes more than it should: encoded slashes, backslashes,
/// what was encoded twice, and segments with parameters (`..;x`). None: the same.
///
/// # Errors
/// It would lead above the root, or end early.
pub fn widest(path: &str) -> Result<Option<String>, Unfit> {
    if !path.contains(['%', '\\', ';']) {
        return Ok(None);
    }
    let mut wide = path.to_owned();
    for _ in 0..DECODED_MAX {
        let again = decoded(&twice_encoded(&wide), |octet| match octet {
            b'/' | b'\\' => Some(b'/'),
            b';' => Some(b';'),
            octet => is_unreserved(octet).then_some(octet),
        })?;
        if again == wide {
            break;
        }
        wide = again;
    }
    let segments = wide.split(['/', '\\']).map(|segment| segment.split(';').next().unwrap_or_default());
    let wide = without_dot_segments(&segments.collect::<Vec<_>>().join("/"))?;
    Ok(Some(merged(&wide).into_owned()))
}

/// Whether `path` is `prefix`, or below it: a prefix that does not end in a slash ends where a segment does.
pub fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || prefix.ends_with('/') || rest.starts_with('/'))
}

/// Each percent-encoded octet as `decode` wants it, or encoded in capitals.
fn decoded(path: &str, decode: impl Fn(u8) -> Option<u8>) -> Result<String, Unfit> {
    let mut parts = path.split('%');
    let mut decoded = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let octet = encoded(part).ok_or(Unfit::Percent)?;
        match decode(octet) {
            Some(octet) => decoded.push(char::from(octet)),
            None if octet == 0 => return Err(Unfit::Zero),
            None => decoded.extend(['%', hex(octet >> 4), hex(octet & 15)]),
        }
        decoded.push_str(&part[2..]);
    }
    Ok(decoded)
}

/// The octet that `text` begins with, in two hexadecimal digits.
fn encoded(text: &str) -> Option<u8> {
    let digits = text.get(..2).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
    u8::from_str_radix(digits, 16).ok()
}

fn hex(digit: u8) -> char {
    char::from_digit(digit.into(), 16).unwrap_or_default().to_ascii_uppercase()
}

/// An encoded percent sign that begins another encoding, decoded.
fn twice_encoded(path: &str) -> String {
    let mut parts = path.split("%25");
    let mut once = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        once.push_str(if encoded(part).is_some() { "%" } else { "%25" });
        once.push_str(part);
    }
    once
}

/// RFC 3986 section 2.3
fn is_unreserved(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_' | b'~')
}

/// RFC 3986 section 5.2.4, but for what leads above the root, which no client that means well sends.
fn without_dot_segments(path: &str) -> Result<String, Unfit> {
    let mut kept = Vec::new();
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_dots = matches!(segment, "." | "..");
        if segment == ".." {
            kept.pop().ok_or(Unfit::AboveRoot)?;
        }
        if !is_dots {
            kept.push(segment);
        } else if segments.peek().is_none() {
            // What ends in a dot segment ends in a slash.
            kept.push("");
        }
    }
    Ok(format!("/{}", kept.join("/")))
}

/// No server is known to decode more often.
const DECODED_MAX: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_has_one_normal_form() {
        for (path, expected) in [
            ("/", Ok("/")),
            ("/a/b", Ok("/a/b")),
            ("/x/../admin/", Ok("/admin/")),
            ("/./admin/", Ok("/admin/")),
            ("/admin/.", Ok("/admin/")),
            ("/admin/x/..", Ok("/admin/")),
            ("/%61dmin/", Ok("/admin/")),
            ("/x/%2e%2E/admin/", Ok("/admin/")),
            ("/x/.%2e/admin/", Ok("/admin/")),
            ("/x//../admin/", Ok("/x/admin/")),
            ("//admin/", Ok("//admin/")),
            ("/%7euser/%c3%a9", Ok("/~user/%C3%A9")),
            ("/a%2fb%5cc%20", Ok("/a%2Fb%5Cc%20")),
            ("/...", Ok("/...")),
            ("/.well-known/x", Ok("/.well-known/x")),
            ("/a..", Ok("/a..")),
            ("/%252e%252e/", Ok("/%252e%252e/")),
            ("/..", Err(Unfit::AboveRoot)),
            ("/../admin/", Err(Unfit::AboveRoot)),
            ("/x/../../admin/", Err(Unfit::AboveRoot)),
            ("/x%00", Err(Unfit::Zero)),
            ("/100%", Err(Unfit::Percent)),
            ("/%u002e", Err(Unfit::Percent)),
            ("/%+1", Err(Unfit::Percent)),
            ("/%\u{e9}", Err(Unfit::Percent)),
        ] {
            let normal = normal(path);
            assert_eq!(normal.as_deref(), expected.as_ref().copied(), "{path}");
            if let Ok(once) = normal {
                assert_eq!(super::normal(&once).as_deref(), Ok(&*once), "{path}: normal already");
            }
        }
    }

    #[test]
    fn servers_may_read_more_into_a_path() {
        for (path, expected) in [
            ("/a/b", Ok(None)),
            ("/a%20b", Ok(Some("/a%20b"))),
            ("/a%2Fb", Ok(Some("/a/b"))),
            ("/x%2F..%2Fadmin/", Ok(Some("/admin/"))),
            ("/x%5C..%5Cadmin/", Ok(Some("/admin/"))),
            ("/x\\..\\admin/", Ok(Some("/admin/"))),
            ("/x/..;/admin/", Ok(Some("/admin/"))),
            ("/x/..%3Ba=b/admin/", Ok(Some("/admin/"))),
            ("/admin;x=y/z", Ok(Some("/admin/z"))),
            ("/x/%252E%252E/admin/", Ok(Some("/admin/"))),
            ("/x/%25252E./admin/", Ok(Some("/admin/"))),
            ("/%2Fadmin/", Ok(Some("/admin/"))),
            ("/100%25", Ok(Some("/100%25"))),
            ("/100%25/x", Ok(Some("/100%25/x"))),
            ("/..%2F", Err(Unfit::AboveRoot)),
            ("/..;/admin/", Err(Unfit::AboveRoot)),
            ("/%2500", Err(Unfit::Zero)),
        ] {
            let wide = widest(path);
            assert_eq!(wide.as_ref().map(Option::as_deref).map_err(|why| *why), expected, "{path}");
        }
    }

    #[test]
    fn a_prefix_ends_where_a_segment_does() {
        for (path, prefix, expected) in [
            ("/api", "/api", true),
            ("/api/", "/api", true),
            ("/api/x", "/api", true),
            ("/apis", "/api", false),
            ("/api", "/api/", false),
            ("/api/x", "/api/", true),
            ("/", "/", true),
            ("/x", "/", true),
        ] {
            assert_eq!(is_below(path, prefix), expected, "{path} {prefix}");
        }
        assert_eq!(merged("//a///b/"), "/a/b/");
    }
}
