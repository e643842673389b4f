//! Datagrams on their way from the worker that received them to the worker that owns them.

use std::{
    collections::HashMap,
    io::IoSliceMut,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use quinn_udp::RecvMeta;
use router_common::identifiers::{ListenerId, SlotId};
use tokio::sync::mpsc;

/// A GRO train, or one datagram, of one connection's owner.
#[derive(Debug)]
pub(in crate::worker) struct Forwarded {
    bytes: Box<[u8]>,
    meta: RecvMeta,
}

impl Forwarded {
    /// Copies `train`; `meta` tells where it came from and how it divides.
    pub(in crate::worker) fn new(train: &[u8], meta: RecvMeta) -> Self {
        Self { bytes: train.into(), meta: RecvMeta { len: train.len(), ..meta } }
    }

    /// Octets that it takes of a queue, those that hold it included.
    fn size(&self) -> usize {
        self.bytes.len() + size_of::<Self>()
    }
}

/// Where a worker finds what others handed over to it, on one listener.
#[derive(Debug)]
pub(in crate::worker) struct ForwardQueue {
    receiver: mpsc::UnboundedReceiver<Forwarded>,
    held: Arc<AtomicUsize>,
}

impl ForwardQueue {
    /// Moves what there is into `bufs`, as if it had been received; how many were filled.
    /// With none, the task is woken when something comes.
    pub(in crate::worker) fn take(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> usize {
        let mut filled = 0;
        for (buf, meta) in bufs.iter_mut().zip(metas) {
            let Poll::Ready(Some(handed)) = self.receiver.poll_recv(cx) else { break };
            self.held.fetch_sub(handed.size(), Ordering::Relaxed);
            // All workers' buffers are of one size, so what one received fits another's.
            let length = handed.bytes.len().min(buf.len());
            buf[..length].copy_from_slice(&handed.bytes[..length]);
            *meta = RecvMeta { len: length, ..handed.meta };
            filled += 1;
        }
        filled
    }
}

/// The way into one queue, and how much it holds.
#[derive(Debug)]
struct ForwardSender {
    sender: mpsc::UnboundedSender<Forwarded>,
    held: Arc<AtomicUsize>,
}

impl ForwardSender {
    fn send(&self, handed: Forwarded) -> bool {
        let size = handed.size();
        let held = self.held.fetch_add(size, Ordering::Relaxed);
        let fits = held + size <= CAPACITY && self.sender.send(handed).is_ok();
        if !fits {
            self.held.fetch_sub(size, Ordering::Relaxed);
        }
        fits
    }
}

/// Whose queue it is: each worker has one for each listener.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(in crate::worker) struct Recipient {
    pub(in crate::worker) listener: ListenerId,
    pub(in crate::worker) slot: SlotId,
}

/// The way into every worker's forward_queues.
#[derive(Debug, Default)]
pub(in crate::worker) struct ForwardQueues {
    entrances: RwLock<HashMap<Recipient, ForwardSender>>,
}

impl ForwardQueues {
    /// Opens the queue of `recipient`, in place of any there was.
    pub(in crate::worker) fn open(&self, recipient: Recipient) -> ForwardQueue {
        let (sender, receiver) = mpsc::unbounded_channel();
        let held = Arc::new(AtomicUsize::new(0));
        let entrance = ForwardSender { sender, held: held.clone() };
        self.entrances.write().unwrap_or_else(PoisonError::into_inner).insert(recipient, entrance);
        ForwardQueue { receiver, held }
    }

    /// Puts `handed` into the queue of `recipient`; false if it is full or not there.
    pub(in crate::worker) fn send(&self, recipient: Recipient, handed: Forwarded) -> bool {
        let entrances = self.entrances.read().unwrap_or_else(PoisonError::into_inner);
        entrances.get(&recipient).is_some_and(|entrance| entrance.send(handed))
    }
}

/// Octets that may wait in a queue. What a worker cannot read for half a second at 500 Mbit/s, in datagrams of any
/// size: a bound on their number alone was reached by one megabyte where they come one by one.
const CAPACITY: usize = 32 << 20;

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    const RECIPIENT: Recipient = Recipient { listener: ListenerId::new(0), slot: SlotId::new(1) };

    #[test]
    fn holds_as_many_octets_as_it_may_and_has_room_again_for_what_was_taken() {
        let forward_queues = ForwardQueues::default();
        let mut queue = forward_queues.open(RECIPIENT);
        let datagram = |length: usize| Forwarded::new(&vec![7; length], RecvMeta { stride: length, ..meta() });
        let each = datagram(1200).size();
        let fitting = CAPACITY / each;
        assert!((0..fitting).all(|_| forward_queues.send(RECIPIENT, datagram(1200))));
        assert!(!forward_queues.send(RECIPIENT, datagram(1200)), "more than it may hold");
        let mut octets = [[0; 2000]; 2];
        let mut bufs = octets.each_mut().map(|octets| IoSliceMut::new(octets));
        let mut metas = [meta(); 2];
        assert_eq!(queue.take(&mut Context::from_waker(Waker::noop()), &mut bufs, &mut metas), 2);
        assert_eq!((metas[0].len, metas[1].stride, &bufs[1][..1200]), (1200, 1200, &[7; 1200][..]));
        assert!((0..2).all(|_| forward_queues.send(RECIPIENT, datagram(1200))), "what was taken leaves room");
        assert!(!forward_queues.send(RECIPIENT, datagram(1200)));
    }

    #[test]
    fn a_queue_without_a_worker_takes_nothing() {
        let forward_queues = ForwardQueues::default();
        assert!(!forward_queues.send(RECIPIENT, Forwarded::new(&[7], meta())));
        drop(forward_queues.open(RECIPIENT));
        assert!(!forward_queues.send(RECIPIENT, Forwarded::new(&[7], meta())), "its worker has ended");
    }

    fn meta() -> RecvMeta {
        RecvMeta::default()
    }
}
