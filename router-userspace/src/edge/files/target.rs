//! What a request's path names below the folder.
//!
//! The rule of this file: a path that comes out has only names in it, each of which the client
//! wrote as one segment, decoded once. So none can climb, start over, or mean something else to
//! the kernel than it did here; what the folder's own symbolic links do is for `folder`.

use std::borrow::Cow;

use http::HeaderValue;

use super::fields::printed;

/// A file or a folder, by its path below the folder that is served.
pub(super) struct Target {
    /// Names with single slashes between them.
    path: String,
    /// The client's path ended in a slash, and `path` is that folder's index.
    index: bool,
    query: String,
}

impl Target {
    /// Of a path with or without its query, as it stands in a request. None if it can't name
    /// anything that is served.
    pub(super) fn parse(reference: &str) -> Option<Self> {
        let (path, query) = reference.split_once('?').unwrap_or((reference, ""));
        let (folders, last) = path.rsplit_once('/')?;
        let mut names = folders.split('/');
        if names.next() != Some("") {
            return None;
        }
        let index = last.is_empty();
        let last = if index { INDEX } else { last };
        let mut path = String::with_capacity(reference.len() + INDEX.len());
        for segment in names.chain([last]) {
            let name = name(segment)?;
            if name.starts_with('.') && (name != WELL_KNOWN || !path.is_empty()) {
                return None;
            }
            if !path.is_empty() {
                path.push('/');
            }
            path.push_str(&name);
        }
        Some(Self { path, index, query: query.to_owned() })
    }

    /// Relative to the folder that is served.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// For a folder that was asked for without a slash: its index, and where to ask for that.
    ///
    /// The location is relative (RFC 3986 section 4.2), so that it holds whatever stands in front
    /// of the path that is seen here, and begins with a dot, so that no name in it can be taken
    /// for a scheme or a host.
    pub(super) fn with_slash(&self) -> Option<(String, HeaderValue)> {
        if self.index {
            return None;
        }
        let name = self.path.rsplit_once('/').map_or(self.path.as_str(), |(_, name)| name);
        let mut location = String::from("./");
        encode(name, |octet| octet.is_ascii_alphanumeric() || b"-._~".contains(&octet), &mut location);
        location.push('/');
        if !self.query.is_empty() {
            location.push('?');
            encode(&self.query, |octet| octet.is_ascii_graphic(), &mut location);
        }
        Some((format!("{}/{INDEX}", self.path), printed(location)))
    }

    /// By the name's extension; of a compressed file that of what is in it.
    pub(super) fn content_type(&self) -> HeaderValue {
        match mime_guess::from_path(&self.path).first_raw() {
            Some(text) if text.starts_with("text/") => printed(format!("{text}; charset=utf-8")),
            Some(other) => HeaderValue::from_static(other),
            None => HeaderValue::from_static("application/octet-stream"),
        }
    }
}

/// The name that a segment stands for, decoded once (RFC 3986 section 2.4).
fn name(segment: &str) -> Option<Cow<'_, str>> {
    let name = if segment.contains('%') { Cow::Owned(decode(segment)?) } else { Cow::Borrowed(segment) };
    let is_name = !matches!(&*name, "" | "." | "..") && !name.contains(['/', '\0']);
    is_name.then_some(name)
}

/// None if an escape is not one, or if what they spell is not UTF-8.
fn decode(segment: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(octet) = rest.next() {
        octets.push(if octet == b'%' { digit(rest.next()?)? << 4 | digit(rest.next()?)? } else { octet });
    }
    String::from_utf8(octets).ok()
}

fn digit(octet: u8) -> Option<u8> {
    char::from(octet).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

fn encode(text: &str, plain: impl Fn(u8) -> bool, into: &mut String) {
    for octet in text.bytes() {
        if plain(octet) {
            into.push(octet.into());
        } else {
            into.push_str(&format!("%{octet:02X}"));
        }
    }
}

const INDEX: &str = "index.html";

/// Well-known URIs are at the root (RFC 8615 section 3).
const WELL_KNOWN: &str = ".well-known";
