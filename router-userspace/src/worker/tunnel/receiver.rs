//! The far end: what comes to the tunnel's socket, taken out and given to the worker that owns it.

use std::{
    io::{self, IoSliceMut},
    net::{Ipv6Addr, SocketAddr},
    sync::Arc,
    thread,
};

use quinn_udp::{EcnCodepoint, RecvMeta, UdpSocketState};
use router_common::{
    bytes::Bytes as _,
    frame::{Address, Endpoint, IPV4_LENGTH, IPV6_LENGTH, UDP_LENGTH},
    reason::Reason,
    steer::Verdict,
    tunnel::{CameFrom, HEADER_LENGTH, Header, Opened, Refused, open_payload},
};
use tokio::{
    io::Interest,
    net::UdpSocket,
    runtime,
    sync::{mpsc, oneshot},
};

use super::Tunnel;
use crate::worker::{
    NodeList,
    socket::{ForwardQueues, Forwarded, Recipient, begins_nothing},
    tables::NodeTables,
};

/// Reads the tunnel's socket, on a thread of its own, until it is dropped.
#[derive(Debug)]
pub struct TunnelReceiver {
    _stop: oneshot::Sender<()>,
}

/// Where what comes goes: to the workers, by what they know.
#[derive(Clone, Debug)]
pub struct TunnelIntake {
    pub(in crate::worker) tables: Arc<NodeTables>,
    pub(in crate::worker) forward_queues: Arc<ForwardQueues>,
}

/// What another node said, rather than forwarded: not yet told from what anybody may have sent.
#[derive(Debug)]
pub struct ControlDatagram {
    /// Where it came from.
    pub source: SocketAddr,
    /// All of it.
    pub octets: Vec<u8>,
}

impl TunnelReceiver {
    /// Begins, at a socket on the tunnel's address that [`Tunnel::bind`] made. What nodes tell each other goes to `control`;
    /// what there is no room for is lost.
    ///
    /// # Errors
    /// If the kernel refuses an option that congestion marks need, or the system gives no thread.
    pub fn start(
        socket: std::net::UdpSocket,
        tunnel: Arc<Tunnel>,
        intake: &TunnelIntake,
        control: mpsc::Sender<ControlDatagram>,
    ) -> io::Result<Self> {
        let end = FarEnd { tunnel, intake: intake.clone(), from: From::Nodes(control) };
        end.start(socket)
    }

    /// Begins at the near end's own socket, to which other generations of this node hand what they were sent for its
    /// slots.
    ///
    /// # Errors
    /// As above.
    pub fn of_other_generations(tunnel: Arc<Tunnel>, intake: &TunnelIntake) -> io::Result<Self> {
        let socket = tunnel.handle()?;
        FarEnd { tunnel, intake: intake.clone(), from: From::Generations }.start(socket)
    }
}

/// What it takes to give packets to their owners.
struct FarEnd {
    tunnel: Arc<Tunnel>,
    intake: TunnelIntake,
    from: From,
}

/// Who sends here.
enum From {
    /// Other nodes, and what they tell this one goes there.
    Nodes(mpsc::Sender<ControlDatagram>),
    /// Other generations of this node, what others have sent them.
    Generations,
}

impl FarEnd {
    fn start(self, socket: std::net::UdpSocket) -> io::Result<TunnelReceiver> {
        let state = UdpSocketState::new((&socket).into())?;
        let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
        let (stop, stopped) = oneshot::channel();
        let run = move || {
            if let Err(e) = runtime.block_on(self.receive(socket, &state, stopped)) {
                tracing::error!("the tunnel's socket is not read any more: {e}");
            }
        };
        thread::Builder::new().name("tunnel".to_owned()).spawn(run)?;
        Ok(TunnelReceiver { _stop: stop })
    }

    async fn receive(
        &self,
        socket: std::net::UdpSocket,
        state: &UdpSocketState,
        mut stopped: oneshot::Receiver<()>,
    ) -> io::Result<()> {
        let own = socket.local_addr()?.ip();
        let socket = UdpSocket::from_std(socket)?;
        let mut octets = vec![0; BATCH * TRAIN_MAX];
        loop {
            tokio::select! {
                ready = socket.readable() => ready?,
                _ = &mut stopped => return Ok(()),
            }
            let mut bufs: Vec<_> = octets.chunks_mut(TRAIN_MAX).map(IoSliceMut::new).collect();
            let mut metas = [RecvMeta::default(); BATCH];
            let received = socket.try_io(Interest::READABLE, || state.recv((&socket).into(), &mut bufs, &mut metas));
            // An error is the report of an ICMP message, which anybody can forge, or there was nothing.
            for (buf, meta) in bufs.iter().zip(&metas).take(received.unwrap_or(0)) {
                let train = buf.get(..meta.len).unwrap_or_default();
                // The kernel takes nothing from outside that claims to come from here.
                if matches!(self.from, From::Nodes(_)) || meta.addr.ip() == own {
                    // One without octets is a datagram, too.
                    let empty = train.is_empty().then_some(train);
                    empty.into_iter().chain(train.chunks(meta.stride.max(1))).for_each(|one| self.take(one, meta));
                }
            }
        }
    }

    fn take(&self, datagram: &[u8], meta: &RecvMeta) {
        let nodes = self.intake.tables.nodes();
        let source = self.source(datagram, meta, &nodes);
        let from = CameFrom { source, ds: meta.ecn.map_or(0, |ecn| ecn as u8) };
        let opened = open_payload(datagram, from, &nodes.keys, |node| nodes.nodes.get(&node));
        match opened {
            Ok(opened) => self.deliver(&Arrived { datagram, opened, ecn: meta.ecn }),
            Err(refused) => {
                self.tunnel.counts.received(refused.reason());
                match refused {
                    Refused::Control => self.control(datagram, meta),
                    Refused::Forged { sender: Some(sender) } => {
                        self.tunnel.counts.with(sender, |counters| counters.forged += 1);
                    }
                    Refused::Forged { sender: None } => {}
                }
            }
        }
    }

    /// The address that the sender has to have: another generation has looked at it.
    fn source(&self, datagram: &[u8], meta: &RecvMeta, nodes: &NodeList) -> Address {
        let came_from = Endpoint::from(meta.addr).address;
        match (&self.from, datagram.read(0).map(|octets| Header::read(&octets))) {
            (From::Generations, Some(Ok(header))) => {
                nodes.nodes.get(&header.sender).map_or(came_from, |node| node.address())
            }
            _ => came_from,
        }
    }

    fn control(&self, datagram: &[u8], meta: &RecvMeta) {
        if let From::Nodes(control) = &self.from {
            // Each is said again.
            let _ = control.try_send(ControlDatagram { source: meta.addr, octets: datagram.to_vec() });
        }
    }

    fn deliver(&self, arrived: &Arrived<'_>) {
        let opened = &arrived.opened;
        // Of what another generation has handed over, that one has counted the packet.
        if matches!(self.from, From::Nodes(_)) {
            self.tunnel.counts.with(opened.sender, |counters| {
                counters.unwrapped_packets += 1;
                counters.unwrapped_octets += opened.packet.length as u64;
            });
        }
        let reason = match inner_payload(arrived.datagram, opened) {
            Some(payload) => self.give(payload, arrived),
            None => Reason::TunnelForged,
        };
        self.tunnel.counts.received(reason);
    }

    /// Gives the datagram within to the worker that owns it; what became of it.
    fn give(&self, payload: &[u8], arrived: &Arrived<'_>) -> Reason {
        let TunnelIntake { tables, forward_queues } = &self.intake;
        let inner = &arrived.opened.packet.inner;
        let Some(listener) = tables.listener(&inner.destination) else { return Reason::Misrouted };
        if !inner.source.can_be_answered() {
            return Reason::Unanswerable;
        }
        if begins_nothing(payload, tables.settings().cid_length()) {
            return Reason::SmallInitial;
        }
        let steered = tables.steer_forwarded(payload, &inner.source);
        let Verdict::Deliver(delivery) = steered.verdict else { return steered.verdict.reason() };
        if let (From::Nodes(_), Some(&generation)) = (&self.from, tables.nodes().generations.get(&delivery.number)) {
            let is_there = self.tunnel.hand_over(generation, arrived.datagram, arrived.ecn);
            return if is_there { delivery.reason } else { Reason::NoSlot };
        }
        let meta = RecvMeta {
            addr: socket_address(inner.source),
            len: payload.len(),
            stride: payload.len(),
            ecn: EcnCodepoint::from_bits(arrived.opened.ds),
            dst_ip: Some(socket_address(inner.destination).ip()),
        };
        let recipient = Recipient { listener: listener.id(), slot: delivery.number };
        match forward_queues.send(recipient, Forwarded::new(payload, meta)) {
            true => delivery.reason,
            false => Reason::NoSlot,
        }
    }
}

/// A packet that another node has sent on.
struct Arrived<'d> {
    /// The outer datagram.
    datagram: &'d [u8],
    opened: Opened,
    /// The outer datagram's congestion mark.
    ecn: Option<EcnCodepoint>,
}

/// The UDP payload of the packet within.
fn inner_payload<'d>(datagram: &'d [u8], opened: &Opened) -> Option<&'d [u8]> {
    let ip = if opened.packet.inner.destination.address.is_ipv4() { IPV4_LENGTH } else { IPV6_LENGTH };
    datagram.get(HEADER_LENGTH + ip + UDP_LENGTH..)
}

fn socket_address(endpoint: Endpoint) -> SocketAddr {
    SocketAddr::new(Ipv6Addr::from(endpoint.address.octets().0).to_canonical(), endpoint.port)
}

/// Trains that are read at once.
const BATCH: usize = 8;
/// Octets of a train, at most.
const TRAIN_MAX: usize = 1 << 16;
