//! Flags of `run`: alone, and over a file.

use std::path::Path;

use super::{Folder, LISTENER, to};
use crate::config::*;

pub(super) fn flags(arguments: &[&str]) -> StartFlags {
    #[derive(clap::Parser)]
    struct Run {
        #[command(flatten)]
        start: StartFlags,
    }
    let arguments = ["run"].iter().chain(arguments);
    <Run as clap::Parser>::try_parse_from(arguments).unwrap().start
}

#[test]
fn flags_alone_make_a_configuration() {
    let folder = Folder::new();
    let files = folder.certificate("site");
    let (cert, key) = (files.cert.to_str().unwrap(), files.key.to_str().unwrap());
    let start = flags(&[
        "--listen",
        "0.0.0.0:443",
        "--listen",
        "[::]:443",
        "--cert",
        cert,
        "--key",
        key,
        "--upstream",
        "http://10.0.0.1:80",
        "--upstream",
        "http://10.0.0.2:80",
        "--interface",
        "eth0",
        "--workers",
        "3",
        "--engine",
        "xdp",
        "--bpf-dir",
        "/sys/fs/bpf/x",
        "--state-dir",
        "/srv/x",
    ]);
    let config = Config::from_flags(&start, Some(Path::new("/run/x"))).unwrap();
    let addresses: Vec<_> = config.listeners.iter().map(|listener| listener.address.to_string()).collect();
    assert_eq!(addresses, ["0.0.0.0:443", "[::]:443"]);
    for listener in &config.listeners {
        assert_eq!(listener.certificates, Certificates::Files(vec![files.clone()]));
    }
    let Upstream::Servers(servers) = &config.upstreams["command-line"] else { panic!("{:?}", config.upstreams) };
    assert_eq!(servers.all.len(), 2);
    assert_eq!(config.routes, [Route::Http(to("/", "command-line"))]);
    assert_eq!(config.router.interfaces, ["eth0"]);
    assert_eq!(config.router.workers.get(), 3);
    assert_eq!(config.router.engine, Engine::Xdp);
    assert_eq!(config.router.bpf_dir, Path::new("/sys/fs/bpf/x"));
    assert_eq!(config.router.state_dir, Path::new("/srv/x"));
    assert_eq!(config.router.control, Path::new("/run/x"));
}

#[test]
fn flags_override_the_file_and_errors_name_them() {
    let folder = Folder::new();
    let text = format!("{LISTENER}[router]\nworkers = 2\nnode_id = 7\nengine = \"userspace\"\ncontrol = \"/run/a\"\n");
    let path = folder.file("config.toml", &text);
    let start = flags(&["--listen", "127.0.0.1:5555", "--workers", "4"]);
    let config = Config::load(&path, &start, Some(Path::new("/run/b"))).unwrap();
    assert_eq!(config.listeners.len(), 1);
    assert_eq!(config.listeners[0].address.port(), 5555);
    assert_eq!((config.router.workers.get(), config.router.node_id), (4, 7));
    assert_eq!(config.router.engine, Engine::Userspace);
    assert_eq!(config.router.control, Path::new("/run/b"));

    for (arguments, expected) in [
        (["--engine", "af_xdp"], "--engine: \"af_xdp\" needs to know the interfaces"),
        (["--workers", "many"], "--workers: \"many\" is not \"auto\" or a number from 1 to 255"),
        (["--listen", "0.0.0.0:443"], "--listen: 0.0.0.0:443 has no certificates"),
        (["--upstream", "tcp://a:1"], "--upstream: HTTP requests need http:// servers"),
        (["--bpf-dir", "x"], "--bpf-dir: \"x\" is not an absolute path"),
    ] {
        let error = Config::load(&path, &flags(&arguments), None).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}
