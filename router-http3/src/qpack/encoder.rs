//! Field sections as they are sent: by the static table alone (RFC 9204 section 4.5), so that one is the same on
//! every connection.

use bytes::{BufMut, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::{huffman, integer, static_table};

/// The prefix of a section that refers to no dynamic table (section 4.5.1).
pub(crate) const PREFIX: [u8; 2] = [0, 0];

/// `:status`.
pub(crate) fn write_status(status: StatusCode, out: &mut BytesMut) {
    match static_table::index_of_status(status.as_u16()) {
        Some(index) => write_indexed(index, out),
        None => {
            integer::write(0b0101_0000, 4, static_table::STATUS.into(), out);
            write_string(0, 7, status.as_str().as_bytes(), out);
        }
    }
}

/// All fields of a header map.
pub(crate) fn write_fields(fields: &HeaderMap, out: &mut BytesMut) {
    for (name, value) in fields {
        write_field(name, value, out);
    }
}

fn write_field(name: &HeaderName, value: &HeaderValue, out: &mut BytesMut) {
    let indices = static_table::indices_of(name.as_str());
    let octets = value.as_bytes();
    let same =
        |index: &&u8| static_table::entry_at(u64::from(**index)).is_some_and(|entry| entry.value.as_bytes() == octets);
    // Section 7.1.3: N keeps a sensitive value out of every table on the way.
    let is_sensitive = value.is_sensitive();
    match (indices.iter().find(same), indices.first()) {
        (Some(&index), _) if !is_sensitive => write_indexed(index, out),
        (_, Some(&index)) => {
            integer::write(if is_sensitive { 0b0111_0000 } else { 0b0101_0000 }, 4, index.into(), out);
            write_string(0, 7, octets, out);
        }
        (_, None) => {
            write_string(if is_sensitive { 0b0011_0000 } else { 0b0010_0000 }, 3, name.as_str().as_bytes(), out);
            write_string(0, 7, octets, out);
        }
    }
}

fn write_indexed(index: u8, out: &mut BytesMut) {
    integer::write(0b1100_0000, 6, index.into(), out);
}

/// A string behind the bits of `first` that are not its own, with `bits` of its length in that octet (section 4.1.2).
fn write_string(first: u8, bits: u32, string: &[u8], out: &mut BytesMut) {
    let coded = if string.len() < HUFFMAN_FROM { string.len() } else { huffman::encoded_length(string) };
    if coded < string.len() - string.len() / 8 {
        integer::write(first | 1 << bits, bits, coded as u64, out);
        huffman::encode(string, out);
    } else {
        integer::write(first, bits, string.len() as u64, out);
        out.put_slice(string);
    }
}

/// Octets of the shortest string that is Huffman-coded. The code saves about a fifth: for short fields that saves no
/// packet, and costs processor time at both ends. Long strings are coded where at least an eighth is saved.
const HUFFMAN_FROM: usize = 256;
