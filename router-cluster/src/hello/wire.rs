//! A hello as octets: its header in clear, and its content, which is sealed.

use super::{
    error::HelloError,
    message::{Announcement, Echo, Hello, Run},
};
use crate::membership::{NodeNumber, NodeState, TunnelVersions};

/// Octets of the header in clear.
pub(super) const HEADER_LENGTH: usize = 24;

/// Octets of a random nonce at the header's end.
pub(super) const NONCE_LENGTH: usize = 12;

/// Octets of the content's length field.
const LENGTH_OCTETS: usize = 2;

/// Octets of the content as this version writes it. A reader wants at least the first version's, which are the same.
pub(super) const CONTENT_LENGTH: usize = 90;

/// GUE version 0, control bit, and a header that goes on for five words.
const FIRST_OCTET: u8 = 0x20 | ((HEADER_LENGTH - 4) / 4) as u8;

/// The control type of a hello. GUE leaves those from 128 to its users.
const CONTROL_TYPE: u8 = 0x81;

/// The version of what follows the GUE header.
const VERSION: u8 = 1;

const TAKES_NEW_CONNECTIONS: u8 = 1;
const CONTINUES: u8 = 1 << 1;

/// The header of a datagram that has the form of a hello.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Who says to have sent it. Nothing proves that before the hello is opened.
    pub sender: NodeNumber,
    /// Whom it is for.
    pub receiver: NodeNumber,
    pub(super) nonce: [u8; NONCE_LENGTH],
}

impl Header {
    /// Reads the header of a datagram that came to the tunnel's port, and nothing more: with it, the caller finds the
    /// [`HelloLink`](super::HelloLink) that opens the rest.
    ///
    /// # Errors
    /// What the datagram is instead.
    pub fn read(datagram: &[u8]) -> Result<Self, HelloError> {
        let truncated = HelloError::Truncated { octets: datagram.len() };
        let (header, _) = datagram.split_first_chunk::<HEADER_LENGTH>().ok_or(truncated)?;
        let mut reader = Reader(header);
        match reader.octets()? {
            [FIRST_OCTET, CONTROL_TYPE, 0, 0] => {}
            [FIRST_OCTET, other, 0, 0] => return Err(HelloError::OtherControlType(other)),
            _ => return Err(HelloError::NoControlMessage),
        }
        match reader.octets()? {
            [VERSION, 0] => {}
            [VERSION, _] => return Err(HelloError::NoControlMessage),
            [version, _] => return Err(HelloError::OtherVersion(version)),
        }
        let sender = node(reader.u16()?)?;
        let receiver = node(reader.u16()?)?;
        // So that the nonce begins where a word does.
        match reader.u16()? {
            0 => Ok(Self { sender, receiver, nonce: reader.octets()? }),
            _ => Err(HelloError::NoControlMessage),
        }
    }

    pub(super) fn write(&self) -> [u8; HEADER_LENGTH] {
        let mut octets = [0; HEADER_LENGTH];
        let [s0, s1] = self.sender.get().to_be_bytes();
        let [r0, r1] = self.receiver.get().to_be_bytes();
        let fields = [FIRST_OCTET, CONTROL_TYPE, 0, 0, VERSION, 0, s0, s1, r0, r1, 0, 0];
        octets.iter_mut().zip(fields.into_iter().chain(self.nonce)).for_each(|(octet, field)| *octet = field);
        octets
    }
}

fn node(number: u16) -> Result<NodeNumber, HelloError> {
    NodeNumber::new(number).ok_or(HelloError::NoNode)
}

/// Appends the content of `hello` to `to`: its length, and its fields.
pub(super) fn write_content(hello: &Hello, to: &mut Vec<u8>) {
    let Announcement { state, takes_new_connections, weight, revision, tunnel_versions } = hello.announcement;
    let state = match state {
        NodeState::Up => 1,
        NodeState::Draining => 2,
    };
    let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
    let flags = flag(takes_new_connections, TAKES_NEW_CONNECTIONS) | flag(hello.continues, CONTINUES);
    to.extend(((CONTENT_LENGTH - LENGTH_OCTETS) as u16).to_be_bytes());
    to.extend(hello.run.get().to_be_bytes());
    to.extend(hello.sequence.to_be_bytes());
    to.extend(hello.sent_at.to_be_bytes());
    to.extend([state, flags]);
    to.extend(weight.to_be_bytes());
    to.extend(revision.to_be_bytes());
    to.extend([tunnel_versions.lowest, tunnel_versions.highest]);
    to.extend(hello.longest_heard.to_be_bytes());
    for echo in [hello.echo, hello.candidate_echo] {
        let [run, sequence, held] = echo.map_or([0; 3], |echo| [echo.run.get(), echo.sequence, echo.held]);
        to.extend([run, sequence, held].into_iter().flat_map(u64::to_be_bytes));
    }
}

/// Reads the content of a hello. What a newer version has appended to the fields is skipped, and so is padding.
pub(super) fn read_content(content: &[u8]) -> Result<Hello, HelloError> {
    let mut reader = Reader(content);
    let length = usize::from(reader.u16()?);
    let mut reader = Reader(reader.0.get(..length).ok_or(HelloError::Malformed("its content ends early"))?);
    let run = reader.run()?.ok_or(HelloError::Malformed("its run is 0"))?;
    let [sequence, sent_at] = [reader.u64()?, reader.u64()?];
    let [state, flags] = reader.octets()?;
    let state = if state == 1 { NodeState::Up } else { NodeState::Draining };
    let weight = reader.u16()?;
    let revision = reader.u64()?;
    let [lowest, highest] = reader.octets()?;
    if lowest > highest {
        return Err(HelloError::Malformed("its lowest tunnel version is above its highest"));
    }
    let longest_heard = reader.u16()?;
    let [echo, candidate_echo] = [reader.echo()?, reader.echo()?];
    let announcement = Announcement {
        state,
        takes_new_connections: flags & TAKES_NEW_CONNECTIONS != 0,
        weight,
        revision,
        tunnel_versions: TunnelVersions { lowest, highest },
    };
    let continues = flags & CONTINUES != 0;
    Ok(Hello { run, sequence, sent_at, announcement, continues, longest_heard, echo, candidate_echo })
}

/// Takes fields off octets, in network byte order.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn octets<const N: usize>(&mut self) -> Result<[u8; N], HelloError> {
        let (octets, rest) = self.0.split_first_chunk().ok_or(HelloError::Malformed("its content ends early"))?;
        self.0 = rest;
        Ok(*octets)
    }

    fn u16(&mut self) -> Result<u16, HelloError> {
        self.octets().map(u16::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, HelloError> {
        self.octets().map(u64::from_be_bytes)
    }

    fn run(&mut self) -> Result<Option<Run>, HelloError> {
        self.u64().map(|number| (number != 0).then(|| Run::new(number)))
    }

    fn echo(&mut self) -> Result<Option<Echo>, HelloError> {
        let run = self.run()?;
        let [sequence, held] = [self.u64()?, self.u64()?];
        Ok(run.map(|run| Echo { run, sequence, held }))
    }
}
