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
    message::{Announcement, FIRST_PADDED, Hello, PADDED_EVERY, Run},
    wire::Header,
};
use crate::{membership::NodeNumber, secret::ClusterSecret};

/// Hellos that say that no more will follow: two of them may be lost.
const LAST_HELLOS: u8 = 3;

/// So many answers a second at most, whatever is sent here in another node's name: two are needed, and one may be lost.
const ANSWERS_PER_SECOND: u8 = 3;

/// The hellos between this node and all others. There is no socket and no clock here: the caller sends what it is given,
/// and tells what arrives.
///
/// Every second: [`say`](Self::say), and send what comes of it. For each datagram at the tunnel's port that is a control
/// message of GUE: [`hear`](Self::hear), and if it [counts](Heard::Counted), tell [`Health`](crate::health::Health) of it;
/// if it [wants an answer](IncomingHello::wants_answer), send the [`answer`](Self::answer).
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
    /// For how many seconds something has been said to it.
    seconds: u64,
    /// How many answers it may still have in this second.
    answers_left: u8,
}

impl Peer {
    fn next(&mut self, at: Moment, announcement: Announcement) -> Hello {
        Hello { continues: self.last_hellos.is_none(), ..self.exchange.next(at, announcement) }
    }
}

/// Who belongs to a cluster, as far as hellos are concerned.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Members {
    /// The nodes that have a record, and this one.
    pub present: BTreeSet<NodeNumber>,
    /// Nodes without a record that may be alive, and whose addresses are known.
    pub absent: BTreeSet<NodeNumber>,
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
    /// Whether an [`answer`](Hellos::answer) should be sent at once: a run of one of the two has yet to prove to the other that it
    /// is alive, which so takes one or two ways there and back, rather than one or two seconds.
    pub wants_answer: bool,
}

impl Hellos {
    /// Those of node `own`, which is this one, in this `run`.
    pub fn new(secret: ClusterSecret, own: NodeNumber, run: Run) -> Self {
        Self { secret, own, run, peers: BTreeMap::new() }
    }

    /// The nodes of the cluster: whenever they change. A node that is absent is said hello to as if it were present: it may be
    /// alive, and whoever no longer says hello to it makes it take him for unreachable. It takes no place in the others'
    /// [`Audiences`].
    pub fn members(&mut self, members: &Members) {
        let Members { present, absent } = members;
        let audiences = Audiences::new(present);
        let mut listeners = audiences.of(self.own);
        listeners.extend(absent.iter().filter(|&&node| node != self.own && audiences.of(node).contains(&self.own)));
        self.peers.retain(|number, _| present.contains(number) || absent.contains(number));
        for &number in present.union(absent).filter(|&&number| number != self.own) {
            let is_listener = listeners.contains(&number);
            let peer = self.peers.entry(number).or_insert_with(|| Peer {
                link: HelloLink::new(&self.secret, self.own, number),
                exchange: HelloExchange::new(self.run),
                last_hellos: (!is_listener).then_some(0),
                seconds: 0,
                answers_left: ANSWERS_PER_SECOND,
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
            if let Some(left) = &mut peer.last_hellos {
                match left.checked_sub(1) {
                    Some(fewer) => *left = fewer,
                    None => continue,
                }
            }
            let hello = peer.next(at, announcement);
            (peer.seconds, peer.answers_left) = (peer.seconds + 1, ANSWERS_PER_SECOND);
            let length = if peer.seconds % PADDED_EVERY == FIRST_PADDED { longest(to) } else { 0 };
            outgoing.push(OutgoingHello { to, datagram: peer.link.seal(&hello, length)? });
        }
        Ok(outgoing)
    }

    /// One hello more, at once, to a node whose hello [wants it](IncomingHello::wants_answer); none to a node that is not there.
    ///
    /// # Errors
    /// As [`say`](Self::say).
    pub fn answer(
        &mut self,
        to: NodeNumber,
        at: Moment,
        announcement: Announcement,
    ) -> Result<Option<OutgoingHello>, SealError> {
        let Some(peer) = self.peers.get_mut(&to) else { return Ok(None) };
        let hello = peer.next(at, announcement);
        Ok(Some(OutgoingHello { to, datagram: peer.link.seal(&hello, 0)? }))
    }

    /// The nodes that this one says hello to, and that have not said yet that its hellos count there.
    pub fn unaware(&self, now: Instant) -> BTreeSet<NodeNumber> {
        let listeners = self.peers.iter().filter(|(_, peer)| peer.last_hellos.is_none());
        listeners.filter(|(_, peer)| !peer.exchange.report(now).counts_us).map(|(&number, _)| number).collect()
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
        let is_due = peer.exchange.is_answer_due() && peer.last_hellos.is_none();
        let left = peer.answers_left.checked_sub(1).filter(|_| is_due);
        peer.answers_left = left.unwrap_or(peer.answers_left);
        let way = peer.exchange.report(at.now);
        Ok(IncomingHello { from: sender, heard, hello, way, wants_answer: left.is_some() })
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
