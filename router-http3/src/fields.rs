//! From a field section to fields: decoded into one buffer, of which the header map has slices, within the caller's
//! limits (RFC 9114 section 4.2).

use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{self, Entry},
};

use crate::{
    code::Violation,
    qpack::{
        decoder::{Line, Text, TextError},
        static_table::Name,
    },
};

/// What the caller takes of a message.
#[derive(Clone, Copy, Debug)]
pub struct MessageLimits {
    /// Octets of a field section, counted as in RFC 9114 section 4.2.2: names, values, and 32 for each field. Cookie
    /// crumbs count as the one field that they are (section 4.2.1).
    pub max_field_section_size: u64,
    /// Fields of a section, without pseudo-header fields.
    pub max_fields: usize,
    /// Octets of frames on a request stream whose types are not known, all together. They are skipped (RFC 9114
    /// section 9); a client that sends more of them has something else in mind than extensions and padding.
    pub max_ignored: u64,
    /// `:protocol` is understood (RFC 9220). It goes with the setting of the same name.
    pub extended_connect: bool,
}

/// A pseudo-header field (RFC 9114 section 4.3, RFC 8441 section 4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pseudo {
    Method,
    Scheme,
    Authority,
    Path,
    Protocol,
    Status,
}

impl Pseudo {
    fn of(name: &[u8]) -> Option<Self> {
        Some(match name {
            b":method" => Self::Method,
            b":scheme" => Self::Scheme,
            b":authority" => Self::Authority,
            b":path" => Self::Path,
            b":protocol" => Self::Protocol,
            b":status" => Self::Status,
            _ => return None,
        })
    }

    const fn name_length(self) -> usize {
        match self {
            Self::Path => 5,
            Self::Method | Self::Scheme | Self::Status => 7,
            Self::Protocol => 9,
            Self::Authority => 10,
        }
    }

    /// Of a name in the static table.
    pub(crate) const fn of_static(name: &str) -> Option<Self> {
        match name.as_bytes() {
            b":method" => Some(Self::Method),
            b":scheme" => Some(Self::Scheme),
            b":authority" => Some(Self::Authority),
            b":path" => Some(Self::Path),
            b":status" => Some(Self::Status),
            _ => None,
        }
    }
}

/// Why a section is no head or trailers.
#[derive(Debug)]
pub(crate) enum SectionError {
    /// A connection error.
    Undecodable(Violation),
    /// A stream error.
    Malformed(Violation),
    TooLarge,
}

impl From<Violation> for SectionError {
    /// What the QPACK decoder says.
    fn from(violation: Violation) -> Self {
        Self::Undecodable(violation)
    }
}

impl From<TextError> for SectionError {
    fn from(error: TextError) -> Self {
        match error {
            TextError::Invalid(violation) => Self::Undecodable(violation),
            TextError::TooLong => Self::TooLarge,
        }
    }
}

pub(crate) fn malformed<T>(section: &'static str, what: &'static str) -> Result<T, SectionError> {
    Err(SectionError::Malformed(Violation::malformed(section, what)))
}

pub(crate) const FIELDS: &str = "RFC 9114 section 4.2";

/// Regular fields as they come, within the caller's limits.
pub(crate) struct Fields<'l> {
    limits: &'l MessageLimits,
    buffer: BytesMut,
    /// Of literal names: most are well-known, and not kept.
    name: Vec<u8>,
    headers: HeaderMap,
    /// All cookie crumbs (section 4.2.1).
    cookie: Option<BytesMut>,
    size: u64,
    count: usize,
}

/// What a line was.
pub(crate) enum Taken {
    Regular,
    Pseudo(Pseudo, Bytes),
}

/// What each field counts beside its octets (section 4.2.2).
const FIELD_OVERHEAD: u64 = 32;

impl<'l> Fields<'l> {
    pub(crate) fn new(section: usize, limits: &'l MessageLimits) -> Self {
        let buffer = BytesMut::with_capacity(section + section / 2);
        let headers = HeaderMap::with_capacity(16);
        Self { limits, buffer, name: Vec::new(), headers, cookie: None, size: 0, count: 0 }
    }

    pub(crate) fn take(&mut self, line: Line<'_>) -> Result<Taken, SectionError> {
        match line {
            Line::Indexed(entry) => match &entry.name {
                Name::Pseudo(pseudo) => {
                    self.add_size(pseudo.name_length(), entry.value.len())?;
                    Ok(Taken::Pseudo(*pseudo, Bytes::from_static(entry.value.as_bytes())))
                }
                Name::Regular(name) => {
                    if *name == header::COOKIE {
                        return self.add_crumb(entry.value.as_bytes());
                    }
                    self.add_size(name.as_str().len(), entry.value.len())?;
                    self.add(name.clone(), entry.header_value.clone())
                }
            },
            Line::NameReference(entry, value) => match &entry.name {
                Name::Pseudo(pseudo) => self.take_pseudo(*pseudo, value),
                Name::Regular(name) => self.take_regular(name.clone(), value),
            },
            Line::Literal(name, value) => self.take_literal(name, value),
        }
    }

    fn take_literal(&mut self, name: Text<'_>, value: Text<'_>) -> Result<Taken, SectionError> {
        let mut scratch = std::mem::take(&mut self.name);
        scratch.clear();
        let name = match name.plain() {
            Some(plain) if plain.len() as u64 > self.room() => return Err(SectionError::TooLarge),
            Some(plain) => plain,
            None => {
                name.decode_into(&mut scratch, self.room_octets())?;
                &scratch
            }
        };
        let taken = match name {
            [b':', ..] => match Pseudo::of(name) {
                Some(pseudo) => self.take_pseudo(pseudo, value),
                None => malformed("RFC 9114 section 4.3", "a pseudo-header field that is not known"),
            },
            name if name.len() > NAME_MAX => Err(SectionError::TooLarge),
            // The `http` crate takes a quotation mark for a letter of tokens (RFC 9110 section 5.6.2).
            name => match HeaderName::from_lowercase(name) {
                Ok(name) if !name.as_str().contains('"') => self.take_regular(name, value),
                Ok(_) | Err(_) => malformed(FIELDS, "a field name that is empty, not in lower case or not a token"),
            },
        };
        self.name = scratch;
        taken
    }

    fn take_pseudo(&mut self, pseudo: Pseudo, value: Text<'_>) -> Result<Taken, SectionError> {
        let room = self.room_octets();
        value.decode_into(&mut self.buffer, room)?;
        let value = self.buffer.split().freeze();
        self.add_size(pseudo.name_length(), value.len())?;
        Ok(Taken::Pseudo(pseudo, value))
    }

    fn take_regular(&mut self, name: HeaderName, value: Text<'_>) -> Result<Taken, SectionError> {
        let room = self.room_octets();
        value.decode_into(&mut self.buffer, room)?;
        if name == header::COOKIE {
            let crumb = self.buffer.split();
            return self.add_crumb(&crumb);
        }
        let value = self.buffer.split().freeze();
        self.add_size(name.as_str().len(), value.len())?;
        match HeaderValue::from_maybe_shared(value) {
            Ok(value) => self.add(name, value),
            Err(_) => malformed("RFC 9114 section 10.3", "a field value with a character that has no place in one"),
        }
    }

    fn add(&mut self, name: HeaderName, value: HeaderValue) -> Result<Taken, SectionError> {
        if self.count == self.limits.max_fields.min(FIELDS_MAX) {
            return Err(SectionError::TooLarge);
        }
        self.count += 1;
        // The map itself has a limit, too.
        match self.headers.try_entry(name) {
            Ok(Entry::Vacant(vacant)) => drop(vacant.try_insert(value).map_err(|_| SectionError::TooLarge)?),
            Ok(Entry::Occupied(mut occupied)) => occupied.append(value),
            Err(_) => return Err(SectionError::TooLarge),
        }
        Ok(Taken::Regular)
    }

    fn add_crumb(&mut self, crumb: &[u8]) -> Result<Taken, SectionError> {
        let joined = match &mut self.cookie {
            None => {
                self.add_size(header::COOKIE.as_str().len(), crumb.len())?;
                self.cookie.insert(BytesMut::with_capacity(crumb.len()))
            }
            Some(joined) => {
                joined.extend_from_slice(b"; ");
                self.size += 2 + crumb.len() as u64;
                if self.size > self.limits.max_field_section_size {
                    return Err(SectionError::TooLarge);
                }
                joined
            }
        };
        joined.extend_from_slice(crumb);
        Ok(Taken::Regular)
    }

    fn add_size(&mut self, name: usize, value: usize) -> Result<(), SectionError> {
        self.size += name as u64 + value as u64 + FIELD_OVERHEAD;
        if self.size > self.limits.max_field_section_size { Err(SectionError::TooLarge) } else { Ok(()) }
    }

    /// Whether a regular field was there.
    pub(crate) fn any(&self) -> bool {
        self.cookie.is_some() || !self.headers.is_empty()
    }

    /// Octets that a further string may have.
    fn room(&self) -> u64 {
        self.limits.max_field_section_size.saturating_sub(self.size)
    }

    fn room_octets(&self) -> usize {
        usize::try_from(self.room()).unwrap_or(usize::MAX)
    }

    pub(crate) fn finish(mut self) -> Result<HeaderMap, SectionError> {
        if let Some(cookie) = self.cookie.take() {
            match HeaderValue::from_maybe_shared(cookie.freeze()) {
                Ok(cookie) => drop(self.add(header::COOKIE, cookie)?),
                Err(_) => {
                    return malformed(
                        "RFC 9114 section 10.3",
                        "a field value with a character that has no place in one",
                    );
                }
            }
        }
        Ok(self.headers)
    }
}

/// The most fields whatever the limit: the map panics somewhat above, and a caller adds fields of its own.
const FIELDS_MAX: usize = 24_000;

/// The longest name that the `http` crate takes.
const NAME_MAX: usize = u16::MAX as usize - 1;
