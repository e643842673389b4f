//! nghttp3's tests of what a server receives, by the test that they are in.

use super::*;

/// `test_nghttp3_conn_read_control`.
#[test]
fn settings() {
    let shown = |size: &str, capacity: u64, blocked: u64, connect: bool, datagram: bool| {
        format!(
            "Settings(Settings {{ max_field_section_size: {size}, qpack_max_table_capacity: {capacity}, \
             qpack_blocked_streams: {blocked}, enable_connect_protocol: {connect}, h3_datagram: {datagram} }})"
        )
    };
    let some = [&[6, 0x80, 1, 0, 0][..], &[0xbb, 0x9a, 0xca, 9, 0x80, 0, 0, 7], &[1, 0x50, 0, 7, 0x40, 99]].concat();
    for (what, payload, expected) in [
        ("some, one of them unknown", some, shown("Some(65536)", 4096, 99, false, false)),
        ("none", vec![], shown("None", 0, 0, false, false)),
        ("extended CONNECT", vec![8, 1], shown("None", 0, 0, true, false)),
        ("datagrams", vec![0x33, 1], shown("None", 0, 0, false, true)),
        ("no datagrams", vec![0x33, 0], shown("None", 0, 0, false, false)),
        ("a capacity twice", vec![1, 0x50, 1, 1, 0x50, 1], SETTINGS.into()),
        ("blocked streams twice", vec![7, 1, 7, 1], SETTINGS.into()),
        ("extended CONNECT, and then not", vec![8, 1, 8, 0], SETTINGS.into()),
        ("datagrams of 2", vec![0x33, 2], SETTINGS.into()),
        ("no value", vec![8], FRAME.into()),
        ("no value of an unknown one", vec![0x80, 0, 0xff, 0xff], FRAME.into()),
    ] {
        assert_eq!(of_settings(&payload), expected, "{what}");
    }
    assert_eq!(of_own([&[&[0][..], &frame(1_000_000_007, b"")].concat()[..]]), MISSING);
    assert_eq!(of_control(&frame(4, &[])), UNEXPECTED);
    let many = frame(1_000_000_007, b"").repeat(10_000);
    assert_eq!(of_control(&many), "", "unknown frames cost no more than their octets");
}

/// `test_nghttp3_conn_recv_uni`, `..._recv_goaway`, `..._push`, `..._recv_origin`.
#[test]
fn on_the_clients_own_streams() {
    assert_eq!(of_own([&[1][..]]), CREATION, "a push stream");
    for octets in [&[][..], &[0xc0]] {
        let mut stream = UnidirectionalStream::default();
        stream.receive(&mut CriticalStreams::default(), octets, |_| {}).unwrap();
        assert_eq!(stream.closed(), Ok(()), "the end before the type, or within it");
    }
    let unknown = vec![&[0x3f][..]; 10_000];
    assert_eq!(of_own(unknown), "");
    let goaway = |id| frame(7, &[id]);
    let most = |id| frame(0xd, &[id]);
    for (what, frames, expected) in [
        ("GOAWAY rises", [goaway(12), goaway(16)].concat(), ID),
        ("GOAWAY falls", [goaway(16), goaway(12)].concat(), "Goaway { push_id: 16 }, Goaway { push_id: 12 }"),
        ("GOAWAY without an ID", frame(7, &[]), FRAME),
        ("GOAWAY of two octets", frame(7, &[0x4f, 0xf1]), "Goaway { push_id: 4081 }"),
        ("MAX_PUSH_ID falls", [most(63), most(62)].concat(), ID),
        ("MAX_PUSH_ID without an ID", frame(0xd, &[]), FRAME),
        ("CANCEL_PUSH", frame(3, &[0]), ID),
        ("PUSH_PROMISE", frame(5, &[0, 0, 0]), UNEXPECTED),
        // RFC 9412: a server's frame, unknown here.
        ("ORIGIN", frame(0xc, b""), ""),
    ] {
        assert_eq!(of_control(&frames), expected, "{what}");
    }
}

/// `test_nghttp3_conn_priority_update`.
#[test]
fn priority_updates() {
    let update = |payload: &[u8]| of_control(&frame(0xf0700, payload));
    let said = |stream, urgency, incremental| {
        format!(
            "PriorityUpdate {{ stream: {stream}, priority: Priority {{ urgency: {urgency}, incremental: {incremental} }} }}"
        )
    };
    assert_eq!(update(b"\0u=6"), said(0, 6, false));
    assert_eq!(update(b"\0u=2,i"), said(0, 2, true));
    assert_eq!(update(b"\0u=2,i          "), said(0, 2, true), "with blanks behind it");
    assert_eq!(update(b"\0u=1,aaaaaaaaaaaaaaaa"), said(0, 1, false), "longer than it has to be");
    assert_eq!(update(b"\0u=1,9x"), said(0, 3, false), "no dictionary");
    assert_eq!(update(b"\x42\0u=1"), said(512, 1, false));
    assert_eq!(update(b"\x02u=6"), ID, "no request's stream");
    assert_eq!(update(b""), FRAME);
    assert_eq!(of_control(&frame(0xf0701, b"\0u=6")), ID, "a push that was not promised");
}

/// `test_nghttp3_conn_http_req_header`, `..._http_error`.
#[test]
fn heads() {
    let usual = |changed: &[(&str, &str)]| {
        let of = |name| changed.iter().find(|(changed, _)| *changed == name).copied();
        let pseudo = USUAL.iter().map(|&(name, value)| of(name).unwrap_or((name, value)));
        let others = changed.iter().filter(|(name, _)| USUAL.iter().all(|(usual, _)| usual != name)).copied();
        of_request(&headers(&pseudo.chain(others).collect::<Vec<_>>()))
    };
    for changed in [
        &[(":method", "CONNECT")][..],
        &[(":method", "")],
        &[(":method", "GET\u{b2}")],
        &[(":scheme", "")],
        &[(":scheme", "@")],
        &[(":scheme", "http*")],
        &[(":scheme", "http"), (":path", "")],
        &[(":scheme", "something"), (":path", "")],
        &[(":path", "")],
        &[(":path", "/\u{1}")],
        &[(":authority", "\r\na.test")],
        &[(":protocol", "websocket")],
        &[(":method", "CONNECT"), (":protocol", "websocket")],
        &[(":status", "200")],
        &[("\u{f}oo", "zzz")],
        &[("foo", "\0zzz")],
        &[("priority", "\u{7f}")],
    ] {
        assert_eq!(usual(changed), MESSAGE, "{changed:?}");
    }
    for (changed, expected) in [
        (&[(":method", "HEAD")][..], "HEAD https://a.test/"),
        (&[("te", "TRAiLERS")], "GET https://a.test/ | te: TRAiLERS"),
        (&[("te", "trailer2")], "GET https://a.test/ | te: trailer2 ! TE beside `trailers`"),
        (&[("content-length", "-1")], "GET https://a.test/ | content-length: -1 ! Content-Length is not one number"),
        (&[(":path", "*"), (":method", "OPTIONS")], "OPTIONS https://a.test*"),
        (&[(":path", "*")], "GET https://a.test*"),
    ] {
        assert_eq!(usual(changed), expected, "{changed:?}");
    }
    let without = |name| USUAL.iter().filter(|(usual, _)| *usual != name).copied().collect::<Vec<_>>();
    for (fields, more) in [
        (without(":path"), &[][..]),
        (without(":authority"), &[("host", "a.test\u{99}")]),
        (USUAL.to_vec(), &[(":path", "/")]),
        (without(":method"), &[("foo", "\r\n"), (":method", "GET")]),
    ] {
        assert_eq!(of_request(&headers(&[&fields[..], more].concat())), MESSAGE, "{more:?}");
    }
}

/// `test_nghttp3_conn_http_req_header`, `..._http_content_length_mismatch`, `..._http_ignore_content_length`.
#[test]
fn content_length() {
    let of = |length, content: &[u8]| of_request(&[request(&[("content-length", length)]), data(content)].concat());
    // What a stream can carry, and more.
    assert_eq!(of("4611686018427387903", b""), MESSAGE, "the content is shorter");
    let fault = "Content-Length is more than a stream can carry";
    for length in ["4611686018427387904", "18446744073709551615"] {
        let expected = format!("GET https://a.test/ | content-length: {length} ! {fault}");
        assert_eq!(of(length, b""), expected);
    }
    assert_eq!(of("20", b"some"), MESSAGE);
    assert_eq!(of("3", b"some"), MESSAGE);
    assert_eq!(of("4", b"some"), "GET https://a.test/ | content-length: 4, content some");
    let tunnel = headers(&[(":method", "CONNECT"), (":authority", "a.test:443"), ("content-length", "999")]);
    let expected = "CONNECT a.test:443 | content-length: 999, content some";
    assert_eq!(of_request(&[tunnel, data(b"some")].concat()), expected, "of a tunnel it says nothing");
}

/// `test_nghttp3_conn_http_trailers`, `..._rx_http_state`, `..._just_fin`, `..._recv_unknown_frame`.
#[test]
fn the_order_of_frames() {
    let (head, trailers) = (request(&[]), headers(&[("alpha", "bravo")]));
    let tunnel = headers(&[(":method", "CONNECT"), (":authority", "a.test:443")]);
    let whole = "GET https://a.test/, content some, trailers | alpha: bravo";
    for (what, stream, expected) in [
        ("all", [&head[..], &data(b"some"), &trailers].concat(), whole),
        ("no request", vec![], "stream H3_REQUEST_INCOMPLETE"),
        ("DATA first", data(b"content"), UNEXPECTED),
        ("an end within HEADERS", head[..head.len() - 1].to_vec(), FRAME),
        ("HEADERS without octets", frame(HEADERS, b""), SECTION),
        ("trailers without octets", [&head[..], &frame(HEADERS, b"")].concat(), SECTION),
        ("trailers without fields", [&head[..], &by_index(&[])].concat(), "GET https://a.test/, trailers"),
        ("a pseudo-header field in trailers", [&head[..], &headers(&[(":foo", "bar")])].concat(), MESSAGE),
        ("DATA behind trailers", [&head[..], &trailers, &data(b"x")].concat(), UNEXPECTED),
        ("trailers twice", [&head[..], &trailers, &trailers].concat(), UNEXPECTED),
        ("trailers of a tunnel", [&tunnel[..], &trailers].concat(), UNEXPECTED),
        ("PUSH_PROMISE", [&head[..], &frame(5, &[0, 0, 0])].concat(), UNEXPECTED),
        ("many of a type not known", [frame(0x3b9a_ca09, b"").repeat(1000), head].concat(), "GET https://a.test/"),
    ] {
        assert_eq!(of_request(&stream), expected, "{what}");
    }
}

/// `test_nghttp3_check_header_value`, `..._check_header_name`.
#[test]
fn characters_of_fields() {
    let value = |octet: u8, at: usize| {
        let mut value = [b'_'; 65];
        value[at] = octet;
        let line = [&[0x21, b'x', 65][..], &value].concat();
        of_request(&by_index(&[GET, HTTPS, AUTHORITY, PATH, &line])).starts_with("GET")
    };
    for octet in 0..=u8::MAX {
        let is_sound = octet == b'\t' || (octet >= 0x20 && octet != 0x7f);
        for at in [31, 32, 63] {
            assert_eq!(value(octet, at), is_sound, "{octet:#x}");
        }
    }
    let name = |name: &[u8]| {
        let length = u8::try_from(name.len()).unwrap();
        let line = [&[0x20 | length][..], name, &[1, b'v']].concat();
        of_request(&by_index(&[GET, HTTPS, AUTHORITY, PATH, &line])).starts_with("GET")
    };
    for octet in 0..=u8::MAX {
        let is_token = octet.is_ascii_lowercase() || octet.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&octet);
        assert_eq!(name(&[octet]), is_token, "{octet:#x} alone");
        assert_eq!(name(&[b'a', octet, b'b']), is_token, "{octet:#x} within");
    }
    assert!(!name(b"") && !name(b":") && !name(b":x"));
}

/// `test_nghttp3_qpack_decoder_stream_overflow`, `..._decoder_read_encoder`, `..._encoder_read_decoder`,
/// `..._huffman_decode_failure_state`.
#[test]
fn qpack() {
    let endless = [&[0x7f][..], &[0xff; 20]].concat();
    assert_eq!(of_request(&by_index(&[GET, HTTPS, AUTHORITY, PATH, &[0xff], &endless])), SECTION);
    assert_eq!(of_request(&by_index(&[GET, HTTPS, AUTHORITY, PATH, &[0x21, b'x'], &endless])), SECTION);
    assert_eq!(of_own([&[&[2, 0x3f][..], &[0xff; 20]].concat()[..]]), ENCODER);
    assert_eq!(of_own([&[&[3][..], &endless].concat()[..]]), DECODER);
    // Stream Cancellation of 2^62 - 1, and of 2^62.
    let most = [0x7f, 0xc0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x3f];
    assert_eq!(of_own([&[&[3][..], &most].concat()[..]]), "");
    let beyond = [0x7f, 0xc1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x3f];
    assert_eq!(of_own([&[&[3][..], &beyond].concat()[..]]), DECODER);
    // EOS within a string, and padding that is not its beginning.
    for coded in [&[0x84, 0xff, 0xff, 0xff, 0xff][..], &[0x81, 0x1e]] {
        assert_eq!(of_request(&by_index(&[GET, HTTPS, AUTHORITY, PATH, &[0x21, b'x'], coded])), SECTION);
    }
    // Required Insert Counts that no table can have (RFC 9204 section 4.5.1.1).
    for count in 1..=8 {
        assert_eq!(of_request(&frame(HEADERS, &[count, 0, 0xd1])), SECTION);
    }
}
