//! Whatever the pieces: the same comes of a stream as if it came at once.

use super::{LIMITS, data, frame, headers, outcome, request};
use crate::{CriticalStreams, MessageLimits, UnidirectionalStream};

/// Numbers that are the same in every run (xorshift64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    /// Cuts `octets` into pieces.
    fn cut<'o>(&mut self, octets: &'o [u8]) -> Vec<&'o [u8]> {
        let (mut rest, mut pieces) = (octets, Vec::new());
        let most = 1 + self.below(40);
        while !rest.is_empty() {
            let (piece, after) = rest.split_at((1 + self.below(most)).min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        pieces
    }

    /// A stream of frames, sound ones more often than not, in an order that may be wrong.
    fn stream(&mut self) -> Vec<u8> {
        let mut stream = Vec::new();
        for turn in 0..1 + self.below(8) {
            let length = self.below(100);
            let noise: Vec<u8> = (0..length).map(|_| self.below(256) as u8).collect();
            let frame = match (turn, self.below(12)) {
                (0, 0..9) => request(&[("x", "1"), ("content-type", "text/plain"), ("cookie", "a"), ("cookie", "b")]),
                (_, 0) => request(&[("content-length", "3")]),
                (_, 1) => headers(&[("x", "trailer")]),
                (_, 2) => frame(1, &noise),
                (_, 3) => frame(self.below(0x30) as u64, &noise),
                (_, 4) => noise,
                (_, 5) => data(b""),
                _ => data(&noise),
            };
            stream.extend(frame);
        }
        // Damage, now and then.
        if self.below(3) == 0 {
            let at = self.below(stream.len().max(1));
            if let Some(octet) = stream.get_mut(at) {
                *octet = self.below(256) as u8;
            }
        }
        if self.below(4) == 0 {
            stream.truncate(self.below(stream.len() + 1));
        }
        stream
    }
}

#[test]
fn requests() {
    let mut numbers = Numbers(0x5eed);
    let limits = MessageLimits { max_field_section_size: 300, max_fields: 8, ..LIMITS };
    let (mut sound, mut faulty) = (0, 0);
    for _ in 0..20_000 {
        let stream = numbers.stream();
        let whole = outcome(limits, [&stream[..]]);
        let pieces = numbers.cut(&stream);
        assert_eq!(outcome(limits, pieces), whole, "{stream:02x?}");
        if whole.1.is_ok() { sound += 1 } else { faulty += 1 }
    }
    assert!(sound > 1000 && faulty > 1000, "{sound} sound, {faulty} faulty: the generator proves little");
}

#[test]
fn unidirectional_streams() {
    let mut numbers = Numbers(0xca5e);
    let settings = frame(4, &[6, 0x40, 0x64, 0x33, 1, 0x21, 5]);
    for _ in 0..20_000 {
        let mut stream = vec![[0, 0, 0, 2, 3, 0x21][numbers.below(6)]];
        stream.extend(&settings);
        for _ in 0..numbers.below(5) {
            let kinds = [7, 0xd, 3, 0xf0700, 0xf0701, 0x21, 4, 0];
            let kind = kinds[numbers.below(kinds.len())];
            let length = numbers.below(9);
            let payload: Vec<u8> = (0..length).map(|_| numbers.below(256) as u8).collect();
            stream.extend(frame(kind, &payload));
        }
        let of = |pieces: Vec<&[u8]>| {
            let (mut critical, mut stream) = (CriticalStreams::default(), UnidirectionalStream::default());
            let mut events = Vec::new();
            for piece in pieces {
                if let Err(violation) = stream.receive(&mut critical, piece, |event| events.push(event)) {
                    return (events, Err(violation));
                }
            }
            (events, stream.closed())
        };
        assert_eq!(of(numbers.cut(&stream)), of(vec![&stream]), "{stream:02x?}");
    }
}
