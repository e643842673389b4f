//! What connections send in bulk, put together on its way to the kernel.
//!
//! quinn gives a socket ten datagrams of a connection at a time, and the call that sends them costs the
//! kernel as much as their octets do. A batch that is full says that more is to come: it is held for
//! as long as the worker polls other tasks that are due, and what follows it to the same place goes
//! with it, in trains as long as the kernel takes them (GSO). The rule this room keeps: datagrams to
//! one place leave in the order in which they came, and what is held is sent by the [`flush`] that
//! follows, whoever sends next.
//!
//! [`flush`]: Outbox::flush

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use futures_util::task::AtomicWaker;
use quinn_udp::{EcnCodepoint, Transmit};

/// The trains of one socket that wait for more.
#[derive(Default)]
pub(super) struct Outbox {
    held: Mutex<Held>,
    /// Of who calls [`flush`](Self::flush).
    flusher: AtomicWaker,
}

/// What a [`flush`](Outbox::flush) has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// Nothing is held; whoever holds something next says so.
    Nothing,
    /// Trains that have grown since the last time: to be looked at again when other tasks have had
    /// their turn.
    Growing,
    /// Trains for which the socket has no room.
    Blocked,
}

#[derive(Default)]
struct Held {
    /// One for each place at most.
    trains: Vec<Train>,
    /// Buffers of trains that have left.
    buffers: Vec<Vec<u8>>,
    is_flushed: bool,
}

/// Datagrams of one size to one place.
struct Train {
    to: SocketAddr,
    from: Option<IpAddr>,
    ecn: Option<EcnCodepoint>,
    segment: usize,
    octets: Vec<u8>,
    /// Since the last look.
    grown: bool,
    /// Its last datagram is a shorter one, so that nothing can follow.
    closed: bool,
}

impl Outbox {
    /// Sends `transmit` by `send`, or holds it. A train has at most `segments_max` datagrams.
    ///
    /// # Errors
    /// As `send`: `transmit` has not been taken then.
    pub(super) fn send(
        &self,
        transmit: &Transmit<'_>,
        segments_max: usize,
        send: impl Fn(&Transmit<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut held = self.lock();
        if let Some(at) = held.trains.iter().position(|train| train.to == transmit.destination) {
            if held.trains[at].takes(transmit, segments_max) {
                held.trains[at].add(transmit);
                if held.trains[at].is_complete(segments_max) {
                    // Without room for it now, it leaves with the next flush.
                    let _ = held.give(at, &send);
                }
                return Ok(());
            }
            held.give(at, &send)?;
        }
        if held.is_flushed && is_more_to_come(transmit, segments_max) && held.trains.len() < TRAINS_MAX {
            if held.trains.is_empty() {
                self.flusher.wake();
            }
            held.begin(transmit);
            return Ok(());
        }
        send(transmit)
    }

    /// Whether something is held that goes to the same place.
    pub(super) fn holds(&self, transmit: &Transmit<'_>) -> bool {
        self.lock().trains.iter().any(|train| train.to == transmit.destination)
    }

    /// Sends what is held, but for trains that have grown since the last time. Called by one task,
    /// which `waker` wakes when something is held again.
    pub(super) fn flush(&self, waker: &Waker, send: impl Fn(&Transmit<'_>) -> io::Result<()>) -> Left {
        self.flusher.register(waker);
        let mut held = self.lock();
        held.is_flushed = true;
        let mut left = Left::Nothing;
        for at in (0..held.trains.len()).rev() {
            if std::mem::take(&mut held.trains[at].grown) {
                left = Left::Growing;
            } else if held.give(at, &send).is_err() {
                return Left::Blocked;
            }
        }
        left
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Outbox {
    /// Whoever flushes it has no more to do.
    fn drop(&mut self) {
        self.flusher.wake();
    }
}

/// A full batch: whoever made it was told to stop there.
fn is_more_to_come(transmit: &Transmit<'_>, segments_max: usize) -> bool {
    transmit.segment_size.is_some_and(|segment| {
        transmit.contents.len() >= BATCH * segment
            && transmit.contents.len().is_multiple_of(segment)
            && room(segment, segments_max) > transmit.contents.len()
    })
}

/// Octets that a train of such datagrams may have.
fn room(segment: usize, segments_max: usize) -> usize {
    segment * segments_max.min(OCTETS_MAX / segment.max(1))
}

impl Held {
    fn begin(&mut self, transmit: &Transmit<'_>) {
        let mut octets = self.buffers.pop().unwrap_or_default();
        octets.extend_from_slice(transmit.contents);
        self.trains.push(Train {
            to: transmit.destination,
            from: transmit.src_ip,
            ecn: transmit.ecn,
            segment: transmit.segment_size.unwrap_or(transmit.contents.len()),
            octets,
            grown: true,
            closed: false,
        });
    }

    /// Sends the train at `at`, which stays if that fails.
    fn give(&mut self, at: usize, send: impl Fn(&Transmit<'_>) -> io::Result<()>) -> io::Result<()> {
        let Train { to, from, ecn, segment, octets, .. } = &self.trains[at];
        send(&Transmit { destination: *to, ecn: *ecn, contents: octets, segment_size: Some(*segment), src_ip: *from })?;
        let mut octets = self.trains.swap_remove(at).octets;
        octets.clear();
        self.buffers.push(octets);
        Ok(())
    }
}

impl Train {
    /// Whether `transmit` can go with it.
    fn takes(&self, transmit: &Transmit<'_>, segments_max: usize) -> bool {
        let size = transmit.segment_size.unwrap_or(transmit.contents.len());
        let fits_on = size == self.segment || (size < self.segment && transmit.segment_size.is_none());
        let after = self.octets.len() + transmit.contents.len();
        let is_of_it = (self.from, self.ecn) == (transmit.src_ip, transmit.ecn);
        !self.closed && fits_on && is_of_it && after <= room(self.segment, segments_max)
    }

    fn add(&mut self, transmit: &Transmit<'_>) {
        self.octets.extend_from_slice(transmit.contents);
        self.closed = !self.octets.len().is_multiple_of(self.segment);
        self.grown = true;
    }

    /// Whether nothing more can go with it.
    fn is_complete(&self, segments_max: usize) -> bool {
        self.closed || self.octets.len() + self.segment > room(self.segment, segments_max)
    }
}

/// Datagrams that quinn gives a socket at a time, at most.
const BATCH: usize = 10;
/// Places to which trains are held, for one socket.
const TRAINS_MAX: usize = 32;
/// Octets of a train: a UDP datagram of the kernel's, until it is divided, has 16 bits for its length.
const OCTETS_MAX: usize = 65_000;

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    const SEGMENTS: usize = 45;

    /// A socket that writes down what it was given: the port, and the values of the octets.
    #[derive(Default)]
    struct Socket {
        sent: RefCell<Vec<(u16, Vec<u8>)>>,
        is_full: Cell<bool>,
    }

    impl Socket {
        fn send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
            if self.is_full.get() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let values = transmit.contents.chunk_by(|a, b| a == b).map(|run| run[0]).collect();
            self.sent.borrow_mut().push((transmit.destination.port(), values));
            Ok(())
        }

        /// What was sent since the last time.
        fn sent(&self) -> Vec<(u16, Vec<u8>)> {
            self.sent.take()
        }
    }

    fn batch(port: u16, contents: &[u8], segment: Option<usize>) -> Transmit<'_> {
        let destination = ([127, 0, 0, 1], port).into();
        Transmit { destination, ecn: None, contents, segment_size: segment, src_ip: None }
    }

    fn flushed(socket: &Socket) -> Outbox {
        let outbox = Outbox::default();
        assert_eq!(flush(&outbox, socket), Left::Nothing);
        outbox
    }

    fn flush(outbox: &Outbox, socket: &Socket) -> Left {
        outbox.flush(Waker::noop(), |transmit| socket.send(transmit))
    }

    fn send(outbox: &Outbox, socket: &Socket, transmit: &Transmit<'_>) -> io::Result<()> {
        outbox.send(transmit, SEGMENTS, |transmit| socket.send(transmit))
    }

    #[test]
    fn full_batches_to_one_place_leave_together() -> io::Result<()> {
        let socket = Socket::default();
        let outbox = flushed(&socket);
        for value in 1..=3 {
            send(&outbox, &socket, &batch(1, &[value; 1000], Some(100)))?;
        }
        send(&outbox, &socket, &batch(2, &[4; 1000], Some(100)))?;
        assert_eq!(flush(&outbox, &socket), Left::Growing);
        assert_eq!(socket.sent(), []);
        assert!(outbox.holds(&batch(1, &[], None)) && !outbox.holds(&batch(3, &[], None)));
        assert_eq!(flush(&outbox, &socket), Left::Nothing);
        assert!(!outbox.holds(&batch(1, &[], None)));
        assert_eq!(socket.sent(), [(2, vec![4]), (1, vec![1, 2, 3])]);
        Ok(())
    }

    #[test]
    fn what_is_short_goes_at_once_and_behind_what_is_held() -> io::Result<()> {
        let socket = Socket::default();
        let outbox = flushed(&socket);
        send(&outbox, &socket, &batch(1, &[1; 100], None))?;
        send(&outbox, &socket, &batch(1, &[2; 950], Some(100)))?;
        assert_eq!(socket.sent(), [(1, vec![1]), (1, vec![2])]);
        // The last datagram of a train may be shorter, and ends it.
        send(&outbox, &socket, &batch(1, &[3; 1000], Some(100)))?;
        send(&outbox, &socket, &batch(1, &[4; 250], Some(100)))?;
        assert_eq!(socket.sent(), [(1, vec![3, 4])]);
        // A longer one is none of it, nor one with another mark.
        send(&outbox, &socket, &batch(1, &[5; 1000], Some(100)))?;
        send(&outbox, &socket, &batch(1, &[6; 101], None))?;
        send(&outbox, &socket, &batch(1, &[7; 1000], Some(100)))?;
        let marked = Transmit { ecn: Some(EcnCodepoint::Ect0), ..batch(1, &[8; 100], None) };
        send(&outbox, &socket, &marked)?;
        assert_eq!(socket.sent(), [(1, vec![5]), (1, vec![6]), (1, vec![7]), (1, vec![8])]);
        assert_eq!(flush(&outbox, &socket), Left::Nothing);
        Ok(())
    }

    #[test]
    fn a_train_is_no_longer_than_the_kernel_takes() -> io::Result<()> {
        let socket = Socket::default();
        let outbox = flushed(&socket);
        for value in 1..=5 {
            send(&outbox, &socket, &batch(1, &[value; 1000], Some(100)))?;
        }
        // 45 datagrams: the fifth batch is the first of another train.
        assert_eq!(socket.sent(), [(1, vec![1, 2, 3, 4])]);
        send(&outbox, &socket, &batch(2, &[6; 14_500], Some(1_450)))?;
        for value in 7..=10 {
            send(&outbox, &socket, &batch(2, &[value; 14_500], Some(1_450)))?;
        }
        // 65,000 octets: 44 of them.
        assert_eq!(socket.sent(), [(2, vec![6, 7, 8, 9])]);
        Ok(())
    }

    #[test]
    fn what_the_socket_has_no_room_for_keeps_its_place() -> io::Result<()> {
        let socket = Socket::default();
        let outbox = flushed(&socket);
        send(&outbox, &socket, &batch(1, &[1; 1000], Some(100)))?;
        socket.is_full.set(true);
        // Taken: it goes with the train, whenever that leaves.
        send(&outbox, &socket, &batch(1, &[2; 50], None))?;
        let refused = send(&outbox, &socket, &batch(1, &[3; 50], None));
        assert_eq!(refused.map_err(|e| e.kind()), Err(io::ErrorKind::WouldBlock));
        assert_eq!(flush(&outbox, &socket), Left::Growing);
        assert_eq!(flush(&outbox, &socket), Left::Blocked);
        socket.is_full.set(false);
        send(&outbox, &socket, &batch(1, &[3; 50], None))?;
        assert_eq!(socket.sent(), [(1, vec![1, 2]), (1, vec![3])]);
        Ok(())
    }

    #[test]
    fn nothing_is_held_that_nobody_flushes() -> io::Result<()> {
        let socket = Socket::default();
        send(&Outbox::default(), &socket, &batch(1, &[1; 1000], Some(100)))?;
        assert_eq!(socket.sent(), [(1, vec![1])]);
        Ok(())
    }
}
