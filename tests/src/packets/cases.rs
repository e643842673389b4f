//! The table of packets: each with the reason that kernel, userspace and `explain` all have to give.
//!
//! The same table goes through the decision as a function, through the loaded program
//! (BPF_PROG_TEST_RUN) and over a wire. All three meet the world described here: a node
//! with some listeners, four active slots, and two planted flows.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    ops::RangeInclusive,
};

use router_common::{
    connection_id::{CidConfig, CidKeys, ConnectionId, Identity, Nonce},
    identifiers::{ConfigRotation, SlotId},
    maps::BlockAction,
    reason::Reason,
};

use super::{
    DESTINATION_OPTIONS, HOP_BY_HOP, MoreFragments, Packet, ROUTING, SYN, arp,
    quic::{Kind, Quic, V1, V2},
};

/// A packet and what has to become of it.
#[derive(Clone, Debug)]
pub struct Case {
    /// What is special about it.
    pub name: &'static str,
    /// The whole Ethernet frame, at least 14 octets.
    pub frame: Vec<u8>,
    /// Why it goes where it goes; the reason says whether it is passed, dropped or delivered.
    pub reason: Reason,
    /// The slot it is delivered to, where that does not hang on the hash seed.
    pub slot: Option<u8>,
}

/// This node.
pub const NODE_ID: u16 = 1;

/// Octets of its connection IDs.
pub const CID_LENGTH: u8 = 17;

/// Its active slots: 0 to this, excluded.
pub const SLOTS: u8 = 4;

/// Its listeners: an exact address, every address of the other family, and every IPv4 address on another port.
pub const LISTENERS: [SocketAddr; 3] = [
    SocketAddr::new(IpAddr::V4(ROUTER4), PORT),
    SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), PORT),
    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), ANY_PORT),
];

/// The host's own addresses.
pub const LOCAL: [IpAddr; 2] = [IpAddr::V4(ROUTER4), IpAddr::V6(ROUTER6)];

/// The broadcast address of the host's subnet.
pub const BROADCAST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 255);

/// Ports that no first flight may come from: those that nothing else is configured for.
pub const REFUSED_PORTS: [RangeInclusive<u16>; 7] =
    [0..=0, 1..=1_023, 1_900..=1_900, 5_353..=5_353, 11_211..=11_211, 20_800..=20_800, 27_015..=27_015];

/// Prefixes of the block list, one within the other.
pub const BLOCKS: [(&str, BlockAction); 5] = [
    ("198.51.100.0/24", BlockAction::Drop),
    ("198.51.100.128/25", BlockAction::Allow),
    ("198.51.100.200/32", BlockAction::Drop),
    ("2001:db8:bad::/48", BlockAction::Drop),
    ("203.0.113.0/24", BlockAction::Challenge),
];

/// The case of an Initial from that prefix whose clients are asked to show that they receive at their address.
pub const OF_ASKED: &str = "an Initial from a prefix whose clients are asked";

/// Flow-table entries beside those of live connections: connection ID and slot.
pub const PLANTED_FLOWS: [(&[u8], u8); 2] = [(b"chosen-1", 2), (b"0123456789abcdefg", 3)];

/// A connection ID that `node` issues in clear for `slot` under `rotation`.
pub fn cid(rotation: u8, node: u16, slot: u8) -> ConnectionId {
    let nonce = Nonce { octets: *b"a nonce for the test", low_bits: 0 };
    in_clear(node)
        .encode(ConfigRotation::new(rotation), SlotId::new(slot), &nonce, &CidKeys::NONE)
        .expect("a legal rotation")
}

/// How `node` writes connection IDs in clear.
pub(super) fn in_clear(node: u16) -> CidConfig {
    CidConfig::in_clear(Identity::node(node), CID_LENGTH.into()).expect("a legal length")
}

/// The whole table.
pub fn cases() -> Vec<Case> {
    [
        not_ours(),
        passing_through(),
        to_many(),
        from_listed(),
        malformed(),
        unanswerable(),
        bad_quic(),
        by_flow(),
        by_cid(),
        by_assignment(),
        by_source_port(),
        in_every_wrapping(),
    ]
    .concat()
}

fn not_ours() -> Vec<Case> {
    let other_protocol = |protocol| Packet::ip(CLIENT4, ROUTER4, protocol).frame();
    let first_flight = || Quic::initial(V1, b"whatever");
    let v4 = || udp4(first_flight());
    let v6 = || udp6(first_flight());
    vec![
        passed("ARP", Reason::NotIp, arp(CLIENT4, ROUTER4)),
        passed("an unknown EtherType", Reason::NotIp, v4().overwrite(12, &[0x88, 0xb5]).frame()),
        passed("three VLAN tags", Reason::NotIp, v4().vlan(1).vlan(2).vlan(3).frame()),
        passed("TCP", Reason::NotUdp, Packet::tcp(client4(), router4(), SYN).frame()),
        passed("TCP over IPv6", Reason::NotUdp, Packet::tcp(client6(), router6(), SYN).frame()),
        passed("ping", Reason::NotUdp, Packet::echo(CLIENT4, ROUTER4, 7).frame()),
        passed("ping over IPv6", Reason::NotUdp, Packet::echo(CLIENT6, ROUTER6, 7).frame()),
        passed("UDP-Lite", Reason::NotUdp, other_protocol(136)),
        passed("ESP over IPv6", Reason::NotUdp, Packet::ip(CLIENT6, ROUTER6, 50).frame()),
        passed("no next header", Reason::NotUdp, Packet::ip(CLIENT6, ROUTER6, 59).frame()),
        passed("first fragment", Reason::Fragment, v4().fragment(0, MoreFragments::Set).frame()),
        passed("middle fragment", Reason::Fragment, v4().fragment(64, MoreFragments::Set).frame()),
        passed("last fragment", Reason::Fragment, v4().fragment(64, MoreFragments::Clear).frame()),
        passed("first fragment over IPv6", Reason::Fragment, v6().fragment(0, MoreFragments::Set).frame()),
        passed("last fragment over IPv6", Reason::Fragment, v6().fragment(64, MoreFragments::Clear).frame()),
        passed("atomic fragment over IPv6", Reason::Fragment, v6().fragment(0, MoreFragments::Clear).frame()),
        passed("another port", Reason::NotListener, Packet::udp(client4(), (ROUTER4, 53), first_flight()).frame()),
        passed(
            "another port, IPv6",
            Reason::NotListener,
            Packet::udp(client6(), (ROUTER6, 53), first_flight()).frame(),
        ),
        passed(
            "another address",
            Reason::NotListener,
            Packet::udp(client4(), (Ipv4Addr::new(10, 77, 0, 77), PORT), first_flight()).frame(),
        ),
        passed(
            "an answer from our port's number",
            Reason::NotListener,
            Packet::udp((CLIENT4, PORT), (ROUTER4, 4000), [0x40; 60]).frame(),
        ),
    ]
}

/// Traffic of others that is forwarded or bridged here: a listener on every address judges none of it
/// (xdp-tools#181).
fn passing_through() -> Vec<Case> {
    let on_its_way =
        |payload: Quic| Packet::udp(client6(), (Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x77), PORT), payload);
    let cases = [
        ("an Initial for another host", on_its_way(Quic::initial(V1, b"whatever"))),
        ("a short one for another host", on_its_way(Quic::short(&[7; 17]).padded_to(12))),
        ("an unknown version for another host", on_its_way(Quic::unknown_version(b"whatever", 900))),
        ("a connection ID of 21 octets for another host", on_its_way(Quic::initial(V1, &[7; 21]))),
        ("our own connection ID for another host", on_its_way(Quic::short(cid(0, NODE_ID, 1).as_slice()))),
        ("from port 0 for another host", Packet::udp((CLIENT6, 0), (CLIENT6, PORT), Quic::initial(V1, b"whatever"))),
    ];
    cases.map(|(name, packet)| passed(name, Reason::NotListener, packet.frame())).into()
}

/// From prefixes that the block list has: what no connection is known to send ends where the longest prefix drops.
fn from_listed() -> Vec<Case> {
    let ours = cid(0, NODE_ID, 1);
    let [(chosen, chosen_slot), _] = PLANTED_FLOWS;
    let initial = || Quic::initial(V1, b"whatever");
    let unknown = || Quic::short(&[0xff; CID_LENGTH as usize]);
    let from4 = |last, port, quic: Quic| Packet::udp(([198, 51, 100, last], port), router4(), quic);
    let from6 = |quic: Quic| Packet::udp(([0x2001, 0xdb8, 0xbad, 7, 0, 0, 0, 1], 4000), router6(), quic);
    let challenged = |quic: Quic| Packet::udp(([203, 0, 113, 5], 4000), router4(), quic);
    let dropped = [
        ("an Initial from a blocked prefix", from4(1, 4000, initial())),
        ("an Initial from the last address before those that are allowed", from4(127, 4000, initial())),
        ("0-RTT from a blocked prefix", from4(1, 4000, Quic::long(Kind::ZeroRtt, V1, b"whatever").padded_to(1200))),
        ("an unknown version from a blocked prefix", from4(1, 4000, Quic::unknown_version(b"whatever", 1200))),
        ("a short one from there that nothing knows", from4(1, 4000, unknown())),
        ("an Initial from a blocked address within an allowed prefix", from4(200, 4000, initial())),
        ("an Initial from a blocked prefix of IPv6", from6(initial())),
        ("an Initial from a blocked prefix and a refused port", from4(1, 53, initial())),
    ];
    let dropped = dropped.into_iter().map(|(name, packet)| passed(name, Reason::Blocked, packet.frame()));
    let others = [
        delivered(
            "a known flow's from a blocked prefix",
            Reason::Flow,
            chosen_slot,
            from4(1, 4000, Quic::initial(V1, chosen)),
        ),
        delivered("ours from a blocked prefix", Reason::Cid, 1, from4(1, 4000, Quic::short(ours.as_slice()))),
        delivered("ours from a blocked prefix of IPv6", Reason::Cid, 1, from6(Quic::short(ours.as_slice()))),
        to_any("an Initial from an allowed prefix within", Reason::Assigned, from4(128, 4000, initial())),
        to_any("an Initial from there and a refused port", Reason::Assigned, from4(255, 53, initial())),
        to_any(OF_ASKED, Reason::Assigned, challenged(initial())),
        to_any(
            "an Initial from the prefix beside",
            Reason::Assigned,
            Packet::udp(([198, 51, 101, 1], 4000), router4(), initial()),
        ),
    ];
    dropped.chain(others).collect()
}

/// To a broadcast or multicast address: ours would be what is for a listener on every address, and each of its
/// sockets would get it (h2o#2264). Anything else is for other programs.
fn to_many() -> Vec<Case> {
    let [chosen, issued] = PLANTED_FLOWS.map(|(cid, _)| cid);
    let ours = cid(0, NODE_ID, 1);
    let initial = || Quic::initial(V1, b"whatever");
    let to4 = |address: Ipv4Addr, port, quic: Quic| Packet::udp(client4(), (address, port), quic);
    let to6 = |address: [u16; 8], port, quic: Quic| Packet::udp(client6(), (address, port), quic);
    let all_nodes = [0xff02, 0, 0, 0, 0, 0, 0, 1];
    let dropped = [
        ("an Initial to 255.255.255.255", to4(Ipv4Addr::BROADCAST, ANY_PORT, initial())),
        ("an Initial to the subnet's broadcast address", to4(BROADCAST, ANY_PORT, initial())),
        ("a short one to 255.255.255.255", to4(Ipv4Addr::BROADCAST, ANY_PORT, Quic::short(ours.as_slice()))),
        ("a short one to the subnet's broadcast address", to4(BROADCAST, ANY_PORT, Quic::short(ours.as_slice()))),
        ("an Initial of a known flow to the broadcast address", to4(BROADCAST, ANY_PORT, Quic::initial(V1, chosen))),
        ("an Initial to 224.0.0.1", to4(Ipv4Addr::new(224, 0, 0, 1), ANY_PORT, initial())),
        ("an Initial to 239.255.255.255", to4(Ipv4Addr::new(239, 255, 255, 255), ANY_PORT, initial())),
        ("an Initial to ff02::1", to6(all_nodes, PORT, initial())),
        ("a short one to ff02::1", to6(all_nodes, PORT, Quic::short(ours.as_slice()))),
        ("a short one of a known flow to ff02::1", to6(all_nodes, PORT, Quic::short(issued))),
        ("an Initial to ff0e::101", to6([0xff0e, 0, 0, 0, 0, 0, 0, 0x101], PORT, initial())),
        ("junk to the broadcast address", to4(BROADCAST, ANY_PORT, Quic::short(&[7; 17]).padded_to(12))),
    ];
    let not_ours = [
        ("to 255.255.255.255 where the listener has another address", to4(Ipv4Addr::BROADCAST, PORT, initial())),
        ("to the subnet where the listener has another address", to4(BROADCAST, PORT, initial())),
        ("to 224.0.0.251", to4(Ipv4Addr::new(224, 0, 0, 251), 5353, initial())),
        ("to ff02::fb", to6([0xff02, 0, 0, 0, 0, 0, 0, 0xfb], 5353, initial())),
        ("to 240.0.0.1", to4(Ipv4Addr::new(240, 0, 0, 1), ANY_PORT, initial())),
    ];
    let dropped = dropped.into_iter().map(|(name, packet)| passed(name, Reason::Broadcast, packet.frame()));
    let not_ours = not_ours.into_iter().map(|(name, packet)| passed(name, Reason::NotListener, packet.frame()));
    dropped.chain(not_ours).collect()
}

/// Offsets are of an untagged frame: IPv4 begins at 14 and UDP at 34.
fn malformed() -> Vec<Case> {
    let v4 = || udp4(Quic::initial(V1, b"whatever"));
    let v6 = || udp6(Quic::initial(V1, b"whatever"));
    let malformed = |name, packet: Packet| passed(name, Reason::Malformed, packet.frame());
    vec![
        malformed("Ethernet and nothing behind it", v4().cut(14)),
        malformed("a VLAN tag cut short", v4().vlan(7).cut(16)),
        malformed("IPv4 cut short", v4().cut(33)),
        malformed("IPv4 of version 5", v4().overwrite(14, &[0x55])),
        malformed("IPv4 header of 16 octets", v4().overwrite(14, &[0x44])),
        malformed("IPv4 options cut short", v4().overwrite(14, &[0x4f]).cut(60)),
        malformed("IPv6 cut short", v6().cut(50)),
        malformed("IPv6 of version 4", v6().overwrite(14, &[0x40])),
        malformed("IPv6 extension cut short", v6().extension(DESTINATION_OPTIONS).cut(55)),
        malformed("UDP cut short", v4().cut(40)),
        malformed("UDP length of 7", v4().overwrite(38, &[0, 7])),
        malformed("UDP longer than its IP packet", v4().overwrite(38, &[0x05, 0xdc])),
        malformed("IPv4 longer than its frame", v4().cut(1200)),
        malformed("IPv6 longer than its frame", v6().cut(1200)),
    ]
}

fn bad_quic() -> Vec<Case> {
    let cid = cid(0, NODE_ID, 1);
    let cid = cid.as_slice();
    let dropped = |name, reason, payload: Quic| passed(name, reason, udp4(payload).frame());
    vec![
        passed("empty datagram", Reason::Truncated, udp4([]).frame()),
        dropped("a lone first octet", Reason::Truncated, Quic::short(cid).padded_to(1)),
        dropped("short header that cannot be a packet", Reason::Truncated, Quic::short(cid).padded_to(20)),
        dropped("long header without a length", Reason::Truncated, Quic::initial(V1, cid).padded_to(5)),
        dropped(
            "long header cut in its connection ID",
            Reason::Truncated,
            Quic::long(Kind::Handshake, V1, cid).padded_to(15),
        ),
        dropped("Initial of 1199 octets", Reason::SmallInitial, Quic::initial(V1, b"whatever").padded_to(1199)),
        dropped(
            "Initial of version 2 of 1199 octets",
            Reason::SmallInitial,
            Quic::initial(V2, b"whatever").padded_to(1199),
        ),
        dropped(
            "unknown version in 1199 octets",
            Reason::SmallUnknownVersion,
            Quic::unknown_version(b"whatever", 1199),
        ),
        dropped("connection ID of 21 octets", Reason::CidTooLong, Quic::initial(V1, &[7; 21])),
        dropped(
            "connection ID of 21 octets in a Handshake",
            Reason::CidTooLong,
            Quic::long(Kind::Handshake, V2, &[7; 21]),
        ),
        dropped("connection ID of 255 octets", Reason::CidTooLong, Quic::initial(V1, &[7; 255])),
        dropped("version negotiation", Reason::ServerOnly, Quic::version_negotiation(cid)),
        dropped("Retry", Reason::ServerOnly, Quic::long(Kind::Retry, V1, cid)),
        dropped("Retry of version 2", Reason::ServerOnly, Quic::long(Kind::Retry, V2, cid)),
    ]
}

/// Sources that no host has: an answer to them could not be sent (torrust-tracker#2017, quinn#2202).
fn unanswerable() -> Vec<Case> {
    let initial = || Quic::initial(V1, b"whatever");
    let from4 = |source: [u8; 4], port| Packet::udp((source, port), router4(), initial());
    let from6 = |source: [u16; 8]| Packet::udp((source, 4000), router6(), initial());
    let cases = [
        ("from port 0", from4(CLIENT4.octets(), 0)),
        ("from port 0 over IPv6", Packet::udp((CLIENT6, 0), router6(), initial())),
        ("from a multicast address", from4([224, 0, 0, 1], 4000)),
        ("from the last multicast address", from4([239, 255, 255, 255], 4000)),
        ("from the broadcast address", from4([255; 4], 4000)),
        ("from 0.0.0.0", from4([0; 4], 4000)),
        ("from ::", from6([0; 8])),
        ("from ff02::1", from6([0xff02, 0, 0, 0, 0, 0, 0, 1])),
    ];
    cases.map(|(name, packet)| passed(name, Reason::Unanswerable, packet.frame())).into()
}

fn by_flow() -> Vec<Case> {
    let [(chosen, chosen_slot), (issued, issued_slot)] = PLANTED_FLOWS;
    vec![
        delivered("Initial of a known flow", Reason::Flow, chosen_slot, udp4(Quic::initial(V1, chosen))),
        delivered("0-RTT of a known flow", Reason::Flow, chosen_slot, udp4(Quic::long(Kind::ZeroRtt, V1, chosen))),
        delivered("short header of a known flow", Reason::Flow, issued_slot, udp4(Quic::short(issued))),
        delivered("the same over IPv6", Reason::Flow, issued_slot, udp6(Quic::short(issued))),
        to_any("a prefix of a known flow's", Reason::Assigned, udp4(Quic::initial(V1, &chosen[..7]))),
    ]
}

fn by_cid() -> Vec<Case> {
    let ours = |slot| cid(0, NODE_ID, slot);
    let short = |cid: ConnectionId| udp4(Quic::short(cid.as_slice()));
    let long = |kind, version, slot| udp4(Quic::long(kind, version, ours(slot).as_slice()).padded_to(1200));
    vec![
        delivered("short header for slot 0", Reason::Cid, 0, short(ours(0))),
        delivered("short header for slot 3", Reason::Cid, 3, short(ours(3))),
        delivered("short header with the spin and key bits set", Reason::Cid, 1, short(ours(1)).overwrite(42, &[0x7f])),
        delivered("Handshake", Reason::Cid, 1, long(Kind::Handshake, V1, 1)),
        delivered("Handshake of version 2", Reason::Cid, 2, long(Kind::Handshake, V2, 2)),
        delivered("second Initial, with our connection ID", Reason::Cid, 3, long(Kind::Initial, V1, 3)),
        delivered("the same of version 2", Reason::Cid, 3, long(Kind::Initial, V2, 3)),
        delivered("the smallest short header", Reason::Cid, 2, udp4(Quic::short(ours(2).as_slice()).padded_to(21))),
        to_any("another node's", Reason::Unknown, short(cid(0, NODE_ID + 1, 1))),
        to_any("a free slot's", Reason::Unknown, short(ours(SLOTS))),
        to_any("a rotation without a configuration", Reason::Unknown, short(cid(3, NODE_ID, 1))),
        to_any("the rotation that is never routable", Reason::Unknown, udp4(Quic::short(&[0xff; CID_LENGTH as usize]))),
        to_any(
            "Handshake with a connection ID of 8 octets",
            Reason::Unknown,
            udp4(Quic::long(Kind::Handshake, V1, b"whatever")),
        ),
        delivered(
            "Initial and Handshake in one datagram",
            Reason::Cid,
            1,
            udp4(
                Quic::long(Kind::Initial, V1, ours(1).as_slice())
                    .coalesced_with(Quic::long(Kind::Handshake, V1, ours(1).as_slice()))
                    .padded_to(1200),
            ),
        ),
    ]
}

fn by_assignment() -> Vec<Case> {
    let first = |version, cid: &[u8]| udp4(Quic::initial(version, cid));
    vec![
        to_any("Initial", Reason::Assigned, first(V1, b"whatever")),
        to_any("Initial of version 2", Reason::Assigned, first(V2, b"whatever")),
        to_any("Initial with a connection ID of 20 octets", Reason::Assigned, first(V1, &[9; 20])),
        to_any("Initial without a connection ID", Reason::Assigned, first(V1, &[])),
        to_any("small 0-RTT", Reason::Assigned, udp4(Quic::long(Kind::ZeroRtt, V1, b"whatever"))),
        to_any("0-RTT of version 2", Reason::Assigned, udp4(Quic::long(Kind::ZeroRtt, V2, b"whatever"))),
        to_any("unknown version, is answered", Reason::Assigned, udp4(Quic::unknown_version(b"whatever", 1200))),
        to_any(
            "unknown version over IPv6, is answered",
            Reason::Assigned,
            udp6(Quic::unknown_version(b"whatever", 1200)),
        ),
        to_any("unknown version without an ID, is answered", Reason::Assigned, udp4(Quic::unknown_version(&[], 1200))),
        to_any(
            "unknown version, connection ID of 20 octets, is answered",
            Reason::Assigned,
            udp6(Quic::unknown_version(&[5; 20], 1201)),
        ),
        to_any(
            "unknown version that Version Negotiation names, is answered",
            Reason::Assigned,
            udp4(Quic::long(Kind::Initial, 0x0a1a_2a3a, b"whatever").padded_to(1_452)),
        ),
        to_any(
            "unknown version before padding, is answered",
            Reason::Assigned,
            udp4(Quic::unknown_version(b"odd", 1_201)).pad(3),
        ),
        to_any("unknown version in a VLAN", Reason::Assigned, udp4(Quic::unknown_version(b"whatever", 1200)).vlan(7)),
        to_any(
            "unknown version behind options",
            Reason::Assigned,
            udp4(Quic::unknown_version(b"whatever", 1200)).options(&[1; 4]),
        ),
        to_any(
            "unknown version, connection ID of 255 octets",
            Reason::Assigned,
            udp4(Quic::unknown_version(&[5; 255], 1200)),
        ),
        to_any("Initial over IPv6", Reason::Assigned, udp6(Quic::initial(V1, b"whatever"))),
    ]
}

/// First flights from ports that floods are reflected by; of connections that are there, nothing is asked.
fn by_source_port() -> Vec<Case> {
    let [(chosen, slot), _] = PLANTED_FLOWS;
    let initial = || Quic::initial(V1, b"whatever");
    let from4 = |port, quic: Quic| Packet::udp((CLIENT4, port), router4(), quic);
    let from6 = |port, quic: Quic| Packet::udp((CLIENT6, port), router6(), quic);
    let ours = cid(0, NODE_ID, 1);
    let refused = [
        ("an Initial from port 1", from4(1, initial())),
        ("an Initial from port 53", from4(53, initial())),
        ("an Initial from port 443 over IPv6", from6(443, initial())),
        ("an Initial from port 1023", from4(1_023, initial())),
        ("an Initial from port 1900", from4(1_900, initial())),
        ("an Initial of version 2 from port 5353", from4(5_353, Quic::initial(V2, b"whatever"))),
        ("0-RTT from port 11211", from4(11_211, Quic::long(Kind::ZeroRtt, V1, b"whatever"))),
        ("an unknown version from port 20800", from6(20_800, Quic::unknown_version(b"whatever", 1200))),
        ("an Initial from port 27015", from4(27_015, initial())),
    ];
    let refused = refused.into_iter().map(|(name, packet)| passed(name, Reason::SourcePort, packet.frame()));
    let handshake = || Quic::long(Kind::Handshake, V1, ours.as_slice());
    let others = [
        to_any("an Initial from port 1024", Reason::Assigned, from4(1_024, initial())),
        to_any("an Initial from port 1901", Reason::Assigned, from4(1_901, initial())),
        to_any("an Initial from port 65535", Reason::Assigned, from6(65_535, initial())),
        delivered("an Initial of a known flow from port 53", Reason::Flow, slot, from4(53, Quic::initial(V1, chosen))),
        delivered("a short header from port 53", Reason::Cid, 1, from4(53, Quic::short(ours.as_slice()))),
        delivered("a Handshake from port 443", Reason::Cid, 1, from6(443, handshake())),
        delivered("a second Initial from port 443", Reason::Cid, 1, from4(443, Quic::initial(V1, ours.as_slice()))),
        to_any("a short header that nothing knows from port 53", Reason::Unknown, from4(53, Quic::short(&[0xff; 17]))),
    ];
    refused.chain(others).collect()
}

/// What wraps a datagram changes nothing.
fn in_every_wrapping() -> Vec<Case> {
    let cid = cid(0, NODE_ID, 2);
    let short = || Quic::short(cid.as_slice());
    let same = |name, packet| delivered(name, Reason::Cid, 2, packet);
    vec![
        same("in a VLAN", udp4(short()).vlan(7)),
        same("in a VLAN over IPv6", udp6(short()).vlan(7)),
        same("with a priority tag", udp4(short()).vlan(0xe000)),
        same("in a VLAN in a VLAN", udp4(short()).service_vlan(100).vlan(7)),
        same("in two VLANs over IPv6", udp6(short()).vlan(100).vlan(7)),
        same("behind IPv4 options", udp4(short()).options(&[1; 4])),
        same("behind 40 octets of IPv4 options", udp4(short()).options(&[1; 40])),
        same("behind hop-by-hop options", udp6(short()).extension(HOP_BY_HOP)),
        same(
            "behind three extension headers",
            udp6(short()).extension(HOP_BY_HOP).extension(ROUTING).extension(DESTINATION_OPTIONS),
        ),
        same("before Ethernet padding", udp4(short()).pad(30)),
        same("in a VLAN, behind options", udp4(short()).vlan(7).options(&[1; 8])),
    ]
}

/// Passed or dropped: the reason knows which.
fn passed(name: &'static str, reason: Reason, frame: Vec<u8>) -> Case {
    Case { name, frame, reason, slot: None }
}

fn delivered(name: &'static str, reason: Reason, slot: u8, packet: Packet) -> Case {
    Case { name, frame: packet.frame(), reason, slot: Some(slot) }
}

fn to_any(name: &'static str, reason: Reason, packet: Packet) -> Case {
    Case { name, frame: packet.frame(), reason, slot: None }
}

fn udp4(payload: impl Into<Vec<u8>>) -> Packet {
    Packet::udp(client4(), router4(), payload)
}

fn udp6(payload: impl Into<Vec<u8>>) -> Packet {
    Packet::udp(client6(), router6(), payload)
}

fn client4() -> SocketAddr {
    (CLIENT4, 4000).into()
}

fn client6() -> SocketAddr {
    (CLIENT6, 4000).into()
}

fn router4() -> SocketAddr {
    (ROUTER4, PORT).into()
}

fn router6() -> SocketAddr {
    (ROUTER6, PORT).into()
}

/// Addresses of the first clients' wire in a laboratory; no interface there has the clients',
/// so that nothing answers the answers.
const ROUTER4: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const CLIENT4: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 99);
const ROUTER6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1);
const CLIENT6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x99);
const PORT: u16 = 443;
/// Of the listener on every IPv4 address.
const ANY_PORT: u16 = 8443;
