//! A worker's socket on one listener, as quinn sees it: the kernel's UDP socket, the worker's queues
//! (AF_XDP), and the queue of datagrams that other workers forwarded.
//!
//! The kernel stages bring nearly every datagram to its owner. Where they cannot (a GRO
//! train of several connections, an engine without BPF), this is the net below: each
//! datagram's connection ID is checked, and what belongs to another worker goes to that
//! worker's forward queue, counted. It is never answered from here.

pub(in crate::worker) mod forward;
mod gso;
mod preferred_address;
mod sender;
pub mod udp;

use std::{
    fmt,
    future::poll_fn,
    io::{self, IoSliceMut},
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use quinn::{AsyncUdpSocket, UdpPoller};
use quinn_udp::{RecvMeta, Transmit};
use router_common::{
    connection_id::ConnectionId,
    frame::{Endpoint, Payload},
    identifiers::{ListenerId, NodeId, SlotId},
    quic::{self, Kind},
    steer::Verdict,
};
use tokio::{io::Interest, net::UdpSocket};

use self::{
    forward::ForwardQueue,
    gso::{FlushState, GsoBuffer},
    preferred_address::Source,
    sender::Sender,
};
pub(in crate::worker) use self::{
    forward::{ForwardQueues, Forwarded, Recipient},
    preferred_address::SourceOverride,
};
use super::{
    af_xdp::Frames,
    stats::WorkerStats,
    tables::{NodeTables, Placement, Steered},
    tunnel::{Train, Tunnel},
};

/// Where a worker's datagrams come from and go to.
pub(in crate::worker) struct SteeredSocket {
    udp: UdpSocket,
    port: u16,
    sender: Sender,
    forwarded: Mutex<ForwardQueue>,
    frames: Arc<Frames>,
    turn: AtomicUsize,
    ownership: Ownership,
    source_override: Arc<SourceOverride>,
    gso: GsoBuffer,
}

/// Where datagrams come from.
#[derive(Clone, Copy)]
enum Arrival {
    ForwardQueue,
    Frames,
    Udp,
}

const ARRIVALS: [Arrival; 3] = [Arrival::ForwardQueue, Arrival::Frames, Arrival::Udp];

/// What datagrams come by, on one listener.
pub(in crate::worker) struct Intake {
    /// Bound to the listener's address, without blocking.
    pub(in crate::worker) udp: std::net::UdpSocket,
    /// From other workers.
    pub(in crate::worker) forwarded: ForwardQueue,
    /// Of all the worker's listeners.
    pub(in crate::worker) frames: Arc<Frames>,
}

/// What it takes to tell whose a datagram is, and to give it to them.
pub(in crate::worker) struct Ownership {
    pub(in crate::worker) slot: SlotId,
    pub(in crate::worker) listener: ListenerId,
    /// The listener's, which may stand for all of the host's.
    pub(in crate::worker) address: SocketAddr,
    pub(in crate::worker) placement: Placement,
    pub(in crate::worker) tables: Arc<NodeTables>,
    pub(in crate::worker) forward_queues: Arc<ForwardQueues>,
    /// The way to other nodes.
    pub(in crate::worker) tunnel: Option<Arc<Tunnel>>,
    pub(in crate::worker) stats: Arc<WorkerStats>,
}

impl SteeredSocket {
    /// Within a tokio runtime.
    pub(in crate::worker) fn new(
        Intake { udp, forwarded, frames }: Intake,
        ownership: Ownership,
        source_override: Arc<SourceOverride>,
    ) -> io::Result<Self> {
        let sender = Sender::new(&udp)?;
        let udp = UdpSocket::from_std(udp)?;
        let port = udp.local_addr()?.port();
        frames.open(ownership.listener);
        Ok(Self {
            udp,
            port,
            sender,
            forwarded: Mutex::new(forwarded),
            frames,
            turn: AtomicUsize::new(0),
            ownership,
            source_override,
            gso: GsoBuffer::default(),
        })
    }

    /// Sends what it holds back for a moment, until it is dropped. Runs as a task among those that send.
    pub(in crate::worker) async fn flush(socket: Weak<Self>) {
        poll_fn(|cx| socket.upgrade().map_or(Poll::Ready(()), |socket| socket.poll_flush(cx))).await;
    }

    fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match self.gso.flush(cx.waker(), |transmit| self.send(transmit)) {
                FlushState::Nothing => return Poll::Pending,
                FlushState::Growing => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                // An error is the report of an ICMP message: it says nothing about room.
                FlushState::Blocked => drop(ready!(self.udp.poll_send_ready(cx))),
            }
        }
    }

    fn send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.udp.try_io(Interest::WRITABLE, || self.sender.send(&self.udp, transmit))?;
        let segment = transmit.segment_size.unwrap_or(transmit.contents.len());
        self.ownership.stats.datagrams_sent.add(transmit.contents.len().div_ceil(segment.max(1)) as u64);
        Ok(())
    }

    /// What other workers forwarded; how many trains there are.
    fn by_forward_queue(&self, cx: &mut Context<'_>, bufs: &mut [IoSliceMut<'_>], metas: &mut [RecvMeta]) -> usize {
        let taken = self.forwarded.lock().unwrap_or_else(PoisonError::into_inner).take(cx, bufs, metas);
        let (bufs, metas) = (&bufs[..taken], &metas[..taken]);
        self.ownership.stats.taken_over.add(segments(metas));
        bufs.iter().zip(metas).for_each(|(buf, meta)| self.arrived(buf, meta));
        taken
    }

    /// What came by AF_XDP.
    fn by_queue(&self, cx: &mut Context<'_>, bufs: &mut [IoSliceMut<'_>], metas: &mut [RecvMeta]) -> usize {
        let filled = self.frames.poll(self.ownership.listener, cx, bufs, metas);
        self.look_through(filled, bufs, metas);
        filled
    }

    /// Keeps what is this worker's own, of what was received.
    fn look_through(&self, count: usize, bufs: &mut [IoSliceMut<'_>], metas: &mut [RecvMeta]) {
        for (buf, meta) in bufs.iter_mut().zip(metas.iter_mut()).take(count) {
            self.ownership.keep_between_two_hosts(meta);
            self.ownership.keep_own(buf, meta);
            self.arrived(buf, meta);
        }
    }

    /// Notes the client that has come to the preferred address, by the first datagram of a train.
    fn arrived(&self, train: &[u8], meta: &RecvMeta) {
        let first = &train[..meta.len.min(meta.stride).min(train.len())];
        self.source_override.arrived(meta.addr, meta.dst_ip, || self.ownership.is_own_short_header(first));
    }

    fn receive(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.udp.poll_recv_ready(cx))?;
            // An error here is the report of an ICMP message, which an attacker can forge, or
            // "would block": either way the next datagram is what counts.
            let received = self.udp.try_io(Interest::READABLE, || self.sender.receive(&self.udp, bufs, metas));
            if let Ok(count) = received {
                self.look_through(count, bufs, metas);
                return Poll::Ready(Ok(count));
            }
        }
    }
}

impl AsyncUdpSocket for SteeredSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Writable { socket: self, waiting: None })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let Transmit { destination, ecn, contents, segment_size, src_ip } = *transmit;
        let src_ip = match self.source_override.source(destination, contents) {
            Source::AsSaid => src_ip,
            Source::From(address) => Some(address),
            Source::Both(address) => {
                // Of a copy that is lost there is another.
                let _ = self.send(&Transmit { destination, ecn, contents, segment_size, src_ip: Some(address) });
                src_ip
            }
        };
        let transmit = Transmit { destination, ecn, contents, segment_size, src_ip };
        // Not past what is held for the same place.
        if self.frames.sends() && !self.gso.holds(&transmit) && self.frames.send(self.port, &transmit) {
            return Ok(());
        }
        self.gso.send(&transmit, self.sender.max_gso_segments(), |transmit| self.send(transmit))
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        // In turn, so that no source can starve another.
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        for arrival in (0..ARRIVALS.len()).map(|step| ARRIVALS[(turn + step) % ARRIVALS.len()]) {
            let filled = match arrival {
                Arrival::ForwardQueue => self.by_forward_queue(cx, bufs, metas),
                Arrival::Frames => self.by_queue(cx, bufs, metas),
                Arrival::Udp => match self.receive(cx, bufs, metas) {
                    Poll::Ready(result) => return Poll::Ready(result),
                    Poll::Pending => 0,
                },
            };
            if filled > 0 {
                return Poll::Ready(Ok(filled));
            }
        }
        Poll::Pending
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.udp.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.sender.max_gso_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.sender.gro_segments()
    }

    fn may_fragment(&self) -> bool {
        self.sender.may_fragment()
    }
}

impl Drop for SteeredSocket {
    fn drop(&mut self) {
        self.frames.close(self.ownership.listener);
    }
}

impl fmt::Debug for SteeredSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SteeredSocket")
            .field("slot", &self.ownership.slot)
            .field("udp", &self.udp)
            .finish_non_exhaustive()
    }
}

impl Ownership {
    /// Drops, and counts, what comes from where nothing can be sent, and what was sent to many hosts, of which
    /// the kernel gives each socket of a group a copy. XDP has done so before; without it, or where the stack
    /// lets such a source pass, this is the place.
    fn keep_between_two_hosts(&self, meta: &mut RecvMeta) {
        let is_for_many = meta.dst_ip.is_some_and(|address| self.tables.is_for_many(&address.into()));
        if is_for_many || !Endpoint::from(meta.addr).can_be_answered() {
            let datagrams = segments(std::slice::from_ref(meta));
            self.stats.datagrams_received.add(datagrams);
            self.stats.bytes_received.add(meta.len as u64);
            self.stats.datagrams_dropped.add(datagrams);
            meta.len = 0;
        }
    }

    /// Leaves in `buf` the datagrams of this worker's connections, and hands the others over.
    /// `meta` is adjusted; a length of 0 means that none is left.
    fn keep_own(&self, buf: &mut [u8], meta: &mut RecvMeta) {
        let received = meta.len;
        self.stats.datagrams_received.add(segments(std::slice::from_ref(meta)));
        self.stats.bytes_received.add(received as u64);
        let (mut at, mut kept) = (0, 0);
        let mut next = None;
        while at < received {
            let Run { octets, owner } = self.run(&buf[at..received], meta, &mut next);
            match owner {
                Owner::Me => {
                    if kept != at {
                        buf.copy_within(at..at + octets, kept);
                    }
                    kept += octets;
                    self.stats.datagrams_own.add(octets.div_ceil(meta.stride) as u64);
                }
                Owner::Other(slot) => self.hand_over(slot, &buf[at..at + octets], *meta),
                Owner::Node(node) => self.send_on(node, &buf[at..at + octets], meta),
                Owner::None => self.stats.datagrams_dropped.add(octets.div_ceil(meta.stride) as u64),
            }
            at += octets;
        }
        meta.len = kept;
    }

    /// The run at the front of `train`. Each datagram is judged once: the owner of the one behind the run is left in
    /// `next`, for the next call.
    fn run(&self, train: &[u8], meta: &RecvMeta, next: &mut Option<Owner>) -> Run {
        let source = Endpoint::from(meta.addr);
        let mut datagrams = train.chunks(meta.stride.max(1));
        let Some(first) = datagrams.next() else { return Run { octets: train.len(), owner: Owner::None } };
        let owner = next.take().unwrap_or_else(|| self.owner(first, &source));
        let mut octets = first.len();
        for datagram in datagrams {
            let behind = self.owner(datagram, &source);
            if behind != owner {
                *next = Some(behind);
                break;
            }
            octets += datagram.len();
        }
        Run { octets, owner }
    }

    /// Whether a datagram begins with a short header whose connection ID this worker has issued.
    fn is_own_short_header(&self, datagram: &[u8]) -> bool {
        let Some((first, rest)) = datagram.split_first() else { return false };
        let ids = self.tables.connection_ids().now();
        first & 0x80 == 0
            && rest
                .get(..self.tables.settings().cid_length())
                .and_then(ConnectionId::new)
                .is_some_and(|cid| ids.slot(&cid) == Some(self.slot))
    }

    fn owner(&self, datagram: &[u8], source: &Endpoint) -> Owner {
        if begins_nothing(datagram, self.tables.settings().cid_length()) {
            return Owner::None;
        }
        let Steered { verdict, rotation } = self.tables.steer(datagram, source, self.placement);
        match verdict {
            Verdict::Deliver(delivery) if delivery.number == self.slot => {
                if let Some(rotation) = rotation {
                    self.stats.decoded(rotation);
                }
                Owner::Me
            }
            Verdict::Deliver(delivery) => Owner::Other(delivery.number),
            // No slot is active: the worker that has the datagram may refuse the connection.
            Verdict::Pass(_) | Verdict::Answer(_) => Owner::Me,
            Verdict::Forward(forward) => Owner::Node(forward.node),
            Verdict::Drop(_) => Owner::None,
        }
    }

    /// Sends datagrams on to another node. Those that do not leave are among the dropped.
    fn send_on(&self, node: NodeId, octets: &[u8], meta: &RecvMeta) {
        let destination = SocketAddr::new(meta.dst_ip.unwrap_or(self.address.ip()), self.address.port());
        let train = Train { source: meta.addr, destination, ecn: meta.ecn, octets, stride: meta.stride.max(1) };
        let sent = self.tunnel.as_ref().map_or(0, |tunnel| tunnel.send(&self.tables, node, &train));
        self.stats.sent_on.add(sent);
        self.stats.datagrams_dropped.add(octets.len().div_ceil(train.stride) as u64 - sent);
    }

    fn hand_over(&self, slot: SlotId, train: &[u8], meta: RecvMeta) {
        let datagrams = train.len().div_ceil(meta.stride.max(1)) as u64;
        if self.forward_queues.send(Recipient { listener: self.listener, slot }, Forwarded::new(train, meta)) {
            self.stats.handed_over.add(datagrams);
        } else {
            self.stats.hand_over_dropped.add(datagrams);
        }
    }
}

/// Whether this is an Initial to a connection ID that is shorter than a client may choose (RFC 9000
/// section 7.2), and that is none of ours, which have `own_length`. quinn would answer each of them in
/// the name of a connection ID made for that.
pub(in crate::worker) fn begins_nothing(datagram: &[u8], own_length: usize) -> bool {
    let Some(&[first, .., length]) = datagram.first_chunk::<6>() else { return false };
    let length = usize::from(length);
    if first & 0x80 == 0 || length >= CHOSEN_MIN || length == own_length {
        return false;
    }
    let whole = Payload { at: 0, length: datagram.len() };
    quic::classify(datagram, whole, own_length).is_ok_and(|header| header.kind == Kind::Initial)
}

/// Octets of a connection ID that a client chooses for its first Initial, at least.
const CHOSEN_MIN: usize = 8;

/// Whose a datagram is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    Me,
    Other(SlotId),
    Node(NodeId),
    None,
}

/// Datagrams of one owner, one behind the other.
struct Run {
    octets: usize,
    owner: Owner,
}

/// Datagrams in these buffers.
fn segments(metas: &[RecvMeta]) -> u64 {
    metas.iter().map(|meta| meta.len.div_ceil(meta.stride.max(1)) as u64).sum()
}

/// Waits until the socket takes datagrams again, for one task: each has its own, so that
/// all of them are woken.
struct Writable {
    socket: Arc<SteeredSocket>,
    waiting: Option<Pin<Box<dyn Future<Output = io::Result<()>> + Send + Sync>>>,
}

impl UdpPoller for Writable {
    fn poll_writable(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let socket = Arc::clone(&self.socket);
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(async move { socket.udp.writable().await }));
        let result = ready!(waiting.as_mut().poll(cx));
        self.waiting = None;
        Poll::Ready(result)
    }
}

impl fmt::Debug for Writable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writable").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2,000 of them, with 4 octets each, had made 2,000 entries in the flow table.
    #[test]
    fn an_initial_with_too_short_a_connection_id_begins_nothing() {
        let long = |first: u8, version: u32, length: usize| {
            let mut datagram = vec![first];
            datagram.extend(version.to_be_bytes());
            datagram.push(length as u8);
            datagram.resize(1200, 7);
            datagram
        };
        let [initial, handshake, v1, unknown] = [0xc0, 0xe0, 1, 0x5a5a_5a5a];
        for length in 0..8 {
            assert!(begins_nothing(&long(initial as u8, v1, length), 17), "{length}");
            assert_eq!(begins_nothing(&long(initial as u8, v1, length), 5), length != 5, "{length}");
            assert!(!begins_nothing(&long(handshake as u8, v1, length), 17), "{length}");
            assert!(!begins_nothing(&long(initial as u8, unknown, length), 17), "{length}");
        }
        for length in [8, 17, 20] {
            assert!(!begins_nothing(&long(initial as u8, v1, length), 17), "{length}");
        }
        assert!(!begins_nothing(&[0x40, 0, 0, 0, 0, 4, 0], 17), "a short header");
        assert!(!begins_nothing(&[], 17));
    }
}
