//! RFC 9110 section 14.

use super::Site;

/// Of `0123456789`.
const PARTIAL: &[(&str, &str, &str)] = &[
    ("bytes=0-0", "bytes 0-0/10", "0"),
    ("bytes=0-", "bytes 0-9/10", "0123456789"),
    ("bytes=0-9", "bytes 0-9/10", "0123456789"),
    ("bytes=0-10", "bytes 0-9/10", "0123456789"),
    ("bytes=2-5", "bytes 2-5/10", "2345"),
    ("bytes=9-", "bytes 9-9/10", "9"),
    ("bytes=9-9", "bytes 9-9/10", "9"),
    ("bytes=9-99999999999999999999999999999999", "bytes 9-9/10", "9"),
    ("bytes=0-18446744073709551615", "bytes 0-9/10", "0123456789"),
    ("bytes=0-18446744073709551616", "bytes 0-9/10", "0123456789"),
    ("bytes=-1", "bytes 9-9/10", "9"),
    ("bytes=-10", "bytes 0-9/10", "0123456789"),
    ("bytes=-11", "bytes 0-9/10", "0123456789"),
    ("bytes=-99999999999999999999999999999999", "bytes 0-9/10", "0123456789"),
    ("bytes=00002-0000000000000000000000000000000003", "bytes 2-3/10", "23"),
    ("BYTES=2-5", "bytes 2-5/10", "2345"),
    ("ByTeS=2-5", "bytes 2-5/10", "2345"),
    ("bytes= 2-5", "bytes 2-5/10", "2345"),
    ("bytes=2-5 ", "bytes 2-5/10", "2345"),
    ("bytes=,, 2-5\t,,", "bytes 2-5/10", "2345"),
    // Several that make one.
    ("bytes=2-5,4-7", "bytes 2-7/10", "234567"),
    ("bytes=4-7, 2-5", "bytes 2-7/10", "234567"),
    ("bytes=0-1,2-3", "bytes 0-3/10", "0123"),
    ("bytes=0-8,2-3,-2", "bytes 0-9/10", "0123456789"),
    ("bytes=3-3,3-3,3-3", "bytes 3-3/10", "3"),
    ("bytes=0-0,10-20", "bytes 0-0/10", "0"),
    ("bytes=20-,-0,1-1", "bytes 1-1/10", "1"),
    ("bytes=0-0,1-1,2-2,3-3,4-4,5-5,6-6,7-7", "bytes 0-7/10", "01234567"),
];

const UNSATISFIABLE: &[&str] = &[
    "bytes=10-",
    "bytes=10-10",
    "bytes=11-20",
    "bytes=-0",
    "bytes=-000",
    "bytes=99999999999999999999999999999999-",
    "bytes=18446744073709551615-18446744073709551616",
    "bytes=10-,20-30,-0",
];

const IGNORED: &[&str] = &[
    "",
    "bytes",
    "bytes=",
    "bytes=,",
    "bytes=-",
    "bytes=5-2",
    "bytes=0-0,5-2",
    "bytes=a-b",
    "bytes=0-b",
    "bytes=0x0-0x1",
    "bytes=+0-1",
    "bytes=0-+1",
    "bytes=--1",
    "bytes=0--1",
    "bytes=0-1-2",
    "bytes=0",
    "bytes=0 - 1",
    "bytes=0- 1",
    "bytes= =0-1",
    "bytes =0-1",
    "bytes:0-1",
    "0-1",
    "=0-1",
    "lines=0-1",
    "bytes=0-1;q=1",
    "bytes=\u{660}-\u{661}",
    // Several that don't make one.
    "bytes=0-0,2-2",
    "bytes=-1,0-0",
    "bytes=0-1,3-4,6-7",
    // Too many.
    "bytes=0-0,1-1,2-2,3-3,4-4,5-5,6-6,7-7,8-8",
];

#[tokio::test]
async fn a_part_is_sent_if_it_is_one() {
    let site = Site::with(&[("digits", "0123456789")]);
    let whole = site.get("/digits", &[]).await;
    for (range, content_range, content) in PARTIAL {
        let reply = site.get("/digits", &[("range", range)]).await;
        assert_eq!((reply.status, reply.text()), (206, *content), "{range}");
        assert_eq!(reply.field("content-range"), Some(*content_range), "{range}");
        for same in ["etag", "last-modified", "content-type", "accept-ranges", "vary"] {
            assert_eq!(reply.field(same), whole.field(same), "{same}");
        }
    }
    for range in UNSATISFIABLE {
        let reply = site.get("/digits", &[("range", range)]).await;
        assert_eq!((reply.status, reply.text()), (416, "416 Range Not Satisfiable\n"), "{range}");
        assert_eq!(reply.field("content-range"), Some("bytes */10"), "{range}");
        assert_eq!(reply.field("etag"), None);
    }
    for range in IGNORED {
        let reply = site.get("/digits", &[("range", range)]).await;
        assert_eq!((reply.status, reply.text()), (200, "0123456789"), "{range}");
        assert_eq!(reply.fields(), whole.fields(), "{range}");
    }
    let twice = site.get("/digits", &[("range", "bytes=0-0"), ("range", "bytes=0-0")]).await;
    assert_eq!((twice.status, twice.text()), (200, "0123456789"));
    let many = format!("bytes={}", "0-,".repeat(1_000));
    assert_eq!(site.get("/digits", &[("range", &many)]).await.status, 200);
}

#[tokio::test]
async fn an_empty_file_has_no_octet_to_begin_with() {
    let site = Site::with(&[("empty", "")]);
    for (range, status) in [("bytes=0-", 416), ("bytes=0-0", 416), ("bytes=-0", 416), ("bytes=-1", 200)] {
        let reply = site.get("/empty", &[("range", range)]).await;
        assert_eq!(reply.status, status, "{range}");
        match status {
            416 => assert_eq!(reply.field("content-range"), Some("bytes */0")),
            _ => assert_eq!((reply.text(), reply.field("content-length")), ("", Some("0"))),
        }
    }
}
