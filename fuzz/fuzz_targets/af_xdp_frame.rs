//! A frame off an AF_XDP ring: what is taken has checksums that are right, by a second way to compute them, and what
//! has them is taken.
//!
//! `cargo +nightly fuzz run af_xdp_frame` (from this folder's parent).

#![no_main]

use libfuzzer_sys::fuzz_target;
use router_common::frame::{self, Payload};

#[path = "../../router-userspace/src/worker/af_xdp"]
mod af_xdp {
    mod checksum;
    #[expect(dead_code, reason = "the source file is the router's, which calls the rest of it")]
    mod decode;

    use self::decode::{Checksums, Flaw};

    /// Where the payload is in a frame that is taken; none if it is no plain datagram.
    pub(super) fn read(frame: &[u8], left_out: bool) -> Option<Result<(usize, usize), &'static str>> {
        let checksums = if left_out { Checksums::MayBeLeftOut } else { Checksums::Computed };
        match decode::read(frame, checksums) {
            Ok(datagram) => Some(Ok((datagram.payload.start, datagram.payload.end))),
            Err(Flaw::Unreadable) => None,
            Err(Flaw::IpChecksum) => Some(Err("IPv4")),
            Err(Flaw::UdpChecksum) => Some(Err("UDP")),
        }
    }
}

/// RFC 1071 as it stands there: words of 16 bits, an odd octet as a word's first half, carries added at once.
fn sum(octets: impl Iterator<Item = u8>) -> u16 {
    let octets: Vec<_> = octets.collect();
    octets.chunks(2).fold(0, |sum: u16, pair| {
        let word = u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]);
        let (sum, carry) = sum.overflowing_add(word);
        sum + u16::from(carry)
    })
}

/// What is summed up for a UDP checksum: the pseudo-header, the header and the payload.
fn covered(frame: &[u8], at: usize, length: usize, is_ipv4: bool) -> Vec<u8> {
    let addresses = if is_ipv4 { &frame[26..34] } else { &frame[22..54] };
    let udp = &frame[at - 8..at + length];
    [addresses, &[0, 17], &(udp.len() as u16).to_be_bytes(), udp].concat()
}

fuzz_target!(|input: &[u8]| {
    let [hint, frame @ ..] = input else { return };
    let mut frame = frame.to_vec();
    let plain = frame::parse(&frame[..]).ok().filter(frame::Datagram::is_plain);
    let Some(frame::Datagram { payload: Payload { at, length }, destination, .. }) = plain else {
        assert_eq!(af_xdp::read(&frame, hint & 4 != 0), None, "what is no plain datagram is taken");
        return;
    };
    let is_ipv4 = destination.address.is_ipv4();
    // Noise has hardly ever a checksum that is right.
    if hint & 1 != 0 && is_ipv4 {
        frame[24..26].fill(0);
        let checksum = !sum(frame[14..34].iter().copied());
        frame[24..26].copy_from_slice(&checksum.to_be_bytes());
    }
    if hint & 2 != 0 {
        frame[at - 2..at].fill(0);
        let checksum = !sum(covered(&frame, at, length, is_ipv4).into_iter());
        frame[at - 2..at].copy_from_slice(&(if checksum == 0 { 0xffff } else { checksum }).to_be_bytes());
    }
    let header_is_right = !is_ipv4 || sum(frame[14..34].iter().copied()) == 0xffff;
    let is_missing = frame[at - 2..at] == [0, 0];
    let udp_is_right = match is_missing {
        true => is_ipv4,
        false => sum(covered(&frame, at, length, is_ipv4).into_iter()) == 0xffff,
    };
    match af_xdp::read(&frame, false) {
        Some(Ok(payload)) => {
            assert!(header_is_right && udp_is_right, "a checksum is wrong, and it is taken");
            assert_eq!(payload, (at, at + length));
        }
        Some(Err("IPv4")) => assert!(!header_is_right),
        Some(Err(_)) => assert!(header_is_right && !udp_is_right),
        None => panic!("a plain datagram is not read"),
    }
    // A sender of this host may leave the UDP checksum to a device: more is taken then, never less.
    if header_is_right && udp_is_right {
        assert_eq!(af_xdp::read(&frame, true), Some(Ok((at, at + length))));
    }
});
