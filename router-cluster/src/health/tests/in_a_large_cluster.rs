//! A cluster of 100, in which each node says hello to 16.

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
    let is_heard =
        |speaker: &NodeNumber| [&all(), &of_65].map(|nodes| Audiences::new(nodes).of(*speaker).contains(&number(OWN)));
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

/// The cluster shrinks to a size in which each hears each other: that a node had no cause to speak before is not silence.
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
