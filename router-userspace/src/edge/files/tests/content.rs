//! Bodies longer than a piece.

use std::{fs::File, io, os::unix::fs::FileExt as _};

use http::{HeaderMap, Method};
use http_body::Body as _;
use http_body_util::BodyExt as _;

use super::Site;
use crate::edge::files::FileBody;

const PIECE: usize = 128 * 1024;

/// Octets of which no two pieces are alike.
fn pattern(length: usize) -> Vec<u8> {
    (0..length as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

async fn body(site: &Site, path: &str) -> FileBody {
    site.files.answer(&Method::GET, path, &HeaderMap::new(), &site.memory).await.into_body()
}

async fn next(body: &mut FileBody) -> Option<io::Result<Vec<u8>>> {
    let frame = body.frame().await?;
    Some(frame.map(|frame| frame.into_data().unwrap().to_vec()))
}

#[tokio::test]
async fn every_octet_arrives_whatever_the_length() {
    let site = Site::new();
    for length in [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 3 * PIECE + 7, 5 * PIECE + 1] {
        let content = pattern(length);
        site.file("file", &content);
        let reply = site.get("/file", &[]).await;
        assert_eq!(reply.field("content-length"), Some(&*length.to_string()));
        assert!(reply.body == content, "{length}");
        for (first, last) in [(0, length / 2), (length / 3, length), (PIECE - 1, PIECE), (1, 4 * PIECE)] {
            if first >= length {
                continue;
            }
            let reply = site.get("/file", &[("range", &format!("bytes={first}-{last}"))]).await;
            assert_eq!(reply.status, 206);
            assert!(reply.body == content[first..length.min(last + 1)], "{first}-{last}/{length}");
        }
    }
}

#[tokio::test]
async fn the_hint_is_what_is_still_to_come() {
    let site = Site::new();
    site.file("file", pattern(2 * PIECE + 5));
    let mut body = body(&site, "/file").await;
    for (piece, rest) in [(PIECE, PIECE + 5), (PIECE, 5), (5, 0)] {
        assert!(!body.is_end_stream());
        assert_eq!(next(&mut body).await.unwrap().unwrap().len(), piece);
        assert_eq!(body.size_hint().exact(), Some(rest as u64));
    }
    assert!(body.is_end_stream());
    assert!(next(&mut body).await.is_none());
}

#[tokio::test]
async fn a_file_that_shrinks_ends_in_an_error() {
    let site = Site::new();
    let path = site.file("file", pattern(4 * PIECE));
    let mut body = body(&site, "/file").await;
    next(&mut body).await.unwrap().unwrap();
    File::options().write(true).open(path).unwrap().set_len(3 * PIECE as u64 + 9).unwrap();
    next(&mut body).await.unwrap().unwrap();
    next(&mut body).await.unwrap().unwrap();
    let error = next(&mut body).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    assert!(next(&mut body).await.is_none());
}

/// What is written behind the piece that is being read is seen: nothing was read so far ahead.
#[tokio::test]
async fn one_piece_is_read_ahead_and_no_more() {
    let site = Site::new();
    let path = site.file("file", vec![b'a'; 6 * PIECE]);
    let mut body = body(&site, "/file").await;
    next(&mut body).await.unwrap().unwrap();
    File::options().write(true).open(path).unwrap().write_all_at(&vec![b'b'; 6 * PIECE], 0).unwrap();
    // The one that may have been read before.
    next(&mut body).await.unwrap().unwrap();
    for _ in 2..6 {
        assert!(next(&mut body).await.unwrap().unwrap() == vec![b'b'; PIECE]);
    }
    assert!(next(&mut body).await.is_none());
}

#[tokio::test]
async fn a_file_that_is_replaced_is_sent_as_it_was() {
    let site = Site::new();
    let content = pattern(3 * PIECE);
    site.file("file", &content);
    let mut body = body(&site, "/file").await;
    let first = next(&mut body).await.unwrap().unwrap();
    site.file("new", "new");
    std::fs::rename(site.path("new"), site.path("file")).unwrap();
    let rest = body.collect().await.unwrap().to_bytes();
    assert!([&first[..], &rest].concat() == content);
    assert_eq!(site.get("/file", &[]).await.text(), "new");
}

/// 2,560 GETs that no client read had 2,560 files open.
#[tokio::test]
async fn a_file_that_no_client_reads_is_not_open() {
    let site = Site::new();
    let path = site.file("file", pattern(3 * PIECE));
    let descriptors = || {
        let all = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        all.filter(|one| std::fs::read_link(one.path()).is_ok_and(|to| to == path)).count()
    };
    let mut read = body(&site, "/file").await;
    let mut unread = body(&site, "/file").await;
    assert_eq!(descriptors(), 0);
    next(&mut read).await.unwrap().unwrap();
    assert!(descriptors() <= 1);
    // What takes its name meanwhile is never sent for it.
    site.file("new", pattern(3 * PIECE));
    std::fs::rename(site.path("new"), site.path("file")).unwrap();
    let error = next(&mut unread).await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "the file was replaced before its client took it");
    assert!(next(&mut unread).await.is_none());
}

#[tokio::test]
async fn files_are_held_within_the_budget() {
    let site = Site::new();
    site.file("file", pattern(3 * PIECE));
    site.memory.set_budget(Some(2 * PIECE as u64));
    let first = body(&site, "/file").await;
    assert_eq!(site.memory.held(), 2 * PIECE as u64);
    assert_eq!(site.get("/file", &[]).await.status, 503);
    assert_eq!(site.get("/file", &[("range", "bytes=0-9")]).await.status, 503);
    assert_eq!(site.ask(Method::HEAD, "/file", &[]).await.status, 200);
    drop(first);
    assert_eq!(site.memory.held(), 0);
    assert_eq!(site.get("/file", &[]).await.status, 200);
}
