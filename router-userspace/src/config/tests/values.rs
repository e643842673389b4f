//! The values that a configuration has: by default, and when all of them are written.

use std::{collections::BTreeMap, num::NonZeroU16, time::Duration};

use super::*;
use crate::telemetry::LogFilter;

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
            version_negotiation: std::num::NonZeroU32::new(10_000),
            answer_in_xdp: AnswerInXdp::Auto,
            challenge: router_common::admission::Challenge::Auto,
            new_total: std::num::NonZeroU32::new(20_000),
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
