//! Requests to a folder of its own, and every octet of the responses.

mod codings;
mod conditions;
mod content;
mod paths;
mod ranges;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, SystemTime},
};

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;

use super::Files;
use crate::edge::memory::Memory;

/// A folder that is served, in one that is not; gone with it.
struct Site {
    around: PathBuf,
    files: Files,
    memory: Arc<Memory>,
}

/// A response, its body read to the end.
struct Reply {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Site {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let around = std::env::temp_dir().join(format!("quic-router-files-{}-{number}", std::process::id()));
        fs::create_dir_all(around.join("site")).unwrap();
        Self { files: Files::open(&around.join("site")).unwrap(), around, memory: Memory::new(None) }
    }

    fn with(content: &[(&str, &str)]) -> Self {
        let site = Self::new();
        for (name, content) in content {
            site.file(name, content);
        }
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.around.join("site").join(name)
    }

    /// Last modified at [`MODIFIED`].
    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        set_modified(&path, MODIFIED);
        path
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        self.ask(Method::GET, path, headers).await
    }

    async fn ask(&self, method: Method, path: &str, fields: &[(&str, &str)]) -> Reply {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let response = self.files.answer(&method, path, &headers, &self.memory).await;
        let (head, body) = response.into_parts();
        let promised = body.size_hint().exact().unwrap();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        assert_eq!(promised, body.len() as u64, "{path}");
        let reply = Reply { status: head.status.as_u16(), headers: head.headers, body };
        if method != Method::HEAD
            && let Some(length) = reply.field("content-length")
        {
            assert_eq!(length, body_length(&reply), "{path}");
        }
        reply
    }

    async fn etag(&self, path: &str) -> String {
        self.get(path, &[]).await.field("etag").unwrap().to_owned()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.around).unwrap();
    }
}

impl Reply {
    /// The only field of that name.
    fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?;
        assert_eq!(values.next(), None, "{name}");
        Some(value.to_str().unwrap())
    }

    /// `name: value` of each field, sorted.
    fn fields(&self) -> Vec<String> {
        let mut fields: Vec<_> =
            self.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        fields.sort();
        fields
    }

    fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap()
    }
}

fn body_length(reply: &Reply) -> String {
    reply.body.len().to_string()
}

fn set_modified(path: &Path, at: Duration) {
    File::options().write(true).open(path).unwrap().set_modified(SystemTime::UNIX_EPOCH + at).unwrap();
}

/// Half a second after [`LAST_MODIFIED`].
const MODIFIED: Duration = Duration::from_millis(784_111_777_500);
const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
const LAST_MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

#[tokio::test]
async fn a_file_is_described_and_sent() {
    use std::os::unix::fs::MetadataExt as _;

    let site = Site::with(&[("hello.html", "<p>hello\n")]);
    let inode = fs::metadata(site.path("hello.html")).unwrap().ino();
    let reply = site.get("/hello.html", &[]).await;
    let fields = [
        "accept-ranges: bytes".to_owned(),
        "content-length: 9".to_owned(),
        "content-type: text/html; charset=utf-8".to_owned(),
        // Half a second is 0x1dcd6500 nanoseconds.
        format!("etag: \"{inode:x}-9-2ebc98a1.1dcd6500\""),
        format!("last-modified: {LAST_MODIFIED}"),
        "vary: accept-encoding".to_owned(),
        "x-content-type-options: nosniff".to_owned(),
    ];
    assert_eq!((reply.status, reply.text()), (200, "<p>hello\n"));
    assert_eq!(reply.fields(), fields);

    let head = site.ask(Method::HEAD, "/hello.html", &[("range", "bytes=0-0")]).await;
    assert_eq!((head.status, head.text()), (200, ""));
    assert_eq!(head.fields(), fields);
}

#[tokio::test]
async fn other_methods_are_told_which_there_are() {
    let site = Site::with(&[("hello.html", "<p>hello\n")]);
    for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "PROPFIND", "get"] {
        for path in ["/hello.html", "/nothing"] {
            let reply = site.ask(method.parse().unwrap(), path, &[]).await;
            assert_eq!((reply.status, reply.text()), (405, "405 Method Not Allowed\n"), "{method} {path}");
            assert_eq!(reply.field("allow"), Some("GET, HEAD, OPTIONS"));
        }
    }
    for path in ["/hello.html", "/nothing", "*"] {
        let reply = site.ask(Method::OPTIONS, path, &[]).await;
        assert_eq!((reply.status, reply.text()), (204, ""), "{path}");
        assert_eq!(reply.fields(), ["allow: GET, HEAD, OPTIONS"]);
    }
}

#[tokio::test]
async fn the_type_goes_by_the_extension() {
    let site = Site::new();
    for (name, kind) in [
        ("a.html", "text/html; charset=utf-8"),
        ("a.CSS", "text/css; charset=utf-8"),
        ("a.js", "text/javascript; charset=utf-8"),
        ("a.txt", "text/plain; charset=utf-8"),
        ("a.json", "application/json"),
        ("a.svg", "image/svg+xml"),
        ("a.png", "image/png"),
        ("a.wasm", "application/wasm"),
        ("a.tar.gz", "application/gzip"),
        ("a.unheard-of", "application/octet-stream"),
        ("html", "application/octet-stream"),
    ] {
        site.file(name, "x");
        let reply = site.get(&format!("/{name}"), &[]).await;
        assert_eq!((reply.status, reply.field("content-type")), (200, Some(kind)), "{name}");
        assert_eq!(reply.field("content-encoding"), None);
    }
}

#[tokio::test]
async fn what_is_not_there_looks_all_the_same() {
    let site = Site::with(&[("file", "x"), ("empty/.keep", "")]);
    let nothing = site.get("/nothing", &[]).await;
    assert_eq!((nothing.status, nothing.text()), (404, "404 Not Found\n"));
    let fields = ["content-length: 14", "content-type: text/plain; charset=utf-8", "x-content-type-options: nosniff"];
    assert_eq!(nothing.fields(), fields);
    for path in ["/file/", "/file/x", "/empty", "/empty/", "/empty/.keep", "/nothing/", "/"] {
        let reply = site.get(path, &[("if-none-match", "*"), ("range", "bytes=0-0")]).await;
        assert_eq!((reply.status, reply.text(), reply.fields()), (404, "404 Not Found\n", nothing.fields()), "{path}");
    }
    let head = site.ask(Method::HEAD, "/nothing", &[]).await;
    assert_eq!((head.status, head.text(), head.fields()), (404, "", nothing.fields()));
}

#[test]
fn only_a_folder_can_be_opened() {
    let site = Site::with(&[("file", "x")]);
    assert_eq!(Files::open(&site.path("nothing")).unwrap_err().kind(), std::io::ErrorKind::NotFound);
    assert_eq!(Files::open(&site.path("file")).unwrap_err().kind(), std::io::ErrorKind::NotADirectory);
}

#[tokio::test]
async fn a_date_is_never_in_the_future_nor_before_1970() {
    let site = Site::with(&[("future", "x"), ("past", "x")]);
    set_modified(&site.path("future"), Duration::from_secs(10_000_000_000));
    let past = File::options().write(true).open(site.path("past")).unwrap();
    past.set_modified(SystemTime::UNIX_EPOCH - Duration::from_millis(1_500)).unwrap();

    let reply = site.get("/future", &[]).await;
    let modified = httpdate::parse_http_date(reply.field("last-modified").unwrap()).unwrap();
    assert!(modified <= SystemTime::now(), "{modified:?}");
    let reply = site.get("/past", &[("if-modified-since", AFTER), ("if-unmodified-since", AFTER)]).await;
    assert_eq!((reply.status, reply.text()), (200, "x"));
    assert!(!reply.headers.contains_key(header::LAST_MODIFIED));
}
