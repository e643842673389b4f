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
    Member { record: Some(record), order: None }
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

/// The rows of the design's table "event → what clients see" that concern health.
mod by_the_table {
    use super::*;

    #[test]
    fn a_node_dies() {
        let mut course = course(
            Engine::Leased,
            &[
                (0.0, Live, Up),
                (0.5, Hello, Up),
                (3.4, Look, Up),
                // Its connections: silence for 10 s at most, then resets.
                (3.5, Look, Silent),
                (9.0, LiveWithout, Silent),
                (10.4, Look, Silent),
                (10.5, Look, Gone),
                (3_600.0, Look, Gone),
            ],
        );
        let reason = course.judgement().unwrap().reason.to_string();
        assert_eq!(reason, "its lease has ended, and there was no hello for 10.0 s");
    }

    #[test]
    fn a_lease_ends_after_the_silence_became_long() {
        course(
            Engine::Leased,
            &[(0.0, Live, Up), (0.5, Hello, Up), (10.5, Look, Unreachable), (12.0, LiveWithout, Gone)],
        );
    }

    #[test]
    fn a_node_joins() {
        course(Engine::Leased, &[(5.0, Live, Up), (5.5, Hello, Up), (6.5, Hello, Up)]);
    }

    #[test]
    fn a_node_drains_by_its_own_word_or_an_operators() {
        course(
            Engine::Leased,
            &[
                (0.0, Live, Up),
                (0.5, DrainingHello, Draining),
                (1.5, Hello, Up),
                (2.0, LiveDraining, Draining),
                (2.5, Hello, Draining),
                (3.0, Live, Up),
                (3.5, DrainingHello, Draining),
                // It has drained and ends.
                (6.5, Look, Silent),
                (7.0, LiveWithout, Silent),
                (13.5, Look, Gone),
            ],
        );
    }

    /// The engine is away for an hour, and comes back to the same or to nothing.
    #[test]
    fn etcd_is_away() {
        course(Engine::Leased, &[(0.0, Live, Up), (0.5, Away, Up), (0.5, Hellos(3_600), Up), (3_600.0, Live, Up)]);
        // It was wiped: no record at all, and everybody lives. Then nodes register anew.
        course(
            Engine::Leased,
            &[
                (0.0, Live, Up),
                (0.5, AwayWithout, Up),
                (0.5, Hellos(60), Up),
                (60.0, LiveWithout, Up),
                (60.5, Hellos(30), Up),
                (90.0, Live, Up),
            ],
        );
    }

    #[test]
    fn a_node_dies_while_etcd_is_away() {
        let mut course = course(
            Engine::Leased,
            &[
                (0.0, Live, Up),
                (0.5, Hello, Up),
                (1.0, AwayWithout, Up),
                (3.5, Look, Silent),
                (10.5, Look, Unreachable),
                (3_600.0, Look, Unreachable),
            ],
        );
        let reason = course.judgement().unwrap().reason.to_string();
        assert!(reason.contains("not gone, because the membership engine is away"), "{reason}");
        // Its lease is seen to have ended once the view is live again.
        course.happens(LiveWithout);
        assert_eq!(course.judgement().unwrap().state, Gone);
    }

    /// This node was started from a snapshot of its state folder.
    #[test]
    fn etcd_cannot_be_reached_at_the_start() {
        course(
            Engine::Leased,
            &[(0.0, Away, Up), (1.0, Hello, Up), (4.0, Look, Silent), (11.0, Look, Unreachable), (12.0, Hello, Up)],
        );
    }

    #[test]
    fn a_firewall_filters_the_tunnels_port() {
        // From the beginning, and later.
        for first in [Look, Hello] {
            let mut course = course(Engine::Leased, &[(0.0, Live, Up), (0.0, first, Up), (10.0, Look, Unreachable)]);
            course.until(600.0);
            let reason = course.judgement().unwrap().reason;
            assert!(matches!(reason, Reason::SilentForLong { second: SecondWitness::HasRecord(_), .. }), "{reason}");
            course.happens(Hello);
            assert_eq!(course.judgement().unwrap().state, Up);
        }
    }

    /// It is alive and heard, and cannot renew its lease.
    #[test]
    fn a_node_cannot_reach_etcd() {
        let mut course = course(
            Engine::Leased,
            &[(0.0, Live, Up), (0.5, Hello, Up), (1.0, LiveWithout, Up), (1.0, Hellos(600), Up)],
        );
        let reason = course.judgement().unwrap().reason.to_string();
        assert_eq!(reason, "heard 0.0 s ago, although its lease has ended");
        course.happens(Live);
        assert!(matches!(course.judgement().unwrap().reason, Reason::Heard { .. }));
    }
}

mod witnesses {
    use super::*;

    #[test]
    fn a_node_that_is_gone_is_up_with_a_new_record_only() {
        let mut course = course(
            Engine::Leased,
            &[
                (0.0, Live, Up),
                (10.0, LiveWithout, Gone),
                (12.0, AwayWithout, Gone),
                (12.5, Away, Gone),
                (13.0, LiveUnknown, Gone),
                (14.0, Live, Up),
                // And is given its time as a node that has just been started is.
                (23.9, Look, Up),
                (24.0, Look, Unreachable),
            ],
        );
        course.happens(Hello);
        course.happens(LiveWithout);
        assert_eq!(course.judgement().unwrap().state, Up);
    }

    /// Both witnesses were wrong at a time, or it was started anew and cannot be seen to have a record.
    #[test]
    fn a_node_that_is_gone_and_heard_is_not_answered_for() {
        let mut course = course(
            Engine::Leased,
            &[(0.0, Live, Up), (10.0, LiveWithout, Gone), (11.0, Hello, Silent), (12.0, Hello, Silent)],
        );
        let reason = course.judgement().unwrap().reason.to_string();
        let expected =
            "heard 0.0 s ago, after it was gone; gets nothing new until it has a new record under a new lease";
        assert_eq!(reason, expected);
        course.happens(Live);
        assert_eq!(course.judgement().unwrap().state, Up);
    }

    #[test]
    fn a_node_that_was_heard_after_it_was_gone_takes_two_witnesses_again() {
        let heard_again = [(0.0, Live, Up), (10.0, LiveWithout, Gone), (11.0, Hello, Silent)];
        let more = [(20.9, Look, Silent), (21.0, Look, Gone)];
        course(Engine::Leased, &[heard_again.as_slice(), &more].concat());
        let away = [(12.0, AwayWithout, Silent), (21.0, Look, Unreachable), (600.0, LiveWithout, Gone)];
        course(Engine::Leased, &[heard_again.as_slice(), &away].concat());
    }

    #[test]
    fn a_node_that_is_forgotten_and_heard_says_so() {
        let mut course = course(Engine::File, &[(0.0, Live, Up), (1.0, Forgotten, Gone), (2.0, Hello, Gone)]);
        let reason = course.judgement().unwrap().reason.to_string();
        assert_eq!(reason, "an operator said `forget`, but it was heard 0.0 s ago: stop it");
    }

    #[test]
    fn an_operators_word_is_enough() {
        for engine in [Engine::Leased, Engine::File] {
            let mut course = course(
                engine,
                &[
                    (0.0, Live, Up),
                    (0.5, Hello, Up),
                    (1.0, Forgotten, Gone),
                    (1.5, Look, Gone),
                    (60.0, AwayForgotten, Gone),
                    (60.5, LiveUnknown, Gone),
                    // A record is a new one, and the node is given its time.
                    (61.0, Live, Up),
                    (62.0, Forgotten, Gone),
                ],
            );
            assert_eq!(course.judgement().unwrap().reason, Reason::Forgotten);
        }
        // Also where this node was started from a snapshot.
        course(Engine::Leased, &[(0.0, AwayForgotten, Gone), (60.0, Hello, Gone), (61.0, Live, Up)]);
    }

    #[test]
    fn a_node_in_the_file_is_never_gone_by_its_silence() {
        let mut course =
            course(Engine::File, &[(0.0, Live, Up), (0.5, Hello, Up), (3.5, Look, Silent), (10.5, Look, Unreachable)]);
        course.until(86_400.0);
        let reason = course.judgement().unwrap().reason.to_string();
        assert!(reason.ends_with("the members' file names it (`nodes forget` says that it is gone)"), "{reason}");
    }

    #[test]
    fn a_node_that_is_taken_out_of_the_file_is_gone_once_it_is_silent() {
        course(
            Engine::File,
            &[
                (0.0, Live, Up),
                (0.5, Hello, Up),
                (1.0, LiveWithout, Up),
                (1.5, Hello, Up),
                (4.5, Look, Silent),
                (11.5, Look, Gone),
                // The file cannot be read, then names it again.
                (12.0, AwayWithout, Gone),
                (13.0, Live, Up),
            ],
        );
        // The other way round: silent, then taken out.
        course(
            Engine::File,
            &[(0.0, Live, Up), (0.5, Hello, Up), (10.5, Look, Unreachable), (60.0, LiveWithout, Gone)],
        );
    }

    #[test]
    fn a_file_that_cannot_be_read_takes_nobody_out() {
        course(Engine::File, &[(0.0, Live, Up), (0.5, AwayWithout, Up), (11.0, Look, Unreachable), (12.0, Hello, Up)]);
    }

    /// Both have to hold at the same time.
    #[test]
    fn a_lease_that_had_ended_before_the_engine_went_away_is_no_witness() {
        course(
            Engine::Leased,
            &[
                (0.0, Live, Up),
                (0.5, Hello, Up),
                (9.0, LiveWithout, Silent),
                (9.5, AwayWithout, Silent),
                (60.0, Look, Unreachable),
                (61.0, Live, Unreachable),
                (62.0, Hello, Up),
            ],
        );
    }

    /// Its lease had ended before this node was started: it may be cut off from etcd, and alive, and this node does not
    /// know where.
    #[test]
    fn a_number_whose_record_was_never_seen_is_not_gone() {
        let begun = [(0.0, LiveWithout, Up), (9.9, Look, Up), (10.0, Look, Unreachable), (600.0, Look, Unreachable)];
        let mut never_seen = course(Engine::Leased, &begun);
        let reason = never_seen.judgement().unwrap().reason;
        assert!(matches!(reason, Reason::SilentForLong { second: SecondWitness::NeverKnown, .. }), "{reason}");
        // From its first record on it is listened for, and can be gone.
        let its_record = [(601.0, Live, Up), (602.0, LiveWithout, Up), (610.9, Look, Up), (611.0, Look, Gone)];
        course(Engine::Leased, &[&begun[..], &its_record].concat());
        let mut course = course(Engine::Leased, &[&begun[..], &[(601.0, Forgotten, Gone)]].concat());
        course.health.remove(number(PEER));
        assert_eq!(course.judgement(), None);
    }

    /// One that was heard before its record was seen.
    #[test]
    fn a_node_that_no_view_has_named_is_judged_as_the_others() {
        course(
            Engine::Leased,
            &[(0.0, Hello, Up), (3.0, Look, Silent), (10.0, Look, Unreachable), (11.0, Live, Unreachable)],
        );
        course(Engine::Leased, &[(0.0, Hello, Up), (0.5, LiveUnknown, Up), (10.0, Look, Gone)]);
    }
}

mod listening {
    use super::*;

    #[test]
    fn a_pause_of_this_process_is_nobodys_silence() {
        let mut course =
            course(Engine::Leased, &[(0.0, Live, Up), (0.5, Hello, Up), (1.0, LiveWithout, Up), (1.4, Hello, Up)]);
        // Stopped for a minute, and what has arrived meanwhile is read after the first look.
        course.milliseconds += 60_000;
        assert_eq!(course.judgement().unwrap().state, Up);
        course.until(62.3);
        assert_eq!(course.judgement().unwrap().state, Up);
        course.until(62.4);
        assert_eq!(course.judgement().unwrap().state, Silent);
        course.until(69.4);
        assert_eq!(course.judgement().unwrap().state, Gone);
    }

    #[test]
    fn time_never_goes_back() {
        let mut course = course(Engine::Leased, &[(0.0, Live, Up), (0.5, Hello, Up), (5.0, Look, Silent)]);
        course.milliseconds = 100;
        assert_eq!(course.judgement().unwrap().state, Silent);
        course.milliseconds = 10_500;
        // From 5 s on, two seconds at most were listened.
        assert_eq!(course.judgement().unwrap().state, Silent);
    }

    #[test]
    fn when_to_look_again_is_when_something_changes() {
        let mut course = course(Engine::Leased, &[(0.0, Live, Up), (0.7, Hello, Up), (1.0, Look, Up)]);
        let mut changes = Vec::new();
        let mut before = course.judgement().unwrap();
        while course.milliseconds < 15_000 {
            let look_again = course.health.judge(course.now()).look_again;
            let pause = look_again.duration_since(course.now());
            assert!(Duration::ZERO < pause && pause <= Duration::from_secs(1), "{pause:?}");
            course.milliseconds += pause.as_millis() as u64;
            let judgement = course.judgement().unwrap();
            if judgement.state != before.state {
                changes.push(course.milliseconds);
            }
            before = judgement;
        }
        assert_eq!(changes, [3_700, 10_700]);
    }

    #[test]
    fn a_node_that_does_not_hear_this_one_is_up_and_says_so() {
        let mut course = course(Engine::Leased, &[(0.0, Live, Up)]);
        course.health.heard(course.now(), number(PEER), Word { hears_us: false, ..word() });
        let judgement = course.judgement().unwrap();
        assert_eq!(judgement.state, Up);
        assert!(judgement.reason.to_string().contains("it does not hear this node"), "{}", judgement.reason);
    }

    #[test]
    fn a_node_that_takes_none_is_up_and_given_none() {
        let mut course = course(Engine::Leased, &[(0.0, Live, Up)]);
        let mut none = word();
        none.announcement.takes_new_connections = false;
        course.health.heard(course.now(), number(PEER), none);
        let judgement = course.judgement().unwrap();
        assert!(judgement.state == Up && !judgement.takes_new_connections);
    }

    #[test]
    fn this_node_is_not_judged() {
        let mut course = course(Engine::Leased, &[(0.0, Live, Up)]);
        course.health.heard(course.now(), number(OWN), word());
        course.happens(Live);
        assert_eq!(course.health.judge(course.now()).nodes.into_keys().collect::<Vec<_>>(), [number(PEER)]);
    }

    #[test]
    fn dead_after_is_not_less_than_what_makes_silent() {
        let now = Instant::now();
        let config = HealthConfig { own: number(OWN), engine: Engine::File, dead_after: Duration::ZERO };
        let mut health = Health::new(config, now);
        health.membership(now, &view(Freshness::Live, [(number(PEER), member(number(PEER)))]));
        assert_eq!(health.judge(now).nodes[&number(PEER)].state, Up);
    }
}

/// A cluster of 100, in which each node says hello to 16.
mod in_a_large_cluster {
    use super::*;

    fn all() -> BTreeSet<NodeNumber> {
        (1..=100).map(number).collect()
    }

    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Says {
        Here,
        Elsewhere,
    }

    use Says::{Elsewhere, Here};

    /// A node that says hello to this one, or to others only; the same in a cluster of 65.
    fn speaker(says: Says) -> NodeNumber {
        let of_65: BTreeSet<_> = (1..=65).map(number).collect();
        let is_heard = |speaker: &NodeNumber| {
            [&all(), &of_65].map(|nodes| Audiences::new(nodes).of(*speaker).contains(&number(OWN)))
        };
        let wanted = [says == Here; 2];
        (2..=65).map(number).find(|speaker| is_heard(speaker) == wanted).unwrap()
    }

    fn members() -> BTreeMap<NodeNumber, Member> {
        all().into_iter().map(|node| (node, member(node))).collect()
    }

    /// The first `count` of those that `silent` says hello to do not hear it.
    fn unheard(silent: NodeNumber, count: usize) -> BTreeMap<NodeNumber, BTreeSet<NodeNumber>> {
        Audiences::new(&all()).of(silent).into_iter().take(count).map(|listener| (listener, [silent].into())).collect()
    }

    struct Large {
        course: Course,
        peer: NodeNumber,
    }

    impl Large {
        fn with(peer: NodeNumber) -> Self {
            let mut large = Self { course: Course::of(Engine::Leased), peer };
            large.members(Freshness::Live, members());
            large
        }

        fn members(&mut self, freshness: Freshness, members: BTreeMap<NodeNumber, Member>) {
            self.course.health.membership(self.course.now(), &view(freshness, members));
        }

        /// `count` of the peer's listeners say that they do not hear it.
        fn say_unheard(&mut self, count: usize) {
            self.course.health.unheard_by(self.course.now(), unheard(self.peer, count));
        }

        /// The peer's lease ends.
        fn lease_ends(&mut self) {
            let mut members = members();
            members.insert(self.peer, Member::default());
            self.members(Freshness::Live, members);
        }

        #[track_caller]
        fn expect(&mut self, seconds: f64, expected: NodeHealth) {
            self.course.until(seconds);
            let judgement = self.course.health.judge(self.course.now()).nodes[&self.peer];
            assert_eq!(judgement.state, expected, "at {seconds} s: {judgement:?}");
        }
    }

    #[test]
    fn silence_of_one_that_says_hello_elsewhere_says_nothing() {
        let mut large = Large::with(speaker(Elsewhere));
        large.expect(600.0, Up);
        // Nor is it a witness where the lease has ended.
        large.lease_ends();
        large.expect(1_200.0, Up);
        assert!(!large.course.health.unheard(large.course.now()).contains(&large.peer));
    }

    #[test]
    fn most_of_those_that_hear_it_are_its_witness() {
        let mut large = Large::with(speaker(Elsewhere));
        large.expect(60.0, Up);
        large.say_unheard(8);
        large.expect(90.0, Up);
        large.say_unheard(9);
        large.expect(90.0, Silent);
        // One more says so: the clock goes on.
        large.say_unheard(10);
        large.expect(96.9, Silent);
        large.expect(97.0, Unreachable);
        large.say_unheard(8);
        large.expect(98.0, Up);
        large.say_unheard(16);
        large.expect(99.0, Silent);
        large.lease_ends();
        large.expect(104.9, Silent);
        large.expect(105.0, Gone);
    }

    /// The two had different ideas of who hears whom.
    #[test]
    fn a_hello_is_more_than_the_others_words() {
        let mut large = Large::with(speaker(Elsewhere));
        large.expect(60.0, Up);
        large.say_unheard(16);
        large.expect(67.0, Unreachable);
        large.course.health.heard(large.course.now(), large.peer, word());
        large.expect(69.9, Up);
        large.expect(70.0, Silent);
        large.expect(77.0, Unreachable);
    }

    #[test]
    fn those_that_are_gone_say_nothing() {
        let mut large = Large::with(speaker(Elsewhere));
        large.expect(60.0, Up);
        large.say_unheard(9);
        large.expect(61.0, Silent);
        let mut members = members();
        let dead = Audiences::new(&all()).of(large.peer).into_iter().next().unwrap();
        members.insert(dead, Member::default());
        // With one node less, the peer has another listener in its place, which hears it.
        large.members(Freshness::Live, members);
        large.expect(62.0, Up);
    }

    #[test]
    fn their_word_is_old_where_the_view_is_not_live() {
        let mut large = Large::with(speaker(Elsewhere));
        large.expect(60.0, Up);
        large.say_unheard(16);
        large.expect(61.0, Silent);
        large.members(last_known(), members());
        large.expect(61.0, Up);
        large.expect(600.0, Up);
        // And the clock begins anew with a live one.
        large.members(Freshness::Live, members());
        large.expect(606.9, Silent);
        large.expect(607.0, Unreachable);
    }

    #[test]
    fn one_that_says_hello_here_is_judged_here_and_published() {
        let peer = speaker(Here);
        let mut large = Large::with(peer);
        large.course.health.heard(large.course.now(), peer, word());
        large.expect(2.9, Up);
        assert!(!large.course.health.unheard(large.course.now()).contains(&peer));
        large.expect(3.0, Silent);
        assert!(large.course.health.unheard(large.course.now()).contains(&peer));
        large.course.health.heard(large.course.now(), peer, word());
        large.expect(3.0, Up);
        assert!(!large.course.health.unheard(large.course.now()).contains(&peer));
    }

    #[test]
    fn one_that_says_that_it_goes_on_elsewhere_is_not_silent() {
        let peer = speaker(Here);
        let mut large = Large::with(peer);
        large.course.health.heard(large.course.now(), peer, Word { continues: false, ..word() });
        large.expect(600.0, Up);
        large.course.health.heard(large.course.now(), peer, word());
        large.expect(603.0, Silent);
    }

    /// The cluster shrinks to a size in which each hears each other: nobody is silent for not having spoken before.
    #[test]
    fn one_that_has_cause_to_speak_from_now_on_is_given_time() {
        let peer = speaker(Elsewhere);
        let mut large = Large::with(peer);
        large.expect(600.0, Up);
        let mut fewer = members();
        fewer.retain(|&node, _| node <= number(50) || node == peer);
        large.members(Freshness::Live, fewer);
        large.expect(609.9, Up);
        large.expect(610.0, Unreachable);
    }

    #[test]
    fn the_65th_does_not_become_one_that_all_should_have_heard_when_its_lease_ends() {
        let peer = speaker(Elsewhere);
        let mut large = Large::with(peer);
        let mut of_65 = members();
        of_65.retain(|&node, _| node <= number(if peer <= number(65) { 65 } else { 64 }) || node == peer);
        assert_eq!(of_65.len(), 65);
        large.members(Freshness::Live, of_65.clone());
        large.expect(600.0, Up);
        of_65.insert(peer, Member::default());
        large.members(Freshness::Live, of_65);
        large.expect(1_200.0, Up);
    }
}

/// Random courses of events; a model that knows the two witnesses alone says when a node may be gone.
mod at_random {
    use super::*;

    /// SplitMix64.
    struct Random(u64);

    impl Random {
        fn below(&mut self, limit: u64) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (z ^ (z >> 31)) % limit
        }
    }

    /// What really happened.
    struct Truth {
        heard: u64,
        has_record: bool,
        is_live: bool,
        /// Both witnesses have said so, and it was neither heard nor had a new record since.
        is_witnessed: bool,
        /// An operator has said so, and it had no new record since.
        is_forgotten: bool,
    }

    impl Truth {
        fn sees(&mut self, at: u64, event: Event) {
            match event {
                Hello | DrainingHello => (self.heard, self.is_witnessed) = (at, false),
                Live => {
                    // One that was gone is given its time.
                    self.heard = if self.is_gone() { at } else { self.heard };
                    (self.is_witnessed, self.is_forgotten) = (false, false);
                    (self.is_live, self.has_record) = (true, true);
                }
                LiveWithout | LiveUnknown => (self.is_live, self.has_record) = (true, false),
                Away | AwayWithout => self.is_live = false,
                Forgotten => (self.is_live, self.has_record, self.is_forgotten) = (true, false, true),
                _ => {}
            }
            self.is_witnessed |= self.is_live && !self.has_record && at - self.heard >= 10_000;
        }

        fn is_gone(&self) -> bool {
            self.is_witnessed || self.is_forgotten
        }
    }

    fn event(random: &mut Random) -> Event {
        match random.below(40) {
            0 => Live,
            1 | 2 => LiveWithout,
            3 => LiveUnknown,
            4 => Away,
            5 => AwayWithout,
            6 if random.below(20) == 0 => Forgotten,
            7..=12 => Hello,
            13 => DrainingHello,
            _ => Look,
        }
    }

    #[test]
    fn never_gone_by_one_witness_and_always_by_two() {
        let (mut gone, mut back) = (0, 0);
        for seed in 0..2_000 {
            let mut random = Random(seed);
            let mut course = course(Engine::Leased, &[(0.0, Live, Up)]);
            let mut truth =
                Truth { heard: 0, has_record: true, is_live: true, is_witnessed: false, is_forgotten: false };
            let mut was_gone = false;
            for _ in 0..200 {
                course.milliseconds += random.below(1_500);
                let event = event(&mut random);
                course.happens(event);
                truth.sees(course.milliseconds, event);
                let judgement = course.judgement().unwrap();
                let is_gone = judgement.state == Gone;
                assert_eq!(is_gone, truth.is_gone(), "seed {seed}, {} ms: {event:?}", course.milliseconds);
                let silent = course.milliseconds - truth.heard;
                let is_dropped = judgement.state == Unreachable;
                assert!(silent >= 10_000 || !is_dropped, "seed {seed}: dropped after {silent} ms");
                gone += u32::from(is_gone && !was_gone);
                back += u32::from(was_gone && !is_gone);
                was_gone = is_gone;
            }
        }
        assert!(gone > 500 && back > 200, "{gone} {back}");
    }
}
