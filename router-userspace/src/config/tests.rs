//! What loads and how, and what is refused with which words.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use super::*;

mod cluster;
mod connection_id;
mod document;
mod edge;
mod flags;
mod keys;
mod packaged;
mod routes;
mod values;

use self::flags::flags;

/// A folder of its own for a test's files, gone with it.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("quic-router-config-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(super) fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// A file that only its owner can read.
    pub(super) fn secret(&self, name: &str, content: &str) -> PathBuf {
        let path = self.file(name, content);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// `NAME.pem` and `NAME.key`, which belong together.
    pub(super) fn certificate(&self, name: &str) -> CertificateFiles {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        CertificateFiles {
            cert: self.file(&format!("{name}.pem"), &made.cert.pem()),
            key: self.file(&format!("{name}.key"), &made.signing_key.serialize_pem()),
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).expect("the test made the folder");
    }
}

const LISTENER: &str = "[[listener]]\naddress = \"127.0.0.1:4433\"\n";

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, "router.toml")
}

/// The whole error: first line, and its hint if any, joined by ` | `.
fn complaint(text: &str) -> String {
    let error = parse(text).expect_err(text);
    match error.hint() {
        Some(hint) => format!("{error} | {hint}"),
        None => error.to_string(),
    }
}

/// The notices about what follows the listener, each after its line.
fn notices(text: &str) -> Vec<String> {
    let notices = parse(&format!("{LISTENER}{text}\n")).unwrap_or_else(|error| panic!("{error}\n{text}")).notices;
    let about = |notice: &String| !notice.contains("self-signed") && !notice.contains("no interfaces");
    notices.into_iter().filter(about).map(|notice| notice.replace("router.toml:", "")).collect()
}

/// A route for all requests.
fn to(name: &str, upstream: &str) -> HttpRoute {
    HttpRoute {
        name: name.into(),
        listeners: Vec::new(),
        host: None,
        path: "/".to_owned(),
        methods: Vec::new(),
        headers: Vec::new(),
        action: Action::Upstream(upstream.into()),
        request_headers: HeaderRewrite::default(),
        response_headers: HeaderRewrite::default(),
    }
}

/// Whether each piece of TOML in the fixture is refused with the words that stand below it.
#[test]
fn what_is_wrong_is_named_with_its_line() {
    let fixture = include_str!("tests/refused.txt");
    let mut cases = 0;
    let mut wrong = Vec::new();
    for case in fixture.split("\n\n").filter(|case| !case.starts_with('#')) {
        let (text, expected) = case.trim_end().split_once("\n=> ").expect(case);
        let expected = with_keys(expected);
        let said = complaint(&format!("{LISTENER}{text}\n"));
        if said != expected {
            wrong.push(format!("{text}\nsaid:     {said}\nexpected: {expected}\n"));
        }
        cases += 1;
    }
    assert!(wrong.is_empty(), "{} of {cases} cases:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(cases, fixture.matches("\n=> ").count(), "a case hides behind a comment");

    let nothing = "router.toml: listener: there is none: nothing to answer on | \
                   add [[listener]] with address = \"127.0.0.1:4433\", or --listen 127.0.0.1:4433";
    assert_eq!(complaint(""), nothing);
    let no_table = "router.toml:1: router: invalid type: integer `1`, expected a table, [router]";
    assert_eq!(complaint("router = 1"), no_table);
}

/// `expected` with what `KEYS OF table` stands for.
fn with_keys(expected: &str) -> String {
    let Some((before, table)) = expected.split_once("KEYS OF ") else { return expected.to_owned() };
    let table = super::keys::ROOT.all().into_iter().find(|one| one.name == table).expect(table);
    let keys: Vec<_> = table.keys.iter().map(|key| key.short()).collect();
    before.to_owned() + &keys.join(", ")
}

#[test]
fn certificates_are_checked_with_the_listener_that_needs_them() {
    let folder = Folder::new();
    let (ours, theirs) = (folder.certificate("ours"), folder.certificate("theirs"));
    let text = |key: &Path| {
        let (cert, key) = (ours.cert.display(), key.display());
        format!("[[listener]]\naddress = \"0.0.0.0:443\"\ncertificates = [{{ cert = \"{cert}\", key = \"{key}\" }}]\n")
    };
    assert_eq!(parse(&text(&ours.key)).unwrap().listeners[0].certificates, Certificates::Files(vec![ours.clone()]));
    let expected = format!(
        "router.toml:3: listener.certificates: listener 0.0.0.0:443: {} is not the key of {}",
        theirs.key.display(),
        ours.cert.display()
    );
    assert_eq!(complaint(&text(&theirs.key)), expected);
}

#[test]
fn at_most_so_many_listeners() {
    let listeners = |count: usize| -> String {
        (1..=count).map(|port| format!("[[listener]]\naddress = \"127.0.0.1:{port}\"\n")).collect()
    };
    assert_eq!(parse(&listeners(LISTENERS_MAX)).unwrap().listeners.len(), LISTENERS_MAX);
    let expected = "router.toml:129: listener: 65 of them, at most 64 are possible";
    assert_eq!(complaint(&listeners(LISTENERS_MAX + 1)), expected);
}

#[test]
fn what_has_no_effect_is_said() {
    let text = format!(
        "{LISTENER}[router]\nengine = \"userspace\"\ninterfaces = [\"eth0\"]\n\
         [[route]]\nupstream = \"a\"\n[[route]]\npath = \"/x\"\nupstream = \"a\"\n\
         [upstream.a]\nservers = [\"http://a\"]\n[upstream.b]\nservers = [\"http://b\"]\n\
         [af_xdp]\nsend = \"af_xdp\"\n"
    );
    let notices = parse(&text).unwrap().notices;
    for expected in [
        "router.toml:5: the engine does not go by interface: interfaces have no effect",
        "router.toml:8: route: never used, an earlier one matches all that it would",
        "router.toml:13: upstream.b: no route leads to it",
        "router.toml:16: af_xdp.send: the engine has no AF_XDP sockets, so it has no effect",
    ] {
        assert!(notices.iter().any(|notice| notice == expected), "{expected}: {notices:?}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let folder = Folder::new();
    let absent = folder.path("absent.toml");
    let error = Config::load(&absent, &flags(&["--listen", "127.0.0.1:4433"]), None).unwrap_err();
    assert!(error.to_string().contains("absent.toml: cannot be read: No such file"), "{error}");
    assert!(error.hint().unwrap().contains("--config"));

    // The default file may be absent where flags say enough.
    let load = |start: &[&str]| Config::load_unless_absent(&absent, &flags(start), None);
    assert_eq!(load(&["--listen", "127.0.0.1:4433"]).unwrap().listeners.len(), 1);
    let error = load(&["--workers", "1"]).unwrap_err().to_string();
    assert!(error.contains("absent.toml: cannot be read: No such file"), "{error}");

    let path = folder.path("latin1.toml");
    fs::write(&path, b"[router]\n# caf\xe9\n").unwrap();
    let error = Config::load(&path, &StartFlags::default(), None).unwrap_err().to_string();
    assert_eq!(error, format!("{}:2: not UTF-8, which TOML must be", path.display()));
}

#[test]
fn private_is_what_no_stranger_reaches() {
    for (address, expected) in [
        ("127.0.0.1", true),
        ("10.1.2.3", true),
        ("172.16.0.1", true),
        ("192.168.1.1", true),
        ("169.254.1.1", true),
        ("::1", true),
        ("fd00::1", true),
        ("fe80::1", true),
        ("0.0.0.0", false),
        ("::", false),
        ("192.0.2.1", false),
        ("172.32.0.1", false),
        ("2001:db8::1", false),
    ] {
        assert_eq!(Config::is_private(address.parse().unwrap()), expected, "{address}");
    }
}
