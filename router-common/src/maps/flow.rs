//! `flows`: a connection ID's slot, and what the kernel noted about it.

use crate::{
    frame::{Address, Endpoint},
    identifiers::SlotId,
};

/// Where an entry of the flow table comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// We issued the connection ID.
    Issued,
    /// The client chose it for its first flight.
    Chosen,
}

/// Value of `flows`, by connection ID.
///
/// The agent writes `slot`, `origin` and `created`; the kernel the rest. Times are
/// nanoseconds of CLOCK_MONOTONIC, coarse (a tick).
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Flow {
    slot: u32,
    origin: u32,
    created: u64,
    packets: u64,
    bytes: u64,
    last_seen: u64,
    peer: [u8; 16],
    peer_port: u32,
    peer_changes: u32,
}

const _: () = assert!(size_of::<Flow>() == 64);

impl Flow {
    /// A flow of `slot`, written at `now`.
    pub fn new(slot: SlotId, origin: Origin, now: u64) -> Self {
        let origin = match origin {
            Origin::Issued => 0,
            Origin::Chosen => 1,
        };
        Self { slot: slot.into(), origin, created: now, ..Self::default() }
    }

    /// The slot its packets go to.
    #[inline(always)]
    pub fn slot(&self) -> SlotId {
        SlotId::new(self.slot as u8)
    }

    /// Who made the connection ID.
    pub fn origin(&self) -> Origin {
        if self.origin == 0 { Origin::Issued } else { Origin::Chosen }
    }

    /// When the agent wrote it.
    pub fn created(&self) -> u64 {
        self.created
    }

    /// Packets seen.
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// Octets of UDP payload in them.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// When the last packet was seen; 0 before the first.
    pub fn last_seen(&self) -> u64 {
        self.last_seen
    }

    /// Where the last packet came from; `None` before the first.
    pub fn peer(&self) -> Option<Endpoint> {
        (self.packets > 0).then_some(Endpoint { address: Address::new(self.peer), port: self.peer_port as u16 })
    }

    /// How often the peer changed.
    pub fn peer_changes(&self) -> u32 {
        self.peer_changes
    }

    /// Whether no packet was accounted in the last 100 ms before `now`: longer than one takes from XDP to
    /// its socket.
    #[inline(always)]
    pub fn is_unseen(&self, now: u64) -> bool {
        now.saturating_sub(self.last_seen) > 100_000_000
    }

    /// Accounts one packet of `bytes` octets from `peer` at `now`.
    ///
    /// Plain stores: a flow's packets arrive on one CPU at a time, because receive-side
    /// scaling goes by the 4-tuple. Where a client's address changes while packets of both
    /// addresses are in flight, two CPUs may for a moment lose a count to each other.
    #[inline(always)]
    pub fn account(&mut self, bytes: usize, peer: &Endpoint, now: u64) {
        let known = self.peer_port == u32::from(peer.port) && Address::new(self.peer) == peer.address;
        if !known {
            if self.packets > 0 {
                self.peer_changes = self.peer_changes.wrapping_add(1);
            }
            self.peer = peer.address.octets().0;
            self.peer_port = peer.port.into();
        }
        self.packets = self.packets.wrapping_add(1);
        self.bytes = self.bytes.wrapping_add(bytes as u64);
        self.last_seen = now;
    }
}
