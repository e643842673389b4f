//! All hellos of this node: to whom, in which datagrams, and which of those that arrive count.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Instant,
};

use super::{
    audience::Audiences,
    error::{HelloError, SealError},
    exchange::{Heard, HelloExchange, Moment, WayReport},
    link::HelloLink,
    message::{Announcement, Hello, Run},
    wire::Header,
};
use crate::{membership::NodeNumber, secret::ClusterSecret};

/// Hellos that say that no more will follow: two of them may be lost.
const LAST_HELLOS: u8 = 3;

/// The hellos between this node and all others. There is no socket and no clock here: the caller sends what it is given,
/// and tells what arrives.
///
/// Every second: [`say`](Self::say), and send what comes of it. For each datagram at the tunnel's port that is a control
/// message of GUE: [`hear`](Self::hear), and if it [counts](Heard::Counted), tell [`Health`](crate::health::Health) of it.
/// Whenever the membership changes: [`members`](Self::members).
pub struct Hellos {
    secret: ClusterSecret,
    own: NodeNumber,
    run: Run,
    peers: BTreeMap<NodeNumber, Peer>,
}

/// One other node.
#[derive(Debug)]
struct Peer {
    link: HelloLink,
    exchange: HelloExchange,
    /// How many hellos are still said to it, where it is not in the audience any more.
    last_hellos: Option<u8>,
}

/// A datagram to another node's tunnel port, to be sent with DF.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OutgoingHello {
    /// Whom it is for.
    pub to: NodeNumber,
    /// UDP payload.
    pub datagram: Vec<u8>,
}

/// A hello that was opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IncomingHello {
    /// Who sent it.
    pub from: NodeNumber,
    /// Whether it counts. If not, it may be a recording, and nothing follows from what it says.
    pub heard: Heard,
    /// What it says.
    pub hello: Hello,
    /// What the two nodes know of the way between them, with this hello.
    pub way: WayReport,
}

impl Hellos {
    /// Those of node `own`, which is this one, in this `run`.
    pub fn new(secret: ClusterSecret, own: NodeNumber, run: Run) -> Self {
        Self { secret, own, run, peers: BTreeMap::new() }
    }

    /// The nodes of the cluster: whenever they change. All whose addresses are known and that are not forgotten, also
    /// those whose leases have ended: such a node may be alive, and whoever no longer says hello to it makes it take him
    /// for unreachable.
    pub fn members(&mut self, nodes: &BTreeSet<NodeNumber>) {
        let listeners = Audiences::new(nodes).of(self.own);
        self.peers.retain(|number, _| nodes.contains(number));
        for &number in nodes.iter().filter(|&&number| number != self.own) {
            let is_listener = listeners.contains(&number);
            let peer = self.peers.entry(number).or_insert_with(|| Peer {
                link: HelloLink::new(&self.secret, self.own, number),
                exchange: HelloExchange::new(self.run),
                last_hellos: (!is_listener).then_some(0),
            });
            peer.last_hellos = match peer.last_hellos {
                _ if is_listener => None,
                None => Some(LAST_HELLOS),
                left => left,
            };
        }
    }

    /// The hellos of this second. `longest` says for a node the octets of UDP payload that the interface towards it
    /// carries in one packet; some hellos are padded to that.
    ///
    /// # Errors
    /// [`SealError`] if the system gives no random numbers; then nothing is sent.
    pub fn say(
        &mut self,
        at: Moment,
        announcement: Announcement,
        longest: impl Fn(NodeNumber) -> u16,
    ) -> Result<Vec<OutgoingHello>, SealError> {
        let mut outgoing = Vec::with_capacity(self.peers.len());
        for (&to, peer) in &mut self.peers {
            let continues = peer.last_hellos.is_none();
            if let Some(left) = &mut peer.last_hellos {
                match left.checked_sub(1) {
                    Some(fewer) => *left = fewer,
                    None => continue,
                }
            }
            let hello = Hello { continues, ..peer.exchange.next(at, announcement) };
            let length = if hello.is_padded() { longest(to) } else { 0 };
            outgoing.push(OutgoingHello { to, datagram: peer.link.seal(&hello, length)? });
        }
        Ok(outgoing)
    }

    /// Takes a datagram that arrived at the tunnel's port and may be a hello.
    ///
    /// # Errors
    /// Why it is none of a node of this cluster to this node.
    pub fn hear(&mut self, at: Moment, datagram: &[u8]) -> Result<IncomingHello, HelloError> {
        let Header { sender, receiver, .. } = Header::read(datagram)?;
        if receiver != self.own {
            return Err(HelloError::OtherReceiver { receiver, own: self.own });
        }
        let peer = self.peers.get_mut(&sender).ok_or(HelloError::UnknownSender(sender))?;
        let hello = peer.link.open(datagram)?;
        let heard = peer.exchange.hear(&hello, datagram.len(), at);
        Ok(IncomingHello { from: sender, heard, hello, way: peer.exchange.report(at.now) })
    }

    /// What is known at `now` of the ways to the other nodes: a row of `doctor cluster`'s matrix.
    pub fn ways(&self, now: Instant) -> BTreeMap<NodeNumber, WayReport> {
        self.peers.iter().map(|(&number, peer)| (number, peer.exchange.report(now))).collect()
    }
}

impl fmt::Debug for Hellos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peers: Vec<_> = self.peers.keys().collect();
        f.debug_struct("Hellos").field("own", &self.own).field("peers", &peers).finish_non_exhaustive()
    }
}
