//! Sends by the kernel's UDP socket, such that an error for one destination changes nothing for others.
//!
//! quinn-udp takes `EINVAL` for an old kernel: from then on it neither uses segmentation offload (GSO) on
//! that socket nor sets ECN for IPv4. But the kernel also says so of a single destination: a source address
//! that the host has lost, a port that cannot be sent to, a path whose MTU is smaller than a segment.

use std::{io, sync::Arc};

use arc_swap::ArcSwap;
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use tokio::net::UdpSocket;

/// What quinn-udp knows about a socket.
#[derive(Debug)]
pub(in crate::worker) struct Sender {
    state: ArcSwap<UdpSocketState>,
}

impl Sender {
    /// # Errors
    /// If the kernel refuses an option that quinn-udp needs.
    pub(in crate::worker) fn new(udp: &std::net::UdpSocket) -> io::Result<Self> {
        Ok(Self { state: ArcSwap::from_pointee(UdpSocketState::new(udp.into())?) })
    }

    /// Sends a datagram, or a train of them. What the kernel refuses to send is lost, as it would be on
    /// the way.
    ///
    /// # Errors
    /// Only [`io::ErrorKind::WouldBlock`].
    pub(in crate::worker) fn send(&self, udp: &UdpSocket, transmit: &Transmit<'_>) -> io::Result<()> {
        match self.state.load().try_send(udp.into(), transmit) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(error),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                self.forget_the_error(udp);
                self.send_singly(udp, transmit);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// # Errors
    /// What the kernel says, `WouldBlock` included.
    pub(in crate::worker) fn receive(
        &self,
        udp: &UdpSocket,
        bufs: &mut [io::IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> io::Result<usize> {
        self.state.load().recv(udp.into(), bufs, metas)
    }

    /// Datagrams in one call; 1 without GSO.
    pub(in crate::worker) fn max_gso_segments(&self) -> usize {
        self.state.load().max_gso_segments()
    }

    /// Datagrams that one buffer may receive at once.
    pub(in crate::worker) fn gro_segments(&self) -> usize {
        self.state.load().gro_segments()
    }

    pub(in crate::worker) fn may_fragment(&self) -> bool {
        self.state.load().may_fragment()
    }

    /// Begins anew with what quinn-udp knows; it has nothing else to forget.
    fn forget_the_error(&self, udp: &UdpSocket) {
        if let Ok(state) = UdpSocketState::new(udp.into()) {
            self.state.store(Arc::new(state));
        }
    }

    /// Once more without GSO, up to the first datagram that the kernel refuses: the error may be about the train.
    fn send_singly(&self, udp: &UdpSocket, transmit: &Transmit<'_>) {
        let Some(segment) = transmit.segment_size else { return };
        for contents in transmit.contents.chunks(segment.max(1)) {
            let Transmit { destination, ecn, src_ip, .. } = *transmit;
            let alone = Transmit { destination, ecn, contents, segment_size: None, src_ip };
            // A state of its own: this error, too, is about this destination.
            let Ok(state) = UdpSocketState::new(udp.into()) else { return };
            if state.try_send(udp.into(), &alone).is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr, UdpSocket as Std};

    use super::*;

    /// torrust-tracker#2017, quinn#2202.
    #[tokio::test]
    async fn a_destination_that_the_kernel_refuses_costs_nothing_but_itself() {
        let socket = Std::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let peer = Std::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let sender = Sender::new(&socket).unwrap();
        let udp = UdpSocket::from_std(socket).unwrap();
        let segments = sender.max_gso_segments();
        assert!(segments > 1, "this kernel has no GSO to lose");
        let to = |destination: SocketAddr, contents| Transmit {
            destination,
            ecn: None,
            contents,
            segment_size: Some(4),
            src_ip: None,
        };
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        sender.send(&udp, &to(nowhere, b"lost")).unwrap();
        assert_eq!(sender.max_gso_segments(), segments);
        sender.send(&udp, &to(peer.local_addr().unwrap(), b"one two ")).unwrap();
        let mut buffer = [0; 8];
        for expected in [b"one ", b"two "] {
            let length = peer.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], expected);
        }
    }
}
