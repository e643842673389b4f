//! QUIC packets as a client sends them, as far as they can be read without keys: right
//! headers, and for the rest octets that look encrypted.

/// A QUIC packet.
#[derive(Clone, Debug)]
pub struct Quic {
    octets: Vec<u8>,
}

/// Types of long-header packets, as RFC 9000 section 17.2 names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Begins a connection.
    Initial,
    /// Early data.
    ZeroRtt,
    /// The rest of a handshake.
    Handshake,
    /// Sent by servers only.
    Retry,
}

impl Quic {
    /// A long-header packet of a version that numbers its types like `version` 1 or 2.
    pub fn long(kind: Kind, version: u32, destination: &[u8]) -> Self {
        let mut octets = vec![0xc0 | type_bits(kind, version) << 4];
        octets.extend(version.to_be_bytes());
        octets.push(octet(destination.len()));
        octets.extend(destination);
        octets.push(octet(SOURCE.len()));
        octets.extend(SOURCE);
        match kind {
            // Token length, then length.
            Kind::Initial => octets.extend([0, 0x40, BODY]),
            Kind::ZeroRtt | Kind::Handshake => octets.extend([0x40, BODY]),
            Kind::Retry => {}
        }
        octets.extend(scrambled(BODY.into()));
        Self { octets }
    }

    /// An Initial in a datagram of 1200 octets.
    pub fn initial(version: u32, destination: &[u8]) -> Self {
        Self::long(Kind::Initial, version, destination).padded_to(1200)
    }

    /// The same of version 1, with this token.
    pub fn initial_with_token(destination: &[u8], token: &[u8]) -> Self {
        let mut initial = Self::long(Kind::Initial, V1, destination);
        // Where the length of its token is, which is 0.
        let at = 6 + destination.len() + 1 + SOURCE.len();
        let length = u16::try_from(token.len()).expect("a short token") | 0x4000;
        initial.octets.splice(at..=at, length.to_be_bytes().into_iter().chain(token.iter().copied()));
        initial.padded_to(1_200)
    }

    /// A long header of a version that no endpoint knows, in so many octets.
    pub fn unknown_version(destination: &[u8], length: usize) -> Self {
        Self::long(Kind::Initial, UNKNOWN_VERSION, destination).padded_to(length)
    }

    /// RFC 9000 section 17.2.1.
    pub fn version_negotiation(destination: &[u8]) -> Self {
        let mut octets = vec![0x80, 0, 0, 0, 0, octet(destination.len())];
        octets.extend(destination);
        octets.push(octet(SOURCE.len()));
        octets.extend(SOURCE);
        octets.extend([V1, V2].map(u32::to_be_bytes).concat());
        Self { octets }
    }

    /// A short header and enough behind it.
    pub fn short(destination: &[u8]) -> Self {
        let mut octets = vec![0x40];
        octets.extend(destination);
        octets.extend(scrambled(24));
        Self { octets }
    }

    /// `next` behind it in the same datagram.
    pub fn coalesced_with(mut self, next: Self) -> Self {
        self.octets.extend(next.octets);
        self
    }

    /// Makes it so long, or cuts it to that.
    pub fn padded_to(mut self, length: usize) -> Self {
        let behind = scrambled(length);
        self.octets.extend(behind.iter().skip(self.octets.len()));
        self.octets.truncate(length);
        self
    }
}

impl From<Quic> for Vec<u8> {
    fn from(packet: Quic) -> Self {
        packet.octets
    }
}

/// RFC 9000
pub const V1: u32 = 1;
/// RFC 9369
pub const V2: u32 = 0x6b33_43cf;
/// Reserved to exercise version negotiation (RFC 9000 section 15).
pub const UNKNOWN_VERSION: u32 = 0x1a2a_3a4a;

/// RFC 9369 section 3.2 numbers the types one further.
fn type_bits(kind: Kind, version: u32) -> u8 {
    let bits = match kind {
        Kind::Initial => 0,
        Kind::ZeroRtt => 1,
        Kind::Handshake => 2,
        Kind::Retry => 3,
    };
    if version == V2 { (bits + 1) & 3 } else { bits }
}

fn scrambled(length: usize) -> Vec<u8> {
    crate::content::pattern(1, 1 + length as u64)
}

fn octet(length: usize) -> u8 {
    u8::try_from(length).expect("a connection ID's length is one octet")
}

const SOURCE: [u8; 4] = *b"test";
const BODY: u8 = 48;
