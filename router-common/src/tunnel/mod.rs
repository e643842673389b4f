//! The tunnel between the nodes of a cluster: GUE over UDP, whose packets only nodes can make.
//!
//! ```text
//! outer IP       from this node's own address to the owner's; the DS field is the inner packet's     20 | 40
//! outer UDP      its source port by the inner flow, so that receive queues share the work; no sum     8
//! GUE            version 0, 12 octets behind it, protocol 4 (IPv4) or 41 (IPv6)                       4
//! private data   kind and version 1, key 1, sender 2, tag 8                                          12
//! inner IP       the packet as it came
//! ```
//!
//! A host that unwraps what anybody sends lets anybody send from any address (CVE-2020-10136, CVE-2024-7596). So the tag
//! vouches for the sender, the inner addresses and ports, and the first 16 octets of the inner payload, under a key that
//! the cluster's nodes have; and the outer source has to be the sender's address.
//!
//! Sums over UDP are left out, as RFC 6935 and 6936 allow for tunnels over IPv6: the inner packet has its own.

mod ecn;
mod encapsulation;
mod frame;
mod header;
mod inner;
mod keys;
mod open;

pub use self::{
    ecn::decapsulated,
    encapsulation::{Leaving, OUTER_MAX, OUTER_WORDS, Outer, Receiver, outer_length},
    frame::{InnerFrame, open_frame},
    header::{HEADER_LENGTH, Header, Unreadable},
    inner::{Inner, InnerPacket},
    keys::{TunnelKey, TunnelKeys},
    open::{CameFrom, Opened, OuterFacts, Refused, open, open_payload},
};

/// The UDP port of tunnels by default, that of GUE in IANA's registry.
pub const DEFAULT_PORT: u16 = 6_080;
