//! A tunnel's packet in its Ethernet frame.

use super::{HEADER_LENGTH, InnerPacket, Opened, OuterFacts, Refused, open, outer_length};
use crate::{
    bytes::{Bytes, Octets},
    frame::{ETHERNET_LENGTH, IPV4, IPV4_LENGTH, IPV6, IPV6_LENGTH, UDP_LENGTH},
    steer::Tables,
};

/// Opens the packet in a frame to the tunnel's port; with it comes whether the tunnel is one over IPv4.
///
/// # Errors
/// If it is not taken. What is not plain is for the socket that the port has: the kernel's stack gives it the datagram.
#[inline(always)]
pub fn open_frame<B: Bytes + ?Sized, T: Tables>(frame: &B, tables: &T) -> Result<(Opened, bool), Refused> {
    let Octets::<2>(ethertype) = frame.read(ETHERNET_LENGTH - 2).ok_or(Refused::Control)?;
    let (keys, node) = (tables.tunnel_keys(), |number| tables.node(number));
    match u16::from_be_bytes(ethertype) {
        IPV4 => {
            let outer = facts(InnerPacket::ipv4::<ETHERNET_LENGTH, B>(frame))?;
            Ok((open::<INNER_V4, B>(frame, &outer, keys, node)?, true))
        }
        IPV6 => {
            let outer = facts(InnerPacket::ipv6::<ETHERNET_LENGTH, B>(frame))?;
            Ok((open::<INNER_V6, B>(frame, &outer, keys, node)?, false))
        }
        _ => Err(Refused::Control),
    }
}

/// What an outer packet says, if it is plain.
#[inline(always)]
fn facts(outer: Option<InnerPacket>) -> Result<OuterFacts, Refused> {
    let InnerPacket { inner, ds, .. } = outer.ok_or(Refused::Control)?;
    let (source, header) = (inner.source.address, inner.payload);
    Ok(OuterFacts { source, ds, payload_length: inner.payload_length.into(), header })
}

const INNER_V4: usize = ETHERNET_LENGTH + IPV4_LENGTH + UDP_LENGTH + HEADER_LENGTH;
const INNER_V6: usize = ETHERNET_LENGTH + IPV6_LENGTH + UDP_LENGTH + HEADER_LENGTH;

/// A frame as it is once the tunnel's headers are off, without taking them off: for those who only look.
pub struct InnerFrame<'a, B: ?Sized> {
    outer: &'a B,
    overhead: usize,
    ethertype: [u8; 2],
}

impl<'a, B: Bytes + ?Sized> InnerFrame<'a, B> {
    /// The one in a frame to the tunnel's port, and the packet in it.
    ///
    /// # Errors
    /// If the packet is not taken.
    pub fn of<T: Tables>(frame: &'a B, tables: &T) -> Result<(Self, InnerPacket), Refused> {
        let (opened, is_over_ipv4) = open_frame(frame, tables)?;
        let ethertype = if opened.packet.is_ipv4 { IPV4 } else { IPV6 };
        let overhead = outer_length(is_over_ipv4);
        Ok((Self { outer: frame, overhead, ethertype: ethertype.to_be_bytes() }, opened.packet))
    }
}

impl<B: Bytes + ?Sized> Bytes for InnerFrame<'_, B> {
    fn read<const N: usize>(&self, at: usize) -> Option<Octets<N>> {
        if at >= ETHERNET_LENGTH {
            return self.outer.read(at + self.overhead);
        }
        // Its link addresses stay; its type is the inner packet's.
        let Octets::<ETHERNET_LENGTH>(mut ethernet) = self.outer.read(0)?;
        ethernet[ETHERNET_LENGTH - 2..].copy_from_slice(&self.ethertype);
        ethernet.get(at..)?.first_chunk().copied().map(Octets)
    }

    fn holds(&self, length: usize) -> bool {
        self.outer.holds(length + self.overhead)
    }
}
