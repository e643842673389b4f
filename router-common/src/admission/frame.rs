//! The frame of an answer that takes no connection: made of the packet itself, in the place where it is looked at.
//!
//! An answer goes back by the way the packet came: its link addresses, addresses and ports change places. It is
//! never longer than the packet, and nothing is remembered of it.

use super::{ANSWER_MAX, Request, Scratch, TokenKey, retry, version_negotiation};
use crate::{
    bytes::{Bytes, Octets},
    frame::{self, Datagram, ETHERNET_LENGTH, HOPS, IPV4_LENGTH, IPV6_LENGTH, UDP, UDP_LENGTH, checksum},
    quic::{self, LongHeader},
    reason::Reason,
};

/// What a packet is answered with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// A Version Negotiation packet (RFC 9000 section 6.1).
    VersionNegotiation,
    /// A Retry packet (RFC 9000 section 8.1.2).
    Retry,
}

impl Answer {
    /// Why.
    #[inline(always)]
    pub fn reason(self) -> Reason {
        match self {
            Self::VersionNegotiation => Reason::Negotiated,
            Self::Retry => Reason::Retried,
        }
    }
}

/// How long an answer is, whose octets are in the [`Scratch`] that it was made with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AnswerFrame {
    headers: usize,
    payload: usize,
}

impl AnswerFrame {
    /// The answer to `frame`, whose datagram has no VLAN tag, IP options or extension headers before it: Version
    /// Negotiation, whose unused bits are `random`. `None` if it has, or if its connection IDs are too long.
    #[inline(always)]
    pub fn negotiate<B: Bytes + ?Sized>(frame: &B, random: u8, scratch: &mut Scratch) -> Option<Self> {
        let datagram = frame::parse(frame).ok().filter(Datagram::is_plain)?;
        let header = quic::long_header(frame, datagram.payload)?;
        let payload = version_negotiation(&header, random, scratch)?;
        let headers = put_headers(frame, &datagram, (UDP_LENGTH + payload) as u16, scratch)?;
        Some(Self { headers, payload })
    }

    /// The answer to `frame`, likewise: a Retry with a token under `key`, issued `now`, in seconds from 1970 on.
    #[inline(always)]
    pub fn retry<B: Bytes + ?Sized>(frame: &B, issue: &Issue<'_>, scratch: &mut Scratch) -> Option<Self> {
        let datagram = frame::parse(frame).ok().filter(Datagram::is_plain)?;
        let LongHeader { version, destination, source, .. } = quic::long_header(frame, datagram.payload)?;
        if version != quic::VERSION_1 {
            return None;
        }
        let Issue { key, now, random } = *issue;
        let request = Request { client: datagram.source, destination, source, now, random };
        let payload = retry(&request, key, scratch);
        let headers = put_headers(frame, &datagram, (UDP_LENGTH + payload) as u16, scratch)?;
        Some(Self { headers, payload })
    }

    /// Octets of the whole frame.
    #[inline(always)]
    pub fn length(&self) -> usize {
        self.headers + self.payload
    }

    /// Octets of its headers: [`Scratch::headers`].
    #[inline(always)]
    pub fn headers_length(&self) -> usize {
        self.headers
    }

    /// Octets of its payload: [`Scratch::answer`].
    #[inline(always)]
    pub fn payload_length(&self) -> usize {
        self.payload
    }
}

/// How the token of a Retry is issued.
#[derive(Clone, Copy)]
pub struct Issue<'a> {
    /// The key.
    pub key: &'a TokenKey,
    /// When, in seconds from 1970 on.
    pub now: u64,
    /// What the Retry's connection ID is made of.
    pub random: u64,
}

/// Writes the headers for the way back of `frame`, with the answer that is in `scratch` as their payload; how long
/// they are. `length` is that of the UDP datagram.
#[inline(always)]
fn put_headers<B: Bytes + ?Sized>(frame: &B, asked: &Datagram, length: u16, scratch: &mut Scratch) -> Option<usize> {
    let (to, from) = (asked.source, asked.destination);
    // What the UDP checksum is of: addresses, protocol and length as well (RFC 768, RFC 8200 section 8.1).
    let covered = to.address.sum() + from.address.sum() + u32::from(UDP) + 2 * u32::from(length);
    let covered = covered + u32::from(from.port) + u32::from(to.port) + sum(scratch.answer());
    let [c0, c1] = match checksum(covered) {
        // 0 would say that there is none.
        0 => u16::MAX,
        sum => sum,
    }
    .to_be_bytes();
    let ([f0, f1], [t0, t1], [l0, l1]) = (from.port.to_be_bytes(), to.port.to_be_bytes(), length.to_be_bytes());
    let udp = Octets([f0, f1, t0, t1, l0, l1, c0, c1]);
    let headers = scratch.headers_mut();
    headers.put::<0, 6>(&frame.read(6)?);
    headers.put::<6, 6>(&frame.read(0)?);
    headers.put::<12, 2>(&frame.read(12)?);
    if from.address.is_ipv4() {
        let length = IPV4_LENGTH as u16 + length;
        // Never in fragments, so without an identification (RFC 6864 section 4.1).
        let fixed = 0x4500 + 0x4000 + u32::from(u16::from_be_bytes([HOPS, UDP])) + u32::from(length);
        let [c0, c1] = checksum(fixed + from.address.sum() + to.address.sum()).to_be_bytes();
        let [l0, l1] = length.to_be_bytes();
        headers.put::<14, 12>(&Octets([0x45, 0, l0, l1, 0, 0, 0x40, 0, HOPS, UDP, c0, c1]));
        headers.put::<26, 4>(&frame.read(30)?);
        headers.put::<30, 4>(&frame.read(26)?);
        headers.put::<34, UDP_LENGTH>(&udp);
        Some(ETHERNET_LENGTH + IPV4_LENGTH + UDP_LENGTH)
    } else {
        headers.put::<14, 8>(&Octets([0x60, 0, 0, 0, l0, l1, UDP, HOPS]));
        headers.put::<22, 16>(&frame.read(38)?);
        headers.put::<38, 16>(&frame.read(22)?);
        headers.put::<54, UDP_LENGTH>(&udp);
        Some(ETHERNET_LENGTH + IPV6_LENGTH + UDP_LENGTH)
    }
}

/// The sum of the 16-bit words of an answer.
#[inline(always)]
fn sum(octets: &Octets<ANSWER_MAX>) -> u32 {
    octets.0.as_chunks::<2>().0.iter().map(|word| u32::from(u16::from_be_bytes(*word))).sum()
}
