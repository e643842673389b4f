//! The Version Negotiation packet (RFC 8999 section 6, RFC 9000 section 17.2.1) that answers a version which is not
//! spoken here.
//!
//! It is that of quinn, octet for octet, but for six bits of the first octet, which mean nothing and are random.

use super::answer::Scratch;
use crate::quic::{LongHeader, NEGOTIATION, SUPPORTED_VERSIONS};

/// Writes the answer to a packet with this `header`, which came in a datagram of 1,200 octets or more, to `scratch`;
/// how long it is: 15 to 55 octets.
///
/// `None` where there is none to give: the version is supported, or the packet is itself a Version Negotiation.
#[inline(always)]
pub fn version_negotiation(header: &LongHeader, random: u8, scratch: &mut Scratch) -> Option<usize> {
    if header.version == NEGOTIATION || SUPPORTED_VERSIONS.contains(&header.version) {
        return None;
    }
    let mut fields = scratch.fields();
    // The second bit, where versions 1 and 2 have their fixed one, is set for demultiplexers (RFC 9000 section 17.2.1).
    fields.u8(0xc0 | random);
    fields.u32(NEGOTIATION);
    fields.connection_id(&header.source);
    fields.connection_id(&header.destination);
    // One that no server speaks, so that clients learn to ignore those (RFC 9000 section 15).
    fields.u32(if header.version == RESERVED { OTHER_RESERVED } else { RESERVED });
    for version in SUPPORTED_VERSIONS {
        fields.u32(version);
    }
    Some(fields.answer_from(0))
}

const RESERVED: u32 = 0x0a1a_2a3a;
const OTHER_RESERVED: u32 = 0x0a1a_2a4a;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection_id::ConnectionId;

    fn header(version: u32) -> LongHeader {
        let id = |octets: &[u8]| ConnectionId::new(octets).unwrap();
        LongHeader { version, destination: id(&[1, 2, 3]), source: id(&[4, 5]), length: 12 }
    }

    #[test]
    fn connection_ids_change_places() {
        let mut scratch = Scratch::EMPTY;
        let length = version_negotiation(&header(0x1234_5678), 0x15, &mut scratch).unwrap();
        let answer = &scratch.answer().0[..length];
        assert_eq!(answer[..12], [0xd5, 0, 0, 0, 0, 2, 4, 5, 3, 1, 2, 3]);
        assert_eq!(answer[12..20], [0x0a, 0x1a, 0x2a, 0x3a, 0, 0, 0, 1]);
        assert_eq!(answer.len(), 12 + 4 + 4 * SUPPORTED_VERSIONS.len());
    }

    #[test]
    fn what_needs_no_answer() {
        let mut scratch = Scratch::EMPTY;
        for version in SUPPORTED_VERSIONS.into_iter().chain([NEGOTIATION]) {
            assert_eq!(version_negotiation(&header(version), 0, &mut scratch), None, "{version:#x}");
        }
    }
}
