//! quiche's tests of what a server receives, by the test that they are in, where nghttp3 has none like them.

use super::*;
use crate::Priority;

/// `parse_priority_field_value`; `test_nghttp3_http_parse_priority` beside it.
#[test]
fn priorities() {
    for (field, urgency, incremental) in [
        ("u=0", 0, false),
        ("u=7", 7, false),
        ("u=7, i", 7, true),
        ("u=3, i=?1", 3, true),
        ("u=0;foo, i;bar", 0, true),
        ("u=0, i, spinaltap=11", 0, true),
        ("u=0, i, i=?0, u=6", 6, false),
        ("i=?0, u=1, a=(x y z), u=2; i=?0;foo=\",,,\", i=?1;i=?0; u=6", 2, true),
        ("ii=1, u=7", 7, false),
        // Of the wrong type or out of range: as if absent.
        ("u", 3, false),
        ("u=-1, i", 3, true),
        ("u=8, i", 3, true),
        ("u=100", 3, false),
        ("u=0.2, i", 3, true),
        ("u=1, i=1", 1, false),
        ("u=1, i=true", 1, false),
        // No dictionary: none of it counts.
        ("0", 3, false),
        ("u=7, ", 3, false),
        ("u=0,", 3, false),
        ("u=1, i=", 3, false),
        ("u=1, i=?", 3, false),
        ("u=1, i=?2", 3, false),
        ("u=", 3, false),
    ] {
        assert_eq!(Priority::parse(field.as_bytes()), Priority { urgency, incremental }, "{field:?}");
    }
}

/// `control_bad_late_settings`, `control_bad_frame`, `control_bad_multiple_settings`, `settings_h2_prohibited`,
/// `settings_h3_connect_protocol_enabled_bad`, `set_prohibited_additional_settings`.
#[test]
fn control_streams() {
    let late = [&[0][..], &frame(7, &[0]), &frame(4, &[])].concat();
    assert_eq!(of_own([&late[..]]), MISSING);
    assert_eq!(of_own([&[&[0][..], &frame(1, b"x")].concat()[..]]), MISSING);
    assert_eq!(of_control(&frame(1, b"x")), UNEXPECTED);
    assert_eq!(of_control(&frame(4, &[])), UNEXPECTED);
    for of_http2 in [0, 2, 3, 4, 5] {
        assert_eq!(of_settings(&[of_http2, 1]), SETTINGS, "{of_http2}");
    }
    assert_eq!(of_settings(&[8, 0x40, 0x40]), SETTINGS);
    // `open_multiple_control_streams`, and of the QPACK streams the same.
    for stream in [&[0, 4, 0][..], &[2], &[3]] {
        assert_eq!(of_own([stream, stream]), CREATION, "{stream:?}");
    }
}

/// `priority_update_non_minimal_varint`, `push_promise_non_minimal_varint`, `unknown_type`, `grease`.
#[test]
fn integers_need_not_be_the_shortest() {
    let expected = "PriorityUpdate { stream: 4, priority: Priority { urgency: 3, incremental: false } }";
    assert_eq!(of_control(&frame(0xf0700, &[0x40, 4])), expected);
    // SETTINGS whose type and length take eight octets each, and a stream type of two.
    let long = [&[0x40, 0][..], &[0xc0, 0, 0, 0, 0, 0, 0, 4], &[0xc0, 0, 0, 0, 0, 0, 0, 0]].concat();
    assert!(of_own([&long[..]]).starts_with("Settings("));
    assert_eq!(of_control(&frame(148_764_065_110_560_899, b"reserved")), "");
}

/// `finite_sized_frame_limits`, `large_priority_update_small_limit`, `priority_update_request_max_size_limit_default`.
#[test]
fn frames_on_the_control_stream_have_an_end() {
    let begun = |kind: u64, length: u64| {
        let mut header = Vec::new();
        crate::varint::write(kind, &mut header);
        crate::varint::write(length, &mut header);
        of_control(&header)
    };
    for kind in [7, 0xd, 3, 0xf0700, 0xf0701] {
        assert_eq!(begun(kind, CONTROL_FRAME_MAX), "");
        assert_eq!(begun(kind, CONTROL_FRAME_MAX + 1), LOAD, "{kind:#x}");
    }
    let settings = [&[0, 4, 0x80][..], &[0, 0x40, 1]].concat();
    assert_eq!(of_own([&settings[..]]), LOAD);
    for kind in [7, 0xd, 3] {
        assert_eq!(of_control(&frame(kind, &[0; 100])), FRAME, "{kind:#x} with more than its ID");
    }
    let update = [&[4][..], &[0; 511]].concat();
    let expected = "PriorityUpdate { stream: 4, priority: Priority { urgency: 3, incremental: false } }";
    assert_eq!(of_control(&frame(0xf0700, &update)), expected);
}

/// `settings_on_request_stream_client` and its like, `priority_update_request_bad_stream`, `data_before_headers`.
#[test]
fn frames_of_the_control_stream_on_a_request_stream() {
    for kind in [3, 4, 7, 0xd, 0xf0700, 0xf0701] {
        for before in [vec![], request(&[])] {
            assert_eq!(of_request(&[before, frame(kind, &[0])].concat()), UNEXPECTED, "{kind:#x}");
        }
    }
}

/// `zero_length_data`, `additional_headers`.
#[test]
fn content_that_is_empty() {
    assert_eq!(of_request(&[request(&[]), data(b"")].concat()), "GET https://a.test/");
    let behind = [request(&[]), data(b""), headers(&[("x", "1")])].concat();
    assert_eq!(of_request(&behind), "GET https://a.test/, trailers | x: 1");
}

/// `request_max_header_size_limit_...`, `large_headers_...`, `..._budget_...`: too large is no error here.
#[test]
fn heads_beyond_the_limit() {
    let limits = |max_field_section_size| MessageLimits { max_field_section_size, ..LIMITS };
    let value = "v".repeat(100);
    let plain = [&section(USUAL)[..], &[0x21, b'x', 100], value.as_bytes()].concat();
    let name = [&section(USUAL)[..], &[0x27, 100 - 7], value.as_bytes(), &[0]].concat();
    // By reference to a name: `:path` is 1, `accept` 29.
    let reference = [&section(USUAL)[..], &[0x5f, 29 - 15, 100], value.as_bytes()].concat();
    for (what, section, needed) in
        [("value", plain, 172 + 133), ("name", name, 172 + 132), ("reference", reference, 172 + 138)]
    {
        let stream = frame(HEADERS, &section);
        let of = |limit| outcome(limits(limit), [&stream[..]]).0.concat();
        assert!(of(needed).starts_with("GET"), "{what}");
        assert_eq!(of(needed - 1), "head too large", "{what}");
    }
}
