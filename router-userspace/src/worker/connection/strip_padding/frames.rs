//! Where padding begins in a packet, by a step over each of its frames (RFC 9000 section 12.4).

/// Where the frames of a packet end and padding begins (RFC 9000 section 19), if there is so much of
/// it that to take it off pays. A packet of padding alone keeps an octet: one without frames is an
/// error.
pub(super) fn padding_begins(payload: &[u8]) -> Option<usize> {
    let zeros = payload.rchunks_exact(BLOCK).take_while(|block| **block == [0; BLOCK]).count() * BLOCK;
    if zeros < WORTH_IT {
        return None;
    }
    // They may be the last frame's own: whose, is known from the front.
    let (mut frames, mut padding) = (Frames(payload), None);
    loop {
        let at = payload.len() - frames.0.len();
        padding = (*frames.0.first()? == 0).then(|| padding.unwrap_or(at));
        if let Some(begun) = padding.filter(|_| at >= payload.len() - zeros) {
            return Some(begun.max(1));
        }
        frames.skip_one()?;
    }
}

const BLOCK: usize = 16;
const WORTH_IT: usize = 64;

/// What is left of a packet's frames.
struct Frames<'p>(&'p [u8]);

impl Frames<'_> {
    /// Steps over a frame; none where that cannot be, or where the frame goes on to the packet's end.
    fn skip_one(&mut self) -> Option<()> {
        match self.octets(1)?[0] {
            // PADDING, PING, HANDSHAKE_DONE
            0x00 | 0x01 | 0x1e => Some(()),
            // ACK, without and with ECN counts
            0x02 => self.ranges(),
            0x03 => {
                self.ranges()?;
                self.varints(3)
            }
            // RESET_STREAM
            0x04 => self.varints(3),
            // STOP_SENDING, MAX_STREAM_DATA, STREAM_DATA_BLOCKED
            0x05 | 0x11 | 0x15 => self.varints(2),
            // CRYPTO
            0x06 => {
                self.varints(1)?;
                self.with_length()
            }
            // NEW_TOKEN, and a DATAGRAM with its length (RFC 9221)
            0x07 | 0x31 => self.with_length(),
            // STREAM, with its length; the others go on to the end
            kind @ 0x08..=0x0f if kind & 0x02 != 0 => {
                self.varints(if kind & 0x04 == 0 { 1 } else { 2 })?;
                self.with_length()
            }
            // MAX_DATA, MAX_STREAMS, DATA_BLOCKED, STREAMS_BLOCKED, RETIRE_CONNECTION_ID
            0x10 | 0x12..=0x14 | 0x16 | 0x17 | 0x19 => self.varints(1),
            // NEW_CONNECTION_ID
            0x18 => {
                self.varints(2)?;
                let length = usize::from(self.octets(1)?[0]);
                // Behind it is a stateless reset token.
                self.octets(length + 16).map(drop)
            }
            // PATH_CHALLENGE, PATH_RESPONSE
            0x1a | 0x1b => self.octets(8).map(drop),
            // CONNECTION_CLOSE, of the transport and of the application
            0x1c => {
                self.varints(2)?;
                self.with_length()
            }
            0x1d => {
                self.varints(1)?;
                self.with_length()
            }
            // Extensions that are not spoken here.
            _ => None,
        }
    }

    /// What every ACK begins with (RFC 9000 section 19.3), up to its last range.
    fn ranges(&mut self) -> Option<()> {
        self.varints(2)?;
        let ranges = self.varint()?;
        self.varints(1)?;
        // Each takes two octets at least: a lie ends with the packet.
        self.varints(ranges.checked_mul(2)?)
    }

    /// Octets whose number stands before them.
    fn with_length(&mut self) -> Option<()> {
        let length = usize::try_from(self.varint()?).ok()?;
        self.octets(length).map(drop)
    }

    fn varints(&mut self, count: u64) -> Option<()> {
        (0..count).try_for_each(|_| self.varint().map(drop))
    }

    /// RFC 9000 section 16.
    fn varint(&mut self) -> Option<u64> {
        let first = *self.0.first()?;
        let octets = self.octets(1 << (first >> 6))?;
        Some(octets[1..].iter().fold(u64::from(first & 0x3f), |value, octet| value << 8 | u64::from(*octet)))
    }

    fn octets(&mut self, count: usize) -> Option<&[u8]> {
        let (octets, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(octets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of each kind whose end can be seen.
    const FRAMES: &[&[u8]] = &[
        &[0x01],
        &[0x02, 0x40, 0x99, 0, 2, 1, 3, 0, 4, 0],
        &[0x03, 9, 0, 0, 1, 7, 0x40, 0, 0],
        &[0x04, 4, 1, 0],
        &[0x05, 4, 0],
        &[0x06, 0, 3, 0, 0, 0],
        &[0x07, 2, 0, 0],
        &[0x0a, 4, 5, b'h', b'i', 0, 0, 0],
        &[0x0b, 4, 0],
        &[0x0e, 4, 0x80, 0, 0, 0, 2, 0, 0],
        &[0x10, 0],
        &[0x11, 4, 0],
        &[0x12, 0],
        &[0x13, 0],
        &[0x14, 0],
        &[0x15, 4, 0],
        &[0x16, 0],
        &[0x17, 0],
        &[0x18, 1, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0x19, 0],
        &[0x1a, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0x1b, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0x1c, 0, 0, 1, 0],
        &[0x1d, 0, 0],
        &[0x1e],
        &[0x31, 1, 0],
    ];

    fn padded(frames: &[&[u8]], padding: usize) -> Vec<u8> {
        [frames.concat(), vec![0; padding]].concat()
    }

    #[test]
    fn padding_begins_behind_the_last_frame() {
        for one in FRAMES {
            for other in FRAMES {
                let frames = [*one, *other];
                let length = one.len() + other.len();
                for padding in [100, 1_300] {
                    assert_eq!(padding_begins(&padded(&frames, padding)), Some(length), "{frames:x?} {padding}");
                }
                assert_eq!(padding_begins(&padded(&frames, 20)), None, "{frames:x?}: it does not pay");
            }
        }
        assert_eq!(padding_begins(&padded(FRAMES, 200)), Some(FRAMES.concat().len()));
        // Between frames it stays.
        let between = [&[0x01, 0, 0, 0][..], &[0x0a, 4, 1, 0]];
        assert_eq!(padding_begins(&padded(&between, 80)), Some(8));
        assert_eq!(padding_begins(&[0; 500]), Some(1));
    }

    #[test]
    fn zeros_of_a_frame_are_no_padding() {
        for frame in [
            // STREAM and DATAGRAM to the end of the packet.
            &[0x08, 4, b'x'][..],
            &[0x0c, 4, 9],
            &[0x30, 1],
            // Lengths that reach into what looks like padding, or beyond.
            &[0x0a, 4, 0x41, 0x2c],
            &[0x0a, 4, 0x44, 0],
            &[0x02, 9, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            // Of types that are not known.
            &[0x20],
            &[0x40, 0x01],
            &[0xff, 0xff],
        ] {
            assert_eq!(padding_begins(&padded(&[frame], 300)), None, "{frame:x?}");
        }
        // A part of the zeros is the frame's.
        assert_eq!(padding_begins(&padded(&[&[0x0a, 4, 60]], 300)), Some(63));
    }

    /// Whatever stands there, nothing but zeros is taken off.
    #[test]
    fn nothing_else_is_taken_off() {
        let mut state = 1_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize
        };
        for _ in 0..200_000 {
            let length = random() % 40;
            let frames: Vec<_> =
                (0..length).map(|_| if random() % 3 == 0 { random() as u8 } else { (random() % 32) as u8 }).collect();
            let payload = padded(&[&frames], 64 + random() % 64);
            if let Some(end) = padding_begins(&payload) {
                assert!(payload[end..].iter().all(|octet| *octet == 0) && end > 0, "{payload:x?}");
            }
        }
    }
}
