//! Reads packet captures: the classic pcap format (draft-ietf-opsawg-pcap), Ethernet alone.
//!
//! The rule this room keeps: a length from the file is checked before anything is allocated or
//! read by it.

use std::io::{self, Read};

/// A capture, read packet by packet.
pub(super) struct Capture<R> {
    reader: R,
    big_endian: bool,
    /// Fractions of a second that the file counts in.
    per_second: u32,
}

/// A captured packet.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Packet {
    /// Nanoseconds since the Unix epoch.
    pub(super) time: u64,
    /// Octets it had on the wire; more than were captured, where the capture was cut short.
    pub(super) original_length: u32,
    /// What was captured of it, from the Ethernet header on.
    pub(super) octets: Vec<u8>,
}

/// Why a capture can't be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum CaptureError {
    /// Not a capture.
    #[error("neither hex nor a packet capture (it begins with {0:08x})")]
    NotCapture(u32),
    /// The newer format.
    #[error("a pcapng capture, only classic pcap is read")]
    Pcapng,
    /// Not Ethernet.
    #[error("link type {0}, only Ethernet (1) is read")]
    LinkType(u16),
    /// Nothing at all.
    #[error("it is empty")]
    Empty,
    /// It ends within its header or a packet: what wrote it was stopped, or had no room.
    #[error("the capture is cut off in {0}")]
    Cut(String),
    /// A length beyond any packet's.
    #[error("packet {number}: {length} octets, the format allows {MAX_LENGTH}")]
    TooLong {
        /// From 1.
        number: u64,
        /// What the file says.
        length: u32,
    },
    /// It can't be read.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl CaptureError {
    /// The same, where it is the end that came too early.
    fn or_cut(self, within: &str) -> Self {
        match self {
            Self::Io(e) if e.kind() == io::ErrorKind::UnexpectedEof => Self::Cut(within.to_owned()),
            other => other,
        }
    }

    /// The way out, for the capture `file`.
    pub(super) fn hint(&self, file: &str) -> Option<String> {
        match self {
            Self::Pcapng => Some(format!("editcap -F pcap {file} {file}.pcap, or tcpdump -r {file} -w {file}.pcap")),
            Self::LinkType(_) => Some("tcpdump -i IF -w FILE, on one Ethernet interface rather than on any".to_owned()),
            Self::NotCapture(_) => {
                Some("hex of a whole Ethernet frame, or a capture of tcpdump -i IF -w FILE".to_owned())
            }
            Self::Empty | Self::Cut(_) | Self::TooLong { .. } | Self::Io(_) => None,
        }
    }
}

impl<R: Read> Capture<R> {
    /// Reads the capture's header.
    ///
    /// # Errors
    /// If it is not classic pcap with Ethernet frames.
    pub(super) fn open(mut reader: R) -> Result<Self, CaptureError> {
        let mut magic = [0; 4];
        match fill(&mut reader, &mut magic)? {
            0 => return Err(CaptureError::Empty),
            4 => {}
            _ => return Err(CaptureError::NotCapture(u32::from_be_bytes(magic))),
        }
        let (big_endian, per_second) = match u32::from_be_bytes(magic) {
            0xa1b2_c3d4 => (true, 1_000_000),
            0xa1b2_3c4d => (true, 1_000_000_000),
            0xd4c3_b2a1 => (false, 1_000_000),
            0x4d3c_b2a1 => (false, 1_000_000_000),
            0x0a0d_0d0a => return Err(CaptureError::Pcapng),
            other => return Err(CaptureError::NotCapture(other)),
        };
        let mut capture = Self { reader, big_endian, per_second };
        // Versions, two fields without use, the longest packet, the link type.
        let rest: [u32; 5] = capture.words().map_err(|e| e.or_cut("its header"))?;
        match rest[4] as u16 {
            ETHERNET => Ok(capture),
            other => Err(CaptureError::LinkType(other)),
        }
    }

    /// The packet `number` (from 1, for errors), or none at the capture's end.
    ///
    /// # Errors
    /// If the capture ends in the midst of a packet.
    pub(super) fn next(&mut self, number: u64) -> Result<Option<Packet>, CaptureError> {
        let cut = |e: CaptureError| e.or_cut(&format!("packet {number}"));
        let mut first = [0; 4];
        match fill(&mut self.reader, &mut first)? {
            0 => return Ok(None),
            4 => {}
            _ => return Err(CaptureError::Cut(format!("packet {number}"))),
        }
        let seconds = self.word(first);
        let [fraction, length, original_length] = self.words().map_err(cut)?;
        if length > MAX_LENGTH {
            return Err(CaptureError::TooLong { number, length });
        }
        let mut octets = vec![0; length as usize];
        self.reader.read_exact(&mut octets).map_err(|e| cut(e.into()))?;
        let nanoseconds = u64::from(fraction) * u64::from(1_000_000_000 / self.per_second);
        Ok(Some(Packet { time: u64::from(seconds) * 1_000_000_000 + nanoseconds, original_length, octets }))
    }

    fn words<const N: usize>(&mut self) -> Result<[u32; N], CaptureError> {
        let mut words = [0; N];
        for word in &mut words {
            let mut octets = [0; 4];
            self.reader.read_exact(&mut octets)?;
            *word = self.word(octets);
        }
        Ok(words)
    }

    fn word(&self, octets: [u8; 4]) -> u32 {
        if self.big_endian { u32::from_be_bytes(octets) } else { u32::from_le_bytes(octets) }
    }
}

/// Reads as much as there is, up to all of `octets`; how many.
fn fill(reader: &mut impl Read, octets: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < octets.len() {
        match reader.read(&mut octets[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

/// LINKTYPE_ETHERNET
const ETHERNET: u16 = 1;

/// The longest packet that capturing programs write (`MAXIMUM_SNAPLEN` of libpcap), in octets.
const MAX_LENGTH: u32 = 262_144;

#[cfg(test)]
mod tests {
    use super::*;

    /// A capture of one packet whose octets are `octets`, in either byte order.
    fn capture(magic: u32, link_type: u32, octets: &[u8], word: fn(u32) -> [u8; 4]) -> Vec<u8> {
        let length = octets.len() as u32;
        let words = [magic, 0x0002_0004, 0, 0, 65_535, link_type, 2, 3, length, length + 10];
        let mut file: Vec<u8> = words.into_iter().flat_map(word).collect();
        file.extend(octets);
        file
    }

    fn packets(file: &[u8]) -> Result<Vec<Packet>, CaptureError> {
        let mut capture = Capture::open(file)?;
        let mut packets = Vec::new();
        while let Some(packet) = capture.next(packets.len() as u64 + 1)? {
            packets.push(packet);
        }
        Ok(packets)
    }

    #[test]
    fn both_byte_orders_and_both_clocks() {
        for word in [u32::to_be_bytes, u32::to_le_bytes] {
            for (magic, time) in [(0xa1b2_c3d4, 2_000_003_000), (0xa1b2_3c4d, 2_000_000_003)] {
                let packet = Packet { time, original_length: 13, octets: vec![7, 8, 9] };
                assert_eq!(packets(&capture(magic, 1, &[7, 8, 9], word)).unwrap(), [packet]);
            }
        }
    }

    #[test]
    fn what_is_not_classic_ethernet_is_refused_by_name() {
        let of = |magic, link_type| packets(&capture(magic, link_type, &[], u32::to_be_bytes)).unwrap_err();
        assert!(matches!(of(0x0a0d_0d0a, 1), CaptureError::Pcapng));
        assert!(of(0x0a0d_0d0a, 1).hint("x").unwrap().contains("editcap -F pcap x x.pcap"));
        assert!(matches!(of(0x7f45_4c46, 1), CaptureError::NotCapture(0x7f45_4c46)));
        assert!(matches!(of(0xa1b2_c3d4, 113), CaptureError::LinkType(113)));
    }

    #[test]
    fn a_length_beyond_any_packet_is_not_believed() {
        let mut file = capture(0xa1b2_c3d4, 1, &[], u32::to_be_bytes);
        file[32..36].copy_from_slice(&u32::MAX.to_be_bytes());
        assert!(matches!(packets(&file), Err(CaptureError::TooLong { number: 1, length: u32::MAX })));
    }

    #[test]
    fn an_early_end_is_said_anywhere_but_between_packets() {
        let whole = capture(0xa1b2_c3d4, 1, &[1, 2, 3, 4], u32::to_be_bytes);
        for end in 0..whole.len() {
            let outcome = packets(&whole[..end]);
            match end {
                24 => assert_eq!(outcome.unwrap(), []),
                0 => assert!(matches!(outcome, Err(CaptureError::Empty))),
                1..4 => assert!(matches!(outcome, Err(CaptureError::NotCapture(_))), "cut at {end}"),
                4..24 => assert_eq!(outcome.unwrap_err().to_string(), "the capture is cut off in its header", "{end}"),
                _ => assert_eq!(outcome.unwrap_err().to_string(), "the capture is cut off in packet 1", "cut at {end}"),
            }
        }
    }
}
