//! TCP beside QUIC: a worker's own listening sockets, in a reuseport group with the other workers'.
//!
//! The kernel spreads new connections over the sockets of the group. A worker that drains takes in
//! what waits at its socket, then closes it, so that the kernel brings it no more; when it is to
//! serve again, it opens another.

use std::{cell::RefCell, io, net::SocketAddr, rc::Rc};

use router_common::admission::Listed;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{AbortHandle, spawn_local},
    time::{Duration, sleep},
};

use super::{
    connection::{Acceptor, Admitted, Gauge, ListenerState},
    udp,
};
use crate::{address::Validated, edge::Speaks, telemetry::shortage};

/// Connections that wait to be taken in, at most; the kernel bounds it by `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Whether several sockets may have a port (`SO_REUSEPORT`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortUse {
    /// One socket has it, and no other.
    Alone,
    /// Others of this user may have it beside.
    Shared,
}

/// Binds a socket to `address`. It does not listen yet: to bind takes nothing from those that do.
///
/// # Errors
/// If it cannot be bound.
pub fn bind(address: SocketAddr, port_use: PortUse) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(port_use == PortUse::Shared)?;
    socket.set_nonblocking(true)?;
    udp::bind(&socket, address)?;
    Ok(socket)
}

/// Listens on `address` beside the other workers; an error names it.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let open = || {
        let socket = bind(address, PortUse::Shared)?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    open().map_err(|e: io::Error| io::Error::new(e.kind(), format!("TCP {address}: {e}")))
}

/// A port that is open, until this is dropped. Connections that have come in stay.
pub(super) struct Port {
    speaks: Rc<RefCell<Speaks>>,
    accepting: AbortHandle,
}

impl Port {
    /// Opens it.
    pub(super) fn open(
        address: SocketAddr,
        speaks: Speaks,
        acceptor: &Rc<Acceptor>,
        listener_state: &Rc<ListenerState>,
    ) -> io::Result<Self> {
        let listener = listen(address)?;
        let speaks = Rc::new(RefCell::new(speaks));
        let here = TcpAcceptor {
            address,
            speaks: Rc::clone(&speaks),
            acceptor: Rc::clone(acceptor),
            listener_state: Rc::clone(listener_state),
        };
        let accepting = spawn_local(here.accept(listener)).abort_handle();
        Ok(Self { speaks, accepting })
    }

    /// New connections are served like that.
    pub(super) fn speak(&self, speaks: Speaks) {
        self.speaks.replace(speaks);
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// What a port's accept loop knows.
struct TcpAcceptor {
    address: SocketAddr,
    speaks: Rc<RefCell<Speaks>>,
    acceptor: Rc<Acceptor>,
    listener_state: Rc<ListenerState>,
}

impl TcpAcceptor {
    async fn accept(self, mut listener: TcpListener) {
        loop {
            self.accept_until_drained(listener).await;
            self.listener_state.drain.hear().open().await;
            listener = loop {
                match listen(self.address) {
                    Ok(listener) => break listener,
                    Err(e) => {
                        tracing::error!("slot {} stays without its port for now: {e}", self.acceptor.slot);
                        sleep(BETWEEN_TRIES).await;
                    }
                }
            };
        }
    }

    async fn accept_until_drained(&self, listener: TcpListener) {
        let mut draining = self.listener_state.drain.hear();
        loop {
            tokio::select! {
                biased;
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => self.admit(stream, peer),
                    Err(error) => shortage::after_accept("TCP listener", &error).await,
                },
                // Only when no client waits at the socket any more: closing it would reset them.
                () = draining.begun() => return,
            }
        }
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr) {
        let stats = &self.acceptor.stats;
        let ip = peer.ip().to_canonical();
        if self.acceptor.tables.listed_packet(ip, |listed| listed == Listed::Drop) == Listed::Drop {
            tracing::debug!(%peer, "TCP connection from a blocked prefix closed");
            return;
        }
        let peer = Validated::by_tcp(peer);
        match self.acceptor.admission.admit(peer) {
            Ok(admitted) => {
                stats.tcp_accepted.add(1);
                let inside = TcpGuard::enter(self, admitted);
                let open = self.acceptor.tcp.enter(ip);
                let (acceptor, speaks) = (Rc::clone(&self.acceptor), self.speaks.borrow().clone());
                let (draining, mut deadline) = (self.listener_state.drain.hear(), self.listener_state.drain.hear());
                spawn_local(async move {
                    tokio::select! {
                        () = acceptor.edge.serve_tcp(stream, speaks, peer, draining) => {}
                        () = deadline.over() => {}
                        () = open.close.notified() => {}
                    }
                    drop(inside);
                });
            }
            Err(refusal) => {
                stats.refused(refusal).add(1);
                tracing::debug!(%peer, ?refusal, "TCP connection refused");
            }
        }
    }
}

/// What a TCP connection holds for as long as it lives.
struct TcpGuard {
    listener_state: Rc<ListenerState>,
    _admitted: Admitted,
    _open: Gauge,
}

impl TcpGuard {
    fn enter(here: &TcpAcceptor, admitted: Admitted) -> Self {
        here.listener_state.tcp_entered();
        let open = Gauge::raise(&here.acceptor.stats, |stats| &stats.tcp_connections_now);
        Self { listener_state: Rc::clone(&here.listener_state), _admitted: admitted, _open: open }
    }
}

impl Drop for TcpGuard {
    fn drop(&mut self) {
        self.listener_state.tcp_left();
    }
}

const BETWEEN_TRIES: Duration = Duration::from_secs(1);
