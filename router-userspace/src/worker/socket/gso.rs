//! Coalesces quinn's batches of ten datagrams into GSO sends of up to 64 KiB.
//!
//! quinn gives a socket ten datagrams of a connection at a time, and the call that sends them costs the
//! kernel as much as their octets do. A batch that is full says that more is to come: it is held back for
//! as long as the worker polls other tasks that are due, and what follows it to the same place goes
//! with it, in trains as long as the kernel takes them (GSO). The rule this room keeps: datagrams to
//! one place leave in the order in which they came, and what is pending is sent by the [`flush`] that
//! follows, from whichever connection.
//!
//! [`flush`]: GsoBuffer::flush

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
pub(in crate::worker) struct GsoBuffer {
    pending: Mutex<Pending>,
    /// Of the task that calls [`flush`](Self::flush).
    flusher: AtomicWaker,
}

/// What a [`flush`](GsoBuffer::flush) has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::worker) enum FlushState {
    /// Nothing is pending; the next datagram that is held back wakes the flusher.
    Nothing,
    /// Batches that have grown since the last time: to be looked at again when other tasks have had
    /// their turn.
    Growing,
    /// Batches for which the socket has no room.
    Blocked,
}

#[derive(Default)]
struct Pending {
    /// One for each place at most.
    trains: Vec<Batch>,
    /// Buffers of trains that have left.
    buffers: Vec<Vec<u8>>,
    is_flushed: bool,
}

/// Datagrams of one size to one place.
struct Batch {
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

impl GsoBuffer {
    /// Sends `transmit` by `send`, or holds it. A train has at most `segments_max` datagrams.
    ///
    /// # Errors
    /// As `send`: `transmit` has not been taken then.
    pub(in crate::worker) fn send(
        &self,
        transmit: &Transmit<'_>,
        segments_max: usize,
        send: impl Fn(&Transmit<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut pending = self.lock();
        if let Some(at) = pending.trains.iter().position(|train| train.to == transmit.destination) {
            if pending.trains[at].takes(transmit, segments_max) {
                pending.trains[at].add(transmit);
                if pending.trains[at].is_complete(segments_max) {
                    // Without room for it now, it leaves with the next flush.
                    let _ = pending.give(at, &send);
                }
                return Ok(());
            }
            pending.give(at, &send)?;
        }
        if pending.is_flushed && is_more_to_come(transmit, segments_max) && pending.trains.len() < TRAINS_MAX {
            if pending.trains.is_empty() {
                self.flusher.wake();
            }
            pending.begin(transmit);
            return Ok(());
        }
        send(transmit)
    }

    /// Whether something is pending that goes to the same place.
    pub(in crate::worker) fn holds(&self, transmit: &Transmit<'_>) -> bool {
        self.lock().trains.iter().any(|train| train.to == transmit.destination)
    }

    /// Sends what is pending, but for trains that have grown since the last time. Called by one task,
    /// which `waker` wakes when something is pending again.
    pub(in crate::worker) fn flush(&self, waker: &Waker, send: impl Fn(&Transmit<'_>) -> io::Result<()>) -> FlushState {
        self.flusher.register(waker);
        let mut pending = self.lock();
        pending.is_flushed = true;
        let mut left = FlushState::Nothing;
        for at in (0..pending.trains.len()).rev() {
            if std::mem::take(&mut pending.trains[at].grown) {
                left = FlushState::Growing;
            } else if pending.give(at, &send).is_err() {
                return FlushState::Blocked;
            }
        }
        left
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for GsoBuffer {
    /// The connection that flushes it has no more to do.
    fn drop(&mut self) {
        self.flusher.wake();
    }
}

/// A full batch: the connection that made it was told to stop there.
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

impl Pending {
    fn begin(&mut self, transmit: &Transmit<'_>) {
        let mut octets = self.buffers.pop().unwrap_or_default();
        octets.extend_from_slice(transmit.contents);
        self.trains.push(Batch {
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
        let Batch { to, from, ecn, segment, octets, .. } = &self.trains[at];
        send(&Transmit { destination: *to, ecn: *ecn, contents: octets, segment_size: Some(*segment), src_ip: *from })?;
        let mut octets = self.trains.swap_remove(at).octets;
        octets.clear();
        self.buffers.push(octets);
        Ok(())
    }
}

impl Batch {
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
/// Places to which trains are pending, for one socket.
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

    fn flushed(socket: &Socket) -> GsoBuffer {
        let gso = GsoBuffer::default();
        assert_eq!(flush(&gso, socket), FlushState::Nothing);
        gso
    }

    fn flush(gso: &GsoBuffer, socket: &Socket) -> FlushState {
        gso.flush(Waker::noop(), |transmit| socket.send(transmit))
    }

    fn send(gso: &GsoBuffer, socket: &Socket, transmit: &Transmit<'_>) -> io::Result<()> {
        gso.send(transmit, SEGMENTS, |transmit| socket.send(transmit))
    }

    #[test]
    fn full_batches_to_one_place_leave_together() -> io::Result<()> {
        let socket = Socket::default();
        let gso = flushed(&socket);
        for value in 1..=3 {
            send(&gso, &socket, &batch(1, &[value; 1000], Some(100)))?;
        }
        send(&gso, &socket, &batch(2, &[4; 1000], Some(100)))?;
        assert_eq!(flush(&gso, &socket), FlushState::Growing);
        assert_eq!(socket.sent(), []);
        assert!(gso.holds(&batch(1, &[], None)) && !gso.holds(&batch(3, &[], None)));
        assert_eq!(flush(&gso, &socket), FlushState::Nothing);
        assert!(!gso.holds(&batch(1, &[], None)));
        assert_eq!(socket.sent(), [(2, vec![4]), (1, vec![1, 2, 3])]);
        Ok(())
    }

    #[test]
    fn what_is_short_goes_at_once_and_behind_what_is_held() -> io::Result<()> {
        let socket = Socket::default();
        let gso = flushed(&socket);
        send(&gso, &socket, &batch(1, &[1; 100], None))?;
        send(&gso, &socket, &batch(1, &[2; 950], Some(100)))?;
        assert_eq!(socket.sent(), [(1, vec![1]), (1, vec![2])]);
        // The last datagram of a train may be shorter, and ends it.
        send(&gso, &socket, &batch(1, &[3; 1000], Some(100)))?;
        send(&gso, &socket, &batch(1, &[4; 250], Some(100)))?;
        assert_eq!(socket.sent(), [(1, vec![3, 4])]);
        // A longer one is none of it, nor one with another mark.
        send(&gso, &socket, &batch(1, &[5; 1000], Some(100)))?;
        send(&gso, &socket, &batch(1, &[6; 101], None))?;
        send(&gso, &socket, &batch(1, &[7; 1000], Some(100)))?;
        let marked = Transmit { ecn: Some(EcnCodepoint::Ect0), ..batch(1, &[8; 100], None) };
        send(&gso, &socket, &marked)?;
        assert_eq!(socket.sent(), [(1, vec![5]), (1, vec![6]), (1, vec![7]), (1, vec![8])]);
        assert_eq!(flush(&gso, &socket), FlushState::Nothing);
        Ok(())
    }

    #[test]
    fn a_train_is_no_longer_than_the_kernel_takes() -> io::Result<()> {
        let socket = Socket::default();
        let gso = flushed(&socket);
        for value in 1..=5 {
            send(&gso, &socket, &batch(1, &[value; 1000], Some(100)))?;
        }
        // 45 datagrams: the fifth batch is the first of another train.
        assert_eq!(socket.sent(), [(1, vec![1, 2, 3, 4])]);
        send(&gso, &socket, &batch(2, &[6; 14_500], Some(1_450)))?;
        for value in 7..=10 {
            send(&gso, &socket, &batch(2, &[value; 14_500], Some(1_450)))?;
        }
        // 65,000 octets: 44 of them.
        assert_eq!(socket.sent(), [(2, vec![6, 7, 8, 9])]);
        Ok(())
    }

    #[test]
    fn what_the_socket_has_no_room_for_keeps_its_place() -> io::Result<()> {
        let socket = Socket::default();
        let gso = flushed(&socket);
        send(&gso, &socket, &batch(1, &[1; 1000], Some(100)))?;
        socket.is_full.set(true);
        // Taken: it goes with the train, whenever that leaves.
        send(&gso, &socket, &batch(1, &[2; 50], None))?;
        let refused = send(&gso, &socket, &batch(1, &[3; 50], None));
        assert_eq!(refused.map_err(|e| e.kind()), Err(io::ErrorKind::WouldBlock));
        assert_eq!(flush(&gso, &socket), FlushState::Growing);
        assert_eq!(flush(&gso, &socket), FlushState::Blocked);
        socket.is_full.set(false);
        send(&gso, &socket, &batch(1, &[3; 50], None))?;
        assert_eq!(socket.sent(), [(1, vec![1, 2]), (1, vec![3])]);
        Ok(())
    }

    #[test]
    fn nothing_is_held_that_no_task_flushes() -> io::Result<()> {
        let socket = Socket::default();
        send(&GsoBuffer::default(), &socket, &batch(1, &[1; 1000], Some(100)))?;
        assert_eq!(socket.sent(), [(1, vec![1])]);
        Ok(())
    }
}
