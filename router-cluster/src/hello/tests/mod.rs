mod exchanged;
mod on_the_wire;
mod to_all;

use std::time::{Duration, Instant};

use super::{wire::CONTENT_LENGTH, *};
use crate::{
    membership::{NodeNumber, NodeState, TunnelVersions},
    secret::ClusterSecret,
};

const SECRET: [u8; 32] = [0x5a; 32];

fn number(number: u16) -> NodeNumber {
    NodeNumber::new(number).unwrap()
}

fn link(own: u16, peer: u16) -> HelloLink {
    HelloLink::new(&ClusterSecret::from(SECRET), number(own), number(peer))
}

fn announcement() -> Announcement {
    Announcement {
        state: NodeState::Up,
        takes_new_connections: true,
        weight: 250,
        revision: 0x0102_0304_0506_0708,
        tunnel_versions: TunnelVersions { lowest: 1, highest: 2 },
    }
}

/// Every field has a value of its own, so that two that are taken for one another are seen.
fn hello() -> Hello {
    Hello {
        run: Run::new(11),
        sequence: 12,
        sent_at: 13,
        announcement: announcement(),
        continues: true,
        longest_heard: 1_472,
        echo: Some(Echo { run: Run::new(14), sequence: 15, held: 16 }),
        candidate_echo: Some(Echo { run: Run::new(17), sequence: 18, held: 19 }),
    }
}

/// Two nodes' exchanges, and the clocks by which they go.
struct Pair {
    began: Instant,
    one: HelloExchange,
    other: HelloExchange,
}

const ONE: u64 = 100;
const OTHER: u64 = 200;

impl Pair {
    fn new() -> Self {
        let exchange = |run| HelloExchange::new(Run::new(run));
        Self { began: Instant::now(), one: exchange(ONE), other: exchange(OTHER) }
    }

    fn at(&self, milliseconds: u64) -> Moment {
        let since = Duration::from_millis(milliseconds);
        Moment { now: self.began + since, wall_clock: 1_000_000_000_000 + since.as_nanos() as u64 }
    }

    fn one_says(&mut self, at: u64) -> Hello {
        self.one.next(self.at(at), announcement())
    }

    fn other_says(&mut self, at: u64) -> Hello {
        self.other.next(self.at(at), announcement())
    }

    fn one_hears(&mut self, hello: &Hello, at: u64) -> Heard {
        self.one.hear(hello, HELLO_LENGTH, self.at(at))
    }

    fn other_hears(&mut self, hello: &Hello, at: u64) -> Heard {
        self.other.hear(hello, HELLO_LENGTH, self.at(at))
    }

    /// Both have proven that they are alive, within two seconds.
    fn acquainted() -> Self {
        let mut pair = Self::new();
        let first = pair.one_says(0);
        assert_eq!(pair.other_hears(&first, 1), Heard::Unproven);
        let answer = pair.other_says(500);
        assert_eq!(pair.one_hears(&answer, 501), Heard::Counted);
        let second = pair.one_says(1_000);
        assert_eq!(pair.other_hears(&second, 1_001), Heard::Counted);
        pair
    }
}
