//! What a path may name.

use std::{
    fs,
    os::unix::{fs::symlink, net::UnixListener},
};

use nix::{sys::stat::Mode, unistd::mkfifo};

use super::Site;
use crate::edge::files::Files;

const SECRET: &str = "no client may read this";

/// Beside the served folder, within it under hidden names, and where an escape would lead.
fn guarded() -> Site {
    let site = Site::with(&[
        ("index.html", "home"),
        ("a/index.html", "a"),
        ("a/b.txt", "b"),
        (".env", SECRET),
        (".git/config", SECRET),
        ("a/.htpasswd", SECRET),
        ("a/.well-known/x", SECRET),
        (".well-known/.hidden", SECRET),
        (".well-knownx/x", SECRET),
    ]);
    fs::write(site.around.join("secret.txt"), SECRET).unwrap();
    fs::write(site.around.join("x"), SECRET).unwrap();
    site
}

/// Paths of nothing that is served, however they are read.
const ESCAPES: &[&str] = &[
    "/../secret.txt",
    "/..",
    "/../",
    "/.",
    "/./",
    "/./index.html",
    "/a/..",
    "/a/../",
    "/a/../index.html",
    "/a/../../secret.txt",
    "/a/../../x",
    "/a/./b.txt",
    "/..%2fsecret.txt",
    "/..%2Fsecret.txt",
    "/%2e%2e/secret.txt",
    "/%2E%2e/secret.txt",
    "/.%2e/secret.txt",
    "/%2e%2e%2fsecret.txt",
    "/a/%2e%2e/%2e%2e/secret.txt",
    "/a%2fb.txt",
    "/a/..%2f..%2fsecret.txt",
    // Decoded once only.
    "/%252e%252e/secret.txt",
    "/%252e%252e%252fsecret.txt",
    "/..%252fsecret.txt",
    // Other ways to write a dot or a slash.
    "/%c0%ae%c0%ae/secret.txt",
    "/%c0%ae%c0%ae%c0%afsecret.txt",
    "/..%c0%afsecret.txt",
    "/..%e0%80%afsecret.txt",
    "/%f0%80%80%ae%f0%80%80%ae/secret.txt",
    "/%u002e%u002e/secret.txt",
    "/\u{2024}\u{2024}/secret.txt",
    "/\u{ff0e}\u{ff0e}/secret.txt",
    "/..;/secret.txt",
    "/..\\secret.txt",
    "/..%5csecret.txt",
    "\\..\\secret.txt",
    // Cut short, or with something behind it.
    "/index.html%00",
    "/index.html%00.txt",
    "/%00index.html",
    "/..%00/secret.txt",
    "/index.html%0a",
    "/index.html/",
    "/index.html/.",
    "/index.html/..",
    "/index.html/../index.html",
    // Not an escape of anything.
    "/index.html%",
    "/index.html%6",
    "/%zzindex.html",
    "/%+6index.html",
    "/%ff",
    // Absolute, or not a path.
    "//etc/passwd",
    "///etc/passwd",
    "/%2fetc/passwd",
    "/%2fetc%2fpasswd",
    "//index.html",
    "/a//b.txt",
    "a/b.txt",
    "index.html",
    "../secret.txt",
    "",
    "*",
    "?",
    "http://localhost/index.html",
    "~/index.html",
    "/~root/.profile",
    "/proc/self/environ",
    // Hidden.
    "/.env",
    "/%2eenv",
    "/.git/config",
    "/.git",
    "/.git/",
    "/a/.htpasswd",
    "/a/.well-known/x",
    "/.well-known/.hidden",
    "/.well-known/../.env",
    "/.well-knownx/x",
    "/.WELL-KNOWN/x",
];

#[tokio::test]
async fn no_path_leads_out() {
    let site = guarded();
    let absolute = site.around.join("secret.txt");
    let absolute = absolute.to_str().unwrap();
    let mut escapes: Vec<String> = ESCAPES.iter().map(|&path| path.to_owned()).collect();
    escapes.push(absolute.to_owned());
    escapes.push(format!("/{absolute}"));
    escapes.push(absolute.replace('/', "%2f"));
    escapes.push(format!("/{}", absolute.replace('/', "%2f")));
    escapes.push(format!("/{}", "../".repeat(40) + &absolute[1..]));
    escapes.push(format!("/{}", "a".repeat(300)));
    escapes.push("/a".repeat(5_000));
    for path in escapes {
        let reply = site.get(&path, &[]).await;
        assert_eq!((reply.status, reply.text()), (404, "404 Not Found\n"), "{path}");
    }
}

#[tokio::test]
async fn names_are_decoded_once() {
    let site = Site::new();
    for (path, name) in [
        ("/plain.txt", "plain.txt"),
        ("/%70lain.txt", "plain.txt"),
        ("/a%20b/c+d.txt", "a b/c+d.txt"),
        ("/%C3%A9t%c3%a9.txt", "été.txt"),
        ("/été.txt", "été.txt"),
        ("/100%25.txt", "100%.txt"),
        ("/%252e%252e", "%2e%2e"),
        ("/back\\slash", "back\\slash"),
        ("/back%5cslash", "back\\slash"),
        ("/three...dots", "three...dots"),
        ("/dot.", "dot."),
        ("/%3fquery%23fragment", "?query#fragment"),
        ("/%0aline", "\nline"),
        ("/;a=1,b:c@d!$&'()*", ";a=1,b:c@d!$&'()*"),
        ("/plain.txt?../../secret.txt", "plain.txt"),
        ("/plain.txt?", "plain.txt"),
        ("/.well-known/security.txt", ".well-known/security.txt"),
        ("/%2ewell-known/security.txt", ".well-known/security.txt"),
    ] {
        site.file(name, name);
        let reply = site.get(path, &[]).await;
        assert_eq!((reply.status, reply.text()), (200, name), "{path}");
    }
}

#[tokio::test]
async fn links_are_followed_only_within_the_folder() {
    let site = guarded();
    for (name, target) in [
        ("inside", "a/b.txt"),
        ("a/up", "../index.html"),
        ("folder", "a"),
        ("chain", "a/up"),
        ("out", "../secret.txt"),
        ("folder-out", ".."),
        ("a/far", "../../secret.txt"),
        ("chain-out", "out"),
        ("out-and-in", "../site/index.html"),
        ("circle", "circle"),
        ("dangling", "nothing"),
    ] {
        symlink(target, site.path(name)).unwrap();
    }
    symlink(site.around.join("secret.txt"), site.path("absolute-out")).unwrap();
    symlink(site.path("index.html"), site.path("absolute-in")).unwrap();
    symlink("/", site.path("everything")).unwrap();
    symlink("/dev/zero", site.path("device")).unwrap();

    for (path, content) in
        [("/inside", "b"), ("/a/up", "home"), ("/folder/b.txt", "b"), ("/folder/", "a"), ("/chain", "home")]
    {
        let reply = site.get(path, &[]).await;
        assert_eq!((reply.status, reply.text()), (200, content), "{path}");
    }
    for path in [
        "/out",
        "/folder-out/secret.txt",
        "/folder-out/",
        "/folder-out",
        "/a/far",
        "/chain-out",
        "/out-and-in",
        "/circle",
        "/dangling",
        "/absolute-out",
        "/absolute-in",
        "/everything/etc/passwd",
        "/everything",
        "/device",
    ] {
        let reply = site.get(path, &[]).await;
        assert_eq!((reply.status, reply.text()), (404, "404 Not Found\n"), "{path}");
    }
}

/// A magic link is one that only looks like a path: `exe` is open whatever its text says.
#[tokio::test]
async fn magic_links_are_not_followed() {
    let mut site = Site::new();
    site.files = Files::open("/proc/self".as_ref()).unwrap();
    for (path, status) in [("/stat", 200), ("/exe", 404), ("/root/etc/passwd", 404), ("/cwd/Cargo.toml", 404)] {
        assert_eq!(site.get(path, &[]).await.status, status, "{path}");
    }
}

#[tokio::test]
async fn only_regular_files_are_served() {
    let site = Site::new();
    // No process has the other end: an open without care would wait for ever.
    mkfifo(&site.path("pipe"), Mode::S_IRWXU).unwrap();
    let _socket = UnixListener::bind(site.path("socket")).unwrap();
    fs::create_dir_all(site.path("folder/index.html")).unwrap();
    for path in ["/pipe", "/socket", "/pipe/", "/folder/", "/folder", "/folder/index.html/", "/folder/index.html"] {
        let reply = site.get(path, &[]).await;
        assert_eq!((reply.status, reply.text()), (404, "404 Not Found\n"), "{path}");
    }
}

#[tokio::test]
async fn a_folder_has_a_slash_and_an_index() {
    let site = Site::with(&[
        ("index.html", "home"),
        ("a/index.html", "a"),
        ("a/b c/index.html", "bc"),
        ("x:y/index.html", "xy"),
        ("é/index.html", "é"),
        ("q?/index.html", "q"),
        (".well-known/index.html", "known"),
    ]);
    for (path, content) in [
        ("/", "home"),
        ("/?a=b", "home"),
        ("/a/", "a"),
        ("/a/?x/y", "a"),
        ("/a/b%20c/", "bc"),
        ("/a/index.html", "a"),
        ("/.well-known/", "known"),
    ] {
        let reply = site.get(path, &[]).await;
        assert_eq!((reply.status, reply.text()), (200, content), "{path}");
        assert_eq!(reply.field("content-type"), Some("text/html; charset=utf-8"));
    }
    for (path, location) in [
        ("/a", "./a/"),
        ("/a?", "./a/"),
        ("/a?b=c&d=%20/..", "./a/?b=c&d=%20/.."),
        ("/a?b=\u{e9} \"", "./a/?b=%C3%A9%20\""),
        ("/a/b%20c?q", "./b%20c/?q"),
        // Neither a scheme, nor a query.
        ("/x:y", "./x%3Ay/"),
        ("/q%3f", "./q%3F/"),
        ("/é", "./%C3%A9/"),
        ("/.well-known", "./.well-known/"),
    ] {
        let reply = site.get(path, &[("range", "bytes=0-0"), ("if-match", "\"x\"")]).await;
        assert_eq!((reply.status, reply.text()), (308, "308 Permanent Redirect\n"), "{path}");
        assert_eq!(reply.field("location"), Some(location));
    }
}

/// A folder of the same name that comes later is another folder.
#[tokio::test]
async fn the_folder_is_opened_once() {
    let site = Site::with(&[("file", "old")]);
    fs::rename(site.path(""), site.around.join("before")).unwrap();
    fs::create_dir(site.path("")).unwrap();
    site.file("file", "new");
    assert_eq!(site.get("/file", &[]).await.text(), "old");
}
