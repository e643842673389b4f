//! Range requests: RFC 9110 section 14.
//!
//! Several ranges that don't make one are answered with the whole representation, which section
//! 14.2 leaves to the server: nothing here makes multipart/byteranges.

use std::ops::Range;

use http::{HeaderMap, header};

/// The ranges that a client asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ranges(Vec<Spec>);

/// RFC 9110 section 14.1.2
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spec {
    /// `FIRST-` or `FIRST-LAST`, both included.
    From { first: u64, last: u64 },
    /// `-LENGTH`
    Last(u64),
}

/// What is sent of a representation.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Selection {
    /// 200
    Whole,
    /// 206; never empty.
    Part(Range<u64>),
    /// 416
    Unsatisfiable,
}

impl Ranges {
    /// None if there are none, too many, of another unit or malformed: then the field is ignored.
    pub(super) fn asked(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(header::RANGE).iter();
        let value = values.next().filter(|_| values.next().is_none())?;
        let (unit, set) = value.to_str().ok()?.split_once('=')?;
        if !unit.eq_ignore_ascii_case("bytes") {
            return None;
        }
        // Empty elements of a list count for nothing (RFC 9110 section 5.6.1.2).
        let elements = set.split(',').map(|element| element.trim_matches([' ', '\t'])).filter(|spec| !spec.is_empty());
        let specs = elements.take(RANGES_MAX + 1).map(Spec::parse).collect::<Option<Vec<_>>>()?;
        (1..=RANGES_MAX).contains(&specs.len()).then_some(Self(specs))
    }

    /// What they are of a representation of `length` octets.
    pub(super) fn of(&self, length: u64) -> Selection {
        let mut parts: Vec<_> = self.0.iter().filter_map(|spec| spec.within(length)).collect();
        parts.sort_unstable_by_key(|part| part.start);
        let Some(first) = parts.first().cloned() else { return Selection::Unsatisfiable };
        let joined = parts
            .into_iter()
            .try_fold(first, |joined, part| (part.start <= joined.end).then(|| joined.start..joined.end.max(part.end)));
        match joined {
            // The end of an empty file is all of it, and has no first octet to tell of.
            Some(part) if !part.is_empty() => Selection::Part(part),
            _ => Selection::Whole,
        }
    }
}

impl Spec {
    fn parse(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('-')?;
        if first.is_empty() {
            return Some(Self::Last(octets(last)?));
        }
        let first = octets(first)?;
        let last = if last.is_empty() { u64::MAX } else { octets(last)? };
        (first <= last).then_some(Self::From { first, last })
    }

    /// None if nothing of it is within a representation of `length` octets.
    fn within(self, length: u64) -> Option<Range<u64>> {
        match self {
            Self::From { first, last } => (first < length).then(|| first..last.min(length - 1) + 1),
            Self::Last(octets) => (octets > 0).then(|| length.saturating_sub(octets)..length),
        }
    }
}

/// Digits only. What no file can have is as good as the most.
fn octets(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|octet| octet.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

/// More than a client has use for (RFC 9110 section 14.2 warns of many).
const RANGES_MAX: usize = 8;
