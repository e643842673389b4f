//! To whom a node says hello, and whom it answers.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

fn nodes(count: u16) -> BTreeSet<NodeNumber> {
    (1..=count).map(number).collect()
}

fn present(nodes: BTreeSet<NodeNumber>) -> Members {
    Members { present: nodes, absent: BTreeSet::new() }
}

fn hellos(own: u16, count: u16) -> Hellos {
    let mut hellos = Hellos::new(ClusterSecret::from(SECRET), number(own), Run::new(own.into()));
    hellos.members(&present(nodes(count)));
    hellos
}

fn at(seconds: u64) -> Moment {
    static BEGAN: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    Moment { now: *BEGAN + Duration::from_secs(seconds), wall_clock: seconds * 1_000_000_000 }
}

/// What is said this second, as those that it is for read it.
fn said(hellos: &mut Hellos, seconds: u64) -> BTreeMap<NodeNumber, Hello> {
    let outgoing = hellos.say(at(seconds), announcement(), |_| 1_472).unwrap();
    outgoing.into_iter().map(|one| (one.to, link(one.to.get(), 1).open(&one.datagram).unwrap())).collect()
}

#[test]
fn each_other_node_is_told_and_no_other() {
    let mut hellos = hellos(1, 5);
    let mut others = nodes(5);
    others.remove(&number(1));
    assert!(said(&mut hellos, 0).into_keys().eq(others));
    hellos.members(&present([1, 2, 9].map(number).into()));
    let said = said(&mut hellos, 1);
    assert!(said.keys().copied().eq([number(2), number(9)]));
    assert_eq!([said[&number(2)].sequence, said[&number(9)].sequence], [2, 1]);
}

#[test]
fn those_that_are_no_longer_chosen_are_told_three_times() {
    let mut hellos = hellos(1, 64);
    assert_eq!(said(&mut hellos, 0).len(), 63);
    hellos.members(&present(nodes(66)));
    let chosen = Audiences::new(&nodes(66)).of(number(1));
    for second in 1..=5 {
        // Another change does not begin it anew.
        hellos.members(&present(nodes(66)));
        let said = said(&mut hellos, second);
        let (last, others): (Vec<_>, Vec<_>) = said.into_iter().partition(|(_, hello)| !hello.continues);
        assert!(others.into_iter().map(|(to, _)| to).eq(chosen.iter().copied()));
        // Those that are new were never told anything.
        let left_out = nodes(64).into_iter().filter(|node| *node != number(1) && !chosen.contains(node));
        let expected: Vec<_> = if second <= 3 { left_out.collect() } else { Vec::new() };
        assert!(last.into_iter().map(|(to, _)| to).eq(expected), "{second}");
    }
    hellos.members(&present(nodes(64)));
    let said = said(&mut hellos, 6);
    assert!(said.len() == 63 && said.values().all(|hello| hello.continues));
}

/// It says hello to this one by the same rule, which knows all that are there.
#[test]
fn an_absent_node_is_told_by_its_neighbours_and_takes_no_place() {
    let absent = BTreeSet::from([number(101)]);
    let with = |own: u16| {
        let mut hellos = hellos(own, 100);
        hellos.members(&Members { present: nodes(100), absent: absent.clone() });
        let said = hellos.say(at(0), announcement(), |_| 0).unwrap();
        said.into_iter().map(|one| one.to).collect::<BTreeSet<_>>()
    };
    let neighbours = Audiences::new(&nodes(101)).of(number(101));
    for own in 1..=100 {
        let mut expected = Audiences::new(&nodes(100)).of(number(own));
        if neighbours.contains(&number(own)) {
            expected.insert(number(101));
        }
        assert_eq!(with(own), expected, "{own}");
    }
}

#[test]
fn a_new_run_is_answered_and_one_that_is_played_again_not_for_long() {
    let [mut one, mut two] = [hellos(1, 2), hellos(2, 2)];
    let first = one.say(at(0), announcement(), |_| 0).unwrap();
    assert_eq!(one.unaware(at(0).now), [number(2)].into());
    let incoming = two.hear(at(0), &first[0].datagram).unwrap();
    assert!(incoming.wants_answer);
    let answer = two.answer(number(1), at(0), announcement()).unwrap().unwrap();
    assert_eq!((answer.to, answer.datagram.len()), (number(1), HELLO_LENGTH));
    assert!(one.hear(at(0), &answer.datagram).unwrap().wants_answer);
    let second = one.answer(number(2), at(0), announcement()).unwrap().unwrap();
    let incoming = two.hear(at(0), &second.datagram).unwrap();
    assert!(incoming.heard == Heard::Counted && incoming.wants_answer && two.unaware(at(0).now).is_empty());
    let last = two.answer(number(1), at(0), announcement()).unwrap().unwrap();
    assert!(!one.hear(at(0), &last.datagram).unwrap().wants_answer && one.unaware(at(0).now).is_empty());
    // Recordings of many runs, by whoever has them.
    let answered = |two: &mut Hellos, runs: std::ops::Range<u64>| {
        let recorded = runs.filter(|&run| {
            let hello = Hello { run: Run::new(run), sent_at: run, ..hello() };
            two.hear(at(0), &link(1, 2).seal(&hello, 0).unwrap()).unwrap().wants_answer
        });
        recorded.count()
    };
    assert_eq!(answered(&mut two, 100..120), 1, "two were for the one that lives");
    two.say(at(1), announcement(), |_| 0).unwrap();
    assert_eq!(answered(&mut two, 200..220), 3);
    assert_eq!(two.answer(number(9), at(1), announcement()).unwrap(), None);
}

#[test]
fn some_are_padded_to_what_the_interface_carries() {
    let mut hellos = hellos(1, 3);
    let longest = |to: NodeNumber| if to == number(2) { 1_472 } else { 8_972 };
    for second in 1..=34 {
        let outgoing = hellos.say(at(second), announcement(), longest).unwrap();
        let lengths: Vec<_> = outgoing.iter().map(|one| one.datagram.len()).collect();
        let expected = if second % 30 == 3 { [1_472, 8_972] } else { [HELLO_LENGTH; 2] };
        assert_eq!(lengths, expected, "{second}");
    }
}

#[test]
fn what_arrives_is_told_with_its_sender() {
    let [mut one, mut two] = [hellos(1, 2), hellos(2, 2)];
    let first = one.say(at(0), announcement(), |_| 0).unwrap();
    let incoming = two.hear(at(0), &first[0].datagram).unwrap();
    assert_eq!((incoming.from, incoming.heard), (number(1), Heard::Unproven));
    assert_eq!(incoming.hello.announcement, announcement());
    let answer = two.say(at(1), announcement(), |_| 0).unwrap();
    let incoming = one.hear(at(1), &answer[0].datagram).unwrap();
    assert_eq!((incoming.from, incoming.heard), (number(2), Heard::Counted));
    assert!(incoming.way.hears_us && incoming.way == one.ways(at(1).now)[&number(2)]);
    assert_eq!(one.hear(at(1), &answer[0].datagram).unwrap().heard, Heard::Replayed);
}

#[test]
fn what_is_nothing_of_this_cluster_is_refused() {
    let mut hellos = hellos(1, 3);
    let from = |own: u16, to: u16| link(own, to).seal(&hello(), 0).unwrap();
    assert_eq!(hellos.hear(at(0), &from(4, 1)), Err(HelloError::UnknownSender(number(4))));
    let for_another = HelloError::OtherReceiver { receiver: number(3), own: number(1) };
    assert_eq!(hellos.hear(at(0), &from(2, 3)), Err(for_another));
    // Its own hello, sent back.
    assert!(matches!(hellos.hear(at(0), &from(1, 2)), Err(HelloError::OtherReceiver { .. })));
    assert_eq!(hellos.hear(at(0), &from(1, 1)), Err(HelloError::UnknownSender(number(1))));
    assert_eq!(hellos.hear(at(0), b"no hello"), Err(HelloError::Truncated { octets: 8 }));
    assert!(hellos.ways(at(0).now).values().all(|way| *way == WayReport::default()));
}

#[test]
fn nothing_tells_the_secret() {
    assert_eq!(format!("{:?}", hellos(1, 3)), "Hellos { own: node 1, peers: [node 2, node 3], .. }");
}
