//! A listener as one worker has it: whether new connections are accepted, and when those that are open are asked to
//! leave.

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    sync::Arc,
};

use quinn::{Incoming, ServerConfig};
use tokio::sync::Notify;

use crate::{
    edge::Drain,
    worker::{plan::ListenerConfig, socket::SourceOverride},
};

/// One for each listener of a worker.
pub(in crate::worker) struct ListenerState {
    /// The listener's address.
    pub(in crate::worker) listener: SocketAddr,
    /// How connections are begun now.
    pub(in crate::worker) terms: RefCell<ListenerConfig>,
    /// Which address of ours its clients are answered from.
    pub(in crate::worker) source_override: Arc<SourceOverride>,
    /// Whether new connections are refused, because no other worker is there for them.
    stopped: Cell<bool>,
    pub(in crate::worker) drain: Drain,
    tcp_connections: Cell<usize>,
    /// Said when a TCP connection has ended.
    tcp_ended: Notify,
}

impl ListenerState {
    /// Open.
    pub(in crate::worker) fn new(listener: SocketAddr, terms: ListenerConfig) -> Self {
        Self {
            listener,
            terms: RefCell::new(terms),
            source_override: Arc::default(),
            stopped: Cell::default(),
            drain: Drain::new(),
            tcp_connections: Cell::default(),
            tcp_ended: Notify::new(),
        }
    }

    /// What a connection is begun with whose events are written down; none of one that is begun as all are.
    pub(in crate::worker) fn traced(&self, incoming: &Incoming) -> Option<Arc<ServerConfig>> {
        let terms = self.terms.borrow();
        terms.tracing.as_ref().and_then(|tracing| tracing.accept(incoming, &terms.quic))
    }

    /// Whether new connections are refused.
    pub(in crate::worker) fn has_stopped(&self) -> bool {
        self.stopped.get()
    }

    /// No new connections; those there are are asked to go elsewhere.
    pub(in crate::worker) fn stop_accepting(&self) {
        self.stopped.set(true);
        self.drain.begin();
    }

    /// A TCP connection has come in; to be told when it has [`left`](Self::tcp_left).
    pub(in crate::worker) fn tcp_entered(&self) {
        self.tcp_connections.set(self.tcp_connections.get() + 1);
    }

    /// One has ended.
    pub(in crate::worker) fn tcp_left(&self) {
        self.tcp_connections.set(self.tcp_connections.get().saturating_sub(1));
        self.tcp_ended.notify_waiters();
    }

    /// Waits until no TCP connection is inside.
    pub(in crate::worker) async fn tcp_idle(&self) {
        loop {
            let ended = self.tcp_ended.notified();
            if self.tcp_connections.get() == 0 {
                return;
            }
            ended.await;
        }
    }
}
