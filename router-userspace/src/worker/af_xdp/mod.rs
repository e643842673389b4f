//! A worker's AF_XDP sockets: frames from receive queues become datagrams for its listeners.
//!
//! ```text
//! ring of a queue ──► decode ─┬─► the listener that polls: copied once, into quinn's buffer
//!                             └─► another listener: its frame is held, and it is woken
//! ```
//!
//! What `tx` makes of datagrams goes the other way, by the same sockets.
//!
//! One queue carries the packets of all listeners, and each listener has an endpoint of its own. So
//! the listener that polls empties the rings and sorts. A frame stays where the kernel put it until it is
//! copied, and its chunk goes back to the kernel then.

mod checksum;
mod decode;
mod encode;
mod neighbours;
mod recv_batch;
mod tx;

use std::{
    collections::VecDeque,
    fmt,
    io::{self, IoSliceMut},
    os::fd::{AsRawFd, RawFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use quinn_udp::RecvMeta;
use router_common::identifiers::{InterfaceQueue, ListenerId};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::Notify,
    task::spawn_blocking,
};

pub use self::neighbours::{NextHop, NextHopResolver, Routes};
use self::{
    decode::{Checksums, Datagram, Flaw},
    recv_batch::RecvBatch,
};
pub(in crate::worker) use self::{encode::Heads, neighbours::NextHopCache};
use super::{stats::WorkerStats, tables::NodeTables};

/// An AF_XDP socket on a receive queue. Chunks of its memory are told apart by their numbers.
pub trait ReceiveQueue: AsRawFd + Send {
    /// Takes in the next frame that has arrived: the number of its chunk.
    fn take_in(&mut self) -> Option<u32>;
    /// Whether none has arrived that was not taken in.
    fn is_empty(&self) -> bool;
    /// The frame in a chunk that was taken in.
    fn frame(&self, chunk: u32) -> &[u8];
    /// Has a chunk filled again.
    fn give_back(&mut self, chunk: u32);
    /// Tells the kernel what was taken and given back.
    fn settle(&mut self);
    /// Frames that were lost because there was no room.
    fn drops(&self) -> u64;
    /// Whether frames may come whose UDP checksum was left to a device that there is not.
    fn leaves_checksums_out(&self) -> bool {
        false
    }

    /// Whether frames can be sent by it.
    fn sends(&self) -> bool;
    /// How many it takes now.
    fn room(&mut self) -> usize;
    /// Takes a frame to be sent, in two parts; whether there was room for it.
    fn put(&mut self, head: &[u8], body: &[u8]) -> bool;
    /// Has the kernel send what was put; whether it has taken all of it.
    ///
    /// # Errors
    /// If it sends nothing now.
    fn send_off(&mut self) -> io::Result<bool>;
    /// Whether frames that were put have not been sent.
    fn is_sending(&mut self) -> bool;
}

/// All receive queues of a worker.
pub(in crate::worker) struct Frames {
    inner: Mutex<Inner>,
    tables: Arc<NodeTables>,
    stats: Arc<WorkerStats>,
    /// None: nothing is sent from here.
    next_hops: Option<NextHopCache>,
    /// Said when a frame waits to leave.
    waiting: Notify,
}

#[derive(Default)]
struct Inner {
    queues: Vec<Open>,
    lanes: Vec<ListenerQueue>,
    /// Where the next poll begins, so that no queue can starve another.
    turn: usize,
    /// Drops of queues that are gone.
    gone: u64,
    /// Frames that were put since they were last sent off.
    put: usize,
}

/// A queue, and how tokio tells that something has come.
struct Open {
    id: InterfaceQueue,
    ring: AsyncFd<Descriptor>,
    /// Nothing more is put there.
    is_closing: bool,
}

/// Frames of one listener.
struct ListenerQueue {
    listener: ListenerId,
    held: VecDeque<Held>,
    waker: Option<Waker>,
}

/// The lane of the listener that polls, and the buffers that it wants filled.
struct PollingLane<'a, 'b> {
    /// Its place among the lanes.
    lane: usize,
    batch: RecvBatch<'a, 'b>,
}

/// A frame of another listener than the one that polled.
struct Held {
    queue: InterfaceQueue,
    chunk: u32,
    datagram: Datagram,
}

struct Descriptor(Box<dyn ReceiveQueue>);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Frames {
    /// None yet. Where next hops are known, datagrams are sent from here, too.
    pub(in crate::worker) fn new(
        tables: Arc<NodeTables>,
        stats: Arc<WorkerStats>,
        next_hops: Option<NextHopCache>,
    ) -> Self {
        Self { inner: Mutex::default(), tables, stats, next_hops, waiting: Notify::new() }
    }

    /// Frames come from this queue too, from now on; within a tokio runtime.
    pub(in crate::worker) fn add(&self, id: InterfaceQueue, queue: Box<dyn ReceiveQueue>) -> io::Result<()> {
        #[expect(unsafe_code, reason = "tokio wants a promise about the file descriptor")]
        // SAFETY: a `ReceiveQueue` owns its descriptor and closes it when it goes, and it moves into
        // the registration.
        let ring = unsafe { AsyncFd::register_with_interest(Descriptor(queue), Interest::READABLE) }?;
        let mut inner = self.lock();
        inner.queues.push(Open { id, ring, is_closing: false });
        inner.wake_all();
        Ok(())
    }

    /// Closes a queue that nothing comes to any more, unless frames of it are still to be read or sent;
    /// whether it has been closed.
    pub(in crate::worker) fn remove(&self, id: InterfaceQueue) -> bool {
        let mut inner = self.lock();
        let Some(at) = inner.queues.iter().position(|open| open.id == id) else { return true };
        // The listener that is woken reads what there is.
        inner.wake_all();
        let is_held = inner.lanes.iter().any(|lane| lane.held.iter().any(|held| held.queue == id));
        let open = &mut inner.queues[at];
        open.is_closing = true;
        let source = &mut open.ring.get_mut().0;
        // Where the kernel sends nothing there is nothing to wait for.
        let is_sending = source.send_off().is_ok() && source.is_sending();
        if is_held || is_sending || !source.is_empty() {
            return false;
        }
        inner.gone += inner.queues[at].ring.get_ref().0.drops();
        close(inner.queues.remove(at));
        true
    }

    /// Closes it, whatever is still in it.
    pub(in crate::worker) fn abandon(&self, id: InterfaceQueue) {
        tracing::warn!(?id, "frames that were neither read nor sent are lost with their queue");
        let mut inner = self.lock();
        inner.lanes.iter_mut().for_each(|lane| lane.held.retain(|held| held.queue != id));
        inner.queues.extract_if(.., |open| open.id == id).for_each(close);
    }

    /// Whether a queue is here.
    pub(in crate::worker) fn has(&self, id: InterfaceQueue) -> bool {
        self.lock().queues.iter().any(|open| open.id == id)
    }

    /// A listener's frames are asked for from now on.
    pub(in crate::worker) fn open(&self, listener: ListenerId) {
        self.lock().lanes.push(ListenerQueue { listener, held: VecDeque::new(), waker: None });
    }

    /// They are asked for no longer.
    pub(in crate::worker) fn close(&self, listener: ListenerId) {
        let mut inner = self.lock();
        let inner = &mut *inner;
        if let Some(at) = inner.lanes.iter().position(|lane| lane.listener == listener) {
            let lane = inner.lanes.remove(at);
            for held in lane.held {
                give_back(&mut inner.queues, held.queue, held.chunk);
            }
        }
        // It may have been the one that is told when something comes.
        inner.wake_all();
    }

    /// Takes note of what the kernel has lost.
    pub(in crate::worker) fn count_drops(&self) {
        let inner = self.lock();
        let now: u64 = inner.queues.iter().map(|open| open.ring.get_ref().0.drops()).sum();
        self.stats.ring_drops.set(inner.gone + now);
    }

    /// Moves what there is for `listener` into `bufs`, as if it had been received; how many were
    /// filled. With none, the task is woken when something comes.
    pub(in crate::worker) fn poll(
        &self,
        listener: ListenerId,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> usize {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let Some(lane) = inner.lanes.iter().position(|lane| lane.listener == listener) else { return 0 };
        inner.lanes[lane].note(cx.waker());
        if inner.queues.is_empty() {
            return 0;
        }
        let mut polling = PollingLane { lane, batch: RecvBatch::new(bufs, metas) };
        inner.take_held(&mut polling);
        inner.turn = inner.turn.wrapping_add(1);
        for step in 0..inner.queues.len() {
            let queue = (inner.turn + step) % inner.queues.len();
            inner.empty(queue, &mut polling, self, cx);
        }
        inner.queues.iter_mut().for_each(|open| open.ring.get_mut().0.settle());
        polling.batch.filled()
    }

    /// The listener that the frame in a chunk is for, if it is sound: each frame is counted here, once.
    fn sort(&self, frame: &[u8], checksums: Checksums) -> Option<(ListenerId, Datagram)> {
        self.stats.frames_received.add(1);
        let stat = match decode::read(frame, checksums) {
            Ok(datagram) => match self.tables.listener(&datagram.destination) {
                Some(listener) => return Some((listener.id(), datagram)),
                None => &self.stats.frames_without_listener,
            },
            Err(Flaw::Unreadable) => &self.stats.frames_unreadable,
            Err(Flaw::IpChecksum) => &self.stats.frames_ip_checksum,
            Err(Flaw::UdpChecksum) => &self.stats.frames_udp_checksum,
        };
        stat.add(1);
        None
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// What other listeners have sorted for this lane.
    fn take_held(&mut self, polling: &mut PollingLane<'_, '_>) {
        let PollingLane { lane, batch } = polling;
        while batch.has_room()
            && let Some(Held { queue, chunk, datagram }) = self.lanes[*lane].held.pop_front()
        {
            if let Some(open) = self.queues.iter().find(|open| open.id == queue) {
                batch.put(&datagram, &open.ring.get_ref().0.frame(chunk)[datagram.payload.clone()]);
            }
            give_back(&mut self.queues, queue, chunk);
        }
    }

    /// Sorts what is in a queue's ring, until that is empty or the lane has enough.
    fn empty(&mut self, queue: usize, polling: &mut PollingLane<'_, '_>, frames: &Frames, cx: &mut Context<'_>) {
        let Self { queues, lanes, .. } = self;
        let PollingLane { lane, batch } = polling;
        let Open { id, ring, .. } = &mut queues[queue];
        let checksums = match ring.get_ref().0.leaves_checksums_out() {
            true => Checksums::MayBeLeftOut,
            false => Checksums::Computed,
        };
        for _ in 0..ROUNDS {
            while batch.has_room() {
                let source = &mut ring.get_mut().0;
                let Some(chunk) = source.take_in() else { break };
                match frames.sort(source.frame(chunk), checksums) {
                    Some((listener, datagram)) if listener == lanes[*lane].listener => {
                        frames.stats.frames_delivered.add(1);
                        batch.put(&datagram, &source.frame(chunk)[datagram.payload.clone()]);
                        source.give_back(chunk);
                    }
                    Some((listener, datagram)) => {
                        let held = Held { queue: *id, chunk, datagram };
                        if let Err(stat) = hold(lanes, listener, held, &frames.stats) {
                            stat.add(1);
                            source.give_back(chunk);
                        }
                    }
                    None => source.give_back(chunk),
                }
            }
            if !batch.is_empty() {
                // There is something to do; the listener that has done it asks again.
                return;
            }
            match ring.poll_read_ready_mut(cx) {
                // It may be old news: looked at again before the task sleeps.
                Poll::Ready(Ok(mut ready)) => ready.clear_ready(),
                Poll::Ready(Err(_)) | Poll::Pending => return,
            }
        }
    }

    fn wake_all(&mut self) {
        self.lanes.iter_mut().filter_map(|lane| lane.waker.take()).for_each(Waker::wake);
    }
}

impl ListenerQueue {
    /// Notes the task to wake. Most often it is the same again.
    fn note(&mut self, waker: &Waker) {
        match &mut self.waker {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }
}

/// Keeps a frame for another listener, which is woken; or says what it counts as.
fn hold<'a>(
    lanes: &mut [ListenerQueue],
    listener: ListenerId,
    held: Held,
    stats: &'a WorkerStats,
) -> Result<(), &'a super::stats::Stat> {
    let Some(lane) = lanes.iter_mut().find(|lane| lane.listener == listener) else {
        return Err(&stats.frames_without_listener);
    };
    if lane.held.len() >= HELD_MAX {
        return Err(&stats.frames_not_held);
    }
    stats.frames_delivered.add(1);
    lane.held.push_back(held);
    if let Some(waker) = lane.waker.take() {
        waker.wake();
    }
    Ok(())
}

/// Closes a queue on another thread: the kernel waits for all that may still look at its socket, and
/// the worker has connections to serve.
fn close(queue: Open) {
    let descriptor = queue.ring.into_inner();
    drop(spawn_blocking(move || drop(descriptor)));
}

fn give_back(queues: &mut [Open], id: InterfaceQueue, chunk: u32) {
    if let Some(open) = queues.iter_mut().find(|open| open.id == id) {
        open.ring.get_mut().0.give_back(chunk);
    }
}

impl fmt::Debug for Frames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queues: Vec<_> = self.lock().queues.iter().map(|open| open.id).collect();
        f.debug_struct("Frames").field("queues", &queues).finish_non_exhaustive()
    }
}

/// How often a ring that was said to have something is looked at before the task sleeps.
const ROUNDS: usize = 3;
/// Frames that may be held for a listener that does not poll: it must not keep all chunks.
const HELD_MAX: usize = 512;
