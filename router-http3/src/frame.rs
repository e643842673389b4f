//! Frames (RFC 9114 section 7): their types, and their headers in whatever pieces they come.

use bytes::{Buf, BufMut, BytesMut};

use crate::{
    code::{Code, Violation},
    varint::{self, VarintReader},
};

/// Section 7.2, RFC 9218 section 7.2.
pub(crate) const DATA: u64 = 0x00;
pub(crate) const HEADERS: u64 = 0x01;
pub(crate) const CANCEL_PUSH: u64 = 0x03;
pub(crate) const SETTINGS: u64 = 0x04;
pub(crate) const PUSH_PROMISE: u64 = 0x05;
pub(crate) const GOAWAY: u64 = 0x07;
pub(crate) const MAX_PUSH_ID: u64 = 0x0d;
pub(crate) const PRIORITY_UPDATE_REQUEST: u64 = 0xf0700;
pub(crate) const PRIORITY_UPDATE_PUSH: u64 = 0xf0701;

/// Section 7.2.8: PRIORITY, PING, WINDOW_UPDATE and CONTINUATION of HTTP/2.
pub(crate) const OF_HTTP2: [u64; 4] = [0x02, 0x06, 0x08, 0x09];

/// A frame has no place where it is.
pub(crate) const fn unexpected(section: &'static str, what: &'static str) -> Violation {
    Violation::new(Code::H3_FRAME_UNEXPECTED, section, what)
}

/// What a frame begins with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameHeader {
    pub(crate) kind: u64,
    pub(crate) length: u64,
}

/// Reads a frame's type and length.
#[derive(Debug, Default)]
pub(crate) struct FrameHeaderReader {
    kind: Option<u64>,
    integer: VarintReader,
}

impl FrameHeaderReader {
    /// Takes octets of a header; the header, when it is whole.
    pub(crate) fn read(&mut self, octets: &mut impl Buf) -> Option<FrameHeader> {
        let kind = match self.kind {
            Some(kind) => kind,
            None => *self.kind.insert(self.integer.read(octets)?),
        };
        let length = self.integer.read(octets)?;
        self.kind = None;
        Some(FrameHeader { kind, length })
    }

    /// A header was begun and is not whole.
    pub(crate) fn is_partial(&self) -> bool {
        self.kind.is_some() || self.integer.is_partial()
    }
}

/// Octets of the longest frame header that is written here.
const HEADER_MAX: usize = 1 + 8;

/// A frame with its payload: what `payload` appends to `out`.
pub(crate) fn write(kind: u8, out: &mut BytesMut, payload: impl FnOnce(&mut BytesMut)) {
    // The length is known when the payload is there: the longest header's place is kept in front.
    let begin = out.len();
    out.put_bytes(0, HEADER_MAX);
    payload(out);
    let length = (out.len() - begin - HEADER_MAX) as u64;
    let unused = HEADER_MAX - 1 - varint::length(length);
    let mut header = &mut out[begin + unused..begin + HEADER_MAX];
    header.put_u8(kind);
    varint::write(length, &mut header);
    if begin == 0 {
        out.advance(unused);
    } else {
        out.copy_within(begin + unused.., begin);
        out.truncate(out.len() - unused);
    }
}

/// The header of a DATA frame for a payload of `length` octets.
#[must_use]
pub fn data_header(length: usize) -> DataHeader {
    let mut octets = [0; HEADER_MAX];
    let mut rest = &mut octets[..];
    rest.put_u8(DATA as u8);
    varint::write(length as u64, &mut rest);
    let used = HEADER_MAX - rest.len();
    DataHeader { octets, used }
}

/// The header of a DATA frame.
#[derive(Clone, Copy, Debug)]
pub struct DataHeader {
    octets: [u8; HEADER_MAX],
    used: usize,
}

impl AsRef<[u8]> for DataHeader {
    fn as_ref(&self) -> &[u8] {
        self.octets.get(..self.used).unwrap_or_default()
    }
}

/// A GOAWAY frame of a server: requests on the stream `id` and above will not be served (section 5.2).
pub fn write_goaway(id: u64, out: &mut BytesMut) {
    write(GOAWAY as u8, out, |payload| varint::write(id, payload));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_written_with_the_shortest_length() {
        for (length, header) in
            [(0, &[7u8, 0][..]), (63, &[7, 63]), (64, &[7, 0x40, 64]), (16_384, &[7, 0x80, 0, 0x40, 0])]
        {
            let mut out = BytesMut::from(&b"before"[..]);
            write(7, &mut out, |payload| payload.put_bytes(b'x', length));
            assert_eq!(out, [b"before", header, &vec![b'x'; length]].concat());
            let mut alone = BytesMut::new();
            write(7, &mut alone, |payload| payload.put_bytes(b'x', length));
            assert_eq!(alone, out[6..]);
        }
        assert_eq!(data_header(5).as_ref(), [0, 5]);
        assert_eq!(data_header(100).as_ref(), [0, 0x40, 100]);
    }
}
