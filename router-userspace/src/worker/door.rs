//! The way in to a worker on one listener: whether new connections are let in, and when those that
//! are inside are asked to leave.

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    sync::Arc,
};

use tokio::sync::Notify;

use super::{Terms, answers_from::AnswersFrom};
use crate::edge::Drain;

/// One for each listener of a worker.
pub(super) struct Door {
    /// The listener's address.
    pub(super) listener: SocketAddr,
    /// How connections are begun now.
    pub(super) terms: RefCell<Terms>,
    /// Which address of ours its clients are answered from.
    pub(super) answers_from: Arc<AnswersFrom>,
    /// Whether new connections are refused, because nobody else is there for them.
    shut: Cell<bool>,
    pub(super) drain: Drain,
    tcp_connections: Cell<usize>,
    /// Said when a TCP connection has ended.
    tcp_ended: Notify,
}

impl Door {
    /// Open.
    pub(super) fn new(listener: SocketAddr, terms: Terms) -> Self {
        Self {
            listener,
            terms: RefCell::new(terms),
            answers_from: Arc::default(),
            shut: Cell::default(),
            drain: Drain::new(),
            tcp_connections: Cell::default(),
            tcp_ended: Notify::new(),
        }
    }

    /// Whether new connections are refused.
    pub(super) fn is_shut(&self) -> bool {
        self.shut.get()
    }

    /// No new connections; those there are are asked to go elsewhere.
    pub(super) fn shut(&self) {
        self.shut.set(true);
        self.drain.begin();
    }

    /// A TCP connection has come in; to be told when it has [`left`](Self::tcp_left).
    pub(super) fn tcp_entered(&self) {
        self.tcp_connections.set(self.tcp_connections.get() + 1);
    }

    /// One has ended.
    pub(super) fn tcp_left(&self) {
        self.tcp_connections.set(self.tcp_connections.get().saturating_sub(1));
        self.tcp_ended.notify_waiters();
    }

    /// Waits until no TCP connection is inside.
    pub(super) async fn tcp_idle(&self) {
        loop {
            let ended = self.tcp_ended.notified();
            if self.tcp_connections.get() == 0 {
                return;
            }
            ended.await;
        }
    }
}
