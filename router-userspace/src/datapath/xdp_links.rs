//! Which XDP program is on an interface, ours or another program's: asked of the kernel by rtnetlink.

use aya::programs::loaded_programs;
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkLayerType, LinkMessage, LinkXdp};
use nix::net::if_::{if_nameindex, if_nametoindex};
use router_common::identifiers::IfIndex;

use super::netlink::Netlink;

/// The ID and name of the XDP program on `interface`; `None` if there is none, or if the
/// kernel would not say.
pub fn attached_program(interface: &str) -> Option<(u32, String)> {
    let id = program_id(interface)?;
    let name = loaded_programs()
        .filter_map(Result::ok)
        .find(|program| program.id() == id)
        .and_then(|program| program.name_as_str().map(str::to_owned))
        .unwrap_or_default();
    Some((id, name))
}

/// Whether the XDP program on `interface` runs in the stack, not in the driver.
pub(super) fn is_generic(interface: &str) -> bool {
    let parts = if_nametoindex(interface).ok().map(IfIndex::new).and_then(link).map(|link| link.attributes);
    parts.into_iter().flatten().any(|attribute| match attribute {
        LinkAttribute::Xdp(parts) => parts.iter().any(|part| matches!(part, LinkXdp::SkbProgId(_))),
        _ => false,
    })
}

/// The ID of the XDP program on `interface`.
pub fn program_id(interface: &str) -> Option<u32> {
    let link = link(IfIndex::new(if_nametoindex(interface).ok()?))?;
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Xdp(parts) => parts.iter().find_map(|part| match part {
            LinkXdp::ProgId(id) | LinkXdp::DrvProgId(id) | LinkXdp::SkbProgId(id) | LinkXdp::HwProgId(id) => Some(*id),
            _ => None,
        }),
        _ => None,
    })
}

/// What stands at the front of the frames of an interface.
pub(super) fn link_type(interface: &str) -> Option<LinkLayerType> {
    Some(link(IfIndex::new(if_nametoindex(interface).ok()?))?.header.link_layer_type)
}

/// Interfaces whose packets come by another one, and those by which they come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Neighbours {
    /// A bridge that this one is a port of, VLANs and macvlans on top of it.
    pub above: Vec<String>,
    /// The other way round.
    pub below: Vec<String>,
}

/// What stands above and below `interface`.
pub fn neighbours(interface: &str) -> Neighbours {
    let mut found = Neighbours::default();
    let Some(own) = if_nametoindex(interface).ok().map(IfIndex::new).and_then(link) else { return found };
    for other in if_nameindex().iter().flat_map(|all| all.into_iter()) {
        let Some(other) = link(IfIndex::new(other.index())).filter(|other| other.header.index != own.header.index)
        else {
            continue;
        };
        let Some(name) = name(&other) else { continue };
        if is_above(&other, &own) {
            found.above.push(name);
        } else if is_above(&own, &other) {
            found.below.push(name);
        }
    }
    found
}

fn is_above(upper: &LinkMessage, lower: &LinkMessage) -> bool {
    let (upper_index, lower_index) = (upper.header.index, lower.header.index);
    // Of a veth it is the other end, of what is in another namespace a number there.
    let is_pair = kind(upper) == Some(InfoKind::Veth)
        || upper.attributes.iter().any(|attribute| matches!(attribute, LinkAttribute::LinkNetNsId(_)));
    let by_link = |attribute: &LinkAttribute| matches!(attribute, LinkAttribute::Link(index) if *index == lower_index);
    lower.attributes.iter().any(|of| matches!(of, LinkAttribute::Controller(index) if *index == upper_index))
        || !is_pair && upper.attributes.iter().any(by_link)
}

/// What sort of virtual device it is, if it is one.
pub(super) fn kind(link: &LinkMessage) -> Option<InfoKind> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(parts) => parts.iter().find_map(|part| match part {
            LinkInfo::Kind(kind) => Some(kind.clone()),
            _ => None,
        }),
        _ => None,
    })
}

pub(super) fn name(link: &LinkMessage) -> Option<String> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    })
}

/// What the kernel says of the interface with this index (`RTM_GETLINK`).
pub fn link(index: IfIndex) -> Option<LinkMessage> {
    Netlink::open().ok()?.link(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(index: u32, attributes: &[LinkAttribute]) -> LinkMessage {
        let mut link = LinkMessage::default();
        link.header.index = index;
        link.attributes = attributes.to_vec();
        link
    }

    fn of_kind(kind: InfoKind) -> LinkAttribute {
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind)])
    }

    #[test]
    fn ports_are_below_their_bridge_and_vlans_above_their_device() {
        let wire = device(2, &[LinkAttribute::Controller(5)]);
        let bridge = device(5, &[of_kind(InfoKind::Bridge)]);
        let vlan = device(7, &[LinkAttribute::Link(2), of_kind(InfoKind::Vlan)]);
        assert!(is_above(&bridge, &wire) && !is_above(&wire, &bridge));
        assert!(is_above(&vlan, &wire) && !is_above(&wire, &vlan) && !is_above(&vlan, &bridge));
        assert_eq!(kind(&vlan), Some(InfoKind::Vlan));
        // The number of a veth's other end, or of a device in another namespace.
        let pair = device(8, &[LinkAttribute::Link(2), of_kind(InfoKind::Veth)]);
        let elsewhere = device(9, &[LinkAttribute::Link(2), LinkAttribute::LinkNetNsId(0)]);
        assert!(!is_above(&pair, &wire) && !is_above(&elsewhere, &wire));
    }
}
