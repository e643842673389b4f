//! Gathers the facts: from files, the kernel, and the agent.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::{IpAddr, SocketAddr},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use router_cluster::secret::ClusterSecret;

use crate::{
    agent::api,
    config::{Cluster, MembershipEngine},
    doctor::{agent::Agent, sockets, wanted::Wanted},
    worker::udp,
};

/// What matters to a node of a cluster.
#[derive(Debug)]
pub(in crate::doctor) struct Facts {
    /// Where other nodes send what is for this one.
    pub(super) tunnel: SocketAddr,
    /// Client URLs of etcd; empty with another engine.
    pub(super) endpoints: Vec<String>,
    /// Where clients come in.
    pub(super) listeners: Vec<SocketAddr>,
    /// The host's addresses, each with its interface; none where they cannot be listed.
    pub(super) addresses: Option<BTreeMap<IpAddr, String>>,
    /// Who has the tunnel's port.
    pub(super) port: PortUse,
    /// Files with the secret and the list of nodes.
    pub(super) files: Vec<FileFacts>,
    /// What the kernel checks of packets by the route back to their source.
    pub(super) reverse_path: ReversePath,
    /// What the agent says.
    pub(super) told: Told,
}

/// Who has the tunnel's port.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PortUse {
    Free,
    Agent,
    /// Another process.
    Foreign(String),
}

/// A file that the cluster needs.
#[derive(Debug)]
pub(super) struct FileFacts {
    /// `secret` or `members`.
    pub(super) what: &'static str,
    pub(super) path: PathBuf,
    pub(super) flaw: Option<Flaw>,
}

/// What is wrong with a file, and the way out.
#[derive(Debug)]
pub(super) struct Flaw {
    pub(super) what: String,
    pub(super) hint: String,
}

/// `rp_filter` (IPv4), and where it matters.
#[derive(Debug, Default)]
pub(super) struct ReversePath {
    /// `net.ipv4.conf.all.rp_filter`
    pub(super) all: u8,
    /// That of each interface that a route leads out by.
    pub(super) interfaces: BTreeMap<String, u8>,
}

/// What the agent says of the cluster.
#[derive(Debug)]
pub(super) enum Told {
    NoAgent,
    NoCluster,
    Cluster(Box<api::Cluster>),
}

/// Looks, for the cluster that `config` describes.
pub(in crate::doctor) fn facts(config: &Cluster, wanted: &Wanted, agent: Option<&Agent>) -> Facts {
    let (members, endpoints) = match &config.engine {
        MembershipEngine::File { members, .. } => (Some(list(members)), Vec::new()),
        MembershipEngine::Etcd(access) => (None, access.endpoints.clone()),
    };
    Facts {
        tunnel: config.tunnel(),
        endpoints,
        listeners: wanted.listeners.clone(),
        addresses: getifaddrs().ok().map(|all| all.filter_map(|one| address(&one)).collect()),
        port: port(config.tunnel(), agent.map(|agent| agent.status.pid)),
        files: std::iter::once(secret(&config.secret)).chain(members).collect(),
        reverse_path: reverse_path(),
        told: match agent {
            None => Told::NoAgent,
            Some(Agent { cluster: None, .. }) => Told::NoCluster,
            Some(Agent { cluster: Some(cluster), .. }) => Told::Cluster(Box::new(cluster.clone())),
        },
    }
}

fn address(interface: &InterfaceAddress) -> Option<(IpAddr, String)> {
    let address = interface.address.as_ref()?;
    let v4 = address.as_sockaddr_in().map(|v4| IpAddr::from(v4.ip()));
    let ip = v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::from(v6.ip())))?;
    Some((ip, interface.interface_name.clone()))
}

/// Generations of an agent share the port: where its own socket is among them, the others are of its kind.
fn port(tunnel: SocketAddr, agent: Option<u32>) -> PortUse {
    let own = agent.map(sockets::sockets_of).unwrap_or_default();
    let bound: Vec<_> = udp::bound_sockets().filter(|bound| sockets::overlap(tunnel, bound.address)).collect();
    match bound.first() {
        None => PortUse::Free,
        Some(_) if bound.iter().any(|bound| own.contains(&bound.inode)) => PortUse::Agent,
        Some(bound) => PortUse::Foreign(udp::owner(bound.inode)),
    }
}

fn secret(path: &Path) -> FileFacts {
    let flaw = ClusterSecret::read(path).err().map(|e| Flaw { what: e.to_string(), hint: e.hint() });
    FileFacts { what: "secret", path: path.to_owned(), flaw }
}

/// What it says was read when the configuration was.
fn list(path: &Path) -> FileFacts {
    let shown = path.display();
    let flaw = match fs::metadata(path).map(|metadata| metadata.permissions().mode() & 0o7777) {
        Ok(mode) if mode & 0o022 == 0 => None,
        Ok(mode) => Some(Flaw {
            what: format!(
                "{shown} can be written by others than its owner (mode {mode:o}), who then say which nodes there are"
            ),
            hint: format!("chmod 644 {shown}"),
        }),
        Err(e) => Some(Flaw { what: format!("{shown} cannot be read: {e}"), hint: format!("ls -l {shown}") }),
    };
    FileFacts { what: "members", path: path.to_owned(), flaw }
}

fn reverse_path() -> ReversePath {
    let filter = |name: &str| {
        let text = fs::read_to_string(format!("/proc/sys/net/ipv4/conf/{name}/rp_filter")).ok()?;
        text.trim().parse().ok()
    };
    let routes = fs::read_to_string("/proc/self/net/route").unwrap_or_default();
    let interfaces = ways_out(&routes).into_iter().filter_map(|name| Some((name.to_owned(), filter(name)?)));
    ReversePath { all: filter("all").unwrap_or(0), interfaces: interfaces.collect() }
}

/// The interfaces that IPv4 routes lead out by; the table begins with a line of names.
fn ways_out(routes: &str) -> BTreeSet<&str> {
    routes.lines().skip(1).filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "lo").collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Node 1 of a cluster, on a host as it should be, without an agent.
    pub(in crate::doctor::cluster) fn sample() -> Facts {
        let address = |address: &str, interface: &str| (address.parse().unwrap(), interface.to_owned());
        Facts {
            tunnel: "10.0.0.11:6080".parse().unwrap(),
            endpoints: Vec::new(),
            listeners: vec!["192.0.2.80:443".parse().unwrap()],
            addresses: Some(BTreeMap::from([address("10.0.0.11", "eth0"), address("192.0.2.80", "lo")])),
            port: PortUse::Free,
            files: vec![FileFacts { what: "secret", path: "/cluster.key".into(), flaw: None }],
            reverse_path: ReversePath { all: 0, interfaces: BTreeMap::from([("eth0".to_owned(), 1)]) },
            told: Told::NoAgent,
        }
    }

    #[test]
    fn interfaces_with_a_route_are_ways_out() {
        let routes =
            "Iface\tDestination\tGateway\neth1\t00000000\t010200C0\neth0\t000200C0\t00000000\neth1\t0\t0\nlo\t0\t0\n";
        assert_eq!(Vec::from_iter(ways_out(routes)), ["eth0", "eth1"]);
        assert!(ways_out("").is_empty());
    }

    #[test]
    fn a_list_that_anyone_may_write_is_no_good() {
        let path = std::env::temp_dir().join(format!("quic-router-doctor-members-{}", std::process::id()));
        fs::write(&path, "").unwrap();
        let flaw = |mode| {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            list(&path).flaw
        };
        assert!(flaw(0o644).is_none());
        assert_eq!(flaw(0o666).unwrap().hint, format!("chmod 644 {}", path.display()));
        fs::remove_file(&path).unwrap();
        assert!(list(&path).flaw.unwrap().what.contains("cannot be read"));
        assert!(secret(&path).flaw.unwrap().hint.contains("openssl rand"));
    }

    #[test]
    fn who_has_the_port_is_found() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let tunnel = socket.local_addr().unwrap();
        assert_eq!(port(tunnel, Some(std::process::id())), PortUse::Agent);
        assert!(matches!(port(tunnel, None), PortUse::Foreign(_)));
        drop(socket);
        assert_eq!(port(tunnel, None), PortUse::Free);
    }
}
