//! What a worker counts. Written by its own thread, read by the control socket.

use std::sync::atomic::{AtomicU64, Ordering};

use router_common::connection_id::ROTATIONS;

use super::connection::Refusal;

macro_rules! stats {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// A worker's sums and gauges, as they grow.
        #[derive(Debug, Default)]
        pub struct WorkerStats {
            $($(#[doc = $doc])+ pub(super) $name: Stat,)+
            by_rotation: [Stat; ROTATIONS as usize],
        }

        /// The same at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct WorkerTotals {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl WorkerStats {
            /// What they are now.
            pub fn totals(&self) -> WorkerTotals {
                WorkerTotals { $($name: self.$name.get(),)+ }
            }
        }
    };
}

stats! {
    /// Connections open, handshakes included.
    connections_now,
    /// Handshakes not yet complete.
    handshakes_now,
    /// TCP connections open.
    tcp_connections_now,
    /// TCP connections taken in.
    tcp_accepted,
    /// Connections that came up.
    accepted,
    /// Handshakes that failed.
    handshakes_failed,
    /// Refused: `max_connections`.
    refused_connections,
    /// Refused: `max_connections_per_ip`.
    refused_per_ip,
    /// Refused: `max_handshakes`, or the worker drains.
    refused_handshakes,
    /// Retry packets sent.
    retried,
    /// Datagrams the sockets received.
    datagrams_received,
    /// Of those, this worker's own.
    datagrams_own,
    /// Of those, provably bad.
    datagrams_dropped,
    /// Of those, handed to their owner.
    handed_over,
    /// Of those, lost because the owner's forward queue was full or gone.
    hand_over_dropped,
    /// Taken from other workers.
    taken_over,
    /// Bytes received.
    bytes_received,
    /// Frames that AF_XDP sockets received.
    frames_received,
    /// Of those, given to a listener: then they are datagrams received, too.
    frames_delivered,
    /// Of those, dropped because their IPv4 header's checksum was wrong.
    frames_ip_checksum,
    /// Of those, dropped because their UDP checksum was wrong.
    frames_udp_checksum,
    /// Of those, dropped because no datagram was to be read in them.
    frames_unreadable,
    /// Of those, dropped because their listener had gone.
    frames_without_listener,
    /// Of those, dropped because their listener was busy for too long.
    frames_not_held,
    /// Frames that the kernel dropped because an AF_XDP socket had no room.
    ring_drops,
    /// Datagrams sent.
    datagrams_sent,
    /// Of those, sent as frames by AF_XDP sockets.
    frames_sent,
}

impl WorkerStats {
    /// What counts connections that are refused like that.
    pub(super) fn refused(&self, refusal: Refusal) -> &Stat {
        match refusal {
            Refusal::Connections => &self.refused_connections,
            Refusal::PerClient => &self.refused_per_ip,
            Refusal::Handshakes => &self.refused_handshakes,
        }
    }

    /// Datagrams of this worker's own whose connection ID the configuration of `rotation` decoded.
    pub fn of_rotation(&self, rotation: u8) -> u64 {
        self.by_rotation.get(usize::from(rotation)).map_or(0, Stat::get)
    }

    pub(super) fn decoded(&self, rotation: u8) {
        if let Some(stat) = self.by_rotation.get(usize::from(rotation)) {
            stat.add(1);
        }
    }
}

/// One number.
#[derive(Debug, Default)]
pub(super) struct Stat(AtomicU64);

impl Stat {
    pub(super) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(super) fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    pub(super) fn subtract(&self, n: u64) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
