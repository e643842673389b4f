//! Identities that are numbers, each a type of its own: what is a slot cannot be taken for a CPU, nor the other way round.
//!
//! To the machine each is its integer. The values of the maps hold plain integers, because their layout is a public
//! interface; their methods take and give these types.

use crate::connection_id::ROTATIONS;

/// A number with a name of its own, and the wider integers that it goes into as it is.
macro_rules! identifier {
    ($(#[$about:meta])+ $name:ident($number:ty) $(into $($wider:ty),+)?) => {
        $(#[$about])+
        #[repr(transparent)]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name($number);

        impl $name {
            /// The one with this number.
            #[inline(always)]
            pub const fn new(number: $number) -> Self {
                Self(number)
            }

            /// Its number.
            #[inline(always)]
            pub const fn get(self) -> $number {
                self.0
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                core::fmt::Display::fmt(&self.0, f)
            }
        }

        $($(impl From<$name> for $wider {
            #[inline(always)]
            fn from(identifier: $name) -> Self {
                identifier.0.into()
            }
        })+)?
    };
}

identifier! {
    /// A slot: the place of one worker, 0 to 255. It is an octet of each connection ID that the worker issues.
    SlotId(u8) into u32, u64, usize
}

identifier! {
    /// A node's number in its cluster, 1 to 65,535, `router.node_id` where there is none: two octets of each connection ID
    /// that the node issues (QUIC-LB: of its server ID).
    NodeId(u16) into u32, u64
}

identifier! {
    /// A listener's number, unique on a node over all generations: 0 to 63, below
    /// [`LISTENERS_MAX`](crate::maps::LISTENERS_MAX). It is kept as long as the listener's address is in the
    /// configuration, and lower ones are given first.
    ListenerId(u16) into u32, usize
}

identifier! {
    /// A CPU, by the kernel's number: from 0, below the number of possible CPUs.
    CpuId(u32) into u32
}

identifier! {
    /// An interface's index: the kernel's number for it, from 1, within one network namespace. One that is removed and
    /// comes back has another.
    IfIndex(u32) into u32
}

identifier! {
    /// A queue's number on its interface (AF_XDP's queue ID), from 0. Other interfaces have queues of the same numbers:
    /// see [`InterfaceQueue`].
    QueueId(u32) into u32
}

/// A receive queue: its interface, and its number there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct InterfaceQueue {
    /// The interface.
    pub interface: IfIndex,
    /// Its own.
    pub queue: QueueId,
}

identifier! {
    /// A generation: one run of the agent. It grows with every start and every upgrade on the same state folder, from 1;
    /// 0 where no agent's run is meant.
    GenerationId(u64)
}

identifier! {
    /// A config rotation (QUIC-LB): the top three bits of a connection ID's first octet, which tell the configuration
    /// that it follows. 0 to 6, or [`UNROUTABLE`](crate::connection_id::UNROUTABLE).
    ConfigRotation(u8) into u32, u64, usize
}

identifier! {
    /// An era: the number of a configuration of connection IDs among all that a node has had, from 1. It grows with each,
    /// where a [`ConfigRotation`] comes again.
    EraId(u64)
}

impl ConfigRotation {
    /// All that a configuration can have, in the order in which they take turns, beginning with this one.
    pub fn onwards(self) -> impl Iterator<Item = Self> + Clone {
        (0..ROTATIONS).map(move |step| Self((self.0 + step) % ROTATIONS))
    }
}

impl SlotId {
    /// All of them, from 0 on.
    pub fn all() -> impl Iterator<Item = Self> + Clone {
        (0..=u8::MAX).map(Self)
    }
}

impl core::str::FromStr for SlotId {
    type Err = core::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}
