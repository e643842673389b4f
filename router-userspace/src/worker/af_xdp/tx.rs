//! Datagrams as frames, by a socket on a queue of the interface that they go out by.
//!
//! ```text
//! datagrams ──► next hop? room? ──► written once, into the ring ──┐   one call for all that
//! of others ──► ...             ──► written once, into the ring ──┴─► was put meanwhile
//! ```
//!
//! Only what the kernel's stack would send no other way goes here. What does not is left to the UDP
//! socket: a transmit as a whole, so that no datagram of it is sent twice.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use quinn_udp::Transmit;
use router_common::identifiers::IfIndex;
use tokio::time::sleep;

use super::{Frames, Inner, encode::Heads};

impl Frames {
    /// Whether datagrams are sent from here, where that can be.
    pub(in crate::worker) fn sends(&self) -> bool {
        self.next_hops.is_some() && !self.lock().queues.is_empty()
    }

    /// Sends a transmit from `port`, if all of it can be sent from here now; whether it was.
    pub(in crate::worker) fn send(&self, port: u16, transmit: &Transmit<'_>) -> bool {
        let Some(next_hops) = &self.next_hops else { return false };
        let Transmit { destination, ecn, contents, segment_size, src_ip: Some(from) } = *transmit else { return false };
        let segment = segment_size.unwrap_or(contents.len());
        let Some(hop) = next_hops.find(from, destination.ip()).filter(|_| segment > 0) else { return false };
        let Some(mut heads) = Heads::new(&hop, SocketAddr::new(from, port), destination, ecn) else { return false };
        if heads.packet_length(segment) > hop.mtu as usize {
            return false;
        }
        let mut inner = self.lock();
        let datagrams = contents.len().div_ceil(segment);
        if !inner.put(hop.interface, contents.chunks(segment), &mut heads) {
            return false;
        }
        self.stats.datagrams_sent.add(datagrams as u64);
        self.stats.frames_sent.add(datagrams as u64);
        inner.put += datagrams;
        if inner.put < BATCH || !self.note(inner.send_off()) {
            self.waiting.notify_one();
        }
        true
    }

    /// Has frames leave, for as long as the worker runs. As a task among those that send: its turn comes
    /// when the others that are due have had theirs, and what they have put leaves together.
    pub(in crate::worker) async fn see_off(self: Arc<Self>) -> Infallible {
        loop {
            self.waiting.notified().await;
            let mut pause = PAUSE_MIN;
            while !self.note(self.lock().send_off()) {
                sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }

    /// Whether there is nothing to be done again.
    fn note(&self, sent: io::Result<bool>) -> bool {
        sent.unwrap_or_else(|e| {
            tracing::debug!("an interface does not send: {e}");
            if let Some(next_hops) = &self.next_hops {
                next_hops.forget();
            }
            true
        })
    }
}

impl Inner {
    /// Puts payloads, the first of which is the longest, into the ring of a queue of `interface`;
    /// whether there was room for all of them.
    fn put<'a>(
        &mut self,
        interface: IfIndex,
        mut payloads: impl ExactSizeIterator<Item = &'a [u8]>,
        heads: &mut Heads,
    ) -> bool {
        let mut queues = self.queues.iter_mut();
        let open =
            queues.find(|open| open.id.interface == interface && !open.is_closing && open.ring.get_ref().0.sends());
        let Some(queue) = open.map(|open| &mut open.ring.get_mut().0) else { return false };
        if queue.room() < payloads.len() {
            return false;
        }
        // If one is too long for a chunk, the first is, and then none has been put.
        payloads.all(|payload| queue.put(heads.of(payload), payload))
    }

    /// Has the kernel send what was put; whether it has taken all of it.
    fn send_off(&mut self) -> io::Result<bool> {
        self.put = 0;
        let mut all = Ok(true);
        // Each gets its turn, whatever comes of another.
        for open in &mut self.queues {
            let one = open.ring.get_mut().0.send_off();
            all = all.and_then(|before| one.map(|now| before && now));
        }
        all
    }
}

/// Frames that leave without waiting for more: what the kernel takes at a time.
const BATCH: usize = 32;
/// How long it is until the kernel is asked again that has no room for frames.
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use std::{
        net::IpAddr,
        os::{
            fd::{AsRawFd, RawFd},
            unix::net::UnixStream,
        },
        sync::{Mutex, MutexGuard},
        thread,
    };

    use router_common::{
        identifiers::{GenerationId, InterfaceQueue, QueueId},
        maps::Settings,
    };

    use super::{
        super::{
            super::{
                connection_ids::{ConnectionIds, configuration::tests::configuration},
                tables::NodeTables,
            },
            NextHop, NextHopCache, NextHopResolver, ReceiveQueue, Routes, decode,
        },
        *,
    };

    /// By interface 3 everything goes, by 4 nothing has a queue.
    struct Known;

    impl Routes for Known {
        fn next_hop(&mut self, _: IpAddr, to: IpAddr) -> Option<NextHop> {
            let interface = if to == client(1).ip() { 3 } else { 4 };
            Some(NextHop {
                interface: IfIndex::new(interface),
                own: [1; 6],
                neighbour: [2; 6],
                mtu: 1_500,
                is_stale: false,
            })
        }
    }

    /// A queue that writes down what it is given.
    struct Queue {
        socket: UnixStream,
        ring: Arc<Mutex<Ring>>,
    }

    #[derive(Default)]
    struct Ring {
        room: usize,
        /// Of a frame, if there is an end to it.
        longest: Option<usize>,
        put: Vec<Vec<u8>>,
        calls: usize,
        fails: bool,
    }

    impl Queue {
        fn ring(&self) -> MutexGuard<'_, Ring> {
            self.ring.lock().unwrap()
        }
    }

    impl AsRawFd for Queue {
        fn as_raw_fd(&self) -> RawFd {
            self.socket.as_raw_fd()
        }
    }

    impl ReceiveQueue for Queue {
        fn take_in(&mut self) -> Option<u32> {
            None
        }
        fn is_empty(&self) -> bool {
            true
        }
        fn frame(&self, _: u32) -> &[u8] {
            &[]
        }
        fn give_back(&mut self, _: u32) {}
        fn settle(&mut self) {}
        fn drops(&self) -> u64 {
            0
        }
        fn sends(&self) -> bool {
            true
        }
        fn room(&mut self) -> usize {
            self.ring().room
        }
        fn put(&mut self, head: &[u8], body: &[u8]) -> bool {
            let mut ring = self.ring();
            let fits = ring.longest.is_none_or(|longest| head.len() + body.len() <= longest);
            if fits {
                ring.room -= 1;
                ring.put.push([head, body].concat());
            }
            fits
        }
        fn send_off(&mut self) -> io::Result<bool> {
            let mut ring = self.ring();
            ring.calls += 1;
            if ring.fails { Err(io::ErrorKind::NetworkDown.into()) } else { Ok(true) }
        }
        fn is_sending(&mut self) -> bool {
            false
        }
    }

    const ID: InterfaceQueue = InterfaceQueue { interface: IfIndex::new(3), queue: QueueId::new(0) };

    fn client(number: u8) -> SocketAddr {
        ([192, 0, 2, number], 50_000).into()
    }

    fn train(to: u8, contents: &[u8], segment: usize) -> Transmit<'_> {
        let src_ip = Some([198, 51, 100, 1].into());
        Transmit { destination: client(to), ecn: None, contents, segment_size: Some(segment), src_ip }
    }

    /// Frames with a queue on interface 3, on which is room for so many, that know where both clients are.
    fn frames(room: usize) -> (Frames, Arc<Mutex<Ring>>) {
        let without = Arc::new(aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &[9; 32]));
        let ids = Arc::new(ConnectionIds::new(configuration(0), without));
        let tables = Arc::new(NodeTables::new(Settings::new(7, 17, GenerationId::new(1)), ids, [1, 2]));
        let frames =
            Frames::new(tables, Arc::default(), Some(NextHopCache::new(NextHopResolver::begin(Known).unwrap())));
        let ring = Arc::new(Mutex::new(Ring { room, ..Ring::default() }));
        let socket = UnixStream::pair().unwrap().0;
        frames.add(ID, Box::new(Queue { socket, ring: Arc::clone(&ring) })).unwrap();
        for number in [1, 2] {
            let from = [198, 51, 100, 1].into();
            while frames.next_hops.as_ref().unwrap().find(from, client(number).ip()).is_none() {
                thread::yield_now();
            }
        }
        (frames, ring)
    }

    #[tokio::test]
    async fn a_train_goes_as_a_whole_or_not_at_all() {
        let (frames, ring) = frames(5);
        assert!(frames.send(443, &train(1, &[7; 2_500], 1_000)));
        let put = ring.lock().unwrap().put.clone();
        let read: Vec<_> = put.iter().map(|frame| decode::read(frame, decode::Checksums::Computed).unwrap()).collect();
        assert_eq!(read.iter().map(|datagram| datagram.payload.len()).collect::<Vec<_>>(), [1_000, 1_000, 500]);
        assert!(read.iter().all(|datagram| datagram.source == ([198, 51, 100, 1], 443).into()));
        assert!(!frames.send(443, &train(1, &[7; 2_500], 1_000)), "there is room for two");
        assert!(frames.send(443, &train(1, &[7; 1_001], 1_000)));
        let totals = frames.stats.totals();
        assert_eq!((totals.datagrams_sent, totals.frames_sent, ring.lock().unwrap().put.len()), (5, 5, 5));
        // One call for all, when others have had their turn.
        assert_eq!(ring.lock().unwrap().calls, 0);
        let frames = Arc::new(frames);
        tokio::spawn(Arc::clone(&frames).see_off());
        tokio::task::yield_now().await;
        assert_eq!(ring.lock().unwrap().calls, 1);
    }

    #[tokio::test]
    async fn what_cannot_go_this_way_is_left_to_the_other() {
        let (frames, ring) = frames(100);
        assert!(!frames.send(443, &train(1, &[7; 1_473], 1_473)), "beyond the MTU");
        assert!(!frames.send(443, &train(2, b"hello", 5)), "another interface");
        assert!(!frames.send(443, &Transmit { src_ip: None, ..train(1, b"hello", 5) }), "from nowhere");
        assert!(!frames.send(443, &train(1, &[], 0)), "nothing");
        ring.lock().unwrap().longest = Some(500);
        assert!(!frames.send(443, &train(1, &[7; 1_001], 1_000)), "no part of it, either");
        assert_eq!((ring.lock().unwrap().put.len(), frames.stats.totals().datagrams_sent), (0, 0));
        assert!(frames.send(443, &train(1, b"hello", 5)));
        assert!(frames.sends() && frames.remove(ID) && !frames.sends());
        assert!(!frames.send(443, &train(1, b"hello", 5)), "its queue is gone");
    }

    #[tokio::test]
    async fn a_batch_leaves_at_once_and_what_does_not_send_is_not_asked_again() {
        let (frames, ring) = frames(100);
        ring.lock().unwrap().fails = true;
        assert!(frames.send(443, &train(1, &[7; BATCH], 1)));
        assert_eq!(ring.lock().unwrap().calls, 1);
        assert!(!frames.send(443, &train(1, b"hello", 5)), "forgotten: it is asked for anew");
    }
}
