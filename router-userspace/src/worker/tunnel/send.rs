//! The near end: packets for other nodes, each made anew and sent.

use std::{
    fmt, io,
    net::{Ipv6Addr, SocketAddr, UdpSocket},
};

use quinn_udp::{EcnCodepoint, Transmit, UdpSocketState};
use router_common::{
    frame::{ETHERNET_LENGTH, Endpoint},
    identifiers::NodeId,
    maps::Node,
    tunnel::{HEADER_LENGTH, Header, Inner, TunnelKey},
};
use socket2::{Domain, Protocol, Socket, Type};

use super::counts::{Counting, TunnelCounts};
use crate::worker::{af_xdp::Heads, socket::udp, tables::NodeTables};

/// This node's near end of the tunnel: a socket on its own address, which all workers share. What comes is for another
/// socket, on the tunnel's port.
pub struct Tunnel {
    socket: UdpSocket,
    state: UdpSocketState,
    own: NodeId,
    pub(super) counts: Counting,
}

/// Datagrams of one client for one node, as they were received.
pub(in crate::worker) struct Train<'a> {
    pub(in crate::worker) source: SocketAddr,
    pub(in crate::worker) destination: SocketAddr,
    pub(in crate::worker) ecn: Option<EcnCodepoint>,
    /// One behind the other, each but the last of `stride` octets.
    pub(in crate::worker) octets: &'a [u8],
    pub(in crate::worker) stride: usize,
}

impl Tunnel {
    /// A socket on an address for other nodes, beside those of other generations.
    ///
    /// # Errors
    /// If it cannot be bound.
    pub fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_reuse_port(true)?;
        socket.set_nonblocking(true)?;
        udp::set_buffers(&socket)?;
        udp::bind(&socket, address)?;
        Ok(socket.into())
    }

    /// The end of node `own`, which sends by a socket that [`bind`](Self::bind) made, on any port.
    ///
    /// # Errors
    /// If the kernel refuses an option that congestion marks need.
    pub fn new(own: NodeId, socket: UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new((&socket).into())?;
        Ok(Self { socket, state, own, counts: Counting::default() })
    }

    /// Where it takes what another generation of this node has been sent for one of its slots.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.socket.local_addr().ok()
    }

    /// Another handle on its socket, to receive by.
    pub(super) fn handle(&self) -> io::Result<UdpSocket> {
        self.socket.try_clone()
    }

    /// Hands an outer datagram to another generation of this node, with its congestion mark.
    pub(super) fn hand_over(&self, to: SocketAddr, datagram: &[u8], ecn: Option<EcnCodepoint>) -> bool {
        self.transmit(to, datagram, ecn).is_ok()
    }

    /// What was counted so far.
    pub fn counts(&self) -> TunnelCounts {
        self.counts.now()
    }

    /// Sends octets of the nodes' own to another one: what it reads as a [`ControlDatagram`](super::ControlDatagram). What
    /// the kernel refuses is lost.
    pub fn send_control(&self, to: SocketAddr, octets: &[u8]) {
        // The next one may get through.
        let _ = self.transmit(to, octets, None);
    }

    /// Sends the datagrams of a train on to `node`, one packet each; how many left. What the kernel refuses is lost, as it
    /// would be on the way.
    pub(in crate::worker) fn send(&self, tables: &NodeTables, node: NodeId, train: &Train<'_>) -> u64 {
        let nodes = tables.nodes();
        let (Some(to), Some(key)) = (nodes.nodes.get(&node), nodes.keys.sending()) else { return 0 };
        let Some(mut heads) = Heads::without_link(train.source, train.destination, train.ecn) else { return 0 };
        let mut packet = Vec::with_capacity(HEADER_LENGTH + heads.packet_length(train.stride));
        let mut sent = 0;
        for datagram in train.octets.chunks(train.stride.max(1)) {
            let length = heads.packet_length(datagram.len());
            if to.longest() != 0 && length > to.longest() {
                self.counts.with(node, |counters| counters.too_long += 1);
                continue;
            }
            let Some(header) = self.header(train, datagram, key) else { continue };
            packet.clear();
            packet.extend(header);
            packet.extend(&heads.of(datagram)[ETHERNET_LENGTH..]);
            packet.extend(datagram);
            if self.transmit(tunnel_of(to), &packet, train.ecn).is_ok() {
                sent += 1;
                self.counts.with(node, |counters| {
                    counters.forwarded_packets += 1;
                    counters.forwarded_octets += length as u64;
                });
            }
        }
        sent
    }

    fn header(&self, train: &Train<'_>, datagram: &[u8], key: &TunnelKey) -> Option<[u8; HEADER_LENGTH]> {
        let (source, destination) = (Endpoint::from(train.source), Endpoint::from(train.destination));
        let inner = Inner::of(source, destination, datagram)?;
        let tag = key.tag(self.own, &inner);
        let header = Header { is_ipv4: train.destination.is_ipv4(), key: key.octet(), sender: self.own, tag };
        Some(header.octets().0)
    }

    fn transmit(&self, destination: SocketAddr, contents: &[u8], ecn: Option<EcnCodepoint>) -> io::Result<()> {
        let transmit = Transmit { destination, ecn, contents, segment_size: None, src_ip: None };
        self.state.try_send((&self.socket).into(), &transmit)
    }
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnel").field("socket", &self.socket).field("own", &self.own).finish_non_exhaustive()
    }
}

/// Where a node's end of the tunnel is.
fn tunnel_of(node: &Node) -> SocketAddr {
    let octets = Ipv6Addr::from(node.address().octets().0);
    SocketAddr::new(octets.to_canonical(), node.port())
}
