//! Queues that another socket has, perhaps not for long: ours are ready to be bound to them.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    time::{Duration, Instant},
};

use router_common::identifiers::InterfaceQueue;
use tokio::{sync::Notify, time::sleep};

use super::error::QueueError;
use crate::datapath::{QueueSocket, QueueSocketPlan};

/// The queues that are waited for.
#[derive(Default)]
pub(in crate::agent) struct AwaitedQueues {
    sockets: RefCell<BTreeMap<InterfaceQueue, Awaited>>,
    /// Said when there is one more of them.
    one_more: Notify,
}

struct Awaited {
    socket: QueueSocket,
    since: Instant,
}

impl AwaitedQueues {
    /// Waits until one may be free that another socket had a moment ago; for ever if there is none such.
    pub(in crate::agent) async fn may_be_free(&self) {
        loop {
            let is_soon = self.sockets.borrow().values().any(|awaited| awaited.since.elapsed() < PATIENCE);
            if is_soon {
                return sleep(BETWEEN_TRIES).await;
            }
            self.one_more.notified().await;
        }
    }

    /// A socket that has the queue, and since when that was wanted. If another one has it yet, ours is
    /// kept for the next try.
    pub(super) fn bind(
        &self,
        id: InterfaceQueue,
        plan: impl FnOnce() -> Result<QueueSocketPlan, QueueError>,
    ) -> Result<(QueueSocket, Instant), QueueError> {
        let before = self.sockets.borrow_mut().remove(&id);
        let is_new = before.is_none();
        let Awaited { mut socket, since } = match before {
            Some(awaited) => awaited,
            None => Awaited { since: Instant::now(), socket: QueueSocket::new(plan()?)? },
        };
        match socket.bind().map_err(QueueError::from) {
            Ok(()) => Ok((socket, since)),
            Err(QueueError::Busy) => {
                self.sockets.borrow_mut().insert(id, Awaited { socket, since });
                if is_new {
                    self.one_more.notify_one();
                }
                Err(QueueError::Busy)
            }
            Err(refused) => Err(refused),
        }
    }

    /// Waits for these only from now on.
    pub(super) fn keep(&self, which: impl Fn(&InterfaceQueue) -> bool) {
        self.sockets.borrow_mut().retain(|id, _| which(id));
    }

    /// Frames that they have room for.
    pub(super) fn frames(&self) -> u64 {
        self.sockets.borrow().values().map(|awaited| u64::from(awaited.socket.frames())).sum()
    }
}

/// How long a queue may be another's that was to be left: beyond it, it is asked for now and then only.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
pub(super) const BETWEEN_TRIES: Duration = Duration::from_millis(5);
