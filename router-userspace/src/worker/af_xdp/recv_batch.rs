//! quinn's buffers, filled with datagrams: those of one peer and one size one behind the other, as
//! the kernel's GRO lays them.

use std::io::IoSliceMut;

use quinn_udp::RecvMeta;

use super::decode::Datagram;

/// Buffers, of which some are filled.
pub(super) struct RecvBatch<'a, 'b> {
    bufs: &'a mut [IoSliceMut<'b>],
    metas: &'a mut [RecvMeta],
    filled: usize,
    /// Datagrams in the last one that is filled; it takes no more if the last was shorter.
    segments: usize,
    is_closed: bool,
    /// Datagrams that may still come.
    room: usize,
}

impl<'a, 'b> RecvBatch<'a, 'b> {
    pub(super) fn new(bufs: &'a mut [IoSliceMut<'b>], metas: &'a mut [RecvMeta]) -> Self {
        Self { bufs, metas, filled: 0, segments: 0, is_closed: true, room: DATAGRAMS_MAX }
    }

    /// Whether one more surely fits.
    pub(super) fn has_room(&self) -> bool {
        self.room > 0 && self.filled < self.bufs.len().min(self.metas.len())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// How many buffers are filled.
    pub(super) fn filled(&self) -> usize {
        self.filled
    }

    /// Copies a datagram in; there has to be [room](Self::has_room).
    pub(super) fn put(&mut self, datagram: &Datagram, payload: &[u8]) {
        self.room = self.room.saturating_sub(1);
        if !self.append(datagram, payload) {
            self.begin(datagram, payload);
        }
    }

    fn append(&mut self, datagram: &Datagram, payload: &[u8]) -> bool {
        let Some(last) = self.filled.checked_sub(1).filter(|_| !self.is_closed) else { return false };
        let (buf, meta) = (&mut self.bufs[last], &mut self.metas[last]);
        let fits = payload.len() <= meta.stride
            && meta.addr == datagram.source
            && meta.dst_ip == Some(datagram.to())
            && meta.ecn == datagram.ecn;
        let Some(room) = buf.get_mut(meta.len..meta.len + payload.len()).filter(|_| fits) else { return false };
        room.copy_from_slice(payload);
        meta.len += payload.len();
        self.segments += 1;
        self.is_closed = payload.len() < meta.stride || self.segments == MAX_SEGMENTS;
        true
    }

    fn begin(&mut self, datagram: &Datagram, payload: &[u8]) {
        // quinn's buffers hold the largest datagram that it takes; what is larger it would not read.
        let Some(room) = self.bufs[self.filled].get_mut(..payload.len()) else { return };
        room.copy_from_slice(payload);
        let meta = &mut self.metas[self.filled];
        meta.addr = datagram.source;
        meta.len = payload.len();
        meta.stride = payload.len();
        meta.ecn = datagram.ecn;
        meta.dst_ip = Some(datagram.to());
        self.filled += 1;
        self.segments = 1;
        self.is_closed = payload.is_empty();
    }
}

/// As many as the kernel's GRO merges (`UDP_GRO_CNT_MAX`).
const MAX_SEGMENTS: usize = 64;
/// Datagrams taken at once: then it is another source's turn.
const DATAGRAMS_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use router_common::frame::{Address, Endpoint};

    use super::*;

    fn datagram(port: u16) -> Datagram {
        let destination = Endpoint { address: Address::ipv4([192, 0, 2, 1]), port: 443 };
        Datagram { source: ([192, 0, 2, 9], port).into(), destination, ecn: None, payload: 0..0 }
    }

    /// Puts datagrams of these ports and lengths; the lengths and strides of the trains.
    fn trains(datagrams: &[(u16, usize)]) -> Vec<(usize, usize)> {
        let (mut octets, mut metas) = ([[0; 4_000]; 4], [RecvMeta::default(); 4]);
        let mut bufs = octets.each_mut().map(|octets| IoSliceMut::new(octets));
        let mut trains = RecvBatch::new(&mut bufs, &mut metas);
        for &(port, length) in datagrams {
            assert!(trains.has_room());
            trains.put(&datagram(port), &[length as u8; 4_000][..length]);
        }
        let filled = trains.filled();
        metas[..filled].iter().map(|meta| (meta.len, meta.stride)).collect()
    }

    #[test]
    fn same_peer_and_size_make_a_train_that_a_shorter_one_ends() {
        assert_eq!(trains(&[(1, 1_200), (1, 1_200), (1, 700), (1, 700)]), [(3_100, 1_200), (700, 700)]);
        assert_eq!(trains(&[(1, 100), (2, 100), (1, 100)]), [(100, 100), (100, 100), (100, 100)]);
        assert_eq!(trains(&[(1, 100), (1, 200)]), [(100, 100), (200, 200)]);
    }

    #[test]
    fn a_buffer_that_is_full_ends_it_too() {
        assert_eq!(trains(&[(1, 1_500), (1, 1_500), (1, 1_500)]), [(3_000, 1_500), (1_500, 1_500)]);
    }

    #[test]
    fn octets_and_addresses_are_kept() {
        let (mut octets, mut metas) = ([[0; 8]; 1], [RecvMeta::default(); 1]);
        let mut bufs = octets.each_mut().map(|octets| IoSliceMut::new(octets));
        let mut trains = RecvBatch::new(&mut bufs, &mut metas);
        trains.put(&datagram(7), b"one");
        assert!(!trains.has_room(), "the last buffer may be full");
        assert_eq!((metas[0].addr, metas[0].dst_ip), (datagram(7).source, Some(datagram(7).to())));
        assert_eq!(octets[0][..3], *b"one");
    }
}
