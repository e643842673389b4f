//! What loads and how, and what is refused with which words.

use std::{
    collections::BTreeMap,
    fs,
    num::NonZeroU16,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use super::*;
use crate::telemetry::LogFilter;

mod connection_id;
mod document;
mod edge;
mod flags;
mod keys;
mod packaged;
mod routes;

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

#[test]
fn defaults_are_those_promised() {
    let config = parse(LISTENER).unwrap();
    let available = std::thread::available_parallelism().unwrap().get().min(255);
    let expected = Config {
        router: Router {
            node_id: 1,
            workers: NonZeroU16::new(u16::try_from(available).unwrap()).unwrap(),
            engine: Engine::Auto,
            cpu_map: CpuMap::Auto,
            interfaces: Vec::new(),
            bpf_dir: "/sys/fs/bpf/quic-router".into(),
            state_dir: "/var/lib/quic-router".into(),
            control: "/run/quic-router/control.sock".into(),
            drain_timeout: Duration::from_secs(60),
            log: LogFilter::default(),
            debug_headers: false,
            path_normalization: PathNormalization::Normalize,
        },
        connection_id: ConnectionIdPlan {
            length: 17,
            server_id: None,
            encryption: Encryption::Auto,
            describe_length: true,
            lifetime: Duration::from_secs(60 * 60),
        },
        limits: Limits {
            max_connections: 100_000,
            max_connections_per_ip: 1_000,
            client_prefix4: 32,
            client_prefix6: 64,
            max_handshakes: 4_096,
            idle_timeout: Duration::from_secs(30),
            max_header_bytes: 65_536,
            max_headers: 100,
            request_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(60),
            send_timeout: Duration::from_secs(60),
            min_rate: 500,
            memory: None,
        },
        transport: Transport {
            congestion: Congestion::Cubic,
            stream_window: 1_250_000,
            connection_window: 8_388_608,
            send_window: 2_097_152,
            max_streams: 128,
            keep_alive: None,
            initial_mtu: 1_200,
            max_mtu: Some(1_452),
            gso: true,
            migration: true,
        },
        af_xdp: AfXdp { memory: 64 << 20, busy_poll: false, send: SendBy::Udp },
        admission: Admission {
            reject_source_ports: [
                0..=0,
                1..=1_023,
                1_900..=1_900,
                5_353..=5_353,
                11_211..=11_211,
                20_800..=20_800,
                27_015..=27_015,
            ]
            .into(),
            unknown: std::num::NonZeroU32::new(1_000),
        },
        admin: None,
        access_log: None,
        qlog: None,
        listeners: vec![Listener {
            #[cfg(feature = "interop")]
            interop: crate::interop::Switches::default(),
            address: "127.0.0.1:4433".parse().unwrap(),
            certificates: Certificates::SelfSigned,
            tcp: false,
            redirect_from: None,
            alt_svc_max_age: Some(Duration::from_secs(24 * 60 * 60)),
            early_data: EarlyData::Off,
            client_certificates: None,
            minimum_tls: MinimumTls::Tls12,
            groups: vec![Group::X25519MlKem768, Group::X25519, Group::P256, Group::P384],
            preferred_address: None,
        }],
        routes: Vec::new(),
        upstreams: BTreeMap::new(),
        notices: config.notices.clone(),
    };
    assert_eq!(config, expected);
    let about = ["router.toml:2: listener 127.0.0.1:4433 has no certificates", "no interfaces"];
    assert_eq!(config.notices.len(), about.len(), "{:?}", config.notices);
    for words in about {
        assert!(config.notices.iter().any(|notice| notice.contains(words)), "{words}: {:?}", config.notices);
    }
}

#[test]
fn the_promised_sample_loads() {
    let folder = Folder::new();
    let files = folder.certificate("site");
    let text = include_str!("tests/sample.toml");
    // Relative paths start from the file's folder.
    let text = text.replace("/etc/ssl/site", "site");
    let path = folder.file("config.toml", &text);
    let config = Config::load(&path, &StartFlags::default(), None).unwrap();

    assert_eq!(config.router.interfaces, ["eth0"]);
    assert_eq!(config.listeners[0].certificates, Certificates::Files(vec![files]));
    let local = |port| Authority { host: "127.0.0.1".to_owned(), port };
    let http = |port| Server { address: ServerAddress::Http(local(port)), weight: 1 };
    let probe = HealthProbe::Http { path: "/healthz".to_owned(), host: None, status: 200..=399 };
    let (interval, timeout) = (Duration::from_secs(2), Duration::from_secs(1));
    let api = Servers {
        balance: Balance::LeastRequests,
        health: Some(Health { probe, interval, timeout, rise: 2, fall: 3 }),
        ..servers(vec![http(8080), http(8081)])
    };
    let echo = servers(vec![Server { address: ServerAddress::Tcp(local(7)), weight: 1 }]);
    let upstreams = [("api".into(), Upstream::Servers(api)), ("tcp-echo".into(), Upstream::Servers(echo))];
    assert_eq!(config.upstreams, BTreeMap::from(upstreams));
    let example = Host::Exact("example.com".to_owned());
    let api = HttpRoute { host: Some(example), path: "/api/".to_owned(), ..to("example.com/api/", "api") };
    let echo = RawRoute {
        name: "alpn echo".into(),
        listeners: Vec::new(),
        alpn: "echo".to_owned(),
        sni: None,
        upstream: "tcp-echo".into(),
    };
    assert_eq!(config.routes, [Route::Http(api), Route::Raw(echo)]);
    assert_eq!(config.notices, Vec::<String>::new());
}

/// Servers with all defaults.
fn servers(all: Vec<Server>) -> Servers {
    let seconds = Duration::from_secs;
    Servers {
        all,
        balance: Balance::RoundRobin,
        health: None,
        ejection: Some(Ejection { failures: 5, time: seconds(10), status: None }),
        slow_start: None,
        max_connections: 1_024,
        client_share: 0.75,
        queue: 1_024,
        timeouts: Timeouts { connect: seconds(5), response: seconds(60), idle: seconds(60), queue: seconds(5) },
        tls: UpstreamTls::default(),
        host: HostField::Client,
        proxy_protocol: false,
    }
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

#[test]
fn values_other_than_the_defaults_arrive() {
    let text = r#"
        [router]
        node_id = 65_535
        workers = 255
        engine = "xdp"
        interfaces = ["eth0", "eth1.100"]
        bpf_dir = "/sys/fs/bpf/other"
        state_dir = "/srv/state"
        control = "/srv/control"
        drain_timeout = "2m"
        debug_headers = true
        path_normalization = "as-is"
        [connection_id]
        encoding = "quic-lb"
        length = 8
        server_id = "hex:0a0b"
        encryption = "none"
        describe_length = false
        lifetime = "1s"
        [limits]
        max_connections = 500
        client_prefix4 = 24
        client_prefix6 = 56
        max_handshakes = 1
        idle_timeout = "500ms"
        max_header_bytes = 1_024
        max_headers = 7
        request_timeout = "2s"
        body_timeout = "3s"
        send_timeout = "4s"
        min_rate = 1_000
        memory = "128 MiB"
        [[listener]]
        address = "[::1]:443"
        [[route]]
        upstream = "all"
        [upstream.all]
        servers = ["http://[::1]:80"]
    "#;
    let config = parse(text).unwrap();
    assert_eq!(config.router.node_id, 65_535);
    assert_eq!(config.router.workers.get(), 255);
    assert_eq!(config.router.engine, Engine::Xdp);
    assert_eq!(config.router.interfaces, ["eth0", "eth1.100"]);
    assert_eq!(config.router.bpf_dir, Path::new("/sys/fs/bpf/other"));
    assert_eq!(config.router.state_dir, Path::new("/srv/state"));
    assert_eq!(config.router.control, Path::new("/srv/control"));
    assert_eq!(config.router.drain_timeout, Duration::from_secs(120));
    assert!(config.router.debug_headers);
    assert_eq!(config.router.path_normalization, PathNormalization::AsIs);
    let connection_id = ConnectionIdPlan {
        length: 8,
        server_id: ServerId::new(&[10, 11]),
        encryption: Encryption::None,
        describe_length: false,
        lifetime: Duration::from_secs(1),
    };
    assert_eq!(config.connection_id, connection_id);
    // An absent limit per address never exceeds the node's.
    let idle_timeout = Duration::from_millis(500);
    let limits = Limits {
        max_connections: 500,
        max_connections_per_ip: 500,
        client_prefix4: 24,
        client_prefix6: 56,
        max_handshakes: 1,
        idle_timeout,
        max_header_bytes: 1_024,
        max_headers: 7,
        request_timeout: Duration::from_secs(2),
        body_timeout: Duration::from_secs(3),
        send_timeout: Duration::from_secs(4),
        min_rate: 1_000,
        memory: Some(128 << 20),
    };
    assert_eq!(config.limits, limits);
    assert_eq!(config.routes, [Route::Http(to("/", "all"))]);
    assert_eq!(config.notices.len(), 1, "only the self-signed certificate: {:?}", config.notices);
}

/// Whether each piece of TOML in the fixture is refused with the words that stand below it.
#[test]
fn what_is_wrong_is_named_with_its_line() {
    let fixture = include_str!("tests/refused.txt");
    let mut cases = 0;
    let mut wrong = Vec::new();
    for case in fixture.split("\n\n").filter(|case| !case.starts_with('#')) {
        let (text, expected) = case.trim_end().split_once("\n=> ").expect(case);
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
    let load = |start: &[&str]| Config::load_unless_absent(&absent, true, &flags(start), None);
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
