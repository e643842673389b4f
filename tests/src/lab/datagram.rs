//! The UDP datagram in an Ethernet frame: what is read of it and what a bad network changes.

use std::ops::Range;

/// A frame with a UDP datagram in IPv4 without options, or in IPv6 without extension headers.
pub struct Datagram<'f> {
    frame: &'f mut [u8],
    udp: usize,
}

/// What a packet says of itself in its first octet (RFC 9000 section 17).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Long headers.
    Initial,
    /// Early data.
    ZeroRtt,
    /// Of TLS's handshake.
    Handshake,
    /// An address is to be proved.
    Retry,
    /// Version Negotiation.
    Versions,
    /// 1-RTT.
    Short,
}

/// An end of a datagram's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Where it comes from.
    Source,
    /// Where it goes to.
    Destination,
}

impl<'f> Datagram<'f> {
    /// None if the frame has none.
    pub fn of(frame: &'f mut [u8]) -> Option<Self> {
        let udp = match (frame.get(12..14)?, frame.get(14)?) {
            ([0x08, 0x00], 0x45) if *frame.get(23)? == UDP => 34,
            ([0x86, 0xdd], _) if *frame.get(20)? == UDP => 54,
            _ => return None,
        };
        (frame.len() > udp + UDP_HEADER).then_some(Self { frame, udp })
    }

    /// What it carries.
    pub fn payload(&self) -> &[u8] {
        &self.frame[self.udp + UDP_HEADER..]
    }

    /// The first packet in it, by version 1.
    pub fn kind(&self) -> Kind {
        let payload = self.payload();
        match payload[0] >> 4 {
            _ if payload[0] & 0x80 == 0 => Kind::Short,
            _ if payload.get(1..5) == Some(&[0; 4]) => Kind::Versions,
            bits => [Kind::Initial, Kind::ZeroRtt, Kind::Handshake, Kind::Retry][usize::from(bits & 3)],
        }
    }

    /// Its ECN field (RFC 3168): 0 to 3.
    pub fn ecn(&self) -> u8 {
        if self.is_v4() { self.frame[15] & 3 } else { self.frame[15] >> 4 & 3 }
    }

    /// Marks it as a router does whose queue is long: CE (RFC 3168 section 5).
    pub fn mark_congestion(&mut self) {
        if !self.is_v4() {
            self.frame[15] |= 3 << 4;
            return;
        }
        let before = word(self.frame, 14);
        self.frame[15] |= 3;
        let sum = adjusted(word(self.frame, 24), before, word(self.frame, 14));
        self.frame[24..26].copy_from_slice(&sum.to_be_bytes());
    }

    /// Changes an octet of the payload.
    pub fn corrupt(&mut self, at: usize, by: u8) {
        let at = self.udp + UDP_HEADER + at;
        let before = word(self.frame, at & !1);
        self.frame[at] ^= by;
        let after = word(self.frame, at & !1);
        self.adjust(before, after);
    }

    /// The port of one end.
    pub fn port(&self, end: End) -> u16 {
        word(self.frame, self.port_at(end))
    }

    /// Changes it.
    pub fn set_port(&mut self, end: End, port: u16) {
        self.replace(self.port_at(end), port);
    }

    fn port_at(&self, end: End) -> usize {
        match end {
            End::Source => self.udp,
            End::Destination => self.udp + 2,
        }
    }

    /// The host's number in the address of one end: its last octet.
    pub fn host(&self, end: End) -> u8 {
        self.frame[self.address(end).end - 1]
    }

    /// Adds to the host's number of an address.
    pub fn shift_address(&mut self, end: End, by: u8) {
        let at = self.address(end).end - 2;
        let before = word(self.frame, at);
        let [high, low] = before.to_be_bytes();
        let after = u16::from_be_bytes([high, low.wrapping_add(by)]);
        self.replace(at, after);
        if self.is_v4() {
            let sum = adjusted(word(self.frame, 24), before, after);
            self.frame[24..26].copy_from_slice(&sum.to_be_bytes());
        }
    }

    fn address(&self, end: End) -> Range<usize> {
        let (first, length) = if self.is_v4() { (26, 4) } else { (22, 16) };
        let begin = match end {
            End::Source => first,
            End::Destination => first + length,
        };
        begin..begin + length
    }

    fn replace(&mut self, at: usize, value: u16) {
        let before = word(self.frame, at);
        self.frame[at..at + 2].copy_from_slice(&value.to_be_bytes());
        self.adjust(before, value);
    }

    /// The UDP checksum follows (RFC 1624); none stays none.
    fn adjust(&mut self, before: u16, after: u16) {
        let at = self.udp + 6;
        let sum = word(self.frame, at);
        if sum != 0 {
            let sum = match adjusted(sum, before, after) {
                0 => u16::MAX,
                other => other,
            };
            self.frame[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        }
    }

    fn is_v4(&self) -> bool {
        self.frame[12] == 0x08
    }
}

fn word(frame: &[u8], at: usize) -> u16 {
    // The last word of an odd payload ends in a zero.
    u16::from_be_bytes([frame[at], frame.get(at + 1).copied().unwrap_or(0)])
}

fn adjusted(sum: u16, before: u16, after: u16) -> u16 {
    let mut total = u32::from(!sum) + u32::from(!before) + u32::from(after);
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    !(total as u16)
}

const UDP: u8 = 17;
const UDP_HEADER: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    /// IPv4, UDP from port 1000 to 443, with both checksums right.
    fn frame() -> Vec<u8> {
        let mut frame = vec![0; 34 + 8 + 5];
        frame[12..15].copy_from_slice(&[0x08, 0x00, 0x45]);
        (frame[15], frame[17], frame[23]) = (0x02, 33, UDP);
        frame[26..34].copy_from_slice(&[10, 0, 0, 2, 10, 0, 0, 1]);
        frame[34..38].copy_from_slice(&[0x03, 0xe8, 0x01, 0xbb]);
        frame[39] = 13;
        frame[42..].copy_from_slice(&[0xc0, 0, 0, 0, 1]);
        let header = sum(&frame[14..34]);
        frame[24..26].copy_from_slice(&header.to_be_bytes());
        let whole = udp_sum(&frame);
        frame[40..42].copy_from_slice(&whole.to_be_bytes());
        frame
    }

    fn sum(octets: &[u8]) -> u16 {
        let words = octets.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)])));
        let total: u32 = words.sum();
        !((total & 0xffff) as u16 + (total >> 16) as u16)
    }

    fn udp_sum(frame: &[u8]) -> u16 {
        sum(&[&frame[26..34], &[0, UDP, 0, 13], &frame[34..]].concat())
    }

    fn is_right(frame: &[u8]) -> bool {
        sum(&frame[14..34]) == 0 && udp_sum(frame) == 0
    }

    #[test]
    fn checksums_follow_each_change() {
        let original = frame();
        assert!(is_right(&original));
        for change in [
            (|d| d.corrupt(0, 0xff)) as fn(&mut Datagram<'_>),
            |d| d.corrupt(4, 0x55),
            |d| d.set_port(End::Source, 2000),
            |d| d.set_port(End::Destination, 7),
            |d| d.shift_address(End::Source, 1),
            |d| d.shift_address(End::Destination, 200),
            |d| d.mark_congestion(),
        ] {
            let mut changed = original.clone();
            change(&mut Datagram::of(&mut changed).unwrap());
            assert_ne!(changed, original);
            assert!(is_right(&changed), "{changed:x?}");
        }
    }

    #[test]
    fn it_is_read_as_it_is() {
        let mut frame = frame();
        let datagram = Datagram::of(&mut frame).unwrap();
        assert_eq!((datagram.port(End::Source), datagram.port(End::Destination), datagram.ecn()), (1000, 443, 2));
        assert_eq!(datagram.kind(), Kind::Initial);
        frame[42] = 0xf0;
        assert_eq!(Datagram::of(&mut frame).unwrap().kind(), Kind::Retry);
        frame[42] = 0x40;
        assert_eq!(Datagram::of(&mut frame).unwrap().kind(), Kind::Short);
        frame[23] = 6;
        assert!(Datagram::of(&mut frame).is_none());
    }
}
