//! What workers counted, as the agent's interface has it.

use super::api::Totals;
use crate::worker::WorkerTotals;

macro_rules! totals {
    ($($name:ident)+) => {
        impl From<WorkerTotals> for Totals {
            /// `socket_drops` is the kernel's, and left 0.
            fn from(worker: WorkerTotals) -> Self {
                // In full, so that nothing that a worker counts is left out.
                let WorkerTotals { $($name,)+ } = worker;
                Self { $($name,)+ socket_drops: 0 }
            }
        }

        /// Both added up.
        pub(super) fn add(sum: Totals, other: Totals) -> Totals {
            Totals { $($name: sum.$name + other.$name,)+ socket_drops: sum.socket_drops + other.socket_drops }
        }
    };
}

totals!(connections_now handshakes_now tcp_connections_now tcp_accepted accepted handshakes_failed refused_connections
    refused_per_ip refused_handshakes retried datagrams_received datagrams_own datagrams_dropped handed_over
    taken_over hand_over_dropped bytes_received frames_received frames_delivered frames_ip_checksum
    frames_udp_checksum frames_unreadable frames_without_listener frames_not_held ring_drops
    datagrams_sent frames_sent);
