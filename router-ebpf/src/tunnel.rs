//! `forward` and `unwrap`: a packet's way to the node that owns its connection, and out of the tunnel there.
//!
//! `steer` has decided, and goes on here (a tail call). What is out of the tunnel is decided about at once, as any frame is:
//! another program would have to find its headers again.

use aya_ebpf::{
    bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_TX},
    programs::XdpContext,
};
use router_common::{
    frame::{ETHERNET_LENGTH, IPV4, IPV6},
    maps::Stage,
    reason::Reason,
    tunnel::{Leaving, Opened, Receiver, Refused, open_frame, outer_length},
};

use crate::{
    maps::{self, Maps},
    packet::{self, Frame},
    steer,
};

/// Sends a frame on to the node that was decided for.
#[inline(always)]
pub(crate) fn forward(ctx: &XdpContext) -> u32 {
    // Later on the compiler might do arithmetic with the context's address, which the verifier forbids.
    let came_by = ctx.ingress_ifindex() as u32;
    let Some(handover) = maps::handover() else { return XDP_PASS };
    let reason = if handover.is_new != 0 { Reason::ForwardedNew } else { Reason::Forwarded };
    match send(ctx, came_by, handover.node) {
        Sent::Gone(action) => {
            maps::count(Stage::Xdp, reason);
            action
        }
        Sent::TooLong => {
            maps::count(Stage::Xdp, Reason::TooLongToForward);
            maps::count_node(handover.node, |counters| counters.too_long += 1);
            XDP_DROP
        }
        Sent::Kept => {
            maps::count(Stage::Xdp, reason);
            XDP_PASS
        }
    }
}

/// What became of a frame for another node.
enum Sent {
    /// It is on its way: the action to return.
    Gone(u32),
    /// It fits in no packet between the nodes.
    TooLong,
    /// It is as it was: a worker sends it on.
    Kept,
}

#[inline(always)]
fn send(ctx: &XdpContext, came_by: u32, number: u32) -> Sent {
    let frame = Frame(ctx);
    let Some(node) = maps::node(number) else { return Sent::Kept };
    let (Some(interface), Some(key)) = (node.interface(), maps::tunnel_keys().and_then(|keys| keys.sending())) else {
        return Sent::Kept;
    };
    let packet = match Leaving::of(&frame, node) {
        Leaving::Packet(packet) => packet,
        Leaving::Worker => return Sent::Kept,
        Leaving::TooLong => return Sent::TooLong,
    };
    let is_back = interface.get() == came_by;
    if !is_back && !maps::has_device(interface) {
        return Sent::Kept;
    }
    let (Some(own), Some(outer)) = (maps::own_number(), maps::outer()) else { return Sent::Kept };
    outer.write(&packet, own, Receiver { key, node });
    let is_written = match node.address().is_ipv4() {
        true => packet::push::<{ ETHERNET_LENGTH + outer_length(true) }>(ctx, outer),
        false => packet::push::<{ ETHERNET_LENGTH + outer_length(false) }>(ctx, outer),
    };
    let Some(is_written) = is_written else { return Sent::Kept };
    maps::count_node(number, |counters| {
        counters.forwarded_packets += 1;
        counters.forwarded_octets += packet.length as u64;
    });
    // Without its headers it is nobody's.
    Sent::Gone(match (is_written, is_back) {
        (false, _) => XDP_DROP,
        (true, true) => XDP_TX,
        (true, false) => maps::redirect_to_device(interface),
    })
}

/// Takes the packet out of a frame for the tunnel's end, and decides about it.
#[inline(always)]
pub(crate) fn unwrap(ctx: &XdpContext) -> u32 {
    match open_frame(&Frame(ctx), &Maps::for_frame(ctx)) {
        Ok((opened, true)) => take::<{ outer_length(true) }>(ctx, &opened),
        Ok((opened, false)) => take::<{ outer_length(false) }>(ctx, &opened),
        Err(refused) => {
            maps::count(Stage::Unwrap, refused.reason());
            match refused {
                Refused::Control => XDP_PASS,
                Refused::Forged { sender } => {
                    if let Some(sender) = sender {
                        maps::count_node(sender.into(), |counters| counters.forged += 1);
                    }
                    XDP_DROP
                }
            }
        }
    }
}

/// Makes the inner packet the frame's, around which there are `OUTER` octets, and goes on with it.
#[inline(always)]
fn take<const OUTER: usize>(ctx: &XdpContext, opened: &Opened) -> u32 {
    let Opened { sender, packet, ds } = opened;
    if !packet::pull::<OUTER>(ctx, if packet.is_ipv4 { IPV4 } else { IPV6 }) {
        // It could be on no smaller frame: it has all the octets that go.
        maps::count(Stage::Unwrap, Reason::Malformed);
        return XDP_DROP;
    }
    maps::count_node((*sender).into(), |counters| {
        counters.unwrapped_packets += 1;
        counters.unwrapped_octets += packet.length as u64;
    });
    let is_marked = match packet.is_ipv4 {
        _ if *ds == packet.ds => true,
        true => packet::mark_ipv4(ctx, *ds),
        false => packet::mark_ipv6(ctx, *ds),
    };
    if !is_marked {
        maps::count(Stage::Unwrap, Reason::Malformed);
        return XDP_DROP;
    }
    steer::unwrapped(ctx, &packet.datagram())
}
