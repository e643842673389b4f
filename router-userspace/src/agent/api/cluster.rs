//! The other nodes of the cluster.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::NodeState;

/// The cluster as a node sees it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Cluster {
    /// [`SCHEMA`](super::SCHEMA)
    pub schema: u32,
    /// `[cluster] name`
    pub name: String,
    /// `[cluster] engine`: what says which nodes there are.
    pub engine: String,
    /// The file that it reads, where it reads one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<String>,
    /// The number of the node that was asked.
    pub node: u16,
    /// Where other nodes send what is for it.
    pub tunnel: String,
    /// Whether what the engine says is of now; else it is what it said last.
    pub live: bool,
    /// Seconds since the engine could last be asked; none: never.
    pub synced_age_seconds: Option<u64>,
    /// Why it cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Why this node is not ready, where what it knows of the cluster is or may be out of date: it started while the engine
    /// was away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unconfirmed: Option<String>,
    /// That its number is no longer this node's, and what to do: an operator has forgotten it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forgotten: Option<String>,
    /// Grows with each change of the keys and configurations that nodes share.
    pub revision: u64,
    /// The nodes that a rotation of connection IDs waits for, before it goes on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rotation_waits_for: Vec<u16>,
    /// `local` or `hash`
    pub new_connections: String,
    /// Octets of UDP payload that clients of a listener on IPv4 are told to send at most (RFC 9000 section 18.2); none: as
    /// without a cluster.
    pub max_udp_payload_size_ipv4: Option<u16>,
    /// The same of one on IPv6.
    pub max_udp_payload_size_ipv6: Option<u16>,
    /// Whether the shared addresses are to be announced; none: `cluster.announce_table` is not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announced: Option<Announced>,
    /// All nodes, this one among them, by number.
    pub nodes: Vec<ClusterNode>,
    /// Packets that came to the tunnel's port without having been made by a node of the cluster.
    pub forged: u64,
}

/// Whether a routing daemon is told to announce the addresses that nodes share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announced {
    /// `[cluster] announce_table`: the kernel's routing table that tells it.
    pub table: u32,
    /// Whether it has a route to each of them.
    pub announced: bool,
    /// The addresses to which it has a route of this agent's.
    pub addresses: Vec<IpAddr>,
    /// Why not to all, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A node, as another one sees it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClusterNode {
    /// Its number.
    pub number: u16,
    /// Whether it is the one that was asked.
    pub this: bool,
    /// Where other nodes send what is for it: address and port.
    pub address: String,
    /// What it counts as.
    pub state: NodeState,
    /// Why, in words.
    pub why: String,
    /// Whether it takes new connections.
    pub takes_new_connections: bool,
    /// Its share of new connections, where they are placed by hash; 0 where only its last place is known.
    pub weight: u16,
    /// How packets get there: `xdp`, or `relay` (workers' sockets); none of this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The longest packet that the interface towards it carries, in octets from its IP header on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The longest datagram of its that has come lately, and of ours there: octets of UDP payload; 0: none.
    pub longest_heard: [u16; 2],
    /// Since it was last heard, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard_ms_ago: Option<u64>,
    /// Whether it says that it hears this one.
    pub hears_us: bool,
    /// The nodes that it should hear and does not, as its record says; empty where the engine has no such records.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub does_not_hear: Vec<u16>,
    /// Whether its listeners have the same addresses as those of the node that was asked; none: it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_listeners: Option<bool>,
    /// Addresses of listeners that it lacks, and the node that was asked has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lacks_listeners: Vec<String>,
    /// Addresses of listeners that it has, and the node that was asked lacks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub has_other_listeners: Vec<String>,
    /// The way there and back, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round_trip_us: Option<u64>,
    /// How far its clock is ahead of ours, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_ahead_ms: Option<i64>,
    /// Packets sent on to it, and their octets without the tunnel's headers.
    pub forwarded_packets: u64,
    /// See there.
    pub forwarded_octets: u64,
    /// Packets that it sent on to this one, and their octets.
    pub unwrapped_packets: u64,
    /// See there.
    pub unwrapped_octets: u64,
    /// Packets in its name that nothing vouches for.
    pub forged: u64,
    /// Packets for it that were dropped because they do not fit into the tunnel.
    pub too_long: u64,
}
