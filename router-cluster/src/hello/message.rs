//! What a hello says.

use std::{num::NonZeroU64, time::Duration};

use crate::membership::{NodeState, TunnelVersions};

/// How often a node says hello to each node that is to hear it.
pub const HELLO_INTERVAL: Duration = Duration::from_secs(1);

/// Of so many seconds' hellos in a row, one is padded to the longest packet that the interface carries.
pub const PADDED_EVERY: u64 = 30;

/// The first hello that is padded. It is an early one, so that `doctor cluster` need not wait for half a minute, and not
/// the first: that one has to arrive also where the fabric carries less than the interface.
pub(super) const FIRST_PADDED: u64 = 3;

/// One run of a node's agent. It is random, so no two runs are taken for one another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Run(NonZeroU64);

impl Run {
    /// The run with this number, which has to be random. 0 says "none" on the wire and is taken for 1.
    pub fn new(number: u64) -> Self {
        Self(NonZeroU64::new(number).unwrap_or(NonZeroU64::MIN))
    }

    /// Its number, never 0.
    pub fn get(self) -> u64 {
        self.0.get()
    }
}

/// A hello: one node's word to one other node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hello {
    /// The sender's run.
    pub run: Run,
    /// Counts the hellos of this run to this receiver, from 1.
    pub sequence: u64,
    /// The sender's wall clock: nanoseconds since 1970. It ranks hellos of runs that are not known yet, and tells
    /// `doctor cluster` how far the clocks are apart; nothing is refused because of it.
    pub sent_at: u64,
    /// What the sender says of itself.
    pub announcement: Announcement,
    /// Whether more hellos follow. Not so in the last ones to a receiver that the sender no longer chooses (see
    /// [`Audiences`](super::Audiences)): its silence says nothing from then on.
    pub continues: bool,
    /// The longest hello of the receiver that reached the sender lately: octets of UDP payload, 0 if none did.
    pub longest_heard: u16,
    /// The receiver's last hello that the sender has counted.
    pub echo: Option<Echo>,
    /// The receiver's last hello of a run that has not proven yet that it is alive.
    pub candidate_echo: Option<Echo>,
}

/// What a node says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Announcement {
    /// Whether it is up or draining. A state of a newer version that this one does not know reads as draining: the node is
    /// alive, and nothing new is placed there.
    pub state: NodeState,
    /// Whether it takes new connections now. A node that is up may take none: because it has no active slot, for one.
    pub takes_new_connections: bool,
    /// Its share of new connections, relative to the other nodes' weights.
    pub weight: u16,
    /// The revision of the keys that it goes by ([`ClusterState::keys_revision`](crate::membership::ClusterState::keys_revision));
    /// 0 where nobody has confirmed to it that this is the one of now ([`confirmation`](crate::confirmation)).
    pub revision: u64,
    /// The versions of the tunnel's format that it reads.
    pub tunnel_versions: TunnelVersions,
}

/// A hello of the receiver's that reached the sender.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Echo {
    /// The receiver's run that said it.
    pub run: Run,
    /// Its sequence.
    pub sequence: u64,
    /// Nanoseconds from when it reached the sender to when this hello left.
    pub held: u64,
}
