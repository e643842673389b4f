//! The far end: what comes to the tunnel's socket, taken out and given to the worker that owns it.

use std::{
    io::{self, IoSliceMut},
    net::{Ipv6Addr, SocketAddr},
    sync::Arc,
    thread,
};

use quinn_udp::{EcnCodepoint, RecvMeta, UdpSocketState};
use router_common::{
    frame::{Endpoint, IPV4_LENGTH, IPV6_LENGTH, UDP_LENGTH},
    reason::Reason,
    steer::Verdict,
    tunnel::{HEADER_LENGTH, Opened, OuterFacts, Refused, open},
};
use tokio::{
    io::Interest,
    net::UdpSocket,
    runtime,
    sync::{mpsc, oneshot},
};

use super::{Tunnel, send::bind};
use crate::worker::{
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
    /// Begins, on the tunnel's `address`. What nodes tell each other goes to `control`; what there is no room for is lost.
    ///
    /// # Errors
    /// If the address cannot be bound, or the system gives no thread.
    pub fn start(
        address: SocketAddr,
        tunnel: Arc<Tunnel>,
        intake: &TunnelIntake,
        control: mpsc::Sender<ControlDatagram>,
    ) -> io::Result<Self> {
        let socket = bind(address)?;
        let state = UdpSocketState::new((&socket).into())?;
        let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
        let (stop, stopped) = oneshot::channel();
        let end = FarEnd { state, tunnel, intake: intake.clone(), control };
        let run = move || {
            if let Err(e) = runtime.block_on(end.receive(socket, stopped)) {
                tracing::error!("the tunnel's socket is not read any more: {e}");
            }
        };
        thread::Builder::new().name("tunnel".to_owned()).spawn(run)?;
        Ok(Self { _stop: stop })
    }
}

/// What it takes to give packets to their owners.
struct FarEnd {
    state: UdpSocketState,
    tunnel: Arc<Tunnel>,
    intake: TunnelIntake,
    control: mpsc::Sender<ControlDatagram>,
}

impl FarEnd {
    async fn receive(&self, socket: std::net::UdpSocket, mut stopped: oneshot::Receiver<()>) -> io::Result<()> {
        let socket = UdpSocket::from_std(socket)?;
        let mut octets = vec![0; BATCH * TRAIN_MAX];
        loop {
            tokio::select! {
                ready = socket.readable() => ready?,
                _ = &mut stopped => return Ok(()),
            }
            let mut bufs: Vec<_> = octets.chunks_mut(TRAIN_MAX).map(IoSliceMut::new).collect();
            let mut metas = [RecvMeta::default(); BATCH];
            let received =
                socket.try_io(Interest::READABLE, || self.state.recv((&socket).into(), &mut bufs, &mut metas));
            // An error is the report of an ICMP message, which anybody can forge, or there was nothing.
            for (buf, meta) in bufs.iter().zip(&metas).take(received.unwrap_or(0)) {
                let train = buf.get(..meta.len).unwrap_or_default();
                train.chunks(meta.stride.max(1)).for_each(|datagram| self.take(datagram, meta));
            }
        }
    }

    fn take(&self, datagram: &[u8], meta: &RecvMeta) {
        let nodes = self.intake.tables.nodes();
        let outer = OuterFacts {
            source: Endpoint::from(meta.addr).address,
            ds: meta.ecn.map_or(0, |ecn| ecn as u8),
            payload_length: datagram.len(),
        };
        let opened = open::<0, HEADER_LENGTH, [u8]>(datagram, &outer, Some(&nodes.keys), |node| nodes.nodes.get(&node));
        match opened {
            Ok(opened) => self.deliver(datagram, &opened),
            Err(refused) => {
                self.tunnel.counts.received(refused.reason());
                match refused {
                    Refused::Control => {
                        let octets = datagram.to_vec();
                        // Each is said again.
                        let _ = self.control.try_send(ControlDatagram { source: meta.addr, octets });
                    }
                    Refused::Forged { sender: Some(sender) } => {
                        self.tunnel.counts.with(sender, |counters| counters.forged += 1);
                    }
                    Refused::Forged { sender: None } => {}
                }
            }
        }
    }

    fn deliver(&self, datagram: &[u8], opened: &Opened) {
        self.tunnel.counts.with(opened.sender, |counters| {
            counters.unwrapped_packets += 1;
            counters.unwrapped_octets += opened.packet.length as u64;
        });
        let reason = match inner_payload(datagram, opened) {
            Some(payload) => self.give(payload, opened),
            None => Reason::TunnelForged,
        };
        self.tunnel.counts.received(reason);
    }

    /// Gives the datagram within to the worker that owns it; what became of it.
    fn give(&self, payload: &[u8], opened: &Opened) -> Reason {
        let inner = &opened.packet.inner;
        let Some(listener) = self.intake.tables.listener(&inner.destination) else { return Reason::Misrouted };
        if !inner.source.can_be_answered() {
            return Reason::Unanswerable;
        }
        if begins_nothing(payload, self.intake.tables.settings().cid_length()) {
            return Reason::SmallInitial;
        }
        let steered = self.intake.tables.steer_forwarded(payload, &inner.source);
        let Verdict::Deliver(delivery) = steered.verdict else { return steered.verdict.reason() };
        let meta = RecvMeta {
            addr: socket_address(inner.source),
            len: payload.len(),
            stride: payload.len(),
            ecn: EcnCodepoint::from_bits(opened.ds),
            dst_ip: Some(socket_address(inner.destination).ip()),
        };
        let recipient = Recipient { listener: listener.id(), slot: delivery.number };
        match self.intake.forward_queues.send(recipient, Forwarded::new(payload, meta)) {
            true => delivery.reason,
            false => Reason::NoSlot,
        }
    }
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
