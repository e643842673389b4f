//! Conditional requests: RFC 9110 section 13.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// What tells one content of a file from others.
pub(super) struct Validators {
    /// Strong.
    pub(super) etag: HeaderValue,
    /// Not later than `now`; only its whole seconds are compared.
    pub(super) modified: Option<SystemTime>,
    pub(super) now: SystemTime,
}

/// What the client wants to be true.
pub(super) struct Preconditions {
    if_match: Vec<HeaderValue>,
    if_unmodified_since: Option<SystemTime>,
    if_none_match: Vec<HeaderValue>,
    if_modified_since: Option<SystemTime>,
    if_range: Vec<HeaderValue>,
}

/// Whether it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Met,
    /// 304
    NotModified,
    /// 412
    Failed,
}

impl Preconditions {
    pub(super) fn new(headers: &HeaderMap) -> Self {
        Self {
            if_match: all(headers, header::IF_MATCH),
            if_unmodified_since: date(headers, header::IF_UNMODIFIED_SINCE),
            if_none_match: all(headers, header::IF_NONE_MATCH),
            if_modified_since: date(headers, header::IF_MODIFIED_SINCE),
            if_range: all(headers, header::IF_RANGE),
        }
    }

    /// Of GET and HEAD, in the order of RFC 9110 section 13.2.2: a date counts only where no
    /// entity tag is given.
    pub(super) fn evaluate(&self, current: &Validators) -> Outcome {
        let is_later_than = |date: SystemTime| current.modified.map(|modified| seconds(modified) > seconds(date));
        let changed = match &*self.if_match {
            [] => self.if_unmodified_since.and_then(is_later_than) == Some(true),
            tags => !names(tags, |tag| !tag.weak && tag.opaque == current.etag.as_bytes()),
        };
        if changed {
            return Outcome::Failed;
        }
        let known = match &*self.if_none_match {
            [] => self.if_modified_since.and_then(is_later_than) == Some(false),
            tags => names(tags, |tag| tag.opaque == current.etag.as_bytes()),
        };
        if known { Outcome::NotModified } else { Outcome::Met }
    }

    /// Whether a range of this very content is wanted (RFC 9110 section 13.1.5).
    ///
    /// A date is as good as an entity tag only when its second is long over (section 8.8.2.2):
    /// within it the file may change once more.
    pub(super) fn range_applies(&self, current: &Validators) -> bool {
        match &*self.if_range {
            [] => true,
            [value] if is_entity_tag(value) => {
                names(&self.if_range, |tag| !tag.weak && tag.opaque == current.etag.as_bytes())
            }
            [value] => current.modified.is_some_and(|modified| {
                let is_over = current.now.duration_since(modified).is_ok_and(|age| age >= STRONG_AFTER);
                is_over && parsed(value).is_some_and(|date| seconds(date) == seconds(modified))
            }),
            _ => false,
        }
    }
}

fn all(headers: &HeaderMap, name: HeaderName) -> Vec<HeaderValue> {
    headers.get_all(name).iter().cloned().collect()
}

/// None if there isn't exactly one: then the condition is ignored (RFC 9110 sections 13.1.3 and
/// 13.1.4).
fn date(headers: &HeaderMap, name: HeaderName) -> Option<SystemTime> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none()).and_then(parsed)
}

fn parsed(value: &HeaderValue) -> Option<SystemTime> {
    httpdate::parse_http_date(value.to_str().ok()?).ok()
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Whether the lists have a tag of that kind, or are `*`, which means any.
fn names(lists: &[HeaderValue], wanted: impl Fn(EntityTag<'_>) -> bool) -> bool {
    lists.iter().any(|list| list == "*" || EntityTags(list.as_bytes()).any(&wanted))
}

fn is_entity_tag(value: &HeaderValue) -> bool {
    EntityTags(value.as_bytes()).next().is_some()
}

/// RFC 9110 section 8.8.3
struct EntityTag<'a> {
    weak: bool,
    /// With its quotes.
    opaque: &'a [u8],
}

/// The tags of a list, up to the first thing that isn't one. Commas may be part of a tag.
struct EntityTags<'a>(&'a [u8]);

impl<'a> Iterator for EntityTags<'a> {
    type Item = EntityTag<'a>;

    fn next(&mut self) -> Option<EntityTag<'a>> {
        let start = self.0.iter().position(|octet| !b" \t,".contains(octet))?;
        let rest = &self.0[start..];
        let (weak, rest) = rest.strip_prefix(b"W/").map_or((false, rest), |rest| (true, rest));
        let inside = rest.strip_prefix(b"\"")?;
        let end = inside.iter().position(|&octet| octet == b'"')? + 2;
        let (opaque, rest) = rest.split_at(end);
        self.0 = rest;
        Some(EntityTag { weak, opaque })
    }
}

/// Clocks differ, as between this machine and a file server.
const STRONG_AFTER: Duration = Duration::from_secs(60);
