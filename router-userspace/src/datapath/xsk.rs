//! An AF_XDP socket on a receive queue: which chunk of its memory goes where.
//!
//! Chunks are told apart by their numbers: the first ones are for frames that come in, the rest for
//! frames that are sent. `rings` keeps who has which.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd, RawFd},
};

use router_common::identifiers::{IfIndex, QueueId};

use super::rings::{self, CHUNK, Memory, Ring, set};

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
    /// The interface.
    pub interface: IfIndex,
    /// Its receive queue.
    pub queue: QueueId,
    /// Frames that may wait, a power of two.
    pub frames: u32,
    /// Frames that may be on their way out by the transmit queue of the same number, a power of two;
    /// 0: it only receives.
    pub sending: u32,
    /// Whether the kernel is to poll the device for us, in place of interrupts.
    pub busy_poll: bool,
}

/// An AF_XDP socket on a receive queue.
#[derive(Debug)]
pub struct QueueSocket {
    // In the order in which they have to go: the kernel's side, then what it wrote to.
    socket: OwnedFd,
    fill: Ring<u64>,
    received: Ring<libc::xdp_desc>,
    completed: Ring<u64>,
    outgoing: Option<Outgoing>,
    memory: Memory,
    plan: QueueSocketPlan,
    copying: Copying,
}

/// What is sent.
#[derive(Debug)]
struct Outgoing {
    ring: Ring<libc::xdp_desc>,
    /// Chunks to write to. The one that came back last is the first to be taken: it is in the
    /// processor's cache.
    free: Vec<u32>,
    all: usize,
}

impl QueueSocket {
    /// Makes one with its memory and rings, which takes the time. It is on no queue before it is
    /// [bound](Self::bind).
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn new(plan: QueueSocketPlan) -> io::Result<Self> {
        let socket = rings::socket()?;
        let memory = Memory::new(plan.frames + plan.sending)?;
        set(&socket, libc::SOL_XDP, libc::XDP_UMEM_REG, &memory.registration())?;
        // The kernel wants a ring of what was sent even where nothing is.
        let completions = plan.sending.max(COMPLETIONS_MIN);
        set(&socket, libc::SOL_XDP, libc::XDP_UMEM_FILL_RING, &plan.frames)?;
        set(&socket, libc::SOL_XDP, libc::XDP_UMEM_COMPLETION_RING, &completions)?;
        set(&socket, libc::SOL_XDP, libc::XDP_RX_RING, &plan.frames)?;
        if plan.busy_poll {
            set(&socket, libc::SOL_SOCKET, SO_PREFER_BUSY_POLL, &1)?;
            set(&socket, libc::SOL_SOCKET, libc::SO_BUSY_POLL, &BUSY_POLL_MICROSECONDS)?;
            set(&socket, libc::SOL_SOCKET, SO_BUSY_POLL_BUDGET, &BUSY_POLL_BUDGET)?;
        }
        let outgoing = Outgoing::of(&socket, &plan)?;
        let offsets = rings::mmap_offsets(&socket)?;
        let fill = Ring::map(&socket, &offsets.fr, libc::XDP_UMEM_PGOFF_FILL_RING, plan.frames)?;
        let completed = Ring::map(&socket, &offsets.cr, libc::XDP_UMEM_PGOFF_COMPLETION_RING, completions)?;
        let received = Ring::map(&socket, &offsets.rx, libc::XDP_PGOFF_RX_RING as u64, plan.frames)?;
        let mut made = Self { socket, fill, received, completed, outgoing, memory, plan, copying: Copying::Once };
        (0..plan.frames).for_each(|chunk| made.give_back(chunk));
        made.fill.publish();
        Ok(made)
    }

    /// Tries whether an interface takes one, with copying, and lets it go: no packet is touched.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn try_on(interface: IfIndex) -> io::Result<()> {
        let plan = QueueSocketPlan { interface, queue: QueueId::new(0), frames: 64, sending: 0, busy_poll: false };
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
            sxdp_ifindex: self.plan.interface.get(),
            sxdp_queue_id: self.plan.queue.get(),
            sxdp_shared_umem_fd: 0,
        };
        rings::bind(&self.socket, &address)?;
        self.copying = copying;
        Ok(())
    }

    /// Frames that it has memory for, whichever way they go.
    pub fn frames(&self) -> u32 {
        self.plan.frames + self.plan.sending
    }

    /// How frames come into its memory, once it is bound.
    pub fn copying(&self) -> Copying {
        self.copying
    }

    /// Whether frames can be sent by it.
    pub fn sends(&self) -> bool {
        self.outgoing.is_some()
    }

    /// Takes in the next frame that has arrived: the number of its chunk.
    pub fn take_in(&mut self) -> Option<u32> {
        loop {
            let descriptor = self.received.pop()?;
            let chunk = self.memory.take_back(descriptor.addr as usize, descriptor.len as usize);
            if chunk.is_some() {
                return chunk;
            }
        }
    }

    /// Whether no frame has arrived that was not taken in.
    pub fn is_empty(&self) -> bool {
        self.received.is_empty()
    }

    /// The frame in a chunk; empty if the chunk is not here.
    pub fn frame(&self, chunk: u32) -> &[u8] {
        self.memory.frame(chunk)
    }

    /// Gives a chunk back to be filled; the kernel sees it after [`settle`](Self::settle).
    pub fn give_back(&mut self, chunk: u32) {
        if let Some(chunk) = self.memory.let_go(chunk) {
            self.fill.push(chunk);
        }
    }

    /// Tells the kernel what was given back, and wakes it if it asks for that.
    pub fn settle(&mut self) {
        self.received.release();
        self.fill.publish();
        if self.plan.busy_poll || self.fill.needs_wakeup() {
            rings::wake_receiver(&self.socket);
        }
    }

    /// Frames that the kernel had for it and dropped, because it had no room.
    pub fn drops(&self) -> u64 {
        rings::drops(&self.socket)
    }

    /// How many frames it takes now to be sent.
    pub fn room(&mut self) -> usize {
        let Some(outgoing) = &mut self.outgoing else { return 0 };
        while let Some(at) = self.completed.pop() {
            outgoing.free.extend(self.memory.take_back(at as usize, 0));
        }
        outgoing.free.len()
    }

    /// Takes a frame to be sent, in two parts, if there is room; whether there was. It leaves with
    /// [`send_off`](Self::send_off).
    pub fn put(&mut self, head: &[u8], body: &[u8]) -> bool {
        let Some(outgoing) = &mut self.outgoing else { return false };
        let length = head.len() + body.len();
        let Some(chunk) = outgoing.free.pop_if(|_| length <= CHUNK) else { return false };
        let (to_head, rest) = self.memory.chunk(chunk)[..length].split_at_mut(head.len());
        to_head.copy_from_slice(head);
        rest.copy_from_slice(body);
        if let Some(chunk) = self.memory.let_go(chunk) {
            outgoing.ring.push(chunk, length);
        }
        true
    }

    /// Has the kernel send what was put; whether it has taken all of it.
    ///
    /// # Errors
    /// If it sends nothing now: the interface is down or gone.
    pub fn send_off(&mut self) -> io::Result<bool> {
        let Some(outgoing) = &mut self.outgoing else { return Ok(true) };
        outgoing.ring.publish();
        let mut left = outgoing.ring.left();
        while left > 0 && (self.plan.busy_poll || outgoing.ring.needs_wakeup()) {
            let woken = rings::wake_sender(&self.socket);
            let before = std::mem::replace(&mut left, outgoing.ring.left());
            match woken {
                // A device that sends by itself takes what there is when it comes to it.
                Ok(()) => return Ok(left == 0 || self.copying == Copying::Zero),
                // The kernel copies some at a time, and wants to be told again.
                Err(e) if is_for_now(&e) && left < before => {}
                Err(e) if is_for_now(&e) => return Ok(false),
                Err(e) => return Err(e),
            }
        }
        Ok(true)
    }

    /// Whether frames that were put have not been sent.
    pub fn is_sending(&mut self) -> bool {
        let free = self.room();
        self.outgoing.as_ref().is_some_and(|outgoing| free < outgoing.all)
    }
}

impl Outgoing {
    fn of(socket: &OwnedFd, plan: &QueueSocketPlan) -> io::Result<Option<Self>> {
        if plan.sending == 0 {
            return Ok(None);
        }
        set(socket, libc::SOL_XDP, libc::XDP_TX_RING, &plan.sending)?;
        // Copies that are on their way count against it: beyond the system's limit where we may.
        let buffer = (plan.sending as usize * 2 * CHUNK) as libc::c_int;
        if set(socket, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, &buffer).is_err() {
            set(socket, libc::SOL_SOCKET, libc::SO_SNDBUF, &buffer)?;
        }
        let offsets = rings::mmap_offsets(socket)?;
        let ring = Ring::map(socket, &offsets.tx, libc::XDP_PGOFF_TX_RING as u64, plan.sending)?;
        let free: Vec<_> = (plan.frames..plan.frames + plan.sending).rev().collect();
        Ok(Some(Self { ring, all: free.len(), free }))
    }
}

/// Whether a refusal to send is over soon, by itself.
fn is_for_now(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EBUSY | libc::ENOBUFS))
}

impl AsRawFd for QueueSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

const COMPLETIONS_MIN: u32 = 64;
/// How long the kernel polls the device when it is asked to.
const BUSY_POLL_MICROSECONDS: libc::c_int = 20;
const BUSY_POLL_BUDGET: libc::c_int = 64;
// Of `asm-generic/socket.h`.
const SO_PREFER_BUSY_POLL: libc::c_int = 69;
const SO_BUSY_POLL_BUDGET: libc::c_int = 70;
