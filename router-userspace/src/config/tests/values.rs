//! The values that a configuration has: by default, and when all of them are written.

use std::{collections::BTreeMap, time::Duration};

use super::*;
use crate::telemetry::LogFilter;

/// What a definition gives as its default is in docs/configuration.md, which is made of the definitions, and taken by the
/// checker (`keys.rs`). Others are reckoned by the checker, or none.
#[test]
fn defaults_that_no_definition_has() {
    let config = parse(LISTENER).unwrap();
    let available = std::thread::available_parallelism().unwrap().get().min(255);
    assert_eq!(usize::from(config.router.workers.get()), available);
    assert_eq!((config.router.engine, &config.router.interfaces), (Engine::Auto, &Vec::new()));
    assert_eq!(config.router.log, LogFilter::default());
    assert_eq!((config.connection_id.server_id, config.connection_id.encryption), (None, Encryption::Auto));
    assert_eq!((config.limits.memory, config.transport.keep_alive), (None, None));
    let ports = [0..=0, 1..=1_023, 1_900..=1_900, 5_353..=5_353, 11_211..=11_211, 20_800..=20_800, 27_015..=27_015];
    assert_eq!(config.admission.reject_source_ports, ports);
    assert_eq!((config.admin, config.access_log, config.qlog), (None, None, None));
    let [listener] = &config.listeners[..] else { panic!("{:?}", config.listeners) };
    assert_eq!((&listener.certificates, listener.redirect_from), (&Certificates::SelfSigned, None));
    assert_eq!(listener.alt_svc_max_age, Some(Duration::from_secs(24 * 60 * 60)));
    assert_eq!((&listener.client_certificates, &listener.preferred_address), (&None, &None));
    assert_eq!(listener.groups, [Group::X25519MlKem768, Group::X25519, Group::P256, Group::P384]);
    assert_eq!((config.routes, config.upstreams), (Vec::new(), BTreeMap::new()));
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
    let text = include_str!("sample.toml");
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
    assert_eq!((config.limits.max_connections, config.limits.max_connections_per_ip), (500, 500));
    assert_eq!((config.limits.client_prefix4, config.limits.client_prefix6), (24, 56));
    assert_eq!((config.limits.max_header_bytes, config.limits.max_headers), (1_024, 7));
    let Limits { idle_timeout, request_timeout, body_timeout, send_timeout, .. } = config.limits;
    let times = [idle_timeout, request_timeout, body_timeout, send_timeout].map(|time| time.as_millis());
    assert_eq!(times, [500, 2_000, 3_000, 4_000]);
    assert_eq!((config.limits.max_handshakes, config.limits.min_rate), (1, 1_000));
    assert_eq!(config.limits.memory, Some(128 << 20));
    assert_eq!(config.routes, [Route::Http(to("/", "all"))]);
    assert_eq!(config.notices.len(), 1, "only the self-signed certificate: {:?}", config.notices);
}
