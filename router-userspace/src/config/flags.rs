//! The flags of `quic-router run` that start it without a file, or override what the file says.
//!
//! They are laid over the raw file, as values with a flag for their place, so one check serves
//! both and an error names the flag.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{
    error::Place,
    file::RawConfig,
    keys::{RawCertificate, RawListener, RawRoute, RawServer, RawUpstream},
    raw::{At, RawCount},
};

/// Name of the upstream that `--upstream` makes.
const UPSTREAM_NAME: &str = "command-line";

/// A start without a file, or another value than the file's.
#[derive(clap::Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct StartFlags {
    /// Answer on this UDP address and port, in place of the file's listeners (repeatable)
    #[arg(long, value_name = "ADDR")]
    pub listen: Vec<String>,

    /// Certificate chain (PEM) for all listeners, in place of the file's certificates
    #[arg(long, value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,

    /// Private key (PEM) of --cert
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,

    /// Answer HTTP/1.1 and HTTP/2 on the TCP ports of the same numbers too
    #[arg(long)]
    pub tcp: bool,

    /// Send all requests to this server, in place of the file's routes and upstreams (repeatable):
    /// http://HOST:PORT, https://, h2c:// or unix:PATH; or answer them from files:DIR or with
    /// respond:STATUS
    #[arg(long, value_name = "URL")]
    pub upstream: Vec<String>,

    /// Steer packets on this interface, in place of the file's interfaces (repeatable)
    #[arg(long, value_name = "IF")]
    pub interface: Vec<String>,

    /// How many workers: a number from 1 to 255, or auto for one per CPU
    #[arg(long, value_name = "N")]
    pub workers: Option<String>,

    /// How packets reach the workers: auto, af_xdp, xdp, reuseport or userspace
    #[arg(long, value_name = "ENGINE")]
    pub engine: Option<String>,

    /// Folder on a bpffs for the pinned maps and links
    #[arg(long, value_name = "DIR")]
    pub bpf_dir: Option<PathBuf>,

    /// Folder for the master secret
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,

    /// What to log: error, warn, info, debug, trace or off, also by module: info,quinn=debug
    #[arg(long, value_name = "LEVEL")]
    pub log: Option<String>,
}

impl StartFlags {
    /// Replaces in `raw` what a flag says; `control` is the global `--control`.
    pub(super) fn overlay(&self, raw: &mut RawConfig, control: Option<&Path>) {
        self.overlay_listeners(raw);
        self.overlay_upstream(raw);
        let router = &mut raw.router;
        if !self.interface.is_empty() {
            let names = self.interface.iter().map(|name| flag("--interface", name.clone())).collect();
            router.interfaces = Some(flag("--interface", names));
        }
        replace(&mut router.workers, "--workers", self.workers.as_deref().map(count));
        replace(&mut router.engine, "--engine", self.engine.clone());
        replace(&mut router.bpf_dir, "--bpf-dir", self.bpf_dir.clone());
        replace(&mut router.state_dir, "--state-dir", self.state_dir.clone());
        replace(&mut router.log, "--log", self.log.clone());
        replace(&mut router.control, "--control", control.map(Path::to_owned));
    }

    fn overlay_listeners(&self, raw: &mut RawConfig) {
        if !self.listen.is_empty() {
            let listener = |address: &String| RawListener {
                address: Some(flag("--listen", address.clone())),
                ..RawListener::default()
            };
            raw.listener = self.listen.iter().map(|address| flag("--listen", listener(address))).collect();
        }
        if self.cert.is_some() || self.key.is_some() {
            let file = |path: &Option<PathBuf>| path.clone().map(|path| flag("--cert", path));
            let certificate = RawCertificate { cert: file(&self.cert), key: file(&self.key) };
            for listener in &mut raw.listener {
                let one = vec![flag("--cert", certificate.clone())];
                listener.value.certificates = Some(flag("--cert", one));
            }
        }
        if self.tcp {
            for listener in &mut raw.listener {
                listener.value.tcp = Some(flag("--tcp", true));
            }
        }
    }

    fn overlay_upstream(&self, raw: &mut RawConfig) {
        if self.upstream.is_empty() {
            return;
        }
        let servers = self.upstream.iter().map(|url| flag("--upstream", RawServer::Url(url.clone()))).collect();
        let upstream = RawUpstream { servers: Some(flag("--upstream", servers)), ..RawUpstream::default() };
        let route = RawRoute { upstream: Some(flag("--upstream", UPSTREAM_NAME.to_owned())), ..RawRoute::default() };
        raw.upstream = BTreeMap::from([(UPSTREAM_NAME.to_owned(), flag("--upstream", upstream))]);
        raw.route = vec![flag("--upstream", route)];
    }
}

fn count(text: &str) -> RawCount {
    text.parse().map_or_else(|_| RawCount::Word(text.to_owned()), RawCount::Number)
}

fn replace<T>(value: &mut Option<At<T>>, name: &'static str, given: Option<T>) {
    if let Some(given) = given {
        *value = Some(flag(name, given));
    }
}

fn flag<T>(name: &'static str, value: T) -> At<T> {
    At { place: Place::Flag(name), value }
}
