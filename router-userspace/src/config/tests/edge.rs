//! What the edge is told: listeners beside QUIC, routes, upstreams, transport, and how operators see
//! it. What is refused in few words stands in `refused.txt`.

use std::{fs, time::Duration};

use http::{HeaderName, HeaderValue, Method, StatusCode};

use super::{Folder, LISTENER, complaint, flags, notices, parse, to};
use crate::config::*;

/// Something of everything. CERT, KEY and FOLDER are replaced.
const EXAMPLE: &str = r#"
[transport]
congestion = "bbr"
stream_window = 65_536
connection_window = 131_072
send_window = 262_144
max_streams = 10
keep_alive = "5s"
initial_mtu = 1_300
max_mtu = false
gso = false
migration = false
[admin]
address = "127.0.0.1:9180"
[access_log]
file = "/var/log/a"
format = "combined"
[qlog]
dir = "/var/q"
sample = 0.5
[[listener]]
address = "0.0.0.0:443"
certificates = [{ cert = "CERT", key = "KEY" }]
tcp = true
redirect_from = "0.0.0.0:80"
alt_svc = false
client_certificates = { ca = "CERT", required = false }
minimum_tls = "1.3"
groups = ["P-384", "X25519"]
preferred_address = "192.0.2.1:443"
[[listener]]
address = "127.0.0.1:444"
early_data = true
alt_svc = "1h"
[[route]]
name = "one"
host = "*.Example.com"
methods = ["GET", "PURGE"]
headers = { x-a = "b", x-c = true }
redirect = "https://{host}/x{path}{query}"
redirect_status = 302
[[route]]
path = "/y"
upstream = "mixed"
request_headers = { set = { x-set = "1" }, add = { x-add = "2" }, remove = ["x-gone"] }
[[route]]
path = "/y"
methods = ["POST"]
upstream = "files"
[[route]]
alpn = "a"
host = "*.b"
upstream = "streams"
[upstream.mixed]
servers = ["http://a", { url = "https://b", weight = 3 }, "h2c://c:81", "unix:/run/d"]
balance = "source-hash"
health = { path = "/h?x", interval = "1s", timeout = "500ms", rise = 1, fall = 9, status = "204", host = "h:1" }
ejection = { failures = 1, time = "1m" }
slow_start = "30s"
max_connections = 5
client_share = 0.5
queue = 0
queue_timeout = "1s"
connect_timeout = "2s"
response_timeout = "3s"
idle_timeout = "4s"
tls = { ca = "CERT", name = "B.example", cert = "CERT", key = "KEY" }
host = "server"
[upstream.files]
servers = ["files:FOLDER"]
[upstream.gone]
servers = ["respond:410"]
[upstream.streams]
servers = ["tcp://[::1]:7", "unix:/run/e"]
ejection = false
proxy_protocol = true
"#;

/// The example with a certificate and a folder, as it is read.
struct Told {
    folder: Folder,
    files: CertificateFiles,
    config: Config,
}

fn told() -> Told {
    let folder = Folder::new();
    let files = folder.certificate("site");
    let text = EXAMPLE.replace("CERT", &files.cert.display().to_string());
    let text = text.replace("KEY", &files.key.display().to_string());
    let config = parse(&text.replace("FOLDER", &folder.path("").display().to_string())).unwrap();
    Told { folder, files, config }
}

#[test]
fn transport_and_what_operators_see_arrive() {
    let Told { config, .. } = told();
    let expected = Transport {
        congestion: Congestion::Bbr,
        stream_window: 65_536,
        connection_window: 131_072,
        send_window: 262_144,
        max_streams: 10,
        keep_alive: Some(Duration::from_secs(5)),
        initial_mtu: 1_300,
        max_mtu: None,
        gso: false,
        migration: false,
    };
    assert_eq!(config.transport, expected);
    assert_eq!(config.admin, Some(Admin { address: "127.0.0.1:9180".parse().unwrap() }));
    let to_file = Destination::File("/var/log/a".into());
    assert_eq!(config.access_log, Some(AccessLog { to: to_file, format: AccessLogFormat::Combined }));
    assert_eq!(config.qlog, Some(Qlog { dir: "/var/q".into(), sample: 0.5 }));
}

#[test]
fn listeners_arrive() {
    let Told { files, config, .. } = told();
    let [first, second] = &config.listeners[..] else { panic!("{:?}", config.listeners) };
    let expected = Listener {
        #[cfg(feature = "interop")]
        interop: crate::interop::Switches::default(),
        address: "0.0.0.0:443".parse().unwrap(),
        certificates: Certificates::Files(vec![files.clone()]),
        tcp: true,
        redirect_from: Some("0.0.0.0:80".parse().unwrap()),
        alt_svc_max_age: None,
        early_data: EarlyData::Off,
        client_certificates: Some(ClientCertificates { ca: files.cert.clone(), required: false }),
        minimum_tls: MinimumTls::Tls13,
        groups: vec![Group::P384, Group::X25519],
        preferred_address: Some("192.0.2.1:443".parse().unwrap()),
    };
    assert_eq!(*first, expected);
    assert_eq!((second.early_data, second.alt_svc_max_age), (EarlyData::Safe, Some(Duration::from_secs(3_600))));
}

#[test]
fn routes_arrive() {
    let Told { config, .. } = told();
    let (name, value) = (|name: &'static str| HeaderName::from_static(name), HeaderValue::from_static);
    let rewrite = HeaderRewrite {
        remove: vec![name("x-gone")],
        set: vec![(name("x-set"), value("1"))],
        add: vec![(name("x-add"), value("2"))],
    };
    let redirect = Redirect { to: "https://{host}/x{path}{query}".to_owned(), status: StatusCode::FOUND };
    let expected = [
        Route::Http(HttpRoute {
            name: "one".into(),
            host: Some(Host::Below("example.com".to_owned())),
            methods: vec![Method::GET, Method::from_bytes(b"PURGE").unwrap()],
            headers: vec![
                HeaderMatch { name: name("x-a"), value: Some(value("b")) },
                HeaderMatch { name: name("x-c"), value: None },
            ],
            action: Action::Redirect(redirect),
            ..to("", "")
        }),
        Route::Http(HttpRoute { path: "/y".to_owned(), request_headers: rewrite, ..to("/y", "mixed") }),
        Route::Http(HttpRoute { path: "/y".to_owned(), methods: vec![Method::POST], ..to("/y #2", "files") }),
        Route::Raw(RawRoute {
            name: "alpn a".into(),
            listeners: Vec::new(),
            alpn: "a".to_owned(),
            sni: Some(Host::Below("b".to_owned())),
            upstream: "streams".into(),
        }),
    ];
    assert_eq!(config.routes, expected);
}

#[test]
fn upstreams_arrive() {
    let Told { folder, files, config } = told();
    let authority = |host: &str, port| Authority { host: host.to_owned(), port };
    let all = [
        (ServerAddress::Http(authority("a", 80)), 1),
        (ServerAddress::Https(authority("b", 443)), 3),
        (ServerAddress::H2c(authority("c", 81)), 1),
        (ServerAddress::Unix("/run/d".into()), 1),
    ];
    let probe =
        HealthProbe::Http { path: "/h?x".to_owned(), host: Some(HeaderValue::from_static("h:1")), status: 204..=204 };
    let seconds = Duration::from_secs;
    let mixed = Servers {
        all: all.map(|(address, weight)| Server { address, weight }).to_vec(),
        balance: Balance::SourceHash,
        health: Some(Health { probe, interval: seconds(1), timeout: Duration::from_millis(500), rise: 1, fall: 9 }),
        ejection: Some(Ejection { failures: 1, time: seconds(60), status: None }),
        slow_start: Some(seconds(30)),
        max_connections: 5,
        client_share: 0.5,
        queue: 0,
        timeouts: Timeouts { connect: seconds(2), response: seconds(3), idle: seconds(4), queue: seconds(1) },
        tls: UpstreamTls {
            ca: Some(files.cert.clone()),
            name: Some("b.example".to_owned()),
            certificate: Some(files.clone()),
        },
        host: HostField::Server,
        proxy_protocol: false,
    };
    assert_eq!(config.upstreams["mixed"], Upstream::Servers(mixed));
    assert_eq!(config.upstreams["files"], Upstream::Files(folder.path("")));
    assert_eq!(config.upstreams["gone"], Upstream::Respond(StatusCode::GONE));
    let Upstream::Servers(streams) = &config.upstreams["streams"] else { panic!("{:?}", config.upstreams) };
    assert!(streams.proxy_protocol && streams.ejection.is_none());
    let about: Vec<_> = config.notices.iter().filter(|notice| !notice.contains("self-signed")).collect();
    assert!(about.iter().any(|notice| notice.ends_with("upstream.gone: no route leads to it")), "{about:?}");
}

#[test]
fn what_has_no_effect_is_said() {
    const A: &str = "[[route]]\nupstream = \"a\"\n[upstream.a]\nservers = [\"http://a\"]\n";
    const RAW: &str = "[[route]]\nalpn = \"x\"\nupstream = \"a\"\n[upstream.a]\nservers = [\"tcp://a:1\"]\n";
    let route = |servers: &str| format!("[[route]]\nupstream = \"a\"\n[upstream.a]\nservers = [\"{servers}\"]\n");
    for (text, expected) in [
        ("alt_svc = \"1h\"".to_owned(), Some("3: listener.alt_svc: without tcp = true no client is told")),
        ("alt_svc = false".to_owned(), None),
        ("alt_svc = \"1h\"\ntcp = true".to_owned(), None),
        ("minimum_tls = \"1.3\"".to_owned(), Some("3: listener.minimum_tls: without tcp = true it has no effect")),
        ("minimum_tls = \"1.3\"\ntcp = true".to_owned(), None),
        ("redirect_from = \"127.0.0.1:80\"".to_owned(), Some("3: listener.redirect_from: browsers cannot follow")),
        ("redirect_from = \"127.0.0.1:80\"\ntcp = true".to_owned(), None),
        ("[admin]\naddress = \"127.0.0.1:9180\"".to_owned(), None),
        (
            "[admin]\naddress = \"0.0.0.0:9180\"".to_owned(),
            Some("4: admin.address: anyone who reaches 0.0.0.0:9180 reads the metrics"),
        ),
        (
            "[[route]]\nredirect = \"/x\"\nrequest_headers = { remove = [\"a\"] }".to_owned(),
            Some("5: route.request_headers: a redirect sends nothing on"),
        ),
        ("[[route]]\nredirect = \"/x\"\nresponse_headers = { remove = [\"a\"] }".to_owned(), None),
        (format!("{RAW}response_timeout = \"1s\""), Some("8: upstream.a.response_timeout: streams may pause")),
        (format!("{RAW}idle_timeout = \"1s\""), Some("8: upstream.a.idle_timeout: streams may pause")),
        (format!("{A}idle_timeout = \"1s\""), None),
        (format!("{A}queue = 0\nqueue_timeout = \"1s\""), Some("8: upstream.a.queue_timeout: with queue = 0")),
        (format!("{A}queue = 1\nqueue_timeout = \"1s\""), None),
        (format!("{A}slow_start = \"1s\"\nejection = false"), Some("7: upstream.a.slow_start: without health and")),
        (format!("{A}slow_start = \"1s\"\nejection = false\nhealth = {{}}"), None),
        (format!("{A}slow_start = \"1s\""), None),
        (
            format!("{}proxy_protocol = true", route("unix:/run/a")),
            Some("4: upstream.a.proxy_protocol has no effect on requests"),
        ),
        (format!("{RAW}proxy_protocol = true"), None),
        ("[upstream.a]\nservers = [\"respond:200\"]".to_owned(), Some("3: upstream.a: no route leads to it")),
    ] {
        match (&*notices(&text), expected) {
            ([], None) => {}
            ([notice], Some(expected)) => assert!(notice.starts_with(expected), "{text}: {notice}"),
            (all, expected) => panic!("{text}: {all:?}, not {expected:?}"),
        }
    }
}

#[test]
fn built_in_answers_have_no_servers_to_tune() {
    let options = [
        "balance = \"source-hash\"",
        "health = {}",
        "ejection = false",
        "slow_start = \"1s\"",
        "max_connections = 1",
        "queue = 1",
        "queue_timeout = \"1s\"",
        "connect_timeout = \"1s\"",
        "response_timeout = \"1s\"",
        "idle_timeout = \"1s\"",
        "tls = {}",
        "host = \"client\"",
        "proxy_protocol = false",
    ];
    let text = format!("{LISTENER}[upstream.a]\nservers = [\"respond:204\"]\n{}\n", options.join("\n"));
    let error = parse(&text).unwrap_err();
    for (index, option) in options.iter().enumerate() {
        let key = option.split(' ').next().unwrap();
        let expected = format!(
            "router.toml:{}: upstream.a.{key}: files: and respond: have no servers that it could be about",
            5 + index
        );
        assert_eq!(error.problems()[index].to_string(), expected);
    }
    assert_eq!(error.problems().len(), options.len());
}

#[test]
fn http_0_9_is_for_interoperability_tests_alone() {
    let text =
        format!("{LISTENER}[[route]]\nalpn = \"hq-interop\"\nupstream = \"a\"\n[upstream.a]\nservers = [\"hq:/\"]\n");
    assert_eq!(parse(&text).is_ok(), cfg!(feature = "interop"), "{:?}", parse(&text));
}

#[test]
fn true_takes_what_is_usual() {
    let usual = parse(LISTENER).unwrap();
    let config = parse(&format!("{LISTENER}tcp = true\nalt_svc = true\n[transport]\nmax_mtu = true\n")).unwrap();
    assert_eq!(config.listeners[0].alt_svc_max_age, usual.listeners[0].alt_svc_max_age);
    assert_eq!(config.transport, usual.transport);

    let ejection = |text: &str| {
        let text = format!("{LISTENER}[upstream.a]\nservers = [\"http://a\"]\n{text}\n");
        let Upstream::Servers(servers) = parse(&text).unwrap().upstreams.remove("a").unwrap() else { panic!("{text}") };
        servers.ejection
    };
    let seconds = Duration::from_secs;
    assert_eq!(ejection("ejection = true"), Some(Ejection { failures: 5, time: seconds(10), status: None }));
    assert_eq!(
        ejection("ejection = { failures = 2 }"),
        Some(Ejection { failures: 2, time: seconds(10), status: None })
    );
    assert_eq!(
        ejection("[upstream.a.ejection]\ntime = \"1s\""),
        Some(Ejection { failures: 5, time: seconds(1), status: None })
    );
    assert_eq!(ejection("ejection = false"), None);
}

#[test]
fn packets_up_to_the_largest_there_is() {
    let transport = |text: &str| parse(&format!("{LISTENER}[transport]\n{text}\n")).unwrap().transport;
    assert_eq!(transport("max_mtu = 65_527").max_mtu, Some(65_527));
    assert_eq!(transport("max_mtu = 1_200").max_mtu, Some(1_200));
    assert_eq!(transport("initial_mtu = 1_452").initial_mtu, 1_452);
    // Without discovery, nothing is larger than the first.
    assert_eq!(transport("max_mtu = false\ninitial_mtu = 9_000").initial_mtu, 9_000);
}

#[test]
fn listeners_share_ports_where_sockets_can() {
    let folder = Folder::new();
    let files = folder.certificate("site");
    let certificates =
        format!("certificates = [{{ cert = \"{}\", key = \"{}\" }}]", files.cert.display(), files.key.display());
    let listener = |address: &str, more: &str| {
        format!("[[listener]]\naddress = \"{address}\"\ntcp = true\n{certificates}\n{more}\n")
    };
    // The more exact address comes first; families never meet.
    let shared = ["0.0.0.0:443", "192.0.2.1:443", "[::]:443"].map(|address| listener(address, "")).concat();
    assert_eq!(parse(&shared).unwrap().listeners.len(), 3);
    let with_admin = format!("{}[admin]\naddress = \"[::1]:443\"\n", listener("0.0.0.0:443", ""));
    assert_eq!(parse(&with_admin).unwrap().admin.unwrap().address, "[::1]:443".parse().unwrap());

    let preferring = listener("0.0.0.0:443", "preferred_address = \"192.0.2.1:443\"");
    assert_eq!(parse(&preferring).unwrap().listeners[0].preferred_address, Some("192.0.2.1:443".parse().unwrap()));
    let expected = "router.toml:5: listener.preferred_address: 192.0.2.1:443 is a listener of its own, whose sockets \
                    would get the packets | leave out that listener, or prefer another address";
    assert_eq!(complaint(&format!("{preferring}{}", listener("192.0.2.1:443", ""))), expected);
}

#[test]
fn authorities_are_read_when_checked() {
    let folder = Folder::new();
    let key = folder.certificate("site").key;
    let text = format!("{LISTENER}client_certificates = {{ ca = \"{}\" }}\n", key.display());
    let expected = format!("router.toml:3: listener.client_certificates: {} holds no PEM certificate", key.display());
    assert_eq!(complaint(&text), expected);
    let tls = format!("{LISTENER}[upstream.a]\nservers = [\"https://a\"]\ntls = {{ ca = \"{}\" }}\n", key.display());
    let expected = format!("router.toml:5: upstream.a.tls: {} holds no PEM certificate", key.display());
    assert_eq!(complaint(&tls), expected);
}

#[test]
fn relative_paths_start_from_the_files_folder() {
    let folder = Folder::new();
    let files = folder.certificate("site");
    fs::create_dir(folder.path("www")).unwrap();
    let text = format!(
        "{LISTENER}client_certificates = {{ ca = \"site.pem\" }}\n\
         [upstream.a]\nservers = [\"https://a\"]\n\
         tls = {{ ca = \"site.pem\", name = \"[::1]\", cert = \"site.pem\", key = \"site.key\" }}\n\
         [upstream.b]\nservers = [\"files:www\"]\n"
    );
    let path = folder.file("config.toml", &text);
    let config = Config::load(&path, &StartFlags::default(), None).unwrap();
    let expected = ClientCertificates { ca: files.cert.clone(), required: true };
    assert_eq!(config.listeners[0].client_certificates, Some(expected));
    let Upstream::Servers(servers) = &config.upstreams["a"] else { panic!("{:?}", config.upstreams) };
    let expected = UpstreamTls { ca: Some(files.cert.clone()), name: Some("::1".to_owned()), certificate: Some(files) };
    assert_eq!(servers.tls, expected);
    assert_eq!(config.upstreams["b"], Upstream::Files(folder.path("www")));
}

#[test]
fn flags_start_an_edge() {
    let folder = Folder::new();
    let www = format!("files:{}", folder.path("").display());
    let start = |upstreams: &[&str]| {
        let mut arguments = vec!["--listen", "127.0.0.1:4433", "--listen", "[::1]:4433", "--tcp"];
        arguments.extend(upstreams.iter().flat_map(|upstream| ["--upstream", upstream]));
        Config::from_flags(&flags(&arguments), None)
    };
    let config = start(&["https://a", "h2c://b", "unix:/run/c"]).unwrap();
    assert!(config.listeners.iter().all(|listener| listener.tcp));
    assert_eq!(config.routes, [Route::Http(to("/", "command-line"))]);
    let Upstream::Servers(servers) = &config.upstreams["command-line"] else { panic!("{:?}", config.upstreams) };
    let addresses: Vec<_> = servers.all.iter().map(|server| server.address.to_string()).collect();
    assert_eq!(addresses, ["https://a:443", "h2c://b:80", "unix:/run/c"]);
    assert_eq!(start(&[&www]).unwrap().upstreams["command-line"], Upstream::Files(folder.path("")));
    assert_eq!(start(&["respond:204"]).unwrap().upstreams["command-line"], Upstream::Respond(StatusCode::NO_CONTENT));

    for (upstreams, expected) in [
        (&["respond:204", "http://a"][..], "--upstream: \"respond:204\" is no server among others: it stands alone"),
        (&["files:/absent"], "--upstream: folder /absent cannot be read: No such file or directory (os error 2)"),
        (&["http://a", "tcp://b:1"], "--upstream: \"tcp://b:1\" is of another kind than the servers before it"),
    ] {
        assert_eq!(start(upstreams).unwrap_err().to_string(), expected);
    }

    // The flag adds to the file's listeners.
    let path = folder.file("config.toml", LISTENER);
    assert!(Config::load(&path, &flags(&["--tcp"]), None).unwrap().listeners[0].tcp);
    let clash = folder.file("clash.toml", &format!("{LISTENER}[admin]\naddress = \"127.0.0.1:4433\"\n"));
    let error = Config::load(&clash, &flags(&["--tcp"]), None).unwrap_err().to_string();
    assert_eq!(error, "--tcp: TCP 127.0.0.1:4433 is taken by admin.address, 127.0.0.1:4433");
}
