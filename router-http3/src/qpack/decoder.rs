//! Field sections as they come (RFC 9204 section 4.5), line by line, without a copy of their own.

use bytes::BufMut;

use super::{
    huffman::{self, HuffmanError},
    integer::{self, IntegerError},
    static_table::{self, Entry},
};
use crate::{
    code::{Code, Violation},
    work,
};

/// A field line; what of it is the static table's is not copied anywhere.
pub(crate) enum Line<'s> {
    Indexed(&'static Entry),
    NameReference(&'static Entry, Text<'s>),
    Literal(Text<'s>, Text<'s>),
}

/// A string in a section.
#[derive(Clone, Copy)]
pub(crate) struct Text<'s> {
    coded: &'s [u8],
    is_huffman: bool,
}

/// Why a string was not decoded.
#[derive(Debug)]
pub(crate) enum TextError {
    Invalid(Violation),
    /// It is longer than the caller takes.
    TooLong,
}

impl<'s> Text<'s> {
    /// Appends it to `out`; `max` octets at most.
    pub(crate) fn decode_into(self, out: &mut impl BufMut, max: usize) -> Result<(), TextError> {
        if !self.is_huffman {
            if self.coded.len() > max {
                return Err(TextError::TooLong);
            }
            work::count(self.coded.len());
            out.put_slice(self.coded);
            return Ok(());
        }
        huffman::decode(self.coded, out, max).map_err(|error| match error {
            HuffmanError::Invalid => {
                TextError::Invalid(failed("RFC 9204 section 4.1.2", "a string is not Huffman code"))
            }
            HuffmanError::TooLong => TextError::TooLong,
        })
    }

    /// It as it is, if it is not Huffman code.
    pub(crate) fn plain(self) -> Option<&'s [u8]> {
        (!self.is_huffman).then_some(self.coded)
    }
}

/// The lines of a field section.
pub(crate) struct Lines<'s> {
    rest: &'s [u8],
}

impl<'s> Lines<'s> {
    /// Those of an encoded section, behind its prefix (section 4.5.1).
    pub(crate) fn of(section: &'s [u8]) -> Result<Self, Violation> {
        let mut rest = section;
        if read(&mut rest, 8)? != 0 {
            return Err(failed("RFC 9204 section 4.5.1.1", "a section needs entries that the table cannot have"));
        }
        let is_negative = rest.first().is_some_and(|octet| octet & 0x80 != 0);
        read(&mut rest, 7)?;
        if is_negative {
            return Err(failed("RFC 9204 section 4.5.1.2", "a negative Base"));
        }
        Ok(Self { rest })
    }

    /// The next one, if there is one.
    pub(crate) fn next(&mut self) -> Result<Option<Line<'s>>, Violation> {
        let Some(&first) = self.rest.first() else { return Ok(None) };
        work::count(1);
        let rest = &mut self.rest;
        let line = if first & 0x80 != 0 {
            Line::Indexed(entry(rest, 6, Table::of(first & 0x40))?)
        } else if first & 0x40 != 0 {
            let entry = entry(rest, 4, Table::of(first & 0x10))?;
            Line::NameReference(entry, text(rest, 7)?)
        } else if first & 0x20 != 0 {
            let name = text(rest, 3)?;
            Line::Literal(name, text(rest, 7)?)
        } else {
            return Err(not_there());
        };
        Ok(Some(line))
    }
}

/// The table that an index is of (section 2.1).
#[derive(Clone, Copy)]
enum Table {
    Static,
    Dynamic,
}

impl Table {
    /// By the bit T of a field line (section 4.5).
    fn of(bit: u8) -> Self {
        if bit == 0 { Self::Dynamic } else { Self::Static }
    }
}

/// The entry whose index has `bits` in its first octet.
fn entry(rest: &mut &[u8], bits: u32, table: Table) -> Result<&'static Entry, Violation> {
    let index = read(rest, bits)?;
    match table {
        Table::Static => {
            static_table::entry_at(index).ok_or(failed("RFC 9204 section 3.1", "an index beyond the static table"))
        }
        Table::Dynamic => Err(not_there()),
    }
}

/// A string whose length has `bits` in its first octet, and the mark of Huffman code before them (section 4.1.2).
fn text<'s>(rest: &mut &'s [u8], bits: u32) -> Result<Text<'s>, Violation> {
    let is_huffman = rest.first().is_some_and(|octet| octet >> bits & 1 != 0);
    let length = usize::try_from(read(rest, bits)?).map_err(|_| cut())?;
    let (coded, after) = rest.split_at_checked(length).ok_or(cut())?;
    *rest = after;
    Ok(Text { coded, is_huffman })
}

fn read(rest: &mut &[u8], bits: u32) -> Result<u64, Violation> {
    integer::read(rest, bits).map_err(|error| match error {
        IntegerError::Incomplete => cut(),
        IntegerError::TooLarge => failed("RFC 9204 section 4.1.1", "an integer beyond 62 bits"),
    })
}

fn cut() -> Violation {
    failed("RFC 9204 section 4.5", "a section ends within a field line")
}

fn not_there() -> Violation {
    failed("RFC 9204 section 2.2.3", "an entry that the dynamic table does not have")
}

fn failed(section: &'static str, what: &'static str) -> Violation {
    Violation::new(Code::QPACK_DECOMPRESSION_FAILED, section, what)
}
