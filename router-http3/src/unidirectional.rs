//! The client's unidirectional streams (RFC 9114 section 6.2, RFC 9204 section 4.2).

use bytes::Buf;

use crate::{
    code::{Code, Violation},
    control::{ControlEvent, ControlStream},
    qpack::instructions::{DecoderStream, EncoderStream},
    varint::VarintReader,
};

pub(crate) const CONTROL: u64 = 0x00;
const PUSH: u64 = 0x01;
const QPACK_ENCODER: u64 = 0x02;
const QPACK_DECODER: u64 = 0x03;

/// Which of the streams that there is one of at most a client has opened.
#[derive(Debug, Default)]
pub struct CriticalStreams {
    seen: [bool; 3],
}

/// One unidirectional stream of a client.
#[derive(Debug, Default)]
pub struct UnidirectionalStream(Kind);

/// What becomes of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// More of it is wanted.
    Reading,
    /// Its type is not known: it is to be stopped with H3_STREAM_CREATION_ERROR, or read for nothing (RFC 9114
    /// section 6.2).
    Unknown,
}

#[derive(Debug)]
enum Kind {
    New(VarintReader),
    Control(Box<ControlStream>),
    Encoder(EncoderStream),
    Decoder(DecoderStream),
    Unknown,
}

impl Default for Kind {
    fn default() -> Self {
        Self::New(VarintReader::default())
    }
}

impl UnidirectionalStream {
    /// The next octets. A violation ends the connection.
    ///
    /// # Errors
    /// What the client did wrong.
    pub fn receive(
        &mut self,
        critical: &mut CriticalStreams,
        mut octets: &[u8],
        mut events: impl FnMut(ControlEvent),
    ) -> Result<Progress, Violation> {
        if let Kind::New(integer) = &mut self.0
            && let Some(stream_type) = integer.read(&mut octets)
        {
            self.0 = critical.open(stream_type)?;
        }
        match &mut self.0 {
            Kind::New(_) => {}
            Kind::Control(stream) => stream.receive(&mut octets, &mut events)?,
            Kind::Encoder(stream) => stream.receive(octets)?,
            Kind::Decoder(stream) => stream.receive(octets)?,
            Kind::Unknown => {
                octets.advance(octets.len());
                return Ok(Progress::Unknown);
            }
        }
        Ok(Progress::Reading)
    }

    /// The client has ended or reset it.
    ///
    /// # Errors
    /// The connection needs it (RFC 9114 section 6.2.1, RFC 9204 section 4.2).
    pub fn closed(&self) -> Result<(), Violation> {
        let (section, what) = match self.0 {
            // Section 6.2: it may end before its type is there.
            Kind::New(_) | Kind::Unknown => return Ok(()),
            Kind::Control(_) => ("RFC 9114 section 6.2.1", "the control stream was closed"),
            Kind::Encoder(_) => ("RFC 9204 section 4.2", "the QPACK encoder stream was closed"),
            Kind::Decoder(_) => ("RFC 9204 section 4.2", "the QPACK decoder stream was closed"),
        };
        Err(Violation::new(Code::H3_CLOSED_CRITICAL_STREAM, section, what))
    }
}

impl CriticalStreams {
    fn open(&mut self, stream_type: u64) -> Result<Kind, Violation> {
        let error = |section, what| Err(Violation::new(Code::H3_STREAM_CREATION_ERROR, section, what));
        let (kind, seen) = match stream_type {
            CONTROL => (Kind::Control(Box::default()), &mut self.seen[0]),
            QPACK_ENCODER => (Kind::Encoder(EncoderStream), &mut self.seen[1]),
            QPACK_DECODER => (Kind::Decoder(DecoderStream::default()), &mut self.seen[2]),
            PUSH => return error("RFC 9114 section 6.2.2", "a push stream of a client"),
            _ => return Ok(Kind::Unknown),
        };
        if std::mem::replace(seen, true) {
            return error("RFC 9114 section 6.2.1", "a second control or QPACK stream of the same type");
        }
        Ok(kind)
    }
}
