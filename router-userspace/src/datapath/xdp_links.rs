//! Which XDP program is on an interface, whoever attached it: asked of the kernel by rtnetlink.

use aya::programs::loaded_programs;
use netlink_packet_route::link::{LinkAttribute, LinkMessage, LinkXdp};

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
    let parts = nix::net::if_::if_nametoindex(interface).ok().and_then(link).map(|link| link.attributes);
    parts.into_iter().flatten().any(|attribute| match attribute {
        LinkAttribute::Xdp(parts) => parts.iter().any(|part| matches!(part, LinkXdp::SkbProgId(_))),
        _ => false,
    })
}

fn program_id(interface: &str) -> Option<u32> {
    let link = link(nix::net::if_::if_nametoindex(interface).ok()?)?;
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Xdp(parts) => parts.iter().find_map(|part| match part {
            LinkXdp::ProgId(id) | LinkXdp::DrvProgId(id) | LinkXdp::SkbProgId(id) | LinkXdp::HwProgId(id) => Some(*id),
            _ => None,
        }),
        _ => None,
    })
}

/// What the kernel says of the interface with this index (`RTM_GETLINK`).
pub fn link(index: u32) -> Option<LinkMessage> {
    Netlink::open().ok()?.link(index)
}
