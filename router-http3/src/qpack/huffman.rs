//! The Huffman code of strings (RFC 7541 section 5.2 and appendix B).

use bytes::BufMut;

use crate::work;

/// Bits of each octet's code, and last of EOS's. The code is canonical: codes of one length are numbered in the order
/// of their octets, so that the lengths say everything.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28,
    28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12,
    10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6,
    5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22,
    22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20,
    22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28,
    27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28,
    27, 27, 27, 27, 27, 26, 30,
];
const EOS: usize = 256;
const SHORTEST: u8 = 5;
const LONGEST: u8 = 30;

/// Why a string cannot be decoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum HuffmanError {
    /// EOS, or padding that is longer than seven bits or not of ones.
    Invalid,
    /// It is longer than the caller takes.
    TooLong,
}

/// Four bits further from a node of the code's tree.
#[derive(Clone, Copy)]
struct Step {
    /// The node it leads to.
    next: u8,
    symbol: u8,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Within,
    /// A symbol was completed on the way. There is one at most: the shortest code has five bits.
    Symbol,
    Eos,
}

/// A full tree with 257 leaves has 256 inner nodes.
const NODES: usize = 256;

struct Tables {
    steps: [[Step; 16]; NODES],
    /// Nodes where a string may end: the root, and up to seven ones behind it (RFC 7541 section 5.2).
    is_end: [bool; NODES],
    codes: [u32; 257],
}

static TABLES: Tables = tables();

/// Decodes `coded` onto the end of `out`, `max` octets at most.
pub(super) fn decode(coded: &[u8], out: &mut impl BufMut, max: usize) -> Result<(), HuffmanError> {
    let (mut node, mut written) = (0, 0);
    work::count(coded.len());
    for octet in coded {
        for four in [octet >> 4, octet & 0x0f] {
            let step = TABLES.steps[usize::from(node)][usize::from(four)];
            match step.kind {
                Kind::Within => {}
                Kind::Symbol if written == max => return Err(HuffmanError::TooLong),
                Kind::Symbol => {
                    out.put_u8(step.symbol);
                    written += 1;
                }
                Kind::Eos => return Err(HuffmanError::Invalid),
            }
            node = step.next;
        }
    }
    if TABLES.is_end[usize::from(node)] { Ok(()) } else { Err(HuffmanError::Invalid) }
}

/// Octets that `plain` takes when it is encoded.
pub(super) fn encoded_length(plain: &[u8]) -> usize {
    let bits: usize = plain.iter().map(|&octet| usize::from(LENGTHS[usize::from(octet)])).sum();
    bits.div_ceil(8)
}

/// Encodes `plain` onto the end of `out`.
pub(super) fn encode(plain: &[u8], out: &mut impl BufMut) {
    // Of the window, the low `pending` bits are not written yet: seven, and 30 of one symbol at most.
    let (mut window, mut pending) = (0u64, 0u32);
    for &octet in plain {
        let length = u32::from(LENGTHS[usize::from(octet)]);
        window = window << length | u64::from(TABLES.codes[usize::from(octet)]);
        pending += length;
        while pending >= 8 {
            pending -= 8;
            out.put_u8((window >> pending) as u8);
        }
    }
    if pending > 0 {
        let padding = 8 - pending;
        out.put_u8((window << padding) as u8 | u8::MAX >> pending);
    }
}

/// The canonical code, its tree, and the tree walked four bits at a time. Computed by the compiler.
const fn tables() -> Tables {
    let codes = codes();
    // Children of inner nodes: below NODES another one, from there on a leaf.
    let mut children = [[0u16; 2]; NODES];
    let (mut nodes, mut symbol) = (1, 0);
    while symbol <= EOS {
        let (mut node, mut bit) = (0, LENGTHS[symbol] as u32);
        while bit > 1 {
            bit -= 1;
            let turn = (codes[symbol] >> bit & 1) as usize;
            if children[node][turn] == 0 {
                children[node][turn] = nodes as u16;
                nodes += 1;
            }
            node = children[node][turn] as usize;
        }
        children[node][(codes[symbol] & 1) as usize] = (NODES + symbol) as u16;
        symbol += 1;
    }
    let mut steps = [[Step { next: 0, symbol: 0, kind: Kind::Within }; 16]; NODES];
    let mut node = 0;
    while node < NODES {
        let mut four = 0;
        while four < 16 {
            steps[node][four] = walk(&children, node, four);
            four += 1;
        }
        node += 1;
    }
    let mut is_end = [false; NODES];
    let (mut node, mut ones) = (0, 0);
    while ones < 8 {
        is_end[node] = true;
        node = children[node][1] as usize;
        ones += 1;
    }
    Tables { steps, is_end, codes }
}

const fn walk(children: &[[u16; 2]; NODES], from: usize, four: usize) -> Step {
    let mut step = Step { next: 0, symbol: 0, kind: Kind::Within };
    let (mut node, mut bit) = (from, 4);
    while bit > 0 {
        bit -= 1;
        node = children[node][four >> bit & 1] as usize;
        if node >= NODES {
            let symbol = node - NODES;
            step.kind = if symbol == EOS { Kind::Eos } else { Kind::Symbol };
            step.symbol = symbol as u8;
            node = 0;
        }
    }
    step.next = node as u8;
    step
}

const fn codes() -> [u32; 257] {
    let mut codes = [0; 257];
    let (mut next, mut length) = (0, SHORTEST);
    while length <= LONGEST {
        let mut symbol = 0;
        while symbol <= EOS {
            if LENGTHS[symbol] == length {
                codes[symbol] = next;
                next += 1;
            }
            symbol += 1;
        }
        next <<= 1;
        length += 1;
    }
    codes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7541 appendices C.4 and C.6.
    #[test]
    fn the_examples_of_the_rfc() {
        for (plain, coded) in [
            ("www.example.com", &[0xf1u8, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff][..]),
            ("no-cache", &[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf]),
            ("custom-key", &[0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xa9, 0x7d, 0x7f]),
            ("custom-value", &[0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xb8, 0xe8, 0xb4, 0xbf]),
            ("302", &[0x64, 0x02]),
            ("private", &[0xae, 0xc3, 0x77, 0x1a, 0x4b]),
        ] {
            let mut out = Vec::new();
            assert_eq!(decode(coded, &mut out, plain.len()), Ok(()));
            assert_eq!(out, plain.as_bytes());
            let mut out = Vec::new();
            encode(plain.as_bytes(), &mut out);
            assert_eq!(out, coded);
            assert_eq!(encoded_length(plain.as_bytes()), coded.len());
            assert_eq!(decode(coded, &mut Vec::new(), plain.len() - 1), Err(HuffmanError::TooLong));
        }
    }

    /// RFC 7541 appendix B: the longest codes of each kind, and the end of the numbering.
    #[test]
    fn the_code_is_the_rfcs() {
        for (symbol, code) in [
            (usize::from(b'0'), 0x0),
            (usize::from(b't'), 0x9),
            (usize::from(b'~'), 0x1ffd),
            (usize::from(b'\\'), 0x7fff0),
            (0, 0x1ff8),
            (255, 0x3ff_ffee),
            (249, 0xfff_fffe),
            (22, 0x3fff_fffe),
            (EOS, 0x3fff_ffff),
        ] {
            assert_eq!(TABLES.codes[symbol], code, "{symbol}");
        }
    }

    #[test]
    fn every_octet_comes_back_after_every_other() {
        for first in 0..=u8::MAX {
            let plain: Vec<u8> = (0..=u8::MAX).flat_map(|second| [first, second]).collect();
            let (mut coded, mut out) = (Vec::new(), Vec::new());
            encode(&plain, &mut coded);
            assert_eq!(decode(&coded, &mut out, plain.len()), Ok(()));
            assert_eq!(out, plain);
        }
    }

    /// RFC 7541 section 5.2.
    #[test]
    fn only_ones_pad_and_fewer_than_eight() {
        // `a` is 00011.
        for (coded, expected) in [
            (&[0b0001_1111][..], Ok(())),
            (&[0b0001_1110], Err(HuffmanError::Invalid)),
            (&[0b0001_1000], Err(HuffmanError::Invalid)),
            (&[0b0001_1111, 0xff], Err(HuffmanError::Invalid)),
            (&[0xff], Err(HuffmanError::Invalid)),
            (&[0xff, 0xff, 0xff, 0xff], Err(HuffmanError::Invalid)),
            (&[], Ok(())),
        ] {
            assert_eq!(decode(coded, &mut Vec::new(), 100), expected, "{coded:02x?}");
        }
    }
}
