//! Why a packet went where it went.
//!
//! One list defines the reason, the field of the map `counters`, the label in metrics and
//! the word in logs. Within a stage each packet has exactly one reason, and `received` is
//! counted apart from them, so that the sum can be checked.

/// What becomes of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// Left to the kernel: it is not ours.
    Passed,
    /// Thrown away: it is ours and provably bad.
    Dropped,
    /// Given to a slot.
    Delivered,
    /// Answered where it was looked at; its octets went no further.
    Answered,
    /// Sent on to another node of the cluster.
    Forwarded,
}

impl Fate {
    /// The word for it, in answers and documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Dropped => "dropped",
            Self::Delivered => "delivered",
            Self::Answered => "answered",
            Self::Forwarded => "forwarded",
        }
    }
}

macro_rules! reasons {
    ($($fate:ident { $($(#[doc = $doc:literal])+ $reason:ident = $name:ident,)+ })+) => {
        /// Why a packet went where it went.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u32)]
        pub enum Reason {
            $($($(#[doc = $doc])+ $reason,)+)+
        }

        impl Reason {
            /// Every reason, in the order of the counters.
            pub const ALL: &[Self] = &[$($(Self::$reason,)+)+];

            /// The counter's name, the label, the word in logs.
            pub const fn name(self) -> &'static str {
                match self {
                    $($(Self::$reason => stringify!($name),)+)+
                }
            }

            /// What becomes of a packet with this reason.
            pub const fn fate(self) -> Fate {
                match self {
                    $($(Self::$reason => Fate::$fate,)+)+
                }
            }

            /// One sentence or more for people.
            pub const fn explanation(self) -> &'static str {
                match self {
                    $($(Self::$reason => concat!($($doc,)+).trim_ascii(),)+)+
                }
            }
        }

        /// One stage's counters: the value of the map `counters`, one per CPU.
        #[repr(C)]
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub struct Counters {
            received: u64,
            $($($name: u64,)+)+
        }

        impl Counters {
            /// Packets that entered the stage.
            #[inline(always)]
            pub fn received(&self) -> u64 {
                self.received
            }

            /// Packets with this reason.
            #[inline(always)]
            pub fn get(&self, reason: Reason) -> u64 {
                match reason {
                    $($(Reason::$reason => self.$name,)+)+
                }
            }

            /// Counts a packet that entered the stage.
            #[inline(always)]
            pub fn receive(&mut self) {
                self.received = self.received.wrapping_add(1);
            }

            /// Counts its fate.
            #[inline(always)]
            pub fn count(&mut self, reason: Reason) {
                let counter = match reason {
                    $($(Reason::$reason => &mut self.$name,)+)+
                };
                *counter = counter.wrapping_add(1);
            }

            /// Adds another CPU's counters.
            pub fn add(&mut self, other: &Self) {
                self.received = self.received.wrapping_add(other.received);
                $($(self.$name = self.$name.wrapping_add(other.$name);)+)+
            }
        }
    };
}

reasons! {
    Passed {
        /// Neither IPv4 nor IPv6, such as ARP.
        NotIp = not_ip,
        /// IP, but not UDP.
        NotUdp = not_udp,
        /// An IP fragment: the kernel puts datagrams together, and the socket's program steers the whole.
        Fragment = fragment,
        /// Broken below QUIC (Ethernet, IP or UDP header): the kernel judges it, and counts it in its own statistics.
        Malformed = malformed,
        /// UDP to an address or port that no listener has, or to another host.
        NotListener = not_listener,
        /// To a listener, but no slot is active: the kernel chooses among the sockets there are.
        NoSlot = no_slot,
        /// To the tunnel's port, for the agent's socket there: what nodes of a cluster tell each other, or a packet of theirs that is not plain.
        TunnelSocket = tunnel_socket,
    }
    Dropped {
        /// Ends before its QUIC header does.
        Truncated = truncated,
        /// A connection ID longer than 20 octets in a version that does not allow it (RFC 9000 section 17.2).
        CidTooLong = cid_too_long,
        /// An Initial in a datagram under 1200 octets (RFC 9000 section 14.1).
        SmallInitial = small_initial,
        /// An unknown version in a datagram under 1200 octets (RFC 9000 section 5.2.2).
        SmallUnknownVersion = small_unknown_version,
        /// A Version Negotiation or Retry packet: only servers send those.
        ServerOnly = server_only,
        /// From port 0, or from an address that is unspecified, multicast or broadcast: nothing can be sent there.
        Unanswerable = unanswerable,
        /// To a broadcast or multicast address, on the port of a listener on every address: each of its sockets would get it, and QUIC is between two hosts.
        Broadcast = broadcast,
        /// From a prefix that a block list has, by `quic-router block add` or a file of `admission.block_files`, and of no connection that exists: `quic-router explain` names the entry. `quic-router allow add` excepts addresses within it.
        Blocked = blocked,
        /// A first flight from a privileged port, or one whose services are misused to reflect floods: `admission.reject_source_ports` has it, and `[]` there turns this off. It hits clients that bind such a port on purpose, and those behind a NAT that uses it; connections that exist are never asked.
        SourcePort = source_port,
        /// Nothing knows the connection ID, and more such packets came than `admission.unknown` lets through in a second, for the whole node: each wakes a worker, for a stateless reset at best. `false` there turns this off.
        UnknownLimited = unknown_limited,
        /// An unknown version, and more such packets came than `admission.version_negotiation` answers in a second, for the whole node. `false` there turns this off.
        NegotiationLimited = negotiation_limited,
        /// A first flight with a valid token, from a prefix that sends more of them than `admission.new_per_source` lets through
        /// in a second, while its clients are asked to show that they receive at their address. `false` there turns this
        /// off.
        SourceLimited = source_limited,
        /// A first flight while clients are asked to show that they receive at their address (`admission.challenge`, `admission.new_total`), which cannot be asked so: 0-RTT, which its client sends again, or an Initial with a token that proves nothing, of which more than `admission.new_total` came in a second.
        ChallengeLimited = challenge_limited,
        /// To the tunnel's port, but made by no node of the cluster: no sender of this number with this address, or no tag that vouches for the packet under one of the cluster's keys.
        TunnelForged = tunnel_forged,
        /// Out of the tunnel, but nothing of this node's: its connection ID names another node, or it is for no listener here. It is not forwarded twice. Nodes whose lists of nodes or listeners differ do this: `quic-router nodes list` and the configurations show where.
        Misrouted = misrouted,
        /// Its connection ID names a node that has not been heard for longer than `cluster.dead_after`, or a number that no node has.
        NodeUnreachable = node_unreachable,
        /// For another node, and longer than what the network between the nodes carries with the tunnel's headers: a client that sends more than this node's `max_udp_payload_size` allows (RFC 9000 section 18.2). It finds out by itself.
        TooLongToForward = too_long_to_forward,
    }
    Delivered {
        /// The flow table knew the connection ID.
        Flow = flow,
        /// The connection ID said so itself.
        Cid = cid,
        /// A client-chosen connection ID, placed by the assignment.
        Assigned = assigned,
        /// Nothing knows the connection ID: the assignment names a worker to answer or ignore it.
        Unknown = unknown,
        /// A client-chosen connection ID, placed where it came in: with the owner of the receive queue.
        Queue = queue,
        /// Its connection ID names a node that is gone for good: a worker answers with a stateless reset in its place (RFC 9000 section 10.3).
        NodeGone = node_gone,
    }
    Answered {
        /// An unknown version: the XDP program sent a Version Negotiation packet back (RFC 9000 section 6.1).
        Negotiated = negotiated,
        /// An Initial without a token, while clients are asked to show that they receive at their address (`admission.challenge`): the XDP program sent a Retry back (RFC 9000 section 8.1.2).
        Retried = retried,
    }
    Forwarded {
        /// Its connection ID names another node of the cluster, which it was sent on to.
        Forwarded = forwarded,
        /// A new connection that `cluster.new_connections = "hash"` gives to another node.
        ForwardedNew = forwarded_new,
    }
}

const _: () = assert!(size_of::<Counters>() == (1 + Reason::ALL.len()) * 8);

impl Counters {
    /// Packets of one fate.
    pub fn sum(&self, fate: Fate) -> u64 {
        Reason::ALL.iter().filter(|reason| reason.fate() == fate).map(|&reason| self.get(reason)).sum()
    }

    /// Whether every packet that entered has exactly one reason.
    pub fn closes(&self) -> bool {
        let reasons: u64 = Reason::ALL.iter().map(|&reason| self.get(reason)).sum();
        self.received == reasons
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_counts_once_and_the_sum_closes() {
        for &reason in Reason::ALL {
            let mut counters = Counters::default();
            counters.receive();
            assert!(!counters.closes(), "{reason:?}");
            counters.count(reason);
            assert!(counters.closes(), "{reason:?}");
            assert_eq!(counters.get(reason), 1, "{reason:?}");
            assert_eq!(counters.sum(reason.fate()), 1, "{reason:?}");
        }
    }
}
