//! `[cluster]`

use std::path::PathBuf;

use super::{
    kinds::{Nothing, Number, Optional, Other, TIME_MAX, Time, Word, prose, seconds},
    table::table,
};
use router_cluster::membership::{DEFAULT_WEIGHT, WEIGHT_MAX};

use crate::config::{Cluster, Config, ForwardBy, MembershipEngine, NewConnections, TakenBy, raw::At};

/// The engines of membership; the keys beside say the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum EngineWord {
    File,
    Etcd,
}

const ENGINES: [(&str, EngineWord); 2] = [("file", EngineWord::File), ("etcd", EngineWord::Etcd)];
const FORWARDS: [(&str, ForwardBy); 1] = [("udp", ForwardBy::Udp)];
const PLACES: [(&str, NewConnections); 2] = [("local", NewConnections::Local), ("hash", NewConnections::Hash)];

table! {
    "cluster", "a table, [cluster]"; CLUSTER: ClusterKeys, RawCluster;
    whole(config.cluster, "the cluster has changed");

    /// Required. What the cluster is called, the same on all nodes: 1 to 63 letters, digits, dots and hyphens. It stands in
    /// logs and answers.
    name: Other<String> { takes: prose("a name") } = "-", Restart(by name_change);

    /// What says which nodes there are: `"file"`, a list that all hosts have a copy of, or `"etcd"`, which gives each node
    /// its number, and in which `quic-router cluster init` makes the cluster, once. `router.node_id` is left out with it.
    engine: Word<EngineWord> { words: &ENGINES } = EngineWord::File, Restart(by engine_change);

    /// Required with the engine `"etcd"`. Client URLs of its members, which are tried in turn:
    /// `["https://10.0.0.5:2379"]`. All in there is sealed with keys that come of `secret`.
    endpoints: Other<Vec<At<String>>> { takes: prose("URLs") } = "[]", Restart(by engine_change);

    /// Absolute path of the certificate authority (PEM) of etcd's certificates. Required with `https://`.
    ca: Other<PathBuf> { takes: prose("an absolute path") } = "-", Restart(by engine_change);

    /// Absolute path of the certificate (PEM) that this node shows to etcd, with `key`.
    cert: Other<PathBuf> { takes: prose("an absolute path") } = "-", Restart(by engine_change);

    /// Absolute path of its private key (PEM).
    key: Other<PathBuf> { takes: prose("an absolute path") } = "-", Restart(by engine_change);

    /// This node's share of new connections where `new_connections` is `"hash"`, relative to the others' weights. With the
    /// engine `"file"` the list says it.
    weight: Number<u16> { range: 1..=WEIGHT_MAX, unit: "" } = DEFAULT_WEIGHT, Restart(by weight_change);

    /// Required with the engine `"file"`. Absolute path of the [list of nodes](#the-list-of-nodes). It is read at the
    /// start and at each reload.
    members: Other<PathBuf> { takes: prose("an absolute path") } = "-", Reload;

    /// Required. `"file:PATH"`: a file with 32 octets in hex or base64, the same on all nodes, that only its owner can
    /// read (`openssl rand -hex 32`). Every key of the node is derived from it in place of the master secret in
    /// `state_dir`, and that of connection IDs where `connection_id.encryption` is `"auto"`. Who has it can forge what
    /// nodes send each other.
    secret: Other<String> { takes: prose("`\"file:PATH\"`") } = "-", Restart(by secret_change);

    /// Required. This host's own address, to which other nodes send what is for it: not one of those that they share.
    /// The list of nodes has it too, and by it the node finds its number there.
    address: Other<String> { takes: prose("an IP address") } = "-", Restart(by address_change);

    /// The UDP port to which nodes send each other packets. No host outside the cluster needs to reach it.
    port: Number<u16> { range: 1..=u16::MAX, unit: "" } = 6080, Restart(by port_change);

    /// How packets are sent to the node that they are for. `"udp"`: as they are, in a UDP datagram (GUE) with a tag that
    /// only nodes can make; 44 octets more over IPv4, 64 over IPv6.
    forward: Word<ForwardBy> { words: &FORWARDS } = ForwardBy::Udp, Reload;

    /// Which node has a new connection. `"local"`: the one that its first packet comes to. `"hash"`: one that a hash of
    /// the connection ID names, by the weights of the nodes, wherever it comes in; most packets are sent on then.
    new_connections: Word<NewConnections> { words: &PLACES } = NewConnections::Local, Reload;

    /// How long packets for a node that is not heard of are still sent to it; then they are dropped. A node that is gone
    /// for good has been silent that long, too, before others answer its clients with stateless resets.
    dead_after: Time { range: seconds(1)..=TIME_MAX } = seconds(10), Reload;

    /// A routing table of the kernel's that says when a routing daemon is to announce the shared addresses: while this node
    /// takes new connections it has a route `blackhole ADDRESS`, of protocol 114, to each listener's address but
    /// `address` and loopback ones. Not 253, 254 or 255, and none that a rule or a VRF looks packets up in. See
    /// [cluster.md](cluster.md#announcing-the-address-by-bgp).
    announce_table: Optional<Number<u32>> { of: Number { range: 1..=u32::MAX, unit: "" } } = Nothing, Reload;
}

/// What takes a change of one value of the table; one that comes or goes is a change of each.
fn change<T: PartialEq>(before: &Config, after: &Config, of: impl Fn(&Cluster) -> T) -> Option<TakenBy> {
    let [before, after] = [before, after].map(|config| config.cluster.as_ref().map(&of));
    (before != after).then_some(TakenBy::Restart)
}

fn name_change(before: &Config, after: &Config) -> Option<TakenBy> {
    change(before, after, |cluster| cluster.name.clone())
}

fn engine_change(before: &Config, after: &Config) -> Option<TakenBy> {
    change(before, after, |cluster| match &cluster.engine {
        MembershipEngine::File { .. } => None,
        MembershipEngine::Etcd(access) => Some(access.clone()),
    })
}

fn weight_change(before: &Config, after: &Config) -> Option<TakenBy> {
    change(before, after, |cluster| cluster.weight)
}

fn secret_change(before: &Config, after: &Config) -> Option<TakenBy> {
    change(before, after, |cluster| cluster.secret.clone())
}

fn address_change(before: &Config, after: &Config) -> Option<TakenBy> {
    change(before, after, |cluster| cluster.address)
}

fn port_change(before: &Config, after: &Config) -> Option<TakenBy> {
    change(before, after, |cluster| cluster.port)
}
