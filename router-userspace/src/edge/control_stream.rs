//! A watch over the client's unidirectional streams: h3 keeps all of a control stream's frame until
//! it has come to its end, however long it says it is.

/// The longest frame on a control stream that is taken, octets. Those that there are (RFC 9114
/// section 7.2, RFC 9218 section 7) take a few, SETTINGS and PRIORITY_UPDATE up to some hundred.
pub(super) const FRAME_MAX: u64 = 16 * 1024;

/// The type of a control stream (RFC 9114 section 6.2.1).
const CONTROL: u64 = 0;

/// Reads the lengths of frames as the stream goes by.
#[derive(Debug, Default)]
pub(super) struct Watch {
    expected: Expected,
    /// What has come of a variable-length integer (RFC 9000 section 16).
    integer: u64,
    /// Octets of it still to come; none: it has not begun.
    missing: Option<u8>,
}

#[derive(Debug, Default)]
enum Expected {
    #[default]
    StreamType,
    FrameType,
    Length,
    Payload(u64),
    /// It is no control stream.
    Nothing,
}

/// A frame says that it is longer than [`FRAME_MAX`].
#[derive(Debug)]
pub(super) struct TooLong;

impl Watch {
    /// The next octets of the stream.
    pub(super) fn pass(&mut self, mut octets: &[u8]) -> Result<(), TooLong> {
        while !octets.is_empty() {
            match &mut self.expected {
                Expected::Nothing => return Ok(()),
                Expected::Payload(left) => {
                    let here = octets.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= here as u64;
                    octets = &octets[here..];
                    if *left == 0 {
                        self.expected = Expected::FrameType;
                    }
                }
                Expected::StreamType => match self.integer(&mut octets) {
                    Some(CONTROL) => self.expected = Expected::FrameType,
                    Some(_) => self.expected = Expected::Nothing,
                    None => {}
                },
                Expected::FrameType => {
                    if self.integer(&mut octets).is_some() {
                        self.expected = Expected::Length;
                    }
                }
                Expected::Length => match self.integer(&mut octets) {
                    Some(0) => self.expected = Expected::FrameType,
                    Some(length) if length <= FRAME_MAX => self.expected = Expected::Payload(length),
                    Some(_) => return Err(TooLong),
                    None => {}
                },
            }
        }
        Ok(())
    }

    /// Takes octets of an integer; the integer, when it is whole.
    fn integer(&mut self, octets: &mut &[u8]) -> Option<u64> {
        while let Some((&octet, rest)) = octets.split_first() {
            *octets = rest;
            let missing = match self.missing {
                None => {
                    self.integer = u64::from(octet & 0x3f);
                    (1 << (octet >> 6)) - 1
                }
                Some(missing) => {
                    self.integer = self.integer << 8 | u64::from(octet);
                    missing - 1
                }
            };
            self.missing = (missing > 0).then_some(missing);
            if missing == 0 {
                return Some(self.integer);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A control stream with SETTINGS, an empty frame of a reserved type, and GOAWAY.
    const STREAM: &[u8] = &[0, 4, 2, 6, 0, 0x40, 0x21, 0, 7, 1, 0];

    #[test]
    fn frames_pass_in_pieces_of_any_size() {
        for size in 1..=STREAM.len() {
            let mut watch = Watch::default();
            for piece in STREAM.chunks(size) {
                watch.pass(piece).expect("short frames");
            }
            assert!(matches!(watch.expected, Expected::FrameType), "{size}: {watch:?}");
        }
    }

    #[test]
    fn a_frame_may_be_as_long_as_the_limit_and_no_longer() {
        let with_length = |length: u64| [STREAM, &[0x21], &(length | 0b10 << 30).to_be_bytes()[4..]].concat();
        assert!(Watch::default().pass(&with_length(FRAME_MAX)).is_ok());
        assert!(Watch::default().pass(&with_length(FRAME_MAX + 1)).is_err());
        let mut watch = Watch::default();
        let stream = with_length(FRAME_MAX + 1);
        let refused_at = stream.iter().position(|octet| watch.pass(&[*octet]).is_err());
        assert_eq!(refused_at, Some(stream.len() - 1));
    }

    #[test]
    fn other_streams_are_not_looked_at() {
        for stream_type in [2, 3, 0x21] {
            assert!(
                Watch::default().pass(&[stream_type, 0x21, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]).is_ok()
            );
        }
    }
}
