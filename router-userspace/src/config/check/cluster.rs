//! `[cluster]`: a name, an address that is this host's alone, a secret that can be read, a list of nodes.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};

use router_cluster::{
    membership::{ClusterState, Membership as _, NodeRecord, file},
    secret::ClusterSecret,
};

use super::{addresses, places};
use crate::config::{
    CertificateFiles, Cluster, ConnectionIdPlan, Encryption, EtcdAccess, Listener, MembershipEngine,
    error::{Findings, Place},
    keys::{CLUSTER, CONNECTION_ID, EngineWord, ROUTER, RawCluster, kinds::absolute},
    octets,
    raw::{At, each},
};

/// Octets of a name, at most.
const NAME_MAX: usize = 63;

const SECRET_EXAMPLE: &str = "secret = \"file:/etc/quic-router/cluster.key\"";

/// What else of the configuration a cluster has to fit.
pub(super) struct Beside<'a> {
    pub(super) listeners: &'a [Listener],
    pub(super) connection_id: &'a ConnectionIdPlan,
}

pub(super) fn check(
    raw: Option<At<RawCluster>>,
    beside: &Beside<'_>,
    findings: &mut Findings<'_>,
) -> Option<At<Cluster>> {
    let At { place, value: raw } = raw?;
    let name = name(place, raw.name.as_ref(), findings);
    let secret = secret(place, raw.secret.as_ref(), findings);
    let address = address(place, raw.address.as_ref(), findings);
    let port = CLUSTER.port.read(&raw.port, findings);
    let weight = CLUSTER.weight.read(&raw.weight, findings);
    let forward = CLUSTER.forward.read(&raw.forward, findings);
    let new_connections = CLUSTER.new_connections.read(&raw.new_connections, findings);
    let dead_after = CLUSTER.dead_after.read(&raw.dead_after, findings);
    let announce_table = announce_table(raw.announce_table.as_ref(), findings);
    if beside.connection_id.server_id.is_some() {
        let why = "nodes find each other's packets by node_id, which connection_id.server_id stands in the way of";
        findings.problem(place, "cluster", why);
        findings.hint("leave out connection_id.server_id");
    }
    if matches!(beside.connection_id.encryption, Encryption::File(_)) {
        let why = "all nodes have the same keys of connection IDs, which come of cluster.secret";
        findings.problem(place, CONNECTION_ID.encryption.name(), format_args!("\"file:PATH\": {why}"));
        findings.hint("encryption = \"auto\"");
    }
    // All else is about values that are there.
    let engine = engine(place, &raw, secret.as_ref(), findings);
    let (name, address, engine, secret) = (name?, address?, engine?, secret?);
    let cluster = Cluster {
        name,
        engine,
        secret: secret.path,
        address: address.value,
        port,
        weight,
        forward,
        new_connections,
        dead_after,
        announce_table,
    };
    if let Some(at) = raw.announce_table.as_ref().filter(|_| cluster.announced(beside.listeners).is_empty()) {
        let why = "no listener has an address that nodes share, so there is nothing to announce";
        findings.notice(at.place, format_args!("{}: {why}", CLUSTER.announce_table.name()));
    }
    let tunnel = At { place: raw.port.map_or(address.place, |at| at.place), value: cluster.tunnel() };
    beside.fits(&tunnel, findings);
    Some(At { place: address.place, value: cluster })
}

impl Beside<'_> {
    /// Whether other nodes reach this one there, and what they send is no client's.
    fn fits(&self, tunnel: &At<SocketAddr>, findings: &mut Findings<'_>) {
        if let Some(listener) = self.listeners.iter().find(|one| addresses::overlap(one.address, tunnel.value)) {
            let why = format!("the listener {} would get what other nodes send to {}", listener.address, tunnel.value);
            findings.problem(tunnel.place, CLUSTER.port.name(), why);
            findings.hint("another port, the same on all nodes");
        }
        if let Some(listener) = self.listeners.iter().find(|one| one.address.ip() == tunnel.value.ip()) {
            let why = format!(
                "cluster.address: the listener {} has it, too; where it is an address that nodes share, others do not reach this one there",
                listener.address
            );
            findings.notice(tunnel.place, why);
        }
    }
}

/// A table that nothing else is in.
fn announce_table(raw: Option<&At<i64>>, findings: &mut Findings<'_>) -> Option<u32> {
    let table = CLUSTER.announce_table.read(&raw.cloned(), findings)?;
    let name = match table {
        253 => "default",
        254 => "main",
        255 => "local",
        _ => return Some(table),
    };
    let why = format_args!("{table} is the table \"{name}\", by which packets of this host are sent");
    findings.problem(raw?.place, CLUSTER.announce_table.name(), why);
    findings.hint("announce_table = 100, or another one that `ip route show table all` does not name");
    None
}

/// What says which nodes there are, with what it needs.
fn engine(
    table: Place,
    raw: &RawCluster,
    secret: Option<&Secret>,
    findings: &mut Findings<'_>,
) -> Option<MembershipEngine> {
    match CLUSTER.engine.read(&raw.engine, findings) {
        EngineWord::File => {
            let members = members(table, raw.members.as_ref(), findings)?;
            let listed = listed(&members, secret?.value.clone(), findings)?;
            Some(MembershipEngine::File { members: members.value, listed })
        }
        EngineWord::Etcd => {
            if !cfg!(feature = "etcd") {
                let why = "this program was built without the engine \"etcd\" (cargo feature etcd)";
                findings.problem(places::place_of(&raw.engine), CLUSTER.engine.name(), why);
            }
            etcd(table, raw, findings).map(MembershipEngine::Etcd)
        }
    }
}

fn etcd(table: Place, raw: &RawCluster, findings: &mut Findings<'_>) -> Option<EtcdAccess> {
    let endpoints: Vec<_> = each(&raw.endpoints).iter().map(|at| at.value.clone()).collect();
    if endpoints.is_empty() {
        findings.problem(table, CLUSTER.endpoints.name(), "missing: the engine \"etcd\" needs at least one URL");
        findings.hint("endpoints = [\"https://10.0.0.5:2379\"]");
    }
    for At { place, value } in each(&raw.endpoints) {
        let is_secure = value.starts_with("https://");
        if !is_secure && !value.starts_with("http://") {
            findings.problem(*place, CLUSTER.endpoints.name(), format_args!("\"{value}\" is no URL of etcd's"));
            findings.hint("https://HOST:2379, or http://");
        } else if is_secure && raw.ca.is_none() {
            findings.problem(*place, CLUSTER.ca.name(), format_args!("missing, and {value} needs it"));
            findings.hint("ca = \"/etc/quic-router/etcd-ca.pem\", the authority of etcd's certificates");
        }
    }
    let mut file = |raw: &Option<At<PathBuf>>, key| raw.as_ref().and_then(|at| path(at, key, findings));
    let [ca, cert, key] =
        [file(&raw.ca, CLUSTER.ca.name()), file(&raw.cert, CLUSTER.cert.name()), file(&raw.key, CLUSTER.key.name())];
    if raw.cert.is_some() != raw.key.is_some() {
        findings.problem(table, "cluster", "cert and key belong together, and one of them is missing");
    }
    let identity = cert.zip(key).map(|(cert, key)| CertificateFiles { cert: cert.value, key: key.value });
    Some(EtcdAccess { endpoints, ca: ca.map(|at| at.value), identity })
}

/// The number of this node: the one that the list has for its address, which `node_id` may say as well. Etcd gives it
/// another time.
pub(super) fn node_id(cluster: &At<Cluster>, said: Option<&At<i64>>, findings: &mut Findings<'_>) -> Option<u16> {
    let At { place, value: cluster } = cluster;
    let Some(list) = cluster.engine.members().map(Path::display) else {
        if let Some(said) = said {
            findings.problem(said.place, ROUTER.node_id.name(), "with cluster.engine = \"etcd\", etcd gives it");
            findings.hint("leave it out");
        }
        return None;
    };
    let Some(own) = cluster.own_record() else {
        let address = cluster.address;
        findings.problem(*place, CLUSTER.address.name(), format_args!("{list} has no node with the address {address}"));
        findings.hint(format!("[[node]] with address = \"{address}\" in {list}"));
        return None;
    };
    if own.port != cluster.port {
        let why = format!("{} here, and {} in {list}", cluster.port, own.port);
        findings.problem(*place, CLUSTER.port.name(), why);
        findings.hint("the same in both");
    }
    let number = own.number.get();
    if let Some(said) = said.filter(|said| said.value != i64::from(number)) {
        let why = format!("{} here, and {number} in {list}, by cluster.address", said.value);
        findings.problem(said.place, ROUTER.node_id.name(), why);
        findings.hint("leave it out: the list of nodes says it");
    }
    Some(number)
}

impl Cluster {
    /// What the list of nodes says of this one.
    fn own_record(&self) -> Option<&NodeRecord> {
        let MembershipEngine::File { listed, .. } = &self.engine else { return None };
        let mut records = listed.nodes.values().filter_map(|member| member.record.as_ref());
        records.find(|record| record.address == self.address)
    }
}

fn listed(members: &At<PathBuf>, secret: ClusterSecret, findings: &mut Findings<'_>) -> Option<Arc<ClusterState>> {
    match file::File::open(&members.value, secret) {
        Ok(list) => {
            let state = Arc::clone(&list.view().state);
            check_numbers(&state, members, findings);
            Some(state)
        }
        Err(error) => {
            for problem in error.problems() {
                let why = format_args!("{}: {}", problem.place, problem.what);
                findings.problem(members.place, CLUSTER.members.name(), why);
                findings.hint(problem.hint.clone());
            }
            None
        }
    }
}

/// Keys of the tunnel go with the numbers of configurations of connection IDs, and each takes the place of the one but
/// last: all nodes have two in common then, whichever of two lists each has read.
fn check_numbers(state: &ClusterState, members: &At<PathBuf>, findings: &mut Findings<'_>) {
    let mut numbers: Vec<_> = state.cid.values().map(|cid| cid.announced).collect();
    numbers.sort_unstable();
    if let Some((one, next)) = numbers.iter().zip(numbers.iter().skip(1)).find(|(one, next)| *one + 1 != **next) {
        let why = format!("{}: connection_ids.announced: {next} comes after {one}", members.value.display());
        findings.problem(members.place, CLUSTER.members.name(), why);
        findings.hint(format!("one behind the other: [{one}, {}]", one + 1));
    }
}

fn name(table: Place, raw: Option<&At<String>>, findings: &mut Findings<'_>) -> Option<String> {
    let Some(At { place, value: name }) = raw else {
        findings.problem(table, CLUSTER.name.name(), "missing");
        findings.hint("name = \"edge\", the same on all nodes");
        return None;
    };
    let is_fit = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'.';
    if name.is_empty() || name.len() > NAME_MAX || !name.bytes().all(is_fit) {
        let why = format!("{name:?} is no name: 1 to {NAME_MAX} letters, digits, dots and hyphens");
        findings.problem(*place, CLUSTER.name.name(), why);
        return None;
    }
    Some(name.clone())
}

fn members(table: Place, raw: Option<&At<PathBuf>>, findings: &mut Findings<'_>) -> Option<At<PathBuf>> {
    let Some(At { place, value }) = raw else {
        findings.problem(table, CLUSTER.members.name(), "missing: the engine \"file\" reads the nodes from it");
        findings.hint("members = \"/etc/quic-router/members.toml\"");
        return None;
    };
    path(&At { place: *place, value: value.clone() }, CLUSTER.members.name(), findings)
}

fn path(At { place, value }: &At<PathBuf>, key: &str, findings: &mut Findings<'_>) -> Option<At<PathBuf>> {
    match absolute(value) {
        Ok(()) => Some(At { place: *place, value: value.clone() }),
        Err(wrong) => {
            wrong.note(*place, key, findings);
            None
        }
    }
}

/// A secret, and where it was found.
struct Secret {
    path: PathBuf,
    value: ClusterSecret,
}

fn secret(table: Place, raw: Option<&At<String>>, findings: &mut Findings<'_>) -> Option<Secret> {
    let key = CLUSTER.secret.name();
    let Some(At { place, value }) = raw else {
        findings.problem(table, key, "missing: nodes know each other by it");
        findings.hint(SECRET_EXAMPLE);
        return None;
    };
    let Some(path) = value.strip_prefix("file:").filter(|path| !path.is_empty()) else {
        // Not quoted: errors are logged.
        let is_key = octets::from_text(value).is_some_and(|octets| octets.len() >= 16);
        let why = if is_key { "a key does not stand here, where others may read it" } else { "it is no \"file:PATH\"" };
        findings.problem(*place, key, why);
        findings.hint(SECRET_EXAMPLE);
        return None;
    };
    let path = places::base(*place, findings.name()).join(Path::new(path));
    match ClusterSecret::read(&path) {
        Ok(value) => Some(Secret { path, value }),
        Err(error) => {
            findings.problem(*place, key, &error);
            findings.hint(error.hint());
            None
        }
    }
}

fn address(table: Place, raw: Option<&At<String>>, findings: &mut Findings<'_>) -> Option<At<IpAddr>> {
    let key = CLUSTER.address.name();
    let Some(At { place, value: text }) = raw else {
        findings.problem(table, key, "missing: other nodes send to it");
        findings.hint("address = \"10.0.0.11\", of this host alone");
        return None;
    };
    let Ok(address) = text.parse::<IpAddr>() else {
        findings.problem(*place, key, format_args!("\"{text}\" is not an IP address"));
        if text.parse::<SocketAddr>().is_ok() {
            findings.hint("the port is a key of its own: port = 6080");
        }
        return None;
    };
    let why = match address {
        _ if address.is_unspecified() => "stands for all addresses: other nodes need one to send to",
        _ if address.is_multicast() => "is a multicast address",
        IpAddr::V4(v4) if v4.is_broadcast() => "is the broadcast address",
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => "is an IPv4 address: write it as one",
        IpAddr::V6(v6) if v6.is_unicast_link_local() => "is link-local: it means another interface on each host",
        IpAddr::V4(_) | IpAddr::V6(_) => return Some(At { place: *place, value: address }),
    };
    findings.problem(*place, key, format_args!("{text} {why}"));
    None
}
