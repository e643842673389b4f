//! `traceparent` and `tracestate` of clients: servers get a valid `traceparent`, with the client's trace ID if the client's
//! was valid.
//!
//! `cargo +nightly fuzz run traceparent` (from this folder's parent).

#![no_main]

use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;

#[path = "../../router-userspace/src/telemetry/trace.rs"]
#[expect(dead_code, reason = "the source file is the router's, which calls the rest of it")]
mod trace;

use trace::TraceContext;

/// By the grammar of version 00 (W3C Trace Context, section 3.2.2), to the letter.
fn is_version_00(value: &str) -> bool {
    let parts: Vec<_> = value.split('-').collect();
    let [version, trace, span, flags] = parts[..] else { return false };
    let is_hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|octet| matches!(octet, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_some = |part: &str| part.bytes().any(|octet| octet != b'0');
    version == "00" && is_hex(trace, 32) && is_hex(span, 16) && is_hex(flags, 2) && is_some(trace) && is_some(span)
}

fuzz_target!(|input: &[u8]| {
    let mut lines = input.split(|&octet| octet == b'\n');
    let mut headers = HeaderMap::new();
    let parent = lines.next().unwrap_or_default();
    let Ok(value) = HeaderValue::from_bytes(parent) else { return };
    headers.append("traceparent", value);
    for state in lines.filter_map(|line| HeaderValue::from_bytes(line).ok()).take(40) {
        headers.append("tracestate", state);
    }
    let context = TraceContext::of(&headers);
    let said = str::from_utf8(parent).unwrap_or_default();
    if is_version_00(said) {
        assert_eq!(context.trace_id().to_string(), said[3..35]);
        assert_ne!(context.span_id().to_string(), said[36..52], "the span is ours");
    }
    context.apply(&mut headers);
    let told = headers["traceparent"].to_str().expect("visible ASCII").to_owned();
    assert!(is_version_00(&told), "{told:?}");
    assert_eq!(headers.get_all("traceparent").iter().count(), 1);
    let octets: usize = headers.get_all("tracestate").iter().map(HeaderValue::len).sum();
    assert!(octets <= 512, "{octets} octets of tracestate");
    // Who is told understands the same.
    let next = TraceContext::of(&headers);
    assert_eq!((next.trace_id(), next.is_sampled()), (context.trace_id(), context.is_sampled()));
});
