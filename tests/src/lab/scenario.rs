//! Bad networks, as quic-interop-runner's simulator has them: what a relay does with each datagram,
//! and what it has seen.

use std::{
    collections::BTreeMap,
    io,
    ops::RangeInclusive,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{
    datagram::{Datagram, End, Kind},
    relay::Towards,
    trace::Trace,
};
use crate::packets::Random;

/// What happens to datagrams on their way.
#[derive(Clone, Debug)]
pub enum Scenario {
    /// Nothing.
    Clear,
    /// `percent` of the datagrams are lost, at most `burst` in a row.
    Loss {
        /// Of a hundred.
        percent: usize,
        /// In a row.
        burst: u32,
    },
    /// In `percent` of the datagrams, at most `burst` in a row, one octet among the first 50 of the payload is
    /// changed.
    Corrupt {
        /// Of a hundred.
        percent: usize,
        /// In a row.
        burst: u32,
    },
    /// Everything passes for a time, then nothing, in turn.
    Blackhole {
        /// Everything passes.
        on: Duration,
        /// Nothing does.
        off: Duration,
    },
    /// A NAT gives the clients another port, or another address, now and then.
    Rebind {
        /// For the first time after this.
        first: Duration,
        /// Again after this.
        every: Duration,
        /// Another address.
        address: bool,
    },
    /// Of the clients' datagrams these are lost, by their numbers from 1 on.
    DropList(RangeInclusive<u64>),
}

/// What passed, as the router's side has it.
#[derive(Clone, Debug, Default)]
pub struct Passed {
    /// Retry packets.
    pub retries: u64,
    /// Ports of the clients in their order, and octets of the router's datagrams to each that begin with a
    /// packet of the handshake.
    pub flights: Vec<(u16, u64)>,
    /// Octets of the clients' datagrams that begin with early data, and of those in 1-RTT.
    pub early: [u64; 2],
    /// Datagrams of the router with ECT(0) or ECT(1), and of the clients.
    pub ect: [u64; 2],
    /// Datagrams of the router, and of the clients.
    pub datagrams: [u64; 2],
    /// What was lost or changed on purpose.
    pub disturbed: u64,
    /// Ports and addresses that a NAT has given out, beyond the first.
    pub rebound: u64,
    /// The most that the router had sent for each octet it had received, before the client's second
    /// datagram arrived.
    pub amplification: f64,
}

/// A scenario that goes on; its clones share what they see.
#[derive(Clone)]
pub struct Scene(Arc<Mutex<State>>);

struct State {
    scenario: Scenario,
    random: Random,
    begun: Option<Instant>,
    passed: Passed,
    in_a_row: [u32; 2],
    from_clients: u64,
    octets: [u64; 2],
    nat: Nat,
    trace: Option<Trace>,
}

/// What a NAT has given out: the port and host's number outside, and what they stand for.
#[derive(Default)]
struct Nat {
    turn: u64,
    given: BTreeMap<(u16, u8), (u16, u8)>,
}

/// A turn of a NAT's mapping.
#[derive(Clone, Copy)]
struct Turn {
    /// 0 is the first.
    number: u64,
    /// Addresses change with it, in place of ports.
    address: bool,
}

impl Scene {
    /// Begins with the first datagram. The same seed loses the same, where the same is sent.
    pub fn new(scenario: Scenario, seed: u64) -> Self {
        let state = State {
            scenario,
            random: Random(seed),
            begun: None,
            passed: Passed::default(),
            in_a_row: [0; 2],
            from_clients: 0,
            octets: [0; 2],
            nat: Nat::default(),
            trace: None,
        };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Keeps what passes, for [`write_trace`](Self::write_trace).
    pub fn traced(self) -> Self {
        self.state().trace = Some(Trace::begin());
        self
    }

    /// Writes what was kept as `trace_node_left.pcap` (the clients' side) and `trace_node_right.pcap`.
    ///
    /// # Errors
    /// If the folder can't be written to.
    pub fn write_trace(&self, folder: &Path) -> io::Result<()> {
        self.state().trace.as_ref().map_or(Ok(()), |trace| trace.write(folder))
    }

    /// What is sent in a frame's place.
    pub fn pass(&self, towards: Towards, frame: &[u8]) -> Vec<Vec<u8>> {
        let came = frame;
        let mut frame = came.to_vec();
        let mut state = self.state();
        let passes = Datagram::of(&mut frame).is_none_or(|mut datagram| state.lets_pass(towards, &mut datagram));
        let went = if passes { vec![frame] } else { Vec::new() };
        if let Some(trace) = &mut state.trace {
            trace.note(towards, came, &went);
        }
        went
    }

    /// What has passed so far.
    pub fn passed(&self) -> Passed {
        self.state().passed.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn lets_pass(&mut self, towards: Towards, datagram: &mut Datagram<'_>) -> bool {
        let begun = *self.begun.get_or_insert_with(Instant::now);
        if towards == Towards::Clients {
            self.note(towards, datagram);
        } else {
            self.from_clients += 1;
        }
        let passes = self.disturb(towards, datagram, begun.elapsed());
        if passes && towards == Towards::Router {
            self.note(towards, datagram);
        }
        passes
    }

    /// Whether it passes after what is done to it.
    fn disturb(&mut self, towards: Towards, datagram: &mut Datagram<'_>, time: Duration) -> bool {
        let passes = match self.scenario.clone() {
            Scenario::Clear => true,
            Scenario::Loss { percent, burst } => !self.strikes(towards, percent, burst),
            Scenario::Corrupt { percent, burst } => {
                if self.strikes(towards, percent, burst) && datagram.kind() != Kind::Versions {
                    let at = self.random.below(datagram.payload().len().min(50));
                    datagram.corrupt(at, 1 + self.random.below(255) as u8);
                    self.passed.disturbed += 1;
                }
                true
            }
            Scenario::Blackhole { on, off } => time.as_nanos() % (on + off).as_nanos() < on.as_nanos(),
            Scenario::DropList(numbers) => towards == Towards::Clients || !numbers.contains(&self.from_clients),
            Scenario::Rebind { first, every, address } => {
                let turn = time.checked_sub(first).map_or(0, |since| 1 + since.as_nanos() / every.as_nanos()) as u64;
                return self.translate(towards, datagram, Turn { number: turn, address });
            }
        };
        self.passed.disturbed += u64::from(!passes);
        passes
    }

    /// Whether this datagram is one of the `percent` that are lost or changed.
    fn strikes(&mut self, towards: Towards, percent: usize, burst: u32) -> bool {
        let in_a_row = &mut self.in_a_row[side(towards)];
        let strikes = self.random.below(100) < percent && *in_a_row < burst;
        *in_a_row = if strikes { *in_a_row + 1 } else { 0 };
        strikes
    }

    /// A NAT whose mapping changes with each turn, and which then forgets the one before.
    fn translate(&mut self, towards: Towards, datagram: &mut Datagram<'_>, turn: Turn) -> bool {
        let Turn { number: turn, address } = turn;
        if turn != self.nat.turn {
            self.nat = Nat { turn, given: BTreeMap::new() };
        }
        match towards {
            Towards::Router => {
                let inside = datagram.port(End::Source);
                let step = if address { 0 } else { turn * PORT_STEP };
                // Of the clients' addresses both lead here.
                let shift = if address { (turn % 2) as u8 } else { 0 };
                datagram.set_port(End::Source, PORT_MIN | inside.wrapping_add(step as u16));
                datagram.shift_address(End::Source, shift);
                let is_new =
                    self.nat.given.insert((datagram.port(End::Source), datagram.host(End::Source)), (inside, shift));
                self.passed.rebound += u64::from(turn > 0 && is_new.is_none());
                true
            }
            Towards::Clients => {
                let outside = (datagram.port(End::Destination), datagram.host(End::Destination));
                let Some((inside, shift)) = self.nat.given.get(&outside) else { return false };
                datagram.set_port(End::Destination, *inside);
                datagram.shift_address(End::Destination, shift.wrapping_neg());
                true
            }
        }
    }

    fn note(&mut self, towards: Towards, datagram: &Datagram<'_>) {
        let Self { passed, octets, .. } = self;
        let side = side(towards);
        passed.datagrams[side] += 1;
        passed.ect[side] += u64::from(matches!(datagram.ecn(), 1 | 2));
        match (towards, datagram.kind()) {
            (Towards::Clients, Kind::Retry) => passed.retries += 1,
            (Towards::Clients, Kind::Initial | Kind::Handshake) => {
                let (port, length) = (datagram.port(End::Destination), datagram.payload().len() as u64);
                match passed.flights.iter_mut().find(|(known, _)| *known == port) {
                    Some((_, octets)) => *octets += length,
                    None => passed.flights.push((port, length)),
                }
            }
            (Towards::Router, Kind::ZeroRtt) => passed.early[0] += datagram.payload().len() as u64,
            (Towards::Router, Kind::Short) => passed.early[1] += datagram.payload().len() as u64,
            _ => {}
        }
        octets[side] += datagram.payload().len() as u64;
        if towards == Towards::Clients && passed.datagrams[1] == 1 {
            passed.amplification = passed.amplification.max(octets[0] as f64 / octets[1] as f64);
        }
    }
}

/// The router's datagrams, then the clients'.
fn side(towards: Towards) -> usize {
    match towards {
        Towards::Clients => 0,
        Towards::Router => 1,
    }
}

/// Far enough from one turn to the next that clients with neighbouring ports do not meet.
const PORT_STEP: u64 = 257;
/// Ports that a NAT gives out.
const PORT_MIN: u16 = 0x8000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_loses_the_same() {
        let lost = |seed| {
            let scene = Scene::new(Scenario::Loss { percent: 30, burst: 3 }, seed);
            let passes = |_| !scene.pass(Towards::Router, &frame(1000)).is_empty();
            (0..1000).map(passes).collect::<Vec<_>>()
        };
        assert_eq!(lost(7), lost(7));
        assert_ne!(lost(7), lost(8));
        let passed = lost(7);
        assert!((600..800).contains(&passed.iter().filter(|passed| **passed).count()));
        assert!(!passed.windows(4).any(|four| four == [false; 4]), "at most three in a row");
    }

    #[test]
    fn at_most_so_many_in_a_row_are_changed() {
        let scene = Scene::new(Scenario::Corrupt { percent: 30, burst: 3 }, 7);
        let whole = |_| scene.pass(Towards::Router, &frame(1000)) == [frame(1000)];
        let whole: Vec<_> = (0..1000).map(whole).collect();
        assert_eq!(whole.iter().filter(|whole| !**whole).count() as u64, scene.passed().disturbed);
        assert!((200..400).contains(&scene.passed().disturbed));
        assert!(!whole.windows(4).any(|four| four == [false; 4]), "at most three in a row");
    }

    #[test]
    fn what_a_nat_gave_out_leads_back_until_it_forgets() {
        let wait = Duration::from_millis(50);
        let scene = Scene::new(Scenario::Rebind { first: wait, every: Duration::from_secs(60), address: true }, 0);
        let there = scene.pass(Towards::Router, &frame(40_000));
        let back = answer(&there[0]);
        assert_eq!(scene.pass(Towards::Clients, &back).len(), 1);
        std::thread::sleep(wait);
        assert_eq!(scene.pass(Towards::Clients, &back), Vec::<Vec<u8>>::new(), "it has forgotten");
        let there = scene.pass(Towards::Router, &frame(40_000));
        assert_eq!(there[0][29], 3, "another address");
        let mut back = scene.pass(Towards::Clients, &answer(&there[0])).remove(0);
        assert_eq!((back[33], Datagram::of(&mut back).unwrap().port(End::Destination)), (2, 40_000));
        assert_eq!(scene.passed().rebound, 1);
    }

    /// From a client's port to 443.
    fn frame(port: u16) -> Vec<u8> {
        let mut frame = vec![0; 34 + 8 + 1200];
        frame[12..15].copy_from_slice(&[0x08, 0x00, 0x45]);
        frame[23] = 17;
        frame[26..34].copy_from_slice(&[10, 77, 0, 2, 10, 77, 0, 1]);
        frame[34..36].copy_from_slice(&port.to_be_bytes());
        frame[36..38].copy_from_slice(&443_u16.to_be_bytes());
        frame[42..47].copy_from_slice(&[0xc0, 0, 0, 0, 1]);
        frame
    }

    /// With source and destination exchanged.
    fn answer(frame: &[u8]) -> Vec<u8> {
        let mut answer = frame.to_vec();
        answer[26..30].copy_from_slice(&frame[30..34]);
        answer[30..34].copy_from_slice(&frame[26..30]);
        answer[34..36].copy_from_slice(&frame[36..38]);
        answer[36..38].copy_from_slice(&frame[34..36]);
        answer
    }
}
