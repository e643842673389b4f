//! Hellos: the datagrams by which nodes know that the others are alive, hear them, and carry their packets.
//!
//! A node sends one a second to each other, in a large cluster to some ([`Audiences`]), through the UDP port of the
//! tunnel: so what a firewall does to hellos it does to packets, and neighbours stay resolved. On the wire, in network
//! byte order:
//!
//! ```text
//! GUE: version 0, control bit, Hlen 5 (0x25), control type 0x81, flags 0      4 octets   ┐
//! version 1, 0                                                                2          │
//! sender's number, receiver's number, 0                                       6          │ in clear, authenticated
//! nonce                                                                       12         ┘
//! length of the fields, then                                                  2          ┐
//!   run 8, sequence 8, wall clock 8                                           24         │
//!   state 1, flags 1, weight 2, revision 8, tunnel versions 1 + 1             14         │ sealed
//!   longest hello heard from the receiver                                     2          │
//!   echo: run 8, sequence 8, held 8; that of a candidate: the same            48         │
//! zeros, in a hello that is padded                                            0 or more  ┘
//! tag                                                                         16 octets
//! ```
//!
//! Sealed with AES-256-GCM under a key of its own for each direction of each pair of nodes, which HKDF-SHA256 derives
//! from the cluster's secret; the whole header is authenticated with it. So a hello for another node, or with another
//! sender's number, does not open.
//!
//! **Versions.** A newer version appends fields and says the greater length; an older one skips what it does not know,
//! and takes flags and states that it does not know for harmless. So N and N−1 understand one another. A form that an
//! older version must not read has another version octet.
//!
//! **Replay.** What is authentic need not be new: whoever records hellos can send them again, also those of a node that
//! is dead. Within one run, the sequence decides: only one higher than all before counts. A run that is not known has to
//! prove that it is alive: it counts when a hello of it echoes a hello that this node sent within the last five seconds
//! ([`ECHO_LIFETIME`]). A recording echoes hellos of long ago, or of a run of this node that is over. This takes no clock
//! that is right: a tolerance on timestamps would make a node whose clock is wrong look dead, and let recordings of the
//! last half minute pass. It costs one exchange: a new run counts with its second hello. Each side answers a run that is new
//! to one of the two at once, three times a second at most, so that takes milliseconds; with a node of a version that does
//! not answer, about two seconds.
//!
//! To be echoed, a run that is not proven needs a place in this node's hellos, and there is one. So that replays of old
//! runs do not keep a living run out of it, the hello with the latest wall clock has it: recordings are older than what
//! the same node says now, and clocks of two nodes are never compared. Only a node whose clock went back when it was
//! started again may be kept out, and only as long as somebody replays recordings to it. A run that had been proven
//! before may come back (an upgrade that is reversed), but never with what was heard of it already.
//!
//! An attacker who can hold back datagrams can keep a dead node "alive" with those held back, one hello for each. The
//! same attacker could drop them all. What comes of it is that packets are forwarded to a dead node; it never makes
//! anybody reset connections of a living one.
//!
//! **The fabric's MTU.** Every 30th hello is padded to the longest packet that the interface carries, with DF; each side
//! says the longest that arrived ([`WayReport`]). IP and UDP headers, 28 octets or 48, come on top.

mod audience;
mod error;
mod exchange;
mod hellos;
mod link;
mod longest;
mod message;
#[cfg(test)]
mod tests;
mod wire;

pub use self::{
    audience::{AUDIENCE_SIZE, Audiences, EVERYONE_UP_TO},
    error::{HelloError, SealError},
    exchange::{ECHO_LIFETIME, Heard, HelloExchange, Moment, WayReport},
    hellos::{Hellos, IncomingHello, Members, OutgoingHello},
    link::{HELLO_LENGTH, HelloLink},
    message::{Announcement, Echo, HELLO_INTERVAL, Hello, PADDED_EVERY, Run},
    wire::Header,
};
