mod at_random;
mod by_the_table;
mod in_a_large_cluster;
mod listening;
mod witnesses;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use super::*;
use crate::{
    hello::Announcement,
    membership::{ClusterState, Freshness, NodeRecord, NodeState, Order, TunnelVersions},
};

/// This node.
const OWN: u16 = 1;

/// The one that is looked at.
const PEER: u16 = 2;

fn number(number: u16) -> NodeNumber {
    NodeNumber::new(number).unwrap()
}

fn member(number: NodeNumber) -> Member {
    let address = [10, 0, 0, 1].into();
    let record = NodeRecord { number, address, port: 6080, weight: 100, state: NodeState::Up, run: None };
    Member { record: Some(record), ..Member::default() }
}

fn view(freshness: Freshness, nodes: impl IntoIterator<Item = (NodeNumber, Member)>) -> View {
    let nodes = nodes.into_iter().collect();
    View { state: ClusterState { nodes, ..ClusterState::default() }.into(), version: 1, freshness }
}

fn last_known() -> Freshness {
    Freshness::LastKnown { since: std::time::UNIX_EPOCH, why: "it is away".to_owned() }
}

fn word() -> Word {
    let announcement = Announcement {
        state: NodeState::Up,
        takes_new_connections: true,
        weight: 100,
        revision: 1,
        tunnel_versions: TunnelVersions { lowest: 1, highest: 1 },
    };
    Word { announcement, continues: true, hears_us: true }
}

/// What happens at a time.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// Nothing.
    Look,
    /// A hello.
    Hello,
    /// A hello that says "draining".
    DrainingHello,
    /// Hellos of every second of so many, this one included.
    Hellos(u64),
    /// The engine is there, and the peer has its record.
    Live,
    /// The same, and an operator has said `drain`.
    LiveDraining,
    /// The engine is there, and the peer has a number and no record.
    LiveWithout,
    /// The engine is there, and knows nothing of the peer.
    LiveUnknown,
    /// The engine is away. It had the peer's record last.
    Away,
    /// The engine is away. It had no record of the peer's last.
    AwayWithout,
    /// The engine is there, and an operator has said `forget`.
    Forgotten,
    /// The engine is away. An operator had said `forget`.
    AwayForgotten,
}

use Event::*;
use NodeHealth::{Draining, Gone, Silent, Unreachable, Up};

/// Health of one node, and a clock.
struct Course {
    began: Instant,
    milliseconds: u64,
    health: Health,
}

impl Course {
    fn of(engine: Engine) -> Self {
        let began = Instant::now();
        let config = HealthConfig { own: number(OWN), engine, dead_after: DEFAULT_DEAD_AFTER };
        Self { began, milliseconds: 0, health: Health::new(config, began) }
    }

    fn now(&self) -> Instant {
        self.began + Duration::from_millis(self.milliseconds)
    }

    /// Looks once a second, as the agent does, until `seconds`.
    fn until(&mut self, seconds: f64) {
        let until = (seconds * 1_000.0) as u64;
        while self.milliseconds < until {
            self.milliseconds = until.min(self.milliseconds + 1_000);
            self.health.judge(self.now());
        }
    }

    fn membership(&mut self, freshness: Freshness, peer: Option<Member>) {
        let peer = peer.map(|member| (number(PEER), member));
        let nodes = [(number(OWN), member(number(OWN)))].into_iter().chain(peer);
        self.health.membership(self.now(), &view(freshness, nodes));
    }

    fn happens(&mut self, event: Event) {
        let now = self.now();
        let present = || member(number(PEER));
        let forgotten = || Member { order: Some(Order::Forget), ..present() };
        let mut draining = word();
        draining.announcement.state = NodeState::Draining;
        match event {
            Look => {}
            Hello => self.health.heard(now, number(PEER), word()),
            DrainingHello => self.health.heard(now, number(PEER), draining),
            Hellos(seconds) => {
                for _ in 1..seconds {
                    self.health.heard(self.now(), number(PEER), word());
                    self.milliseconds += 1_000;
                }
                self.health.heard(self.now(), number(PEER), word());
            }
            Live => self.membership(Freshness::Live, Some(present())),
            LiveDraining => self.membership(Freshness::Live, Some(Member { order: Some(Order::Drain), ..present() })),
            LiveWithout => self.membership(Freshness::Live, Some(Member::default())),
            LiveUnknown => self.membership(Freshness::Live, None),
            Away => self.membership(last_known(), Some(present())),
            AwayWithout => self.membership(last_known(), Some(Member::default())),
            Forgotten => self.membership(Freshness::Live, Some(forgotten())),
            AwayForgotten => self.membership(last_known(), Some(forgotten())),
        }
    }

    fn judgement(&mut self) -> Option<Judgement> {
        self.health.judge(self.now()).nodes.get(&number(PEER)).copied()
    }
}

/// Seconds, what happens then, and what the peer counts as right after it.
type Step = (f64, Event, NodeHealth);

#[track_caller]
fn course(engine: Engine, steps: &[Step]) -> Course {
    let mut course = Course::of(engine);
    for &(seconds, event, expected) in steps {
        course.until(seconds);
        course.happens(event);
        let judgement = course.judgement().unwrap();
        assert_eq!(judgement.state, expected, "{event:?} at {seconds} s: {judgement:?}");
        assert_eq!(judgement.takes_new_connections, judgement.state == Up);
        let said = judgement.reason.to_string();
        assert!(!said.is_empty() && !said.ends_with('.'), "{said}");
    }
    course
}
