//! The tunnel between the nodes of a cluster, where no XDP program is at its ends: workers send on by it what another node
//! owns, and what comes to this node's end of it goes to the workers that own it.
//!
//! ```text
//! worker ─► Tunnel::send ─► socket ═══ other node's XDP program, or its socket
//! socket ─► TunnelReceiver (a thread) ─► ForwardQueues ─► the owning worker
//! ```
//!
//! The packet within is made anew: IP and UDP headers as the client's had been, the congestion mark among them, with
//! checksums. It is never sent on twice.

mod counts;
mod receiver;
mod send;
#[cfg(test)]
mod tests;

pub(in crate::worker) use self::send::Train;
pub use self::{
    counts::TunnelCounts,
    receiver::{ControlDatagram, TunnelIntake, TunnelReceiver},
    send::Tunnel,
};
