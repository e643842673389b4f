//! `[cluster]`

use std::path::PathBuf;

use super::{
    kinds::{Number, Other, TIME_MAX, Time, Word, prose, seconds},
    table::table,
};
use crate::config::{Cluster, Config, ForwardBy, MembershipEngine, NewConnections, TakenBy};

const ENGINES: [(&str, MembershipEngine); 1] = [("file", MembershipEngine::File)];
const FORWARDS: [(&str, ForwardBy); 1] = [("udp", ForwardBy::Udp)];
const PLACES: [(&str, NewConnections); 2] = [("local", NewConnections::Local), ("hash", NewConnections::Hash)];

table! {
    "cluster", "a table, [cluster]"; CLUSTER: ClusterKeys, RawCluster;
    whole(config.cluster, "the cluster has changed");

    /// Required. What the cluster is called, the same on all nodes: 1 to 63 letters, digits, dots and hyphens. It stands in
    /// logs and answers.
    name: Other<String> { takes: prose("a name") } = "-", Restart(by name_change);

    /// What says which nodes there are: `"file"`, a list that all hosts have a copy of.
    engine: Word<MembershipEngine> { words: &ENGINES } = MembershipEngine::File, Restart(by engine_change);

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
    change(before, after, |cluster| cluster.engine)
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
