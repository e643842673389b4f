//! Datagrams on their way from the worker that received them to the worker that owns them.

use std::{
    collections::HashMap,
    io::IoSliceMut,
    sync::{PoisonError, RwLock},
    task::{Context, Poll},
};

use quinn_udp::RecvMeta;
use tokio::sync::mpsc;

/// A GRO train, or one datagram, of one connection's owner.
#[derive(Debug)]
pub(super) struct HandedOver {
    bytes: Box<[u8]>,
    meta: RecvMeta,
}

impl HandedOver {
    /// Copies `train`; `meta` tells where it came from and how it divides.
    pub(super) fn new(train: &[u8], meta: RecvMeta) -> Self {
        Self { bytes: train.into(), meta: RecvMeta { len: train.len(), ..meta } }
    }
}

/// Where a worker finds what others handed over to it, on one listener.
#[derive(Debug)]
pub(super) struct Inbox {
    receiver: mpsc::Receiver<HandedOver>,
}

impl Inbox {
    /// Moves what there is into `bufs`, as if it had been received; how many were filled.
    /// With none, the task is woken when something comes.
    pub(super) fn take(&mut self, cx: &mut Context<'_>, bufs: &mut [IoSliceMut<'_>], metas: &mut [RecvMeta]) -> usize {
        let mut filled = 0;
        for (buf, meta) in bufs.iter_mut().zip(metas) {
            let Poll::Ready(Some(handed)) = self.receiver.poll_recv(cx) else { break };
            // All workers' buffers are of one size, so what one received fits another's.
            let Some(room) = buf.get_mut(..handed.bytes.len()) else { continue };
            room.copy_from_slice(&handed.bytes);
            *meta = handed.meta;
            filled += 1;
        }
        filled
    }
}

/// The way into every worker's inboxes.
#[derive(Debug, Default)]
pub(super) struct Inboxes {
    senders: RwLock<HashMap<(u16, u8), mpsc::Sender<HandedOver>>>,
}

impl Inboxes {
    /// Opens the inbox of `slot` on `listener`, in place of any there was.
    pub(super) fn open(&self, listener: u16, slot: u8) -> Inbox {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        self.senders.write().unwrap_or_else(PoisonError::into_inner).insert((listener, slot), sender);
        Inbox { receiver }
    }

    /// Puts `handed` into an inbox; false if it is full or not there.
    pub(super) fn send(&self, listener: u16, slot: u8, handed: HandedOver) -> bool {
        let senders = self.senders.read().unwrap_or_else(PoisonError::into_inner);
        senders.get(&(listener, slot)).is_some_and(|sender| sender.try_send(handed).is_ok())
    }
}

/// Trains that may wait in an inbox. At 64 KiB each it holds 64 MiB at the very most.
const CAPACITY: usize = 1_024;
