//! Gathers the facts about an interface, from rtnetlink and the driver.

use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage};
use nix::net::if_::{if_indextoname, if_nametoindex};
use router_common::identifiers::IfIndex;

use super::wanted::Wanted;
use crate::{
    agent::api::{QueueMode, Status},
    datapath::{self, QueueSocket, attached_program, ethtool},
};

/// What an interface is and has.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// The driver, or for a virtual device its kind.
    pub(super) driver: Option<String>,
    /// Set up by the administrator.
    pub(super) up: bool,
    /// The other end of the wire is there.
    pub(super) carrier: bool,
    /// Octets of the largest IP packet.
    pub(super) mtu: u32,
    /// Receive queues in use.
    pub(super) queues: u32,
    /// Receive queues there could be.
    pub(super) most_queues: u32,
    /// The XDP program on it.
    pub(super) program: Option<Program>,
    /// Packets are merged by the device.
    pub(super) lro: bool,
    /// Packets are merged in software, after XDP.
    pub(super) gro: bool,
    /// The other end, of a veth.
    pub(super) peer: Option<Peer>,
    /// Whether AF_XDP sockets can be had.
    pub(super) af_xdp: AfXdp,
    /// Frames begin with an Ethernet header.
    pub(super) ethernet: bool,
    /// A VLAN on top of it, whose tags the device takes out of the frames.
    pub(super) vlan: Option<String>,
    /// The VRF that it belongs to.
    pub(super) vrf: Option<String>,
}

/// Whether AF_XDP sockets can be had on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AfXdp {
    /// The running agent has them, on so many queues.
    Used {
        /// Without copying.
        zero_copy: usize,
        /// With.
        copying: usize,
    },
    /// One was opened, and closed again.
    Possible,
    /// Why not.
    Refused(String),
}

/// An XDP program that is attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) id: u32,
    pub(super) name: String,
    pub(super) whose: Whose,
}

/// Whose a program is that is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// The agent that runs.
    Ours,
    /// An agent that no longer runs: its link is pinned and its control socket is not answered.
    Stale,
    /// Another program.
    Foreign,
}

/// The other end of a veth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// In this namespace.
    Here {
        /// Its name.
        name: String,
        /// It leaves checksums to the device, which for a veth means that they are never computed.
        transmit_checksums: bool,
    },
    /// In another namespace.
    Elsewhere,
}

/// Looks; nothing if there is no such interface.
pub(super) fn facts(name: &str, wanted: &Wanted, agent: Option<&Status>) -> Option<Facts> {
    let link = datapath::link(IfIndex::new(if_nametoindex(name).ok()?))?;
    let flags = link.header.flags;
    let queues = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::NumRxQueues(queues) => Some(*queues),
        _ => None,
    });
    let possible = queues.unwrap_or(1);
    let (queues, most_queues) =
        ethtool::queues(name).map_or((possible, possible), |queues| (queues.receive, queues.receive_most));
    let driver = ethtool::driver(name).or_else(|| kind(&link));
    Some(Facts {
        peer: peer(&link).filter(|_| driver.as_deref() == Some("veth")),
        driver,
        up: flags.contains(LinkFlags::Up),
        carrier: flags.contains(LinkFlags::LowerUp),
        mtu: mtu(&link),
        queues,
        most_queues,
        program: attached_program(name).map(|(id, program)| Program {
            id,
            name: program,
            whose: whose(id, name, wanted, agent),
        }),
        lro: ethtool::large_receive_offload(name).unwrap_or(false),
        gro: ethtool::generic_receive_offload(name).unwrap_or(false),
        af_xdp: af_xdp(name, IfIndex::new(link.header.index), agent),
        ethernet: matches!(link.header.link_layer_type, LinkLayerType::Ether | LinkLayerType::Loopback),
        vlan: datapath::vlan_beside_frames(name),
        vrf: datapath::vrf(name),
    })
}

fn af_xdp(name: &str, index: IfIndex, agent: Option<&Status>) -> AfXdp {
    let running = agent.and_then(|agent| agent.interfaces.iter().find(|interface| interface.name == name));
    let queues = running.map(|interface| &interface.queues[..]).unwrap_or_default();
    if !queues.is_empty() {
        let zero_copy = queues.iter().filter(|queue| queue.mode == QueueMode::ZeroCopy).count();
        return AfXdp::Used { zero_copy, copying: queues.len() - zero_copy };
    }
    match QueueSocket::try_on(index) {
        Ok(()) => AfXdp::Possible,
        Err(e) => AfXdp::Refused(e.to_string()),
    }
}

fn whose(id: u32, interface: &str, wanted: &Wanted, agent: Option<&Status>) -> Whose {
    match agent {
        Some(agent) if agent.interfaces.iter().any(|interface| interface.program_id == Some(id)) => Whose::Ours,
        None if datapath::link_pin(&wanted.bpf_dir, interface).exists() => Whose::Stale,
        Some(_) | None => Whose::Foreign,
    }
}

fn kind(link: &LinkMessage) -> Option<String> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(parts) => parts.iter().find_map(|part| match part {
            LinkInfo::Kind(kind) => Some(kind.to_string()),
            _ => None,
        }),
        _ => None,
    })
}

fn mtu(link: &LinkMessage) -> u32 {
    let mtu = |attribute: &LinkAttribute| if let LinkAttribute::Mtu(mtu) = attribute { Some(*mtu) } else { None };
    link.attributes.iter().find_map(mtu).unwrap_or(0)
}

fn peer(link: &LinkMessage) -> Option<Peer> {
    if link.attributes.iter().any(|attribute| matches!(attribute, LinkAttribute::LinkNetNsId(_))) {
        return Some(Peer::Elsewhere);
    }
    let index = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Link(index) => Some(*index),
        _ => None,
    });
    let name = if_indextoname(index?).ok()?.into_string().ok()?;
    let transmit_checksums = ethtool::transmit_checksums(&name).unwrap_or(false);
    Some(Peer::Here { name, transmit_checksums })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Engine;

    #[test]
    fn loopback_is_there_and_nothing_is_made_up() {
        let wanted = Wanted::sample(Engine::Auto);
        let facts = facts("lo", &wanted, None).unwrap();
        assert!(facts.mtu > 1_500 && facts.queues >= 1 && facts.peer.is_none(), "{facts:?}");
        assert!(super::facts("no-such-if", &wanted, None).is_none());
    }
}
