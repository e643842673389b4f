//! The trace that a request belongs to: W3C Trace Context (<https://www.w3.org/TR/trace-context/>),
//! taken over from the client, or begun here, and handed on to the upstream.
//!
//! A trace that begins here is not marked as sampled: by "Sampled flag" there, that is the default of
//! the one that begins it, and no spans are recorded here that the mark could announce.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};

/// A request's place in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace: TraceId,
    span: SpanId,
    sampled: bool,
    /// What the client said in `tracestate` may be handed on.
    state_is_kept: bool,
}

/// A trace's ID, 16 octets, not all zero; written in hex.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId([u8; 16]);

/// A span's ID, 8 octets, not all zero; written in hex.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId([u8; 8]);

impl TraceContext {
    /// That of a request with these fields; the span is a new one, ours.
    ///
    /// A request without one valid `traceparent` begins a trace.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut said = headers.get_all(TRACEPARENT).iter();
        let parent = match (said.next(), said.next()) {
            (Some(only), None) => Parent::read(only.as_bytes()),
            _ => None,
        };
        let span = SpanId(rand::random::<u64>().max(1).to_be_bytes());
        match parent {
            Some(Parent { trace, sampled }) => Self { trace, span, sampled, state_is_kept: is_within_limits(headers) },
            None => {
                let trace = TraceId(rand::random::<u128>().max(1).to_be_bytes());
                Self { trace, span, sampled: false, state_is_kept: false }
            }
        }
    }

    /// Writes it into a request on its way to the upstream, whose parent is then our span.
    /// `tracestate` stays as it is if `traceparent` was valid and it is not too large, and goes
    /// otherwise.
    pub fn apply(&self, headers: &mut HeaderMap) {
        if let Ok(value) = HeaderValue::from_bytes(&self.traceparent()) {
            headers.insert(TRACEPARENT, value);
        }
        if !self.state_is_kept {
            headers.remove(TRACESTATE);
        }
    }

    /// The trace's ID.
    pub fn trace_id(&self) -> TraceId {
        self.trace
    }

    /// Our span's ID, which the upstream is told as its parent's.
    pub fn span_id(&self) -> SpanId {
        self.span
    }

    /// Whether the caller may have recorded it.
    pub fn is_sampled(&self) -> bool {
        self.sampled
    }

    /// In version 00, the one that is known here.
    fn traceparent(&self) -> [u8; LENGTH] {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        write_hex(&self.trace.0, &mut text[3..35]);
        write_hex(&self.span.0, &mut text[36..52]);
        // "Other Flags": those that are not known are not set.
        text[54] = if self.sampled { b'1' } else { b'0' };
        text
    }
}

/// What is taken over from a valid `traceparent`.
struct Parent {
    trace: TraceId,
    sampled: bool,
}

impl Parent {
    /// Reads a field's value ("traceparent Header Field Values", "Versioning of traceparent").
    fn read(value: &[u8]) -> Option<Self> {
        let value = value.trim_ascii();
        let (version, rest) = value.split_first_chunk::<2>()?;
        let version = octets::<1>(version)?[0];
        // Later versions may go on after the flags, with a hyphen.
        let is_whole = match version {
            0 => value.len() == LENGTH,
            0xff => false,
            _ => value.len() == LENGTH || value.get(LENGTH) == Some(&b'-'),
        };
        let [b'-', rest @ ..] = rest else { return None };
        let (trace, rest) = rest.split_first_chunk::<32>()?;
        let [b'-', rest @ ..] = rest else { return None };
        let (span, rest) = rest.split_first_chunk::<16>()?;
        let [b'-', rest @ ..] = rest else { return None };
        let flags = octets::<1>(rest.first_chunk::<2>()?)?[0];
        let (trace, span) = (octets::<16>(trace)?, octets::<8>(span)?);
        let is_valid = is_whole && trace != [0; 16] && span != [0; 8];
        is_valid.then_some(Self { trace: TraceId(trace), sampled: flags & SAMPLED != 0 })
    }
}

/// Whether `tracestate` may be handed on: no more members than a list may have, and no more octets
/// than every hop has to hand on ("tracestate Limits").
fn is_within_limits(headers: &HeaderMap) -> bool {
    let (mut members, mut length) = (0, 0);
    for value in headers.get_all(TRACESTATE) {
        members += value.as_bytes().split(|&octet| octet == b',').count();
        // Several fields are one list, with a comma between them.
        length += value.len() + usize::from(length > 0);
    }
    members <= MEMBERS_MAX && length <= STATE_MAX
}

/// Digits in lower case.
fn octets<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut octets = [0; N];
    for (octet, pair) in octets.iter_mut().zip(digits.chunks_exact(2)) {
        *octet = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(octets)
}

fn write_hex(octets: &[u8], text: &mut [u8]) {
    for (octet, pair) in octets.iter().zip(text.chunks_exact_mut(2)) {
        pair[0] = DIGITS[usize::from(octet >> 4)];
        pair[1] = DIGITS[usize::from(octet & 0xf)];
    }
}

fn show<const N: usize>(octets: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut text = [0; N];
    write_hex(octets, &mut text);
    f.write_str(str::from_utf8(&text).map_err(|_| fmt::Error)?)
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show::<32>(&self.0, f)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show::<16>(&self.0, f)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// Octets of a `traceparent` in version 00.
const LENGTH: usize = 55;
const SAMPLED: u8 = 1;
const MEMBERS_MAX: usize = 32;
const STATE_MAX: usize = 512;
const DIGITS: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "12345678901234567890123456789012";
    const SPAN: &str = "1234567890123456";

    fn fields(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    /// What the upstream is told.
    fn handed_on(pairs: &[(&'static str, &str)]) -> (String, Vec<String>) {
        let mut headers = fields(pairs);
        TraceContext::of(&headers).apply(&mut headers);
        let all = |name| headers.get_all(name).iter().map(|v| v.to_str().unwrap().to_owned()).collect::<Vec<_>>();
        let [parent] = &all(TRACEPARENT)[..] else { panic!("not one traceparent") };
        (parent.clone(), all(TRACESTATE))
    }

    /// The trace and flags that the upstream is told, if the trace is the client's.
    fn kept(traceparent: &str) -> Option<String> {
        let (parent, _) = handed_on(&[("traceparent", traceparent)]);
        let parts: Vec<&str> = parent.split('-').collect();
        let [version, trace, span, flags] = parts[..] else { panic!("{parent}") };
        assert_eq!((version, trace.len(), span.len(), flags.len()), ("00", 32, 16, 2), "{parent}");
        assert!(span != SPAN && span != "0000000000000000", "{parent}");
        if trace != TRACE {
            assert_eq!(flags, "00", "a trace that begins here is not sampled");
            assert_ne!(trace, "00000000000000000000000000000000");
            return None;
        }
        Some(flags.to_owned())
    }

    /// What W3C Trace Context, sections 3.2 and 4.3, takes and refuses.
    #[test]
    fn a_valid_parent_is_taken_over_and_no_other() {
        for (valid, flags) in [
            ("00-12345678901234567890123456789012-1234567890123456-00", "00"),
            ("00-12345678901234567890123456789012-1234567890123456-01", "01"),
            // Other flags are not known.
            ("00-12345678901234567890123456789012-1234567890123456-ff", "01"),
            ("00-12345678901234567890123456789012-1234567890123456-fe", "00"),
            // Blanks around a field's value are none of it.
            ("\t 00-12345678901234567890123456789012-1234567890123456-01 \t", "01"),
            // Later versions.
            ("cc-12345678901234567890123456789012-1234567890123456-01", "01"),
            ("cc-12345678901234567890123456789012-1234567890123456-01-what-the-future-will-be-like", "01"),
            ("cc-12345678901234567890123456789012-1234567890123456-01-", "01"),
        ] {
            assert_eq!(kept(valid).as_deref(), Some(flags), "{valid}");
        }
        for invalid in [
            "",
            "00",
            "ff-12345678901234567890123456789012-1234567890123456-01",
            ".0-12345678901234567890123456789012-1234567890123456-01",
            "0.-12345678901234567890123456789012-1234567890123456-01",
            "000-12345678901234567890123456789012-1234567890123456-01",
            "0000-12345678901234567890123456789012-1234567890123456-01",
            "0-12345678901234567890123456789012-1234567890123456-01",
            "00-12345678901234567890123456789012-1234567890123456-01.",
            "00-12345678901234567890123456789012-1234567890123456-01-what-the-future-will-be-like",
            "cc-12345678901234567890123456789012-1234567890123456-01.what-the-future-will-not-be-like",
            "cc-12345678901234567890123456789012-1234567890123456-0",
            "00-00000000000000000000000000000000-1234567890123456-01",
            "00-.2345678901234567890123456789012-1234567890123456-01",
            "00-1234567890123456789012345678901.-1234567890123456-01",
            "00-123456789012345678901234567890123-1234567890123456-01",
            "00-1234567890123456789012345678901-1234567890123456-01",
            "00-12345678901234567890123456789012-0000000000000000-01",
            "00-12345678901234567890123456789012-.234567890123456-01",
            "00-12345678901234567890123456789012-123456789012345.-01",
            "00-12345678901234567890123456789012-12345678901234567-01",
            "00-12345678901234567890123456789012-123456789012345-01",
            "00-12345678901234567890123456789012-1234567890123456-.0",
            "00-12345678901234567890123456789012-1234567890123456-0.",
            "00-12345678901234567890123456789012-1234567890123456-001",
            "00-12345678901234567890123456789012-1234567890123456-1",
            "00-12345678901234567890123456789012-1234567890123456-0A",
            "00-12345678901234567890123456789012-1234567890ABCDEF-01",
            "00_12345678901234567890123456789012_1234567890123456_01",
        ] {
            assert_eq!(kept(invalid), None, "{invalid}");
        }
    }

    #[test]
    fn upper_case_is_not_hex_here() {
        let lower = "00-abcdefabcdefabcdefabcdefabcdefab-abcdefabcdefabcd-01";
        assert!(handed_on(&[("traceparent", lower)]).0.starts_with("00-abcdefabcdefabcdefabcdefabcdefab-"));
        let upper = lower.to_uppercase();
        assert!(!handed_on(&[("traceparent", &upper)]).0.contains("abcdefabcdefabcdefabcdefabcdefab"));
    }

    #[test]
    fn two_parents_are_none() {
        let parent = format!("00-{TRACE}-{SPAN}-01");
        let (told, state) = handed_on(&[("traceparent", &parent), ("traceparent", &parent), ("tracestate", "a=1")]);
        assert!(!told.contains(TRACE), "{told}");
        assert!(state.is_empty());
    }

    #[test]
    fn state_goes_with_its_parent_untouched_and_goes_without() {
        let parent = format!("00-{TRACE}-{SPAN}-00");
        let with = |states: &[&str]| {
            let state = states.iter().map(|state| ("tracestate", *state));
            handed_on(&[("traceparent", &*parent)].into_iter().chain(state).collect::<Vec<_>>()).1
        };
        assert_eq!(with(&["foo=1,bar=2"]), ["foo=1,bar=2"]);
        assert_eq!(with(&["foo=1 , \t bar=2", "rojo=1"]), ["foo=1 , \t bar=2", "rojo=1"]);
        assert_eq!(with(&[]), [""; 0]);
        assert_eq!(handed_on(&[("tracestate", "foo=1")]).1, [""; 0]);
        assert_eq!(handed_on(&[("traceparent", "00-0-0-00"), ("tracestate", "foo=1")]).1, [""; 0]);

        let members = |count: usize| (0..count).map(|n| format!("bar{n:02}=1")).collect::<Vec<_>>().join(",");
        assert_eq!(with(&[&members(32)]), [members(32)]);
        assert_eq!(with(&[&members(33)]), [""; 0]);
        assert_eq!(with(&[&members(16), &members(17)]), [""; 0]);
        let long = |length: usize| format!("foo={}", "x".repeat(length - 4));
        assert_eq!(with(&[&long(512)]), [long(512)]);
        assert_eq!(with(&[&long(513)]), [""; 0]);
        assert_eq!(with(&[&long(255), &long(256)]).len(), 2);
        assert_eq!(with(&[&long(256), &long(256)]), [""; 0]);
    }

    #[test]
    fn the_upstreams_parent_is_our_span_and_each_request_has_its_own() {
        let headers = fields(&[("traceparent", &format!("00-{TRACE}-{SPAN}-01"))]);
        let (one, other) = (TraceContext::of(&headers), TraceContext::of(&headers));
        assert_eq!((one.trace_id().to_string(), one.trace_id()), (TRACE.to_owned(), other.trace_id()));
        assert_ne!(one.span_id(), other.span_id());
        assert!(one.is_sampled());
        let mut told = headers;
        one.apply(&mut told);
        assert_eq!(told[TRACEPARENT], format!("00-{TRACE}-{}-01", one.span_id()));
        let begun = TraceContext::of(&HeaderMap::new());
        assert_ne!(begun.trace_id(), TraceContext::of(&HeaderMap::new()).trace_id());
    }
}
