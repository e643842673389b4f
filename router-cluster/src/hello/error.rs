//! Why a datagram is no hello that counts.

use crate::membership::NodeNumber;

/// Why a datagram at the tunnel's port was not taken for a hello. Nothing secret is in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HelloError {
    /// It is shorter than a hello.
    #[error("a datagram of {octets} octets is too short for a hello")]
    Truncated {
        /// Octets of UDP payload.
        octets: usize,
    },
    /// It is a packet of the tunnel, or nothing of this cluster's.
    #[error("the datagram is no control message of GUE version 0 in a hello's form")]
    NoControlMessage,
    /// It is a control message of another type.
    #[error("GUE control type {0} is not a hello's")]
    OtherControlType(u8),
    /// It is a hello whose form this version does not read.
    #[error("hello of version {0}: this node reads version 1; bring the nodes to versions that are next to each other")]
    OtherVersion(u8),
    /// It is from or for the number 0.
    #[error("a hello from or for node 0, which no node is")]
    NoNode,
    /// It is for another node.
    #[error("hello for node {receiver}, but this is node {own}: compare the addresses in both nodes' records")]
    OtherReceiver {
        /// Whom it is for.
        receiver: NodeNumber,
        /// This node.
        own: NodeNumber,
    },
    /// It is from another node than the one that this link leads to.
    #[error("hello of node {sender} on the link to node {peer}")]
    OtherSender {
        /// Who sent it.
        sender: NodeNumber,
        /// Whose it would have to be.
        peer: NodeNumber,
    },
    /// It is in the name of a node that this one does not know.
    #[error("a hello in the name of node {0}, of which this node has no record (yet)")]
    UnknownSender(NodeNumber),
    /// Its tag does not hold.
    #[error(
        "a hello in the name of node {0} is not sealed under this cluster's secret: it is forged, or the secret files of \
         the two nodes differ"
    )]
    NotAuthentic(NodeNumber),
    /// It is authentic, but its content is not in the form of this version.
    #[error("an authentic hello cannot be read: {0}; is its sender older than the version before this one?")]
    Malformed(&'static str),
}

/// The system gave no random numbers, so nothing could be sealed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("cannot seal a hello for node {0}: the system gives no random numbers")]
pub struct SealError(pub NodeNumber);
