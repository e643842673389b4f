//! h3spec's section "HTTP/3 servers", in its order.

use super::*;

#[test]
fn on_request_streams() {
    let foo = [&[0x24][..], b":foo", &[3], b"bar"].concat();
    let field = [&[0x23][..], b"foo", &[3], b"bar"].concat();
    for (what, stream, expected) in [
        ("DATA before HEADERS", [data(b""), request(&[])].concat(), UNEXPECTED),
        ("a pseudo-header field twice", by_index(&[GET, HTTPS, AUTHORITY, PATH, GET]), MESSAGE),
        ("one that has to be there is not", by_index(&[GET, HTTPS, PATH]), MESSAGE),
        ("one that is not known", by_index(&[GET, HTTPS, AUTHORITY, PATH, &foo]), MESSAGE),
        ("one behind a field", by_index(&[GET, HTTPS, AUTHORITY, &field, PATH]), MESSAGE),
        ("CANCEL_PUSH", [frame(3, b""), request(&[])].concat(), UNEXPECTED),
        ("index 99 of the static table", by_index(&[GET, HTTPS, AUTHORITY, PATH, &[0xff, 99 - 63]]), SECTION),
    ] {
        assert_eq!(of_request(&stream), expected, "{what}");
    }
    assert_eq!(of_request(&by_index(&[GET, HTTPS, AUTHORITY, PATH])), "GET https://a/");
}

#[test]
fn on_the_clients_own_streams() {
    for (what, stream, expected) in [
        ("a frame before SETTINGS", [&[0][..], &frame(0xd, &[1]), &frame(4, &[])].concat(), MISSING),
        ("DATA on the control stream", [&[0][..], &frame(4, &[]), &frame(0, &[])].concat(), UNEXPECTED),
        ("HEADERS on the control stream", [&[0][..], &frame(4, &[]), &frame(1, &[])].concat(), UNEXPECTED),
        ("SETTINGS again", [&[0][..], &frame(4, &[]), &frame(4, &[])].concat(), UNEXPECTED),
        // Commented out there, as it is no MUST.
        ("a setting twice", [&[0][..], &frame(4, &[7, 16, 6, 0x50, 0, 7, 16])].concat(), SETTINGS),
        ("a setting of HTTP/2", [&[0][..], &frame(4, &[7, 16, 2, 1, 6, 0x50, 0])].concat(), SETTINGS),
        // Set Dynamic Table Capacity 2^30.
        ("a capacity beyond the limit", vec![2, 0x3f, 0xe1, 0xff, 0xff, 0xff, 0x03], ENCODER),
        ("an Insert Count Increment of 0", vec![3, 0], DECODER),
    ] {
        assert_eq!(of_own([&stream[..]]), expected, "{what}");
    }
}

#[test]
fn the_control_stream_is_closed() {
    let mut stream = UnidirectionalStream::default();
    stream.receive(&mut CriticalStreams::default(), &[0, 4, 0], |_| {}).unwrap();
    assert_eq!(stream.closed().unwrap_err().code, Code::H3_CLOSED_CRITICAL_STREAM);
}
