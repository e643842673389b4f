//! Compressed siblings.

use http::Method;

use super::Site;

fn compressed() -> Site {
    Site::with(&[
        ("both.html", "plain"),
        ("both.html.br", "brotli!"),
        ("both.html.gz", "gzip!!!"),
        ("one.html", "plain"),
        ("one.html.gz", "gzip!!!"),
        ("none.html", "plain"),
        ("none.html.br/index.html", "no sibling"),
        ("folder/index.html", "plain"),
        ("folder/index.html.br", "brotli!"),
        ("orphan.html.gz", "gzip!!!"),
    ])
}

#[tokio::test]
async fn the_coding_that_the_client_likes_best() {
    let site = compressed();
    for (path, accepted, coding) in [
        ("/both.html", "br", "br"),
        ("/both.html", "gzip", "gzip"),
        ("/both.html", "x-gzip", "gzip"),
        ("/both.html", "gzip, deflate, br, zstd", "br"),
        ("/both.html", "GZIP, BR", "br"),
        ("/both.html", "gzip;q=1.0, br;q=0.9", "gzip"),
        ("/both.html", "gzip;q=0.001,br;q=0", "gzip"),
        ("/both.html", "gzip ; q=0.5 , br\t;\tQ=0.6", "br"),
        ("/both.html", "*", "br"),
        ("/both.html", "*;q=0.5, br;q=0", "gzip"),
        ("/both.html", "*;q=0, gzip", "gzip"),
        ("/both.html", "identity;q=0.5, gzip;q=0.4", ""),
        ("/both.html", "identity;q=0.5, gzip;q=0.5", "gzip"),
        ("/both.html", "identity, br;q=0.9, gzip", "gzip"),
        ("/both.html", "identity", ""),
        ("/both.html", "", ""),
        ("/both.html", "br;q=0", ""),
        ("/both.html", "br;q=0.000, gzip;q=0.", ""),
        ("/both.html", "br;q=2, gzip;q=1.001", ""),
        ("/both.html", "br;q=0.1234, gzip;q=-1", ""),
        ("/both.html", "br;level=1, gzip;q", ""),
        ("/both.html", "broken, gzipped", ""),
        // Nothing would suit: the file is better than nothing.
        ("/both.html", "identity;q=0", ""),
        ("/none.html", "*;q=0", ""),
        ("/none.html", "br, gzip", ""),
        ("/one.html", "br, gzip;q=0.1", "gzip"),
        ("/one.html", "br", ""),
        ("/folder/", "br", "br"),
    ] {
        let reply = site.get(path, &[("accept-encoding", accepted)]).await;
        let content = match coding {
            "br" => "brotli!",
            "gzip" => "gzip!!!",
            _ => "plain",
        };
        assert_eq!((reply.status, reply.text()), (200, content), "{path} {accepted}");
        assert_eq!(reply.field("content-encoding").unwrap_or_default(), coding, "{path} {accepted}");
        assert_eq!(reply.field("vary"), Some("accept-encoding"));
        assert_eq!(reply.field("content-type"), Some("text/html; charset=utf-8"));
    }
    let plain = site.get("/both.html", &[]).await;
    assert_eq!((plain.text(), plain.field("vary")), ("plain", Some("accept-encoding")));
    let lines = site.get("/both.html", &[("accept-encoding", "gzip;q=0.5"), ("accept-encoding", "br")]).await;
    assert_eq!(lines.text(), "brotli!");
}

/// The sibling is a representation of its own: tags and ranges are about it.
#[tokio::test]
async fn a_sibling_has_its_own_tag_and_ranges() {
    let site = compressed();
    let plain = site.etag("/both.html").await;
    let head = site.ask(Method::HEAD, "/both.html", &[("accept-encoding", "br")]).await;
    assert_eq!((head.field("content-length"), head.field("content-encoding")), (Some("7"), Some("br")));
    let brotli = head.field("etag").unwrap();
    assert_ne!(plain, brotli);

    for (tag, accepted, status) in
        [(brotli, "br", 304), (&plain, "br", 200), (brotli, "gzip", 200), (&plain, "identity", 304)]
    {
        let reply = site.get("/both.html", &[("if-none-match", tag), ("accept-encoding", accepted)]).await;
        assert_eq!(reply.status, status, "{tag} {accepted}");
    }
    let fields = [("range", "bytes=-3"), ("if-range", brotli), ("accept-encoding", "br")];
    let reply = site.get("/both.html", &fields).await;
    assert_eq!((reply.status, reply.text()), (206, "li!"));
    assert_eq!((reply.field("content-range"), reply.field("content-encoding")), (Some("bytes 4-6/7"), Some("br")));
}

#[tokio::test]
async fn a_sibling_is_nothing_without_its_file() {
    let site = compressed();
    let reply = site.get("/orphan.html", &[("accept-encoding", "gzip")]).await;
    assert_eq!(reply.status, 404);
    let reply = site.get("/orphan.html.gz", &[("accept-encoding", "gzip")]).await;
    assert_eq!((reply.status, reply.field("content-encoding")), (200, None));
    assert_eq!(reply.field("content-type"), Some("application/gzip"));
}
