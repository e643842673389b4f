//! SETTINGS (RFC 9114 section 7.2.4): what an endpoint takes and offers.

use bytes::BytesMut;

use crate::{
    code::{Code, Violation},
    frame, varint,
};

/// The settings of one endpoint, with the values that hold without a word.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Settings {
    /// Octets of the largest field section that it takes, counted as in RFC 9114 section 4.2.2; none: any.
    pub max_field_section_size: Option<u64>,
    /// Octets of the QPACK dynamic table that it keeps (RFC 9204 section 5).
    pub qpack_max_table_capacity: u64,
    /// Streams that may wait for entries of that table.
    pub qpack_blocked_streams: u64,
    /// It takes extended CONNECT (RFC 9220 section 3). Only a server's says anything.
    pub enable_connect_protocol: bool,
    /// It takes HTTP Datagrams (RFC 9297 section 2.1.1).
    pub h3_datagram: bool,
}

const QPACK_MAX_TABLE_CAPACITY: u64 = 0x01;
const MAX_FIELD_SECTION_SIZE: u64 = 0x06;
const QPACK_BLOCKED_STREAMS: u64 = 0x07;
const ENABLE_CONNECT_PROTOCOL: u64 = 0x08;
const H3_DATAGRAM: u64 = 0x33;

/// Section 7.2.4.1: settings of HTTP/2, 0x00 reserved beside them (section 11.2.2).
const OF_HTTP2: [u64; 5] = [0x00, 0x02, 0x03, 0x04, 0x05];

impl Settings {
    /// A control stream of a server up to its SETTINGS frame (RFC 9114 sections 6.2.1 and 7.2.4).
    pub fn write_control_stream(&self, out: &mut BytesMut) {
        varint::write(crate::unidirectional::CONTROL, out);
        frame::write(frame::SETTINGS as u8, out, |payload| {
            let mut write = |id, value| {
                varint::write(id, payload);
                varint::write(value, payload);
            };
            for (id, value) in [
                (QPACK_MAX_TABLE_CAPACITY, self.qpack_max_table_capacity),
                (QPACK_BLOCKED_STREAMS, self.qpack_blocked_streams),
                (ENABLE_CONNECT_PROTOCOL, self.enable_connect_protocol.into()),
                (H3_DATAGRAM, self.h3_datagram.into()),
            ] {
                // Zero is what holds without a word, for each of them.
                if value > 0 {
                    write(id, value);
                }
            }
            if let Some(size) = self.max_field_section_size {
                write(MAX_FIELD_SECTION_SIZE, size);
            }
        });
    }

    /// The payload of a SETTINGS frame.
    pub(crate) fn read(mut payload: &[u8]) -> Result<Self, Violation> {
        let cut = Violation::new(Code::H3_FRAME_ERROR, "RFC 9114 section 7.1", "SETTINGS ends within a setting");
        let (mut settings, mut seen) = (Self::default(), Vec::new());
        while !payload.is_empty() {
            let id = varint::whole(&mut payload).ok_or(cut)?;
            let value = varint::whole(&mut payload).ok_or(cut)?;
            seen.push(id);
            match id {
                QPACK_MAX_TABLE_CAPACITY => settings.qpack_max_table_capacity = value,
                MAX_FIELD_SECTION_SIZE => settings.max_field_section_size = Some(value),
                QPACK_BLOCKED_STREAMS => settings.qpack_blocked_streams = value,
                ENABLE_CONNECT_PROTOCOL => settings.enable_connect_protocol = flag(value, "RFC 9220 section 3")?,
                H3_DATAGRAM => settings.h3_datagram = flag(value, "RFC 9297 section 2.1.1")?,
                id if OF_HTTP2.contains(&id) => {
                    return Err(wrong("RFC 9114 section 7.2.4.1", "a setting that only HTTP/2 has"));
                }
                // Section 7.2.4: what is not known is ignored.
                _ => {}
            }
        }
        seen.sort_unstable();
        if seen.windows(2).any(|pair| pair.first() == pair.last()) {
            return Err(wrong("RFC 9114 section 7.2.4", "a setting stands twice in SETTINGS"));
        }
        Ok(settings)
    }
}

fn flag(value: u64, section: &'static str) -> Result<bool, Violation> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(wrong(section, "a setting that is 0 or 1 has another value")),
    }
}

fn wrong(section: &'static str, what: &'static str) -> Violation {
    Violation::new(Code::H3_SETTINGS_ERROR, section, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_as_they_were_written() {
        for settings in [
            Settings::default(),
            Settings { max_field_section_size: Some(65_536), ..Settings::default() },
            Settings {
                max_field_section_size: Some(0),
                qpack_max_table_capacity: 4096,
                qpack_blocked_streams: 16,
                enable_connect_protocol: true,
                h3_datagram: true,
            },
        ] {
            let mut out = BytesMut::new();
            settings.write_control_stream(&mut out);
            let [0, 4, length, payload @ ..] = &out[..] else { panic!("{out:?}") };
            assert_eq!(usize::from(*length), payload.len());
            assert_eq!(Settings::read(payload), Ok(settings));
        }
    }
}
