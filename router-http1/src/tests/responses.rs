//! What is read of responses, by RFC 9112: in a table, whole and octet by octet.

use http::Method;

use super::*;

/// What comes of a response.
#[derive(Debug, PartialEq, Eq)]
enum Comes {
    /// All of it, and its connection takes another request.
    Whole(u16, &'static str),
    /// All of it, and nothing behind it is believed.
    Last(u16, &'static str),
    /// A head, and content that breaks off.
    Broken(u16),
    /// No head that could be believed.
    Malformed,
    Coded,
    TooLarge,
    /// The head is not all there.
    Unfinished,
}

use Comes::{Broken, Coded, Last, Malformed, TooLarge, Unfinished, Whole};

fn comes(octets: &[u8], size: usize, method: &Method) -> (Comes, Vec<u8>) {
    let read = match read(octets, size, method) {
        Ok(Some(read)) => read,
        Ok(None) => return (Unfinished, Vec::new()),
        Err(HeadError::Malformed(_)) => return (Malformed, Vec::new()),
        Err(HeadError::Coded) => return (Coded, Vec::new()),
        Err(HeadError::TooLarge) => return (TooLarge, Vec::new()),
    };
    let status = read.head.status.as_u16();
    match read.end {
        Ok(true) => (Whole(status, ""), read.content),
        Ok(false) => (Last(status, ""), read.content),
        Err(_) => (Broken(status), Vec::new()),
    }
}

fn expect(octets: &[u8], method: &Method, expected: &Comes) {
    for size in [octets.len(), 1, 2, 3, 7] {
        let (came, content) = comes(octets, size, method);
        let right = match expected {
            Whole(status, text) => came == Whole(*status, "") && content == text.as_bytes(),
            Last(status, text) => came == Last(*status, "") && content == text.as_bytes(),
            other => came == *other,
        };
        let shown = String::from_utf8_lossy(&octets[..octets.len().min(200)]);
        assert!(right, "{method} in pieces of {size}: {shown:?}: {came:?} {content:?}, not {expected:?}");
    }
}

macro_rules! chunked {
    ($body:literal) => {
        concat!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", $body)
    };
}

const HEADS: &[(&str, Comes)] = &[
    ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", Whole(200, "ok")),
    ("HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nok", Whole(200, "ok")),
    ("HTTP/1.1 200 \r\ncontent-length:2\t \r\n\r\nok", Whole(200, "ok")),
    ("HTTP/1.1 200 OK\ncontent-length: 2\n\nok", Whole(200, "ok")),
    ("HTTP/1.1 999 Odd\r\ncontent-length: 0\r\n\r\n", Whole(999, "")),
    ("HTTP/1.1 200 OK\r\n\r\nwhole", Last(200, "whole")),
    ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n", Unfinished),
    ("", Unfinished),
    // RFC 9112 section 9.3.
    ("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok", Last(200, "ok")),
    ("HTTP/1.1 200 OK\r\nconnection: keep-alive, Close\r\ncontent-length: 2\r\n\r\nok", Last(200, "ok")),
    ("HTTP/1.1 200 OK\r\nconnection: close\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok", Last(200, "ok")),
    ("HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", Last(200, "ok")),
    ("HTTP/1.0 200 OK\r\nconnection: Keep-Alive\r\ncontent-length: 2\r\n\r\nok", Whole(200, "ok")),
    // Interim responses.
    (
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        Whole(204, ""),
    ),
    // What is behind a response belongs to none.
    ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n", Last(200, "ok")),
    ("HTTP/1.1 304 Not Modified\r\ncontent-length: 2\r\n\r\nok", Last(304, "")),
    ("HTTP/1.1 304 Not Modified\r\ntransfer-encoding: chunked\r\n\r\n", Whole(304, "")),
    // Section 6.3.
    ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok", Whole(200, "ok")),
    ("HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nok", Whole(200, "ok")),
    ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok!", Malformed),
    ("HTTP/1.1 200 OK\r\ncontent-length: 2, 3\r\n\r\nok!", Malformed),
    ("HTTP/1.1 200 OK\r\ncontent-length: 2,\r\n\r\nok", Malformed),
    ("HTTP/1.1 200 OK\r\ncontent-length:\r\n\r\n", Malformed),
    ("HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nok", Malformed),
    ("HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\nok", Malformed),
    ("HTTP/1.1 200 OK\r\ncontent-length: 0x2\r\n\r\nok", Malformed),
    ("HTTP/1.1 200 OK\r\ncontent-length: 2 2\r\n\r\nok", Malformed),
    ("HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551616\r\n\r\nok", Malformed),
    ("HTTP/1.1 204 No Content\r\ncontent-length: two\r\n\r\n", Malformed),
    ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\npart", Broken(200)),
    ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", Last(200, "ok")),
    ("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", Malformed),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", Whole(200, "ok")),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nok", Coded),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", Coded),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n", Coded),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", Coded),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: xchunked\r\n\r\nok", Coded),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: \r\n\r\nok", Coded),
    // Sections 2 to 5.
    ("\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", Malformed),
    ("hello\r\n\r\n", Malformed),
    ("ICAP/1.0 200 OK\r\n\r\n", Malformed),
    ("HTTP/2.0 200 OK\r\n\r\n", Malformed),
    ("HTTP/1.2 200 OK\r\n\r\n", Malformed),
    ("HTTP/1.1 2000 OK\r\n\r\n", Malformed),
    ("HTTP/1.1 20 OK\r\n\r\n", Malformed),
    ("HTTP/1.1 099 OK\r\n\r\n", Malformed),
    ("HTTP/1.1  200 OK\r\n\r\n", Malformed),
    ("HTTP/1.1 200 OK\r\nx\r\n\r\n", Malformed),
    ("HTTP/1.1 200 OK\r\nx : 1\r\n\r\n", Malformed),
    ("HTTP/1.1 200 OK\r\nx: 1\r\n 2\r\n\r\n", Malformed),
    ("HTTP/1.1 200 OK\r\n x: 1\r\n\r\n", Malformed),
    ("HTTP/1.1 200 OK\r\nx: \0\r\n\r\n", Malformed),
    ("HTTP/1.1 200 OK\r\nx: 1\rcontent-length: 2\r\n\r\n", Malformed),
    ("HTTP/1.1 200 OK\r\n: 1\r\n\r\n", Malformed),
];

const CHUNKS: &[(&str, Comes)] = &[
    (chunked!("2\r\nok\r\n0\r\n\r\n"), Whole(200, "ok")),
    (chunked!("002\r\nok\r\n1;a=\"b\"\r\n!\r\n0 \t;x\r\n\r\n"), Whole(200, "ok!")),
    (chunked!("2 \r\nok\r\nA\r\n0123456789\r\n00\r\n\r\n"), Whole(200, "ok0123456789")),
    (chunked!("0\r\nx-sum: 7\r\nx-sum: 8\r\n\r\n"), Whole(200, "")),
    (chunked!("0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"), Last(200, "")),
    (chunked!("9\r\npart"), Broken(200)),
    (chunked!("4\r\npart\r\n"), Broken(200)),
    (chunked!("4\r\npart\r\n0\r\n"), Broken(200)),
    (chunked!("0\r\nx: 1\r\n"), Broken(200)),
    (chunked!("zz\r\nok\r\n0\r\n\r\n"), Broken(200)),
    (chunked!("\r\nok\r\n0\r\n\r\n"), Broken(200)),
    (chunked!(" 2\r\nok\r\n0\r\n\r\n"), Broken(200)),
    (chunked!("-2\r\nok\r\n0\r\n\r\n"), Broken(200)),
    (chunked!("0x2\r\nok\r\n0\r\n\r\n"), Broken(200)),
    (chunked!("2 2\r\nok\r\n0\r\n\r\n"), Broken(200)),
    (chunked!("2\r\nok!\r\n0\r\n\r\n"), Broken(200)),
    (chunked!("2\r\nok\n0\r\n\r\n"), Broken(200)),
    (chunked!("2\nok\r\n0\r\n\r\n"), Broken(200)),
    (chunked!("2;x\ny\r\nok\r\n0\r\n\r\n"), Broken(200)),
    (chunked!("2;x\ry\r\nok\r\n0\r\n\r\n"), Broken(200)),
    (chunked!("2;\0\r\nok\r\n0\r\n\r\n"), Broken(200)),
    (chunked!("2\r\nok\r\n0\r\n\n"), Broken(200)),
    (chunked!("2\r\nok\r\n0\n\r\n"), Broken(200)),
    (chunked!("10000000000000002\r\nok\r\n0\r\n\r\n"), Broken(200)),
    (chunked!("00000000000000002\r\nok\r\n0\r\n\r\n"), Broken(200)),
    (chunked!("ffffffffffffffff\r\nok\r\n0\r\n\r\n"), Broken(200)),
    (chunked!("0\r\nx: 1\ny: 2\r\n\r\n"), Broken(200)),
    (chunked!("0\r\nx: 1\r\n 2\r\n\r\n"), Broken(200)),
    (chunked!("0\r\nx : 1\r\n\r\n"), Broken(200)),
    (chunked!("0\r\n:path: /\r\n\r\n"), Broken(200)),
    (chunked!("0\r\nx: 1\ry: 2\r\n\r\n"), Broken(200)),
];

#[test]
fn heads_are_read_in_one_way_or_refused() {
    for (text, expected) in HEADS {
        expect(text.as_bytes(), &Method::GET, expected);
    }
}

#[test]
fn chunks_are_read_strictly() {
    for (text, expected) in CHUNKS {
        expect(text.as_bytes(), &Method::GET, expected);
    }
}

/// RFC 9110 section 9.3.2: the fields are those of GET, the content is not there.
#[test]
fn head_has_no_content_whatever_its_fields_say() {
    for (text, expected) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", Whole(200, "")),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", Whole(200, "")),
        ("HTTP/1.1 200 OK\r\n\r\n", Whole(200, "")),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", Last(200, "")),
    ] {
        expect(text.as_bytes(), &Method::HEAD, &expected);
    }
    let read = read(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", 99, &Method::HEAD).unwrap().unwrap();
    assert_eq!(read.head.fields["content-length"], "2");
}

#[test]
fn lengths_that_do_not_count_are_not_passed_on() {
    let fields = |text: &str| {
        let read = read(text.as_bytes(), text.len(), &Method::GET).unwrap().unwrap();
        let all = read.head.fields.get_all("content-length").iter().map(|value| value.to_str().unwrap().to_owned());
        all.collect::<Vec<_>>()
    };
    assert_eq!(fields("HTTP/1.1 200 OK\r\ncontent-length: 002, 2\r\ncontent-length: 2\r\n\r\nok"), ["2"]);
    let both = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(fields(both), [""; 0]);
}

#[test]
fn trailers_and_interim_responses_are_told() {
    let text = "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
                2\r\nok\r\n0\r\nX-Sum: 7 \r\nx-sum: \r\n\r\n";
    let read = read(text.as_bytes(), 5, &Method::GET).unwrap().unwrap();
    let trailers: Vec<_> = read.trailers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    assert_eq!((read.interim, trailers), (1, vec![("x-sum", &b"7"[..]), ("x-sum", b"")]));
}

/// The size of a head is limited, and not the number of its fields (hyper#3283).
#[test]
fn limits_are_kept_as_octets_arrive() {
    let head = |lines: &str| format!("HTTP/1.1 204 No Content\r\n{lines}\r\n");
    for (count, expected) in [(101, Whole(204, "")), (1_985, Whole(204, "")), (1_986, TooLarge), (2_100, TooLarge)] {
        let text = head(&"x:\r\n".repeat(count));
        assert_eq!(comes(text.as_bytes(), text.len(), &Method::GET).0, expected, "{count}");
        assert_eq!(comes(text.as_bytes(), 1_000, &Method::GET).0, expected, "{count}");
    }
    for (length, expected) in [(65_503, Whole(204, "")), (65_504, TooLarge), (200_000, TooLarge)] {
        let text = head(&format!("x: {}\r\n", "v".repeat(length)));
        assert_eq!(comes(text.as_bytes(), text.len(), &Method::GET).0, expected, "{length}");
        // Without an end in sight, too.
        let begun = &text.as_bytes()[..text.len() - 2];
        let unfinished = if length > 100_000 { TooLarge } else { Unfinished };
        assert_eq!(comes(begun, 1_000, &Method::GET).0, unfinished, "{length}");
    }
    let begins = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    for (rest, expected) in [
        (format!("0;{}\r\n\r\n", "x".repeat(16_383)), Whole(200, "")),
        (format!("0;{}\r\n\r\n", "x".repeat(16_384)), Broken(200)),
        (format!("0;{}", "x".repeat(20_000)), Broken(200)),
        (format!("{}0\r\n\r\n", "1;x\r\na\r\n".repeat(9_000)), Broken(200)),
        (format!("0\r\nx: {}\r\n\r\n", "x".repeat(16_377)), Whole(200, "")),
        (format!("0\r\nx: {}\r\n\r\n", "x".repeat(16_378)), Broken(200)),
        (format!("0\r\nx: {}", "x".repeat(20_000)), Broken(200)),
    ] {
        let text = format!("{begins}{rest}");
        assert_eq!(comes(text.as_bytes(), 1_000, &Method::GET).0, expected, "{}", &rest[..20]);
    }
}

/// 64 KiB of fields in single octets cost no more than a few times what they cost at once.
#[test]
fn work_is_in_proportion_to_octets() {
    let text = format!("HTTP/1.1 204 No Content\r\n{}\r\n", "x-a: bcdefgh\r\n".repeat(1_500));
    let timed = |size: usize| {
        let begun = std::time::Instant::now();
        for _ in 0..20 {
            assert!(read(text.as_bytes(), size, &Method::GET).unwrap().is_some());
        }
        begun.elapsed()
    };
    let (pieces, whole) = (timed(1), timed(text.len()));
    assert!(pieces < whole * 50, "{pieces:?} in single octets, {whole:?} at once");
}
