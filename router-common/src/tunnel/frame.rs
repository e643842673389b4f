//! A tunnel's packet in its Ethernet frame.

use super::{HEADER_LENGTH, Opened, OuterFacts, Refused, open, outer_length};
use crate::{
    bytes::{Bytes, Octets},
    frame::{Datagram, ETHERNET_LENGTH, IPV4, IPV4_LENGTH, IPV6, IPV6_LENGTH, UDP_LENGTH},
    steer::Tables,
};

/// Opens the packet in a frame whose datagram is `outer`, to the tunnel's port.
///
/// # Errors
/// If it is not taken. What is not plain is for the socket that the port has: the kernel's stack gives it the datagram.
#[inline(always)]
pub fn open_frame<B: Bytes + ?Sized, T: Tables>(frame: &B, outer: &Datagram, tables: &T) -> Result<Opened, Refused> {
    let Some(Octets::<2>([first, second])) = frame.read(ETHERNET_LENGTH).filter(|_| outer.is_plain()) else {
        return Err(Refused::Control);
    };
    let (source, payload_length) = (outer.source.address, outer.payload.length);
    let (keys, node) = (tables.tunnel_keys(), |number| tables.node(number));
    if source.is_ipv4() {
        open::<PAYLOAD_V4, { PAYLOAD_V4 + HEADER_LENGTH }, B>(
            frame,
            &OuterFacts { source, ds: second, payload_length },
            keys,
            node,
        )
    } else {
        let ds = first << 4 | second >> 4;
        open::<PAYLOAD_V6, { PAYLOAD_V6 + HEADER_LENGTH }, B>(
            frame,
            &OuterFacts { source, ds, payload_length },
            keys,
            node,
        )
    }
}

const PAYLOAD_V4: usize = ETHERNET_LENGTH + IPV4_LENGTH + UDP_LENGTH;
const PAYLOAD_V6: usize = ETHERNET_LENGTH + IPV6_LENGTH + UDP_LENGTH;

/// A frame as it is once the tunnel's headers are off, without taking them off: for those who only look.
pub struct InnerFrame<'a, B: ?Sized> {
    outer: &'a B,
    overhead: usize,
    ethertype: [u8; 2],
}

impl<'a, B: Bytes + ?Sized> InnerFrame<'a, B> {
    /// The one in a frame whose datagram is `outer`.
    ///
    /// # Errors
    /// If the packet is not taken.
    pub fn of<T: Tables>(frame: &'a B, outer: &Datagram, tables: &T) -> Result<Self, Refused> {
        let opened = open_frame(frame, outer, tables)?;
        let ethertype = if opened.packet.inner.destination.address.is_ipv4() { IPV4 } else { IPV6 };
        let overhead = outer_length(outer.destination.address.is_ipv4());
        Ok(Self { outer: frame, overhead, ethertype: ethertype.to_be_bytes() })
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
