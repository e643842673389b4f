//! What an AF_XDP socket shares with the kernel: memory in chunks, and rings that say whose a chunk is.
//! All `unsafe` of AF_XDP is in this file.
//!
//! ```text
//!       fill: to be written to          receive: with a frame in it
//!   us ───────────────────────► kernel ───────────────────────────► us
//!       transmit: to be sent            completion: sent
//!   us ───────────────────────► kernel ───────────────────────────► us
//! ```
//!
//! The rule this file keeps: a chunk is on one side at a time. [`Memory`] says of each whether it is
//! here, and only such a chunk is read, written or let go of; so numbers are all that callers need, and
//! a wrong one reads nothing.

#![expect(unsafe_code, reason = "memory shared with the kernel, and system calls that nothing safe wraps")]

use std::{
    ffi::c_int,
    io,
    os::fd::{AsRawFd, FromRawFd as _, OwnedFd, RawFd},
    ptr::{self, NonNull},
    sync::atomic::{AtomicU32, Ordering},
};

use router_common::maps::SOCKET_FRAME_MAX;

/// Memory for frames, one in each chunk at most.
#[derive(Debug)]
pub(super) struct Memory {
    area: Area,
    /// By chunk: where its frame is, if it is here.
    here: Vec<Option<(usize, usize)>>,
}

/// The address of a chunk that is no longer here: for one ring of the kernel's.
#[derive(Debug)]
pub(super) struct Away(u64);

impl Memory {
    /// So many chunks, all of them here.
    pub(super) fn new(chunks: u32) -> io::Result<Self> {
        let area = Area::shared_memory(chunks as usize * CHUNK)?;
        Ok(Self { area, here: (0..chunks).map(|_| Some((0, 0))).collect() })
    }

    /// As the kernel wants to know of it.
    pub(super) fn registration(&self) -> libc::xdp_umem_reg {
        libc::xdp_umem_reg {
            addr: self.area.start.as_ptr() as u64,
            len: self.area.length as u64,
            chunk_size: CHUNK as u32,
            headroom: 0,
            flags: 0,
            tx_metadata_len: 0,
        }
    }

    /// The kernel has let go of a chunk, and in it of so many octets at this address: its number.
    pub(super) fn take_back(&mut self, at: usize, length: usize) -> Option<u32> {
        let chunk = at / CHUNK;
        // What the kernel says is within its chunk: looked at once, here.
        let place = self.here.get_mut(chunk).filter(|place| place.is_none() && at % CHUNK + length <= CHUNK)?;
        *place = Some((at, length));
        Some(chunk as u32)
    }

    /// Lets go of a chunk, if it is here.
    pub(super) fn let_go(&mut self, chunk: u32) -> Option<Away> {
        self.here.get_mut(chunk as usize)?.take()?;
        Some(Away(u64::from(chunk) * CHUNK as u64))
    }

    /// The frame in a chunk; empty if the chunk is not here.
    pub(super) fn frame(&self, chunk: u32) -> &[u8] {
        let Some(&Some((at, length))) = self.here.get(chunk as usize) else { return &[] };
        // SAFETY: `at` and `length` were found to lie within the chunk, and so within the memory, when
        // the kernel let go of it; it does not write to a chunk until that has been let go of here,
        // which takes `&mut self`.
        unsafe { std::slice::from_raw_parts(self.area.start.as_ptr().add(at), length) }
    }

    /// A whole chunk to write to; empty if it is not here.
    pub(super) fn chunk(&mut self, chunk: u32) -> &mut [u8] {
        let Some(Some(_)) = self.here.get(chunk as usize) else { return &mut [] };
        // SAFETY: there are as many chunks as places, so this one lies within the memory. It is here, so
        // the kernel neither reads nor writes it, and nothing else borrows from `self`.
        unsafe { std::slice::from_raw_parts_mut(self.area.start.as_ptr().add(chunk as usize * CHUNK), CHUNK) }
    }
}

// SAFETY: what it points to is memory of its own, which no thread knows another way to.
unsafe impl Send for Memory {}

/// One side of a ring that the kernel has the other side of.
#[derive(Debug)]
pub(super) struct Ring<T> {
    _area: Area,
    producer: NonNull<AtomicU32>,
    consumer: NonNull<AtomicU32>,
    flags: NonNull<AtomicU32>,
    entries: NonNull<T>,
    mask: u32,
    /// How far this side is; the other side sees it when it is published.
    own: u32,
    /// How far the other side was when it was last looked at.
    other: u32,
}

impl<T: Copy> Ring<T> {
    /// The ring of a socket, of so many entries: a power of two. Its area is at `place` in the socket's file, and its
    /// parts are at `offsets` in that.
    pub(super) fn map(socket: &OwnedFd, offsets: &libc::xdp_ring_offset, place: u64, entries: u32) -> io::Result<Self> {
        let length = offsets.desc as usize + entries as usize * size_of::<T>();
        let area = Area::of(length, Some((socket.as_raw_fd(), place)), 0)?;
        // SAFETY: the kernel says where in the area each part is, in the call just before; the area
        // is as long as its last part, the entries, needs, and what the kernel lays out is aligned.
        let at = |offset: u64| unsafe { area.start.add(offset as usize) };
        Ok(Self {
            producer: at(offsets.producer).cast(),
            consumer: at(offsets.consumer).cast(),
            flags: at(offsets.flags).cast(),
            entries: at(offsets.desc).cast(),
            mask: entries - 1,
            own: 0,
            other: 0,
            _area: area,
        })
    }

    /// As the consumer: the next entry.
    pub(super) fn pop(&mut self) -> Option<T> {
        if self.own == self.other {
            self.release();
            // SAFETY: it points into the area, which lives as long as this.
            self.other = unsafe { self.producer.as_ref() }.load(Ordering::Acquire);
            if self.own == self.other {
                return None;
            }
        }
        // SAFETY: the index is masked to the ring's size. The entry is before the producer, as it was
        // just or earlier seen, so the kernel has written it and will not until it is consumed.
        let entry = unsafe { self.entries.add((self.own & self.mask) as usize).read() };
        self.own = self.own.wrapping_add(1);
        Some(entry)
    }

    /// As the consumer: whether nothing is left to read.
    pub(super) fn is_empty(&self) -> bool {
        // SAFETY: it points into the area, which lives as long as this.
        self.own == unsafe { self.producer.as_ref() }.load(Ordering::Acquire)
    }

    /// As the consumer: lets the other side see what was read.
    pub(super) fn release(&self) {
        // SAFETY: it points into the area, which lives as long as this.
        unsafe { self.consumer.as_ref() }.store(self.own, Ordering::Release);
    }

    /// As the producer: one more entry. A ring has room for every chunk that may be in it.
    fn put(&mut self, entry: T) {
        // SAFETY: the index is masked to the ring's size. There are as many entries as chunks that go
        // here, and each was here before, so the kernel has read what stood in its place.
        unsafe { self.entries.add((self.own & self.mask) as usize).write(entry) };
        self.own = self.own.wrapping_add(1);
    }

    /// As the producer: lets the other side see what was pushed.
    pub(super) fn publish(&mut self) {
        if self.own != self.other {
            // SAFETY: it points into the area, which lives as long as this.
            unsafe { self.producer.as_ref() }.store(self.own, Ordering::Release);
            self.other = self.own;
        }
    }

    /// As the producer: how many entries that were published the other side has not read.
    pub(super) fn left(&self) -> u32 {
        // SAFETY: it points into the area, which lives as long as this.
        self.other.wrapping_sub(unsafe { self.consumer.as_ref() }.load(Ordering::Acquire))
    }

    /// As the producer: whether the kernel wants to be told that something was published.
    pub(super) fn needs_wakeup(&self) -> bool {
        // SAFETY: it points into the area, which lives as long as this.
        unsafe { self.flags.as_ref() }.load(Ordering::Relaxed) & libc::XDP_RING_NEED_WAKEUP != 0
    }
}

impl Ring<u64> {
    /// One more chunk.
    pub(super) fn push(&mut self, Away(chunk): Away) {
        self.put(chunk);
    }
}

impl Ring<libc::xdp_desc> {
    /// One more chunk, with a frame of so many octets at its beginning.
    pub(super) fn push(&mut self, Away(addr): Away, length: usize) {
        self.put(libc::xdp_desc { addr, len: length as u32, options: 0 });
    }
}

// SAFETY: what it points to is a mapping of its own, which no thread knows another way to.
unsafe impl<T: Send> Send for Ring<T> {}

/// Memory from mmap.
#[derive(Debug)]
struct Area {
    start: NonNull<u8>,
    length: usize,
}

impl Area {
    /// For frames: of huge pages where there are such.
    fn shared_memory(length: usize) -> io::Result<Self> {
        if length.is_multiple_of(HUGE_PAGE)
            && let Ok(area) = Self::of(length, None, libc::MAP_HUGETLB)
        {
            return Ok(area);
        }
        Self::of(length, None, 0)
    }

    /// Of `file` at an offset, or of nothing; zeroed and there at once.
    fn of(length: usize, file: Option<(RawFd, u64)>, flags: c_int) -> io::Result<Self> {
        let (fd, offset, kind) = match file {
            Some((fd, offset)) => (fd, offset as libc::off_t, libc::MAP_SHARED),
            None => (-1, 0, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS),
        };
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping wherever the kernel likes; it touches none there is.
        let start =
            unsafe { libc::mmap(ptr::null_mut(), length, access, kind | libc::MAP_POPULATE | flags, fd, offset) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mapped at zero"))?;
        Ok(Self { start, length })
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: this very mapping, which goes with its last user.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

/// A new AF_XDP socket.
pub(super) fn socket() -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers; the result is checked before it is owned.
    let socket = unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    // SAFETY: a descriptor that was just made, and that nothing else knows.
    Ok(unsafe { OwnedFd::from_raw_fd(checked(socket)?) })
}

/// Binds it to a queue.
pub(super) fn bind(socket: &OwnedFd, address: &libc::sockaddr_xdp) -> io::Result<()> {
    let length = size_of_val(address) as libc::socklen_t;
    // SAFETY: the address is a whole `sockaddr_xdp`, and its length is given.
    checked(unsafe { libc::bind(socket.as_raw_fd(), ptr::from_ref(address).cast(), length) }).map(drop)
}

/// Has the kernel look for chunks to fill.
pub(super) fn wake_receiver(socket: &OwnedFd) {
    let (fd, none) = (socket.as_raw_fd(), ptr::null_mut());
    // SAFETY: no buffer is given, so none is written to.
    unsafe { libc::recvfrom(fd, none, 0, libc::MSG_DONTWAIT, ptr::null_mut(), ptr::null_mut()) };
}

/// Has the kernel look for frames to send.
pub(super) fn wake_sender(socket: &OwnedFd) -> io::Result<()> {
    // SAFETY: no buffer is given, so none is read.
    let sent = unsafe { libc::sendto(socket.as_raw_fd(), ptr::null(), 0, libc::MSG_DONTWAIT, ptr::null(), 0) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

pub(super) fn mmap_offsets(socket: &OwnedFd) -> io::Result<libc::xdp_mmap_offsets> {
    const NONE: libc::xdp_ring_offset = libc::xdp_ring_offset { producer: 0, consumer: 0, desc: 0, flags: 0 };
    let mut offsets = libc::xdp_mmap_offsets { rx: NONE, tx: NONE, fr: NONE, cr: NONE };
    get(socket, libc::XDP_MMAP_OFFSETS, &mut offsets)?;
    Ok(offsets)
}

/// Frames that the kernel had for the socket and dropped, because it had no room.
pub(super) fn drops(socket: &OwnedFd) -> u64 {
    let mut statistics = [0_u64; 6];
    match get(socket, libc::XDP_STATISTICS, &mut statistics) {
        // struct xdp_statistics: dropped for another reason, two of bad descriptors, ring full.
        // (A frame that found the fill ring empty is among the first.)
        Ok(()) => statistics[0] + statistics[3],
        Err(_) => 0,
    }
}

/// `value` is what the option takes: the kernel checks its length.
pub(super) fn set<T: Copy>(socket: &OwnedFd, level: c_int, option: c_int, value: &T) -> io::Result<()> {
    let length = size_of::<T>() as libc::socklen_t;
    // SAFETY: the value is readable for as long as its size says.
    checked(unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, ptr::from_ref(value).cast(), length) })
        .map(drop)
}

/// `value` is what the option gives, of integers alone.
fn get<T: Copy>(socket: &OwnedFd, option: c_int, value: &mut T) -> io::Result<()> {
    let mut length = size_of::<T>() as libc::socklen_t;
    let (fd, level) = (socket.as_raw_fd(), libc::SOL_XDP);
    // SAFETY: the kernel writes at most `length` octets to the value, any of which is an integer.
    checked(unsafe { libc::getsockopt(fd, level, option, ptr::from_mut(value).cast(), &raw mut length) }).map(drop)
}

fn checked(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Octets of a chunk, in which one frame is, behind the kernel's headroom of 256.
pub const CHUNK: usize = 2_048;
const _: () = assert!(SOCKET_FRAME_MAX == CHUNK - 256);
const HUGE_PAGE: usize = 2 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_on_one_side_at_a_time() {
        let mut memory = Memory::new(2).unwrap();
        memory.chunk(1)[..5].copy_from_slice(b"hello");
        let Away(at) = memory.let_go(1).unwrap();
        assert_eq!(at, CHUNK as u64);
        assert!(memory.let_go(1).is_none() && memory.frame(1).is_empty() && memory.chunk(1).is_empty());
        assert_eq!(memory.take_back(CHUNK + 1, 4), Some(1));
        assert_eq!(memory.frame(1), b"ello");
        assert_eq!(memory.take_back(CHUNK, 5), None, "it is here");
    }

    #[test]
    fn what_is_outside_is_nobodys() {
        let mut memory = Memory::new(2).unwrap();
        assert!(memory.let_go(2).is_none() && memory.frame(2).is_empty() && memory.chunk(2).is_empty());
        assert!(memory.let_go(0).is_some());
        assert_eq!(memory.take_back(1, CHUNK), None, "it ends in another chunk");
        assert_eq!(memory.take_back(2 * CHUNK, 1), None, "it begins behind the last");
    }
}
