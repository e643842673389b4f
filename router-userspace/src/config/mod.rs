//! What the operator asked for, as values that cannot be wrong.
//!
//! `file` reads TOML into raw structs, `flags` lays the command line over them, `check` turns
//! both into a [`Config`]. Whoever holds a `Config` need not validate anything again: names
//! resolve, numbers are in range, every route leads somewhere, certificates and keys match, key
//! files hold keys.
//!
//! What is asked for and not in this version is an error; what is tolerated without effect is
//! said in [`Config::notices`]. Nothing is ignored in silence.

use std::{
    collections::BTreeMap,
    fs, io,
    net::IpAddr,
    num::NonZeroU16,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use self::{
    error::Findings,
    file::RawConfig,
    keys::{ROUTER, RawLimits},
};
use crate::telemetry::LogFilter;

pub mod certificates;
mod changes;
mod check;
mod error;
mod file;
mod flags;
pub mod key_file;
mod keys;
mod listener;
mod observe;
pub(crate) mod octets;
pub mod paths;
mod route;
mod server_id;
mod suggest;
#[cfg(test)]
mod tests;
mod transport;
mod upstream;
mod values;

pub use self::{
    changes::{Changed, TakenBy, changes},
    error::{ConfigError, Problem},
    flags::StartFlags,
    key_file::{CidKey, KeyFileError},
    listener::{CertificateFiles, Certificates, ClientCertificates, EarlyData, Group, Listener, MinimumTls},
    observe::{AccessLog, AccessLogFormat, Admin, Destination, Qlog},
    paths::PathNormalization,
    route::{Action, HeaderMatch, HeaderRewrite, Host, HttpRoute, RawRoute, Redirect, Route},
    server_id::ServerId,
    transport::{Congestion, Transport},
    upstream::{
        Authority, Balance, Ejection, Health, HealthProbe, HostField, Server, ServerAddress, Servers, Timeouts,
        Upstream, UpstreamTls,
    },
    values::duration,
};

/// The file that is read unless another is named.
pub const DEFAULT_PATH: &str = "/etc/quic-router/config.toml";

/// Where maps and links are pinned unless the configuration says otherwise.
pub const DEFAULT_BPF_DIR: &str = ROUTER.bpf_dir.default();

/// Where the control socket is unless the configuration says otherwise.
pub const DEFAULT_CONTROL: &str = ROUTER.control.default();

/// Most `[[listener]]` tables a node can have: the size of the map that knows them.
pub const LISTENERS_MAX: usize = router_common::maps::LISTENERS_MAX as usize;

/// One node's configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `[router]`
    pub router: Router,
    /// `[connection_id]`
    pub connection_id: ConnectionIdPlan,
    /// `[limits]`
    pub limits: Limits,
    /// `[transport]`
    pub transport: Transport,
    /// `[af_xdp]`
    pub af_xdp: AfXdp,
    /// `[admin]`; none: no metrics.
    pub admin: Option<Admin>,
    /// `[access_log]`; none: requests are not logged.
    pub access_log: Option<AccessLog>,
    /// `[qlog]`; none: connections are not traced.
    pub qlog: Option<Qlog>,
    /// `[[listener]]`, at least one, at most [`LISTENERS_MAX`].
    pub listeners: Vec<Listener>,
    /// `[[route]]`, in the order of the file: the first match wins. Empty: the built-in page.
    pub routes: Vec<Route>,
    /// `[upstream.NAME]`, by name. Every name that a route uses is here.
    pub upstreams: BTreeMap<Arc<str>, Upstream>,
    /// What was accepted but has no effect, or not the one that might be expected: one sentence
    /// each, for the log.
    pub notices: Vec<String>,
}

/// `[router]`: the node and its datapath.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Router {
    /// This host's number in the connection IDs it issues.
    pub node_id: u16,
    /// How many workers to run, 1 to 255 (one slot each; `"auto"` was resolved to the CPUs available).
    pub workers: NonZeroU16,
    /// How packets reach the workers.
    pub engine: Engine,
    /// Whether XDP moves packets to their workers' CPUs.
    pub cpu_map: CpuMap,
    /// Interfaces to steer on; empty with an engine that needs none.
    pub interfaces: Vec<String>,
    /// Where maps and links are pinned; on a bpffs.
    pub bpf_dir: PathBuf,
    /// Where the master secret and the key of the connection IDs live; mode 0700.
    pub state_dir: PathBuf,
    /// The control socket.
    pub control: PathBuf,
    /// How long connections may take to end when the agent stops.
    pub drain_timeout: Duration,
    /// Name the worker and slot in a response header, `x-quic-router-slot`.
    pub debug_headers: bool,
    /// What becomes of the paths of requests before routes match.
    pub path_normalization: PathNormalization,
    /// What to log.
    pub log: LogFilter,
}

/// How packets reach workers, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Engine {
    /// The best that works on each interface; without interfaces, the best that works without XDP.
    Auto,
    /// AF_XDP sockets, each on a receive queue, with what XDP does for packets of other queues.
    AfXdp,
    /// XDP, CPU map and `sk_reuseport`.
    Xdp,
    /// `sk_reuseport` alone.
    Reuseport,
    /// No BPF: the workers hand datagrams to each other.
    Userspace,
}

/// Whether XDP moves a packet that comes in on another CPU to its worker's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CpuMap {
    /// Where an interface has fewer receive queues than there are CPUs with workers, so that the
    /// queues' CPUs would have all the work of the kernel's stack.
    Auto,
    /// Always.
    Always,
    /// It stays where it comes in.
    Never,
}

/// `[af_xdp]`: what the AF_XDP sockets of a node may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AfXdp {
    /// Octets for frames, of all queues together.
    pub memory: u64,
    /// Whether the kernel is to poll devices when a worker asks for frames, in place of interrupts.
    pub busy_poll: bool,
    /// How workers send.
    pub send: SendBy,
}

/// How a worker's datagrams leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SendBy {
    /// By the UDP sockets: through the kernel's stack.
    Udp,
    /// By AF_XDP sockets, where the worker has one on the interface that the route goes out by; else by
    /// the UDP sockets.
    AfXdp,
}

/// `[connection_id]`: the shape of the connection IDs this node issues (QUIC-LB).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionIdPlan {
    /// Octets of a whole connection ID, at most 20: first octet, server ID, and at least 4 of nonce.
    pub length: u8,
    /// The server ID to use, for a load balancer in front, with the slot in the nonce's first octet;
    /// none: node ID (2 octets) and slot (1).
    pub server_id: Option<ServerId>,
    /// Whether, and with which key, server ID and nonce are encrypted.
    pub encryption: Encryption,
    /// Whether the low five bits of the first octet tell the length of the rest, or are random.
    pub describe_length: bool,
    /// After this time a connection's IDs are replaced by fresh ones, so that an old configuration
    /// is out of use soon after a rotation; at least a second.
    pub lifetime: Duration,
}

/// What stands between a connection ID's reader and the server ID in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// A random key, kept in [`Router::state_dir`].
    Auto,
    /// Nothing: it is in clear.
    None,
    /// The key that [`key_file::read`] finds here; it was good when the configuration was checked.
    File(PathBuf),
}

/// `[limits]`: what a node refuses to exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections of the node; new ones beyond it are refused with CONNECTION_REFUSED.
    pub max_connections: u32,
    /// Connections per client: per prefix of its address.
    pub max_connections_per_ip: u32,
    /// Leading bits of an IPv4 address that make a client.
    pub client_prefix4: u8,
    /// Leading bits of an IPv6 address that make a client.
    pub client_prefix6: u8,
    /// Half-open handshakes per worker; from half of it on, clients are sent a Retry.
    pub max_handshakes: u32,
    /// Silence after which a connection ends (RFC 9000 section 10.1; of TCP connections likewise).
    pub idle_timeout: Duration,
    /// Octets of a request's field section, as RFC 9114 section 4.2.2 counts them; more is answered with 431.
    pub max_header_bytes: u32,
    /// Fields of a request; more is answered with 431.
    pub max_headers: u16,
    /// How long a client may take to send a request's head.
    pub request_timeout: Duration,
    /// How long a request may wait for its own body.
    pub body_timeout: Duration,
    /// How long a response may wait for its client to take it.
    pub send_timeout: Duration,
    /// Octets in a second that a client has to move, on average, of what waits for it.
    pub min_rate: u32,
    /// Octets that requests may make the node hold; none: by the memory that there is.
    pub memory: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        check::limits::check(&RawLimits::default(), &mut Findings::new("", ""))
    }
}

impl Config {
    /// Reads `path` and lays `overrides` and the global `--control` over it.
    ///
    /// A file that does not exist is no error at [`DEFAULT_PATH`] if `--listen` is given: the
    /// flags are then all there is.
    pub fn load(path: &Path, overrides: &StartFlags, control: Option<&Path>) -> Result<Self, ConfigError> {
        Self::load_unless_absent(path, path == Path::new(DEFAULT_PATH), overrides, control)
    }

    fn load_unless_absent(
        path: &Path,
        may_be_absent: bool,
        overrides: &StartFlags,
        control: Option<&Path>,
    ) -> Result<Self, ConfigError> {
        let flags_suffice = may_be_absent && !overrides.listen.is_empty();
        let name = path.display().to_string();
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound && flags_suffice => {
                return Self::from_flags(overrides, control);
            }
            Err(error) => return Err(ConfigError::unreadable(&name, &error)),
        };
        let text = String::from_utf8(bytes).map_err(|error| ConfigError::not_utf8(&name, &error))?;
        Self::build(&text, &name, |raw| overrides.overlay(raw, control))
    }

    /// A start without a file: one listener or more, and defaults for what no flag says.
    pub fn from_flags(flags: &StartFlags, control: Option<&Path>) -> Result<Self, ConfigError> {
        Self::build("", "command line", |raw| flags.overlay(raw, control))
    }

    /// Reads `text`; `name` stands for the file in errors, and relative paths of certificates and
    /// keys start from its folder.
    pub fn parse(text: &str, name: &str) -> Result<Self, ConfigError> {
        Self::build(text, name, |_| ())
    }

    fn build(text: &str, name: &str, overlay: impl FnOnce(&mut RawConfig)) -> Result<Self, ConfigError> {
        let mut findings = Findings::new(text, name);
        let mut raw = file::read(text, &mut findings)?;
        overlay(&mut raw);
        check::config(raw, findings)
    }

    /// Whether a certificate may be made up for `address`: nobody on the internet is misled by it.
    pub fn is_private(address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
            IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
        }
    }
}
