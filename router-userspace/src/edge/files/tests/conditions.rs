//! RFC 9110 section 13: which precondition counts, and what comes of it.

use std::time::{Duration, SystemTime};

use http::Method;

use super::{AFTER, BEFORE, LAST_MODIFIED, Site, set_modified};

/// Fields, in which `TAG` stands for the file's entity tag without its quotes, and the status.
type Case = (&'static [(&'static str, &'static str)], u16);

const CASES: &[Case] = &[
    (&[], 200),
    // If-Match compares strongly.
    (&[("if-match", "\"TAG\"")], 200),
    (&[("if-match", "*")], 200),
    (&[("if-match", "\"a\", \"TAG\"")], 200),
    (&[("if-match", "\"a\""), ("if-match", "\"TAG\"")], 200),
    (&[("if-match", ",, \"a,b\"\t,\"TAG\",")], 200),
    (&[("if-match", "W/\"TAG\"")], 412),
    (&[("if-match", "\"a\"")], 412),
    (&[("if-match", "\"TAG")], 412),
    (&[("if-match", "TAG")], 412),
    (&[("if-match", "")], 412),
    (&[("if-match", "\"TAGx\"")], 412),
    (&[("if-match", "\"\"")], 412),
    // If-None-Match compares weakly.
    (&[("if-none-match", "\"TAG\"")], 304),
    (&[("if-none-match", "W/\"TAG\"")], 304),
    (&[("if-none-match", "*")], 304),
    (&[("if-none-match", "\"a\" , W/\"b\",\"TAG\"")], 304),
    (&[("if-none-match", "\"a\""), ("if-none-match", "\"TAG\"")], 304),
    (&[("if-none-match", "\"a\"")], 200),
    (&[("if-none-match", "\"a, \"TAG\"")], 200),
    (&[("if-none-match", "w/\"TAG\"")], 200),
    (&[("if-none-match", "")], 200),
    // Dates, to the second.
    (&[("if-modified-since", LAST_MODIFIED)], 304),
    (&[("if-modified-since", AFTER)], 304),
    (&[("if-modified-since", BEFORE)], 200),
    (&[("if-modified-since", "Sunday, 06-Nov-94 08:49:37 GMT")], 304),
    (&[("if-modified-since", "Sun Nov  6 08:49:37 1994")], 304),
    (&[("if-modified-since", "Sat, 06 Nov 2094 08:49:37 GMT")], 304),
    (&[("if-modified-since", "yesterday")], 200),
    (&[("if-modified-since", "784111777")], 200),
    (&[("if-modified-since", AFTER), ("if-modified-since", AFTER)], 200),
    (&[("if-unmodified-since", LAST_MODIFIED)], 200),
    (&[("if-unmodified-since", AFTER)], 200),
    (&[("if-unmodified-since", BEFORE)], 412),
    (&[("if-unmodified-since", "tomorrow")], 200),
    (&[("if-unmodified-since", BEFORE), ("if-unmodified-since", BEFORE)], 200),
    // Step 1 before 2: a tag outweighs a date.
    (&[("if-match", "\"TAG\""), ("if-unmodified-since", BEFORE)], 200),
    (&[("if-match", "\"a\""), ("if-unmodified-since", AFTER)], 412),
    // Step 3 before 4.
    (&[("if-none-match", "\"a\""), ("if-modified-since", AFTER)], 200),
    (&[("if-none-match", "\"TAG\""), ("if-modified-since", BEFORE)], 304),
    (&[("if-none-match", "rubbish"), ("if-modified-since", AFTER)], 200),
    // Steps 1 and 2 before 3 and 4.
    (&[("if-match", "\"a\""), ("if-none-match", "\"TAG\"")], 412),
    (&[("if-match", "\"TAG\""), ("if-none-match", "\"TAG\"")], 304),
    (&[("if-match", "\"TAG\""), ("if-none-match", "\"a\"")], 200),
    (&[("if-unmodified-since", BEFORE), ("if-none-match", "\"TAG\"")], 412),
    (&[("if-unmodified-since", AFTER), ("if-modified-since", AFTER)], 304),
    (&[("if-match", "*"), ("if-modified-since", LAST_MODIFIED)], 304),
];

fn filled(fields: &[(&'static str, &'static str)], tag: &str) -> Vec<(&'static str, String)> {
    fields.iter().map(|&(name, value)| (name, value.replace("TAG", tag.trim_matches('"')))).collect()
}

#[tokio::test]
async fn preconditions_are_evaluated_in_order() {
    let site = Site::with(&[("file.txt", "content")]);
    let etag = site.etag("/file.txt").await;
    for (fields, status) in CASES {
        let fields = filled(fields, &etag);
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        for method in [Method::GET, Method::HEAD] {
            let sent = method == Method::GET;
            let reply = site.ask(method, "/file.txt", &fields).await;
            let content = match reply.status {
                200 if sent => "content",
                412 if sent => "412 Precondition Failed\n",
                _ => "",
            };
            assert_eq!((reply.status, reply.text()), (*status, content), "{fields:?}");
            if reply.status == 304 {
                assert_eq!(reply.fields(), [format!("etag: {etag}"), "vary: accept-encoding".to_owned()]);
            }
        }
    }
}

/// With a range that can be had, and one that can't: 206 stands for the range's own outcome.
#[tokio::test]
async fn ranges_come_after_preconditions() {
    let site = Site::with(&[("file.txt", "content")]);
    let etag = site.etag("/file.txt").await;
    let cases: &[(&[(&str, &str)], u16)] = &[
        (&[("if-range", "\"TAG\"")], 206),
        (&[("if-range", LAST_MODIFIED)], 206),
        (&[("if-range", "W/\"TAG\"")], 200),
        (&[("if-range", "\"a\"")], 200),
        (&[("if-range", AFTER)], 200),
        (&[("if-range", BEFORE)], 200),
        (&[("if-range", "")], 200),
        (&[("if-range", "*")], 200),
        (&[("if-range", "rubbish")], 200),
        (&[("if-range", "\"TAG\""), ("if-range", "\"TAG\"")], 200),
        (&[("if-match", "\"a\""), ("if-range", "\"TAG\"")], 412),
        (&[("if-none-match", "\"TAG\""), ("if-range", "\"TAG\"")], 304),
        (&[("if-none-match", "\"a\""), ("if-range", "\"TAG\"")], 206),
        (&[("if-modified-since", LAST_MODIFIED)], 304),
        (&[("if-match", "\"TAG\""), ("if-unmodified-since", BEFORE)], 206),
    ];
    for (fields, status) in cases {
        for (range, of_range) in [("bytes=0-2", 206), ("bytes=7-", 416)] {
            let mut fields = filled(fields, &etag);
            fields.push(("range", range.to_owned()));
            let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let reply = site.get("/file.txt", &fields).await;
            let status = if *status == 206 { of_range } else { *status };
            let content = match status {
                200 => "content",
                206 => "con",
                412 => "412 Precondition Failed\n",
                416 => "416 Range Not Satisfiable\n",
                _ => "",
            };
            assert_eq!((reply.status, reply.text()), (status, content), "{fields:?}");
        }
    }
    // Without a range there is nothing to it.
    assert_eq!(site.get("/file.txt", &[("if-range", "\"a\"")]).await.status, 200);
}

/// RFC 9110 section 8.8.2.2
#[tokio::test]
async fn a_date_of_just_now_does_not_vouch_for_a_range() {
    let site = Site::with(&[("file.txt", "content")]);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    for (age, status) in [(0, 200), (50, 200), (70, 206)] {
        set_modified(&site.path("file.txt"), now - Duration::from_secs(age));
        let modified = site.get("/file.txt", &[]).await.field("last-modified").unwrap().to_owned();
        let reply = site.get("/file.txt", &[("range", "bytes=0-2"), ("if-range", &modified)]).await;
        assert_eq!(reply.status, status, "{age}");
    }
}

#[tokio::test]
async fn a_changed_file_has_another_tag() {
    let site = Site::with(&[("file.txt", "content")]);
    let mut tags = vec![site.etag("/file.txt").await];
    set_modified(&site.path("file.txt"), super::MODIFIED + Duration::from_nanos(1));
    tags.push(site.etag("/file.txt").await);
    site.file("file.txt", "contents");
    tags.push(site.etag("/file.txt").await);
    // Another in its place, while the first is still there.
    site.file("new", "contents");
    std::fs::hard_link(site.path("file.txt"), site.path("old")).unwrap();
    std::fs::rename(site.path("new"), site.path("file.txt")).unwrap();
    tags.push(site.etag("/file.txt").await);
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 4, "{tags:?}");
}
