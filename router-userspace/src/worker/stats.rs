//! What a worker counts. Written by its own thread, read by the control socket.
//!
//! One list defines each number: the field that a worker adds to, the field of the agent's answers and its place there,
//! the sum over all workers, and the metric with its help and its row in docs/metrics.md.

use std::sync::atomic::{AtomicU64, Ordering};

use router_common::{connection_id::ROTATIONS, identifiers::ConfigRotation};
use serde::{Deserialize, Serialize};

use super::connection::Refusal;

/// Defines the numbers, in the order of the agent's answers.
///
/// ```text
/// /// What it counts: also the metric's help, where that shows nothing else.
/// name: Sum = metric;
/// /// A metric of several numbers: `agent/metrics/mod.rs` has its help.
/// name: Sum = metric[label = "value"];
/// /// In no metric, or in one that is made of more than this: `agent/metrics/mod.rs` makes it.
/// name: Gauge;
/// ```
macro_rules! stats {
    ($($(#[doc = $doc:literal])+ $name:ident: $kind:ident $(= $metric:ident $([$label:ident = $value:literal])?)?;)+) => {
        /// A worker's sums and gauges, as they grow.
        #[derive(Debug, Default)]
        pub struct WorkerStats {
            $($(#[doc = $doc])+ pub(super) $name: Stat,)+
            by_rotation: [Stat; ROTATIONS as usize],
        }

        /// Sums since the agent started, and gauges (named `_now`), at one moment: of one worker, or of all. What an
        /// older agent does not say is 0.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct Totals {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl WorkerStats {
            /// What they are now.
            pub fn totals(&self) -> Totals {
                Totals { $($name: self.$name.get(),)+ }
            }
        }

        impl Totals {
            /// Each number's definition, in the order of the fields.
            pub const DEFINITIONS: &[Definition] = &[$(Definition {
                meaning: concat!($($doc,)+).trim_ascii(),
                kind: Kind::$kind,
                metric: stats!(@metric $($metric $([$label = $value])?)?),
                of: |totals| totals.$name,
            },)+];

            /// Both added up.
            #[must_use]
            pub fn plus(self, other: Self) -> Self {
                Self { $($name: self.$name + other.$name,)+ }
            }

            /// What is left of them when a worker has ended: it has nothing open any more.
            #[must_use]
            pub fn of_ended(self) -> Self {
                Self { $($name: match Kind::$kind {
                    Kind::Sum => self.$name,
                    Kind::Gauge => 0,
                },)+ }
            }
        }
    };
    (@metric) => { None };
    (@metric $metric:ident) => { Some(Metric { name: stringify!($metric), label: None }) };
    (@metric $metric:ident [$label:ident = $value:literal]) => {
        Some(Metric { name: stringify!($metric), label: Some((stringify!($label), $value)) })
    };
}

stats! {
    /// QUIC connections open, handshakes included.
    connections_now: Gauge = quic_connections;
    /// QUIC handshakes not yet complete.
    handshakes_now: Gauge = quic_handshakes_in_progress;
    /// TCP connections open, handshakes included.
    tcp_connections_now: Gauge = tcp_connections;
    /// TCP connections taken in.
    tcp_accepted: Sum = tcp_connections_accepted;
    /// Connections that came up.
    accepted: Sum;
    /// Handshakes that failed.
    handshakes_failed: Sum;
    /// Refused: `max_connections`.
    refused_connections: Sum = connections_refused[reason = "max_connections"];
    /// Refused: `max_connections_per_ip`.
    refused_per_ip: Sum = connections_refused[reason = "max_connections_per_ip"];
    /// Refused: `max_handshakes`, or the worker drains.
    refused_handshakes: Sum = connections_refused[reason = "max_handshakes"];
    /// Clients sent a Retry to prove their address.
    retried: Sum = retries;
    /// UDP datagrams that the workers' sockets received, AF_XDP sockets among them.
    datagrams_received: Sum = datagrams_received;
    /// Of those, the worker's own.
    datagrams_own: Sum = datagrams[fate = "own"];
    /// Of those, provably bad, or not admitted.
    datagrams_dropped: Sum = datagrams[fate = "bad"];
    /// Of those, handed to the worker whose connection they are of.
    handed_over: Sum = datagrams[fate = "handed_over"];
    /// Of those, sent on to the node of the cluster whose connection they are of.
    sent_on: Sum = datagrams[fate = "sent_on"];
    /// Datagrams that workers took from others. They are not among those received.
    taken_over: Sum = datagrams_taken_over;
    /// Of those received, lost because their worker's inbox was full, or the worker gone.
    hand_over_dropped: Sum = datagrams[fate = "inbox_full"];
    /// Datagrams that the kernel dropped because a receive buffer was full.
    // It counts them itself: the agent asks it, and no worker adds to this.
    socket_drops: Sum = socket_drops;
    /// Octets in the datagrams that were received.
    bytes_received: Sum = datagram_bytes_received;
    /// Frames that AF_XDP sockets received: the fast path. What else is in `datagrams_received` came by the UDP sockets.
    frames_received: Sum;
    /// Of those, given to a listener: then they are datagrams received, too.
    frames_delivered: Sum;
    /// Of those, dropped because their IPv4 header's checksum was wrong.
    frames_ip_checksum: Sum;
    /// Of those, dropped because their UDP checksum was wrong.
    frames_udp_checksum: Sum;
    /// Of those, dropped because no datagram was to be read in them.
    frames_unreadable: Sum;
    /// Of those, dropped because their listener had gone.
    frames_without_listener: Sum;
    /// Of those, dropped because their listener was busy for too long.
    frames_not_held: Sum;
    /// Frames that the kernel dropped because an AF_XDP socket had no room.
    ring_drops: Sum = af_xdp_drops;
    /// UDP datagrams sent.
    datagrams_sent: Sum;
    /// Of those, sent as frames by AF_XDP sockets; the others by the UDP sockets.
    frames_sent: Sum;
}

/// What is known of a number beside its value.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    /// What it counts, for people.
    pub meaning: &'static str,
    /// How it moves.
    pub kind: Kind,
    /// The metric that it is, or is a row of; none: it is in none by itself.
    pub metric: Option<Metric>,
    /// The number among all of a worker.
    pub of: fn(&Totals) -> u64,
}

/// How a number moves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Only up.
    Sum,
    /// Up and down.
    Gauge,
}

/// A row of a metric.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Metric {
    /// Without what all of the router's begin with, and without `_total`.
    pub name: &'static str,
    /// Name and value, where the metric has more rows than this.
    pub label: Option<(&'static str, &'static str)>,
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
    pub fn of_rotation(&self, rotation: ConfigRotation) -> u64 {
        self.by_rotation.get(usize::from(rotation)).map_or(0, Stat::get)
    }

    pub(super) fn decoded(&self, rotation: ConfigRotation) {
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
