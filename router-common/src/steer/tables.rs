//! What the decision asks of its surroundings.

use crate::{
    admission::{Challenge, Limited, Listed, TokenKeys},
    connection_id::{ConnectionId, Keys},
    frame::{Address, Endpoint},
    identifiers::{ConfigRotation, NodeId, SlotId},
    maps::{CidConfig, Node, Queue, Settings, Slot},
    tunnel::TunnelKeys,
};

/// The decision's view of the maps. Each method is one look-up; one of them changes something.
pub trait Tables {
    /// An entry of the flow table, in which the caller accounts the packet.
    type Flow;

    /// How the keys of a configuration are kept.
    type Keys: Keys;

    /// `settings`; `None` only before the agent has written them.
    fn settings(&self) -> Option<Settings>;

    /// Whether a listener has this destination, by exact address or by wildcard.
    fn listens(&self, destination: &Endpoint) -> bool;

    /// The flow of a connection ID, and its slot.
    fn flow(&self, cid: &ConnectionId) -> Option<(Self::Flow, SlotId)>;

    /// The configuration of a rotation, 0 to 6; `None` for any other.
    fn cid_config(&self, rotation: ConfigRotation) -> Option<&CidConfig>;

    /// Its keys.
    fn cid_keys(&self, rotation: ConfigRotation) -> Option<&Self::Keys>;

    /// What is in a slot.
    fn slot(&self, slot: SlotId) -> Option<Slot>;

    /// The slot for new connections whose connection ID has this hash.
    fn assigned(&self, hash: u64) -> Option<SlotId>;

    /// The seed of that hash.
    fn hash_seed(&self) -> Option<[u64; 2]>;

    /// The receive queue that the frame came in on, if a worker has it.
    fn queue(&self) -> Option<&Queue>;

    /// Whether an address is this host's own.
    fn is_local(&self, address: &Address) -> bool;

    /// Whether an address is the broadcast address of a subnet that this host is in.
    fn is_broadcast(&self, address: &Address) -> bool;

    /// What the block list says of a source: asked only where the list has entries. The packet is counted there; a view
    /// that is there to explain only looks.
    fn listed(&self, source: &Address) -> Listed;

    /// Whether first flights from a port are refused.
    fn refuses_port(&self, port: u16) -> bool;

    /// Whether one more packet of a kind is let through. The place is then taken; a view that is there to
    /// explain only looks.
    fn admits(&self, kind: Limited) -> bool;

    /// Whether one more first flight from a source is let through whose client was not asked for its address. Its place
    /// is then taken among those of the prefix; a view that is there to explain only looks.
    fn admits_from(&self, source: &Address) -> bool;

    /// The same of a client that was asked, and has shown that it receives there.
    fn admits_validated(&self, source: &Address) -> bool;

    /// Whether packets are answered where they are looked at.
    fn answers(&self) -> bool;

    /// Whether clients are asked there to show that they receive at their address.
    fn challenge(&self) -> Challenge;

    /// What vouches for the tokens that they are given for that.
    fn token_keys(&self) -> Option<&TokenKeys>;

    /// The seconds from 1970 on.
    fn unix_seconds(&self) -> u64;

    /// Whether a destination is where the tunnel from other nodes ends.
    fn is_tunnel(&self, destination: &Endpoint) -> bool;

    /// Another node of the cluster.
    fn node(&self, node: NodeId) -> Option<&Node>;

    /// The other node that new connections with this hash are for. `None`: this node takes them, and everywhere but
    /// where a packet is looked at first.
    fn assigned_node(&self, hash: u64) -> Option<NodeId>;

    /// What vouches for the packets that nodes send on to each other, and where tunnels end.
    fn tunnel_keys(&self) -> Option<&TunnelKeys>;
}
