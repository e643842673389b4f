//! All `unsafe` that touches packets.
//!
//! The kernel gives a program two numbers, where the packet's linear part begins and where
//! it ends. Each access compares with the end first; the verifier checks that it does.

#![expect(unsafe_code, reason = "packets are reached through the kernel's pointers")]

use core::mem::MaybeUninit;

use aya_ebpf::{
    EbpfContext as _,
    helpers::generated::{
        bpf_get_prandom_u32, bpf_skb_load_bytes, bpf_skb_load_bytes_relative, bpf_xdp_adjust_head, bpf_xdp_adjust_meta,
        bpf_xdp_adjust_tail, bpf_xdp_get_buff_len, bpf_xdp_store_bytes,
    },
    programs::{SkReuseportContext, XdpContext},
};
use router_common::{
    bytes::{Bytes, Octets},
    frame::{Address, ETHERNET_LENGTH, Endpoint, IPV6, Payload, UDP_LENGTH, updated_checksum},
    identifiers::SlotId,
    tunnel::Outer,
};

/// An Ethernet frame as XDP sees it.
pub(crate) struct Frame<'a>(pub(crate) &'a XdpContext);

impl Bytes for Frame<'_> {
    #[inline(always)]
    fn read<const N: usize>(&self, at: usize) -> Option<Octets<N>> {
        linear(self.0.data() + at, self.0.data_end())
    }

    #[inline(always)]
    fn holds(&self, length: usize) -> bool {
        self.0.data() + length <= self.0.data_end() || {
            // SAFETY: the helper only reads the context that the kernel gave us.
            let whole = unsafe { bpf_xdp_get_buff_len(self.0.ctx) };
            length as u64 <= whole
        }
    }
}

/// Keeps GRO from merging packets of different slots on one CPU: it never merges packets
/// whose XDP metadata differ, and this makes the slot the metadata.
///
/// A driver without room for metadata refuses; then the worker that gets a mixed train
/// hands over what is not its own.
#[inline(always)]
pub(crate) fn keep_apart(ctx: &XdpContext, slot: SlotId) {
    const LENGTH: usize = size_of::<u32>();
    // SAFETY: the helper checks that the headroom suffices; all packet pointers are taken anew below.
    if unsafe { bpf_xdp_adjust_meta(ctx.ctx, -(LENGTH as i32)) } != 0 {
        return;
    }
    let metadata = ctx.metadata();
    if metadata + LENGTH <= ctx.data() {
        // SAFETY: the four octets from `metadata` on lie before the packet's first, as just checked.
        unsafe { (metadata as *mut u32).write_unaligned(u32::from(slot)) };
    }
}

/// Makes the frame `length` octets long; whether it could be done. The frame is as it was, else.
#[inline(always)]
pub(crate) fn resize(ctx: &XdpContext, length: usize) -> bool {
    // SAFETY: the helpers check what they are asked for; no packet pointer is kept.
    unsafe {
        let delta = length as i64 - bpf_xdp_get_buff_len(ctx.ctx) as i64;
        bpf_xdp_adjust_tail(ctx.ctx, delta as i32) == 0
    }
}

/// Writes the first `length` of `octets` over the frame's, from `at` on; whether it has so many.
#[inline(always)]
pub(crate) fn write<const N: usize>(ctx: &XdpContext, at: usize, octets: &[u8; N], length: usize) -> bool {
    if length == 0 || length > N {
        return false;
    }
    let from = octets.as_ptr().cast_mut().cast();
    // SAFETY: `from` has `N` octets, which the helper only reads, `length` of them; it checks that the frame has
    // so many. No packet pointer is kept.
    unsafe { bpf_xdp_store_bytes(ctx.ctx, at as u32, from, length as u32) == 0 }
}

/// Puts `outer`'s headers, of `LENGTH` octets, around the packet in a frame, whose own Ethernet header goes; whether they
/// were written. `None`: there is no room before it, and the frame is as it was.
#[inline(always)]
pub(crate) fn push<const LENGTH: usize>(ctx: &XdpContext, outer: &Outer) -> Option<bool> {
    // Whole words behind the first six octets, or half a word more.
    const { assert!(LENGTH % 8 == 6 || LENGTH % 8 == 2) };
    // SAFETY: the helper checks that there is room; no packet pointer is kept.
    if unsafe { bpf_xdp_adjust_head(ctx.ctx, -((LENGTH - ETHERNET_LENGTH) as i32)) } != 0 {
        return None;
    }
    let start = ctx.data();
    if start + LENGTH > ctx.data_end() {
        return Some(false);
    }
    // SAFETY: `start..start + LENGTH` lies within the packet's linear part, as just checked, and each word is written
    // within that.
    unsafe {
        store!("u16", start, outer.word(0) >> 16);
        store!("u32", start + 2, outer.word(0) >> 32);
        let mut word = 1;
        while 6 + 8 * word <= LENGTH {
            store!("u64", start + 8 * word - 2, outer.word(word));
            word += 1;
        }
        if LENGTH % 8 == 2 {
            store!("u32", start + 8 * word - 2, outer.word(word));
        }
    }
    Some(true)
}

/// Takes `LESS` octets off the frame's beginning, and puts its link addresses before what is left, with this type;
/// whether it was done.
#[inline(always)]
pub(crate) fn pull<const LESS: usize>(ctx: &XdpContext, ethertype: u16) -> bool {
    let start = ctx.data();
    if start + ETHERNET_LENGTH > ctx.data_end() {
        return false;
    }
    // SAFETY: the addresses lie within the packet's linear part, as just checked.
    let (first, second) = unsafe { (load!("u64", start), load!("u32", start + 8)) };
    // SAFETY: the helper checks that the frame has so many octets; no packet pointer is kept.
    if unsafe { bpf_xdp_adjust_head(ctx.ctx, LESS as i32) } != 0 {
        return false;
    }
    let start = ctx.data();
    if start + ETHERNET_LENGTH > ctx.data_end() {
        return false;
    }
    // SAFETY: they lie within it again, as just checked.
    unsafe {
        store!("u64", start, first);
        store!("u32", start + 8, second);
        store!("u16", start + 12, u64::from(ethertype.to_be()));
    }
    true
}

/// Writes the DS field of a plain IPv4 packet, and its checksum; whether it was done.
#[inline(always)]
pub(crate) fn mark_ipv4(ctx: &XdpContext, ds: u8) -> bool {
    let Some(Octets::<2>([first, second])) = Frame(ctx).read(ETHERNET_LENGTH) else { return false };
    let Some(Octets::<2>(sum)) = Frame(ctx).read(ETHERNET_LENGTH + 10) else { return false };
    let (was, is) = (u16::from_be_bytes([first, second]), u16::from_be_bytes([first, ds]));
    let sum = updated_checksum(u16::from_be_bytes(sum), was, is);
    write(ctx, ETHERNET_LENGTH, &is.to_be_bytes(), 2) && write(ctx, ETHERNET_LENGTH + 10, &sum.to_be_bytes(), 2)
}

/// The same of a plain IPv6 packet.
#[inline(always)]
pub(crate) fn mark_ipv6(ctx: &XdpContext, ds: u8) -> bool {
    let Some(Octets::<2>([first, second])) = Frame(ctx).read(ETHERNET_LENGTH) else { return false };
    write(ctx, ETHERNET_LENGTH, &[first & 0xf0 | ds >> 4, ds << 4 | second & 0x0f], 2)
}

/// A random number, not for secrets.
#[inline(always)]
pub(crate) fn random() -> u32 {
    // SAFETY: the helper only returns a number.
    unsafe { bpf_get_prandom_u32() }
}

/// A UDP datagram as a `sk_reuseport` program sees it: it begins with the UDP header.
pub(crate) struct Segment<'a>(pub(crate) &'a SkReuseportContext);

impl Segment<'_> {
    /// The datagram's payload. Of a GRO train, all of it.
    #[inline(always)]
    pub(crate) fn payload(&self) -> Payload {
        Payload { at: UDP_LENGTH, length: self.0.len().saturating_sub(UDP_LENGTH) }
    }

    /// Who sent it.
    #[inline(always)]
    pub(crate) fn source(&self) -> Option<Endpoint> {
        let Octets(port) = self.read(0)?;
        Some(Endpoint { address: self.source_address()?, port: u16::from_be_bytes(port) })
    }

    /// The address of that.
    #[inline(always)]
    pub(crate) fn source_address(&self) -> Option<Address> {
        Some(if self.is_ipv6() { Address::new(self.network(8)?.0) } else { Address::ipv4(self.network(12)?.0) })
    }

    /// The address and port that the sockets of its group are bound to: its destination,
    /// or the unspecified address of its family.
    #[inline(always)]
    pub(crate) fn bound_to(&self) -> Option<Endpoint> {
        let Octets(port) = self.read(2)?;
        let address = match (self.0.bind_inany() != 0, self.is_ipv6()) {
            (true, true) => Address::UNSPECIFIED,
            (true, false) => Address::ipv4([0; 4]),
            (false, true) => Address::new(self.network(24)?.0),
            (false, false) => Address::ipv4(self.network(16)?.0),
        };
        Some(Endpoint { address, port: u16::from_be_bytes(port) })
    }

    #[inline(always)]
    fn is_ipv6(&self) -> bool {
        self.0.eth_protocol() == u32::from(IPV6.to_be())
    }

    /// `N` octets at offset `at` of the network header.
    #[inline(always)]
    fn network<const N: usize>(&self, at: u32) -> Option<Octets<N>> {
        let mut octets = MaybeUninit::<Octets<N>>::uninit();
        // SAFETY: the helper writes all `N` octets, clears them where the packet has fewer.
        unsafe {
            let to = octets.as_mut_ptr().cast();
            let result = bpf_skb_load_bytes_relative(self.0.as_ptr(), at, to, N as u32, HEADER_START_NETWORK);
            (result == 0).then_some(octets.assume_init())
        }
    }
}

impl Bytes for Segment<'_> {
    #[inline(always)]
    fn read<const N: usize>(&self, at: usize) -> Option<Octets<N>> {
        linear(self.0.data() + at, self.0.data_end()).or_else(|| {
            let mut octets = MaybeUninit::<Octets<N>>::uninit();
            // SAFETY: the helper writes all `N` octets, clears them where the packet has fewer.
            unsafe {
                let result = bpf_skb_load_bytes(self.0.as_ptr(), at as u32, octets.as_mut_ptr().cast(), N as u32);
                (result == 0).then_some(octets.assume_init())
            }
        })
    }

    #[inline(always)]
    fn holds(&self, length: usize) -> bool {
        length <= self.0.len()
    }
}

/// The `N` octets at `start`, if they end before `end`.
#[inline(always)]
fn linear<const N: usize>(start: usize, end: usize) -> Option<Octets<N>> {
    // Of one octet the compiler would make `start >= end`, from which the verifier learns nothing.
    const { assert!(N >= 2) };
    if start + N > end {
        return None;
    }
    let mut octets = MaybeUninit::<Octets<N>>::uninit();
    let to = octets.as_mut_ptr().cast::<u8>();
    let mut at = 0;
    // SAFETY: `start..start + N` lies within the packet's linear part, as just checked, and each
    // step reads `N - at` octets or fewer at `start + at`. `to` has room for `N`, is aligned for a
    // word, and `at` stays a multiple of each word's size until the last.
    unsafe {
        while at + 8 <= N {
            to.add(at).cast::<u64>().write(load!("u64", start + at));
            at += 8;
        }
        if at + 4 <= N {
            to.add(at).cast::<u32>().write(load!("u32", start + at) as u32);
            at += 4;
        }
        if at + 2 <= N {
            to.add(at).cast::<u16>().write(load!("u16", start + at) as u16);
            at += 2;
        }
        if at < N {
            to.add(at).write(load!("u8", start + at) as u8);
        }
        Some(octets.assume_init())
    }
}

/// Loads a word from a packet with one instruction.
///
/// Packet fields are rarely aligned. The compiler would load them octet by octet; the
/// instruction set has no such need, and a connection ID then takes three loads, not twenty.
macro_rules! load {
    ($width:literal, $address:expr) => {{
        let word: u64;
        core::arch::asm!(
            concat!("{word} = *(", $width, " *)({address} + 0)"),
            word = out(reg) word,
            address = in(reg) $address,
            options(pure, readonly, nostack, preserves_flags),
        );
        word
    }};
}
use load;

/// Stores a word in a packet with one instruction, for the same reason.
macro_rules! store {
    ($width:literal, $address:expr, $word:expr) => {
        core::arch::asm!(
            concat!("*(", $width, " *)({address} + 0) = {word}"),
            word = in(reg) $word,
            address = in(reg) $address,
            options(nostack, preserves_flags),
        )
    };
}
use store;

/// `BPF_HDR_START_NET`
const HEADER_START_NETWORK: u32 = 1;
