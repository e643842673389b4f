//! The TCP connections of a worker, by their clients.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    net::IpAddr,
    rc::Rc,
};

use tokio::sync::Notify;

/// The TCP connections of a worker that are open.
#[derive(Default)]
pub(super) struct TcpConnections {
    open: RefCell<BTreeMap<u64, Open>>,
    next: Cell<u64>,
}

struct Open {
    peer: IpAddr,
    close: Rc<Notify>,
}

impl TcpConnections {
    /// Notes one from `peer` until the result is dropped.
    pub(super) fn enter(self: &Rc<Self>, peer: IpAddr) -> Entered {
        let (number, close) = (self.next.get(), Rc::new(Notify::new()));
        self.next.set(number + 1);
        self.open.borrow_mut().insert(number, Open { peer, close: Rc::clone(&close) });
        Entered { number, close, of: Rc::clone(self) }
    }

    /// Closes those whose client is one that `is_meant`; how many.
    pub(super) fn close_those(&self, is_meant: impl Fn(IpAddr) -> bool) -> u64 {
        let open = self.open.borrow();
        open.values().filter(|open| is_meant(open.peer)).inspect(|open| open.close.notify_one()).count() as u64
    }
}

/// A connection's place among those that are open.
pub(super) struct Entered {
    number: u64,
    /// Told when it is to be closed.
    pub(super) close: Rc<Notify>,
    of: Rc<TcpConnections>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.of.open.borrow_mut().remove(&self.number);
    }
}
