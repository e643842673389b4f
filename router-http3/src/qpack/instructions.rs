//! The client's QPACK streams (RFC 9204 section 4). We keep no dynamic table and fill none, so that there is little
//! that may be said on either.

use super::integer::{self, IntegerError};
use crate::{
    code::{Code, Violation},
    work,
};

/// Instructions of the client's encoder, about a table of capacity 0.
#[derive(Debug)]
pub(crate) struct EncoderStream;

/// Instructions of the client's decoder, about a table in which nothing ever was.
#[derive(Debug, Default)]
pub(crate) struct DecoderStream {
    begun: Vec<u8>,
}

impl EncoderStream {
    /// The next octets: nothing but Set Dynamic Table Capacity to 0 (section 4.3.1), which has one encoding, of one
    /// octet.
    pub(crate) fn receive(&mut self, octets: &[u8]) -> Result<(), Violation> {
        work::count(octets.len());
        let what = match octets.iter().find(|&&octet| octet != 0b0010_0000) {
            None => return Ok(()),
            Some(octet) if octet >> 5 == 0b001 => {
                ("RFC 9204 section 4.3.1", "a dynamic table beyond the capacity offered")
            }
            Some(octet) if octet >> 5 == 0 => ("RFC 9204 section 4.3.4", "an entry duplicated that is not there"),
            Some(_) => ("RFC 9204 section 3.2.2", "an entry inserted beyond the table's capacity"),
        };
        Err(Violation::new(Code::QPACK_ENCODER_STREAM_ERROR, what.0, what.1))
    }
}

impl DecoderStream {
    /// The next octets: nothing but Stream Cancellation (section 4.4.2).
    pub(crate) fn receive(&mut self, octets: &[u8]) -> Result<(), Violation> {
        let error = |section, what| Err(Violation::new(Code::QPACK_DECODER_STREAM_ERROR, section, what));
        for octet in octets {
            work::count(1);
            self.begun.push(*octet);
            match self.begun.first().map_or(0, |first| first >> 6) {
                0b00 => return error("RFC 9204 section 4.4.3", "insertions acknowledged that were not made"),
                0b01 => {}
                _ => return error("RFC 9204 section 4.4.1", "a section acknowledged that refers to no table"),
            }
            match integer::read(&mut self.begun.as_slice(), 6) {
                Ok(_stream) => self.begun.clear(),
                Err(IntegerError::Incomplete) => {}
                Err(IntegerError::TooLarge) => return error("RFC 9204 section 4.1.1", "a stream ID beyond 62 bits"),
            }
        }
        Ok(())
    }
}
