//! An AF_XDP socket: its memory and its rings. All `unsafe` of AF_XDP is in this file.
//!
//! ```text
//!             fill: chunks the kernel may write to
//!   us ──────────────────────────────────────────────► kernel
//!      ◄──────────────────────────────────────────────
//!             receive: chunks with a frame in them
//! ```
//!
//! The rule this file keeps: a chunk is on one side at a time. `ours` says of each whether it is
//! here, and only such a chunk is read or given back; so numbers are all that callers need, and a
//! wrong one reads nothing.

#![expect(unsafe_code, reason = "memory shared with the kernel, and system calls that nothing safe wraps")]

use std::{
    ffi::c_int,
    io,
    os::fd::{AsRawFd, FromRawFd as _, OwnedFd, RawFd},
    ptr::{self, NonNull},
    sync::atomic::{AtomicU32, Ordering},
};

use router_common::maps::SOCKET_FRAME_MAX;

/// How frames come into a socket's memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Copying {
    /// The device writes them there itself.
    Zero,
    /// The kernel copies them.
    Once,
}

/// What a socket is to be like.
#[derive(Clone, Copy, Debug)]
pub struct QueueSocketPlan {
    /// Index of the interface.
    pub interface: u32,
    /// Its receive queue.
    pub queue: u32,
    /// Frames that may wait, a power of two.
    pub frames: u32,
    /// Whether the kernel is to poll the device for us, in place of interrupts.
    pub busy_poll: bool,
}

/// An AF_XDP socket on a receive queue, which only receives.
#[derive(Debug)]
pub struct QueueSocket {
    // In the order in which they have to go: the kernel's side, then what it wrote to.
    socket: OwnedFd,
    fill: Ring<u64>,
    received: Ring<libc::xdp_desc>,
    _completion: Ring<u64>,
    memory: Area,
    /// By chunk: where its frame is, if it is ours.
    ours: Vec<Option<(usize, usize)>>,
    plan: QueueSocketPlan,
    copying: Copying,
}

impl QueueSocket {
    /// Makes one with its memory and rings, which takes the time. It is on no queue before it is
    /// [bound](Self::bind).
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn new(plan: QueueSocketPlan) -> io::Result<Self> {
        // SAFETY: takes no pointers; the result is checked before it is owned.
        let socket = unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        // SAFETY: a descriptor that was just made, and that nobody else knows.
        let socket = unsafe { OwnedFd::from_raw_fd(checked(socket)?) };
        let fd = socket.as_raw_fd();
        let memory = Area::shared_memory(plan.frames as usize * CHUNK)?;
        let registration = libc::xdp_umem_reg {
            addr: memory.start.as_ptr() as u64,
            len: memory.length as u64,
            chunk_size: CHUNK as u32,
            headroom: 0,
            flags: 0,
            tx_metadata_len: 0,
        };
        set(fd, (libc::SOL_XDP, libc::XDP_UMEM_REG), &registration)?;
        set(fd, (libc::SOL_XDP, libc::XDP_UMEM_FILL_RING), &plan.frames)?;
        // Nothing is sent, but the kernel wants one.
        set(fd, (libc::SOL_XDP, libc::XDP_UMEM_COMPLETION_RING), &COMPLETIONS)?;
        set(fd, (libc::SOL_XDP, libc::XDP_RX_RING), &plan.frames)?;
        if plan.busy_poll {
            set(fd, (libc::SOL_SOCKET, SO_PREFER_BUSY_POLL), &1)?;
            set(fd, (libc::SOL_SOCKET, libc::SO_BUSY_POLL), &BUSY_POLL_MICROSECONDS)?;
            set(fd, (libc::SOL_SOCKET, SO_BUSY_POLL_BUDGET), &BUSY_POLL_BUDGET)?;
        }
        let offsets = mmap_offsets(fd)?;
        let fill = Ring::map(fd, &offsets.fr, (libc::XDP_UMEM_PGOFF_FILL_RING, plan.frames))?;
        let completion = Ring::map(fd, &offsets.cr, (libc::XDP_UMEM_PGOFF_COMPLETION_RING, COMPLETIONS))?;
        let received = Ring::map(fd, &offsets.rx, (libc::XDP_PGOFF_RX_RING as u64, plan.frames))?;
        let ours = (0..plan.frames).map(|_| Some((0, 0))).collect();
        let mut made =
            Self { socket, fill, received, _completion: completion, memory, ours, plan, copying: Copying::Once };
        (0..plan.frames).for_each(|chunk| made.give_back(chunk));
        made.fill.publish();
        Ok(made)
    }

    /// Tries whether an interface takes one, with copying, and lets it go: no packet is touched.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn try_on(interface: u32) -> io::Result<()> {
        let plan = QueueSocketPlan { interface, queue: 0, frames: 64, busy_poll: false };
        Self::new(plan)?.bind_as(Copying::Once)
    }

    /// Binds it to its queue: without copying if the driver can, else with. What is refused may be
    /// tried again.
    ///
    /// # Errors
    /// What the kernel refuses. `EBUSY` if another socket has the queue, or had it just now.
    pub fn bind(&mut self) -> io::Result<()> {
        match self.bind_as(Copying::Zero) {
            Err(e) if e.raw_os_error() != Some(libc::EBUSY) => self.bind_as(Copying::Once),
            bound => bound,
        }
    }

    fn bind_as(&mut self, copying: Copying) -> io::Result<()> {
        let how = match copying {
            Copying::Zero => libc::XDP_ZEROCOPY,
            Copying::Once => libc::XDP_COPY,
        };
        let address = libc::sockaddr_xdp {
            sxdp_family: libc::AF_XDP as u16,
            sxdp_flags: how | libc::XDP_USE_NEED_WAKEUP,
            sxdp_ifindex: self.plan.interface,
            sxdp_queue_id: self.plan.queue,
            sxdp_shared_umem_fd: 0,
        };
        let length = size_of_val(&address) as libc::socklen_t;
        // SAFETY: the address is a whole `sockaddr_xdp`, and its length is given.
        checked(unsafe { libc::bind(self.socket.as_raw_fd(), (&raw const address).cast(), length) })?;
        self.copying = copying;
        Ok(())
    }

    /// Frames that may wait in it.
    pub fn frames(&self) -> u32 {
        self.plan.frames
    }

    /// How frames come into its memory, once it is bound.
    pub fn copying(&self) -> Copying {
        self.copying
    }

    /// Takes in the next frame that has arrived: the number of its chunk.
    pub fn take_in(&mut self) -> Option<u32> {
        loop {
            let descriptor = self.received.pop()?;
            let (at, length) = (descriptor.addr as usize, descriptor.len as usize);
            let chunk = at / CHUNK;
            // What the kernel says is within its chunk: looked at once, here.
            if at % CHUNK + length <= CHUNK
                && let Some(place) = self.ours.get_mut(chunk)
            {
                *place = Some((at, length));
                return Some(chunk as u32);
            }
        }
    }

    /// Whether no frame has arrived that was not taken in.
    pub fn is_empty(&self) -> bool {
        self.received.is_empty()
    }

    /// The frame in a chunk; empty if the chunk is not here.
    pub fn frame(&self, chunk: u32) -> &[u8] {
        let Some(&Some((at, length))) = self.ours.get(chunk as usize) else { return &[] };
        // SAFETY: `at` and `length` were found to lie within the chunk, and so within the memory, when
        // the kernel gave it here; it does not write to a chunk until it is given back, which takes
        // `&mut self`.
        unsafe { std::slice::from_raw_parts(self.memory.start.as_ptr().add(at), length) }
    }

    /// Gives a chunk back to be filled; the kernel sees it after [`settle`](Self::settle).
    pub fn give_back(&mut self, chunk: u32) {
        if self.ours.get_mut(chunk as usize).and_then(Option::take).is_some() {
            self.fill.push(u64::from(chunk) * CHUNK as u64);
        }
    }

    /// Tells the kernel what was given back, and wakes it if it asks for that.
    pub fn settle(&mut self) {
        self.received.release();
        self.fill.publish();
        if self.plan.busy_poll || self.fill.needs_wakeup() {
            // SAFETY: no buffer is given, so none is written to.
            unsafe {
                libc::recvfrom(
                    self.socket.as_raw_fd(),
                    ptr::null_mut(),
                    0,
                    libc::MSG_DONTWAIT,
                    ptr::null_mut(),
                    ptr::null_mut(),
                );
            }
        }
    }

    /// Frames that the kernel had for it and dropped, because it had no room.
    pub fn drops(&self) -> u64 {
        let mut statistics = [0_u64; 6];
        match get(self.socket.as_raw_fd(), libc::XDP_STATISTICS, &mut statistics) {
            // struct xdp_statistics: dropped for another reason, two of bad descriptors, ring full.
            // (A frame that found the fill ring empty is among the first.)
            Ok(()) => statistics[0] + statistics[3],
            Err(_) => 0,
        }
    }
}

impl AsRawFd for QueueSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

// SAFETY: what it points to is memory of its own, which no thread knows another way to.
unsafe impl Send for QueueSocket {}

/// One side of a ring that the kernel has the other side of.
#[derive(Debug)]
struct Ring<T> {
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
    fn map(fd: RawFd, offsets: &libc::xdp_ring_offset, (place, size): (u64, u32)) -> io::Result<Self> {
        let area = Area::of(offsets.desc as usize + size as usize * size_of::<T>(), Some((fd, place)), 0)?;
        // SAFETY: the kernel says where in the area each part is, in the call just before; the area
        // is as long as its last part, the entries, needs, and what the kernel lays out is aligned.
        let at = |offset: u64| unsafe { area.start.add(offset as usize) };
        Ok(Self {
            producer: at(offsets.producer).cast(),
            consumer: at(offsets.consumer).cast(),
            flags: at(offsets.flags).cast(),
            entries: at(offsets.desc).cast(),
            mask: size - 1,
            own: 0,
            other: 0,
            _area: area,
        })
    }

    /// As the consumer: the next entry.
    fn pop(&mut self) -> Option<T> {
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
    fn is_empty(&self) -> bool {
        // SAFETY: it points into the area, which lives as long as this.
        self.own == unsafe { self.producer.as_ref() }.load(Ordering::Acquire)
    }

    /// As the consumer: lets the other side see what was read.
    fn release(&self) {
        // SAFETY: it points into the area, which lives as long as this.
        unsafe { self.consumer.as_ref() }.store(self.own, Ordering::Release);
    }

    /// As the producer: one more entry. The ring has room for every chunk there is.
    fn push(&mut self, entry: T) {
        // SAFETY: the index is masked to the ring's size. There are as many entries as chunks, and a
        // chunk is pushed only by who has it, so the kernel has read what was here before.
        unsafe { self.entries.add((self.own & self.mask) as usize).write(entry) };
        self.own = self.own.wrapping_add(1);
    }

    /// As the producer: lets the other side see what was pushed.
    fn publish(&mut self) {
        if self.own != self.other {
            // SAFETY: it points into the area, which lives as long as this.
            unsafe { self.producer.as_ref() }.store(self.own, Ordering::Release);
            self.other = self.own;
        }
    }

    fn needs_wakeup(&self) -> bool {
        // SAFETY: it points into the area, which lives as long as this.
        unsafe { self.flags.as_ref() }.load(Ordering::Relaxed) & libc::XDP_RING_NEED_WAKEUP != 0
    }
}

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

fn mmap_offsets(fd: RawFd) -> io::Result<libc::xdp_mmap_offsets> {
    const NONE: libc::xdp_ring_offset = libc::xdp_ring_offset { producer: 0, consumer: 0, desc: 0, flags: 0 };
    let mut offsets = libc::xdp_mmap_offsets { rx: NONE, tx: NONE, fr: NONE, cr: NONE };
    get(fd, libc::XDP_MMAP_OFFSETS, &mut offsets)?;
    Ok(offsets)
}

/// `value` is what the option takes: the kernel checks its length.
fn set<T: Copy>(fd: RawFd, (level, option): (c_int, c_int), value: &T) -> io::Result<()> {
    // SAFETY: the value is readable for as long as its size says.
    checked(unsafe {
        libc::setsockopt(fd, level, option, ptr::from_ref(value).cast(), size_of::<T>() as libc::socklen_t)
    })
    .map(drop)
}

/// `value` is what the option gives, of integers alone.
fn get<T: Copy>(fd: RawFd, option: c_int, value: &mut T) -> io::Result<()> {
    let mut length = size_of::<T>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` octets to the value, any of which is an integer.
    checked(unsafe { libc::getsockopt(fd, libc::SOL_XDP, option, ptr::from_mut(value).cast(), &raw mut length) })
        .map(drop)
}

fn checked(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Octets of a chunk, in which one frame is, behind the kernel's headroom of 256.
pub const CHUNK: usize = 2_048;
const _: () = assert!(SOCKET_FRAME_MAX == CHUNK - 256);
const COMPLETIONS: u32 = 64;
const HUGE_PAGE: usize = 2 << 20;
/// How long the kernel polls the device when it is asked to.
const BUSY_POLL_MICROSECONDS: c_int = 20;
const BUSY_POLL_BUDGET: c_int = 64;
// Of `asm-generic/socket.h`.
const SO_PREFER_BUSY_POLL: c_int = 69;
const SO_BUSY_POLL_BUDGET: c_int = 70;
