//! Padding is found where frames that the fuzzer chooses end, and of any other octets nothing but zeros is taken off.
//!
//! `cargo +nightly fuzz run padding` (from this folder's parent).

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../router-userspace/src/worker/connection/strip_padding"]
mod padding {
    mod frames;

    /// What is kept of a packet's payload.
    pub(super) fn kept(payload: &[u8]) -> usize {
        frames::padding_begins(payload).unwrap_or(payload.len())
    }
}

/// A frame whose end can be seen, not PADDING, as RFC 9000 section 19 lays it out; its numbers are from `choice`.
fn write_frame(kind: u8, choice: &mut impl Iterator<Item = u8>, frames: &mut Vec<u8>) {
    let kinds = [0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x0a, 0x0f, 0x10, 0x11, 0x12, 0x14, 0x16, 0x18, 0x19, 0x1a];
    let kinds = [&kinds[..], &[0x1b, 0x1c, 0x1d, 0x1e, 0x31]].concat();
    let kind = kinds[usize::from(kind) % kinds.len()];
    frames.push(kind);
    let mut next = || choice.next().unwrap_or(0);
    let number = |next: &mut dyn FnMut() -> u8, frames: &mut Vec<u8>| match next() {
        octet if octet < 0x40 => frames.push(octet),
        octet => frames.extend([octet & 0x3f | 0x80, next(), 0, 1]),
    };
    let content = |next: &mut dyn FnMut() -> u8, frames: &mut Vec<u8>| {
        let length = next() & 0x3f;
        frames.push(length);
        frames.extend((0..length).map(|_| next()));
    };
    match kind {
        0x02 | 0x03 => {
            number(&mut next, frames);
            number(&mut next, frames);
            let ranges = next() & 7;
            frames.push(ranges);
            let rest = 1 + 2 * ranges + if kind == 0x03 { 3 } else { 0 };
            (0..rest).for_each(|_| number(&mut next, frames));
        }
        0x04 => (0..3).for_each(|_| number(&mut next, frames)),
        0x05 | 0x11 => (0..2).for_each(|_| number(&mut next, frames)),
        0x10 | 0x12 | 0x14 | 0x16 | 0x19 => number(&mut next, frames),
        0x06 | 0x0a | 0x1d => {
            number(&mut next, frames);
            content(&mut next, frames);
        }
        0x0f | 0x1c => {
            (0..2).for_each(|_| number(&mut next, frames));
            content(&mut next, frames);
        }
        0x07 | 0x31 => content(&mut next, frames),
        0x18 => {
            (0..2).for_each(|_| number(&mut next, frames));
            let length = next() % 21;
            frames.push(length);
            frames.extend((0..length + 16).map(|_| next()));
        }
        0x1a | 0x1b => frames.extend((0..8).map(|_| next())),
        // PING and HANDSHAKE_DONE.
        _ => {}
    }
}

fuzz_target!(|input: &[u8]| {
    let kept = padding::kept(input);
    assert!(input[kept..].iter().all(|&octet| octet == 0), "more than padding is taken off");
    assert!(kept > 0 || input.is_empty(), "a packet without frames");

    let (mut frames, mut choice) = (Vec::new(), input.iter().copied());
    while let Some(kind) = choice.next().filter(|_| frames.len() < 1_000) {
        write_frame(kind, &mut choice, &mut frames);
    }
    let end = frames.len();
    frames.resize(end + 200, 0);
    assert_eq!(padding::kept(&frames), end.max(1));
});
