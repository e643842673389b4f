use std::{collections::BTreeSet, sync::Arc, time::SystemTime};

use super::*;
use crate::membership::{Freshness, Incarnation, Member, NodeRecord, NodeState, Order, RunInfo, TunnelVersions};

const SHAPE: CidShape = CidShape { length: 17, describes_length: true };
const RETIRE_AFTER: u64 = 60;
/// Of whom an agent knows that began just now.
const NOBODY: Unleased = Unleased::new();

/// What a commit makes of a state.
fn committed(state: &ClusterState, change: &Change) -> ClusterState {
    assert_eq!(change.based_on, state.revision);
    let mut after = state.clone();
    after.revision += 1;
    for write in &change.writes {
        match write {
            Write::Master(master) => after.master = Some(master.clone()),
            Write::Cid(cid) => {
                after.cid.insert(cid.rotation, CidConfiguration { entered: after.revision, ..cid.clone() });
            }
            Write::RemoveCid(rotation) => drop(after.cid.remove(rotation)),
            Write::Order(..) | Write::Revoke(_) => panic!("a rotation orders nothing"),
        }
    }
    after
}

/// A cluster that was just made, and nodes that ack these revisions.
fn cluster(acks: &[u64]) -> ClusterState {
    let mut state = committed(&ClusterState::default(), &make(SHAPE, 1_000));
    for (number, acks) in (1..).zip(acks) {
        set(&mut state, number, *acks);
    }
    state
}

fn set(state: &mut ClusterState, number: u16, acks: u64) {
    let number = NodeNumber::new(number).unwrap();
    let run = RunInfo {
        incarnation: Incarnation::new(number.get().into()),
        host: 1,
        acks,
        versions: TunnelVersions { lowest: 1, highest: 1 },
        engine: "xdp".to_owned(),
        listeners: String::new(),
        unheard: BTreeSet::new(),
        addresses: None,
        encrypts: None,
    };
    let (address, state_of_node) = ([10, 0, 0, 1].into(), NodeState::Up);
    let record = NodeRecord { number, address, port: 6080, weight: 100, state: state_of_node, run: Some(run) };
    state.nodes.insert(number, Member { record: Some(record), ..Member::default() });
}

fn look(state: &ClusterState, now: u64) -> Next {
    let view = View { state: Arc::new(state.clone()), version: 40, freshness: Freshness::Live };
    next(&view, now, RETIRE_AFTER, &NOBODY)
}

fn states(state: &ClusterState) -> Vec<(u8, CidState)> {
    state.cid.values().map(|cid| (cid.rotation.get(), cid.state)).collect()
}

#[test]
fn a_configuration_lives_from_its_announcement_to_its_end() {
    let mut state = cluster(&[1, 1]);
    assert_eq!(look(&state, 1_000), Next::Settled);
    state = committed(&state, &announce(&state, SHAPE, 2_000, &NOBODY).unwrap());
    assert_eq!(states(&state), [(0, CidState::Issuing), (1, CidState::Announced)]);
    let rotation = ConfigRotation::new(1);
    let node = |number| NodeNumber::new(number).unwrap();
    assert_eq!(look(&state, 2_000), Next::Waiting { rotation, nodes: vec![(node(1), 1), (node(2), 1)] });
    set(&mut state, 1, 2);
    assert_eq!(look(&state, 9_000), Next::Waiting { rotation, nodes: vec![(node(2), 1)] }, "however long it takes");
    set(&mut state, 2, 2);
    let Next::Change(issue) = look(&state, 3_000) else { panic!("all have acked") };
    assert_eq!(issue.nodes_as_of, Some(40), "nobody may come in between");
    state = committed(&state, &issue);
    assert_eq!(states(&state), [(0, CidState::Retiring), (1, CidState::Issuing)]);
    let rotation = ConfigRotation::new(0);
    assert_eq!(look(&state, 3_059), Next::Until { rotation, time: 3_060 });
    // Its time is over, and a node may still issue by it.
    set(&mut state, 1, 3);
    assert_eq!(look(&state, 3_060), Next::Waiting { rotation, nodes: vec![(node(2), 2)] });
    set(&mut state, 2, 3);
    let Next::Change(end) = look(&state, 3_060) else { panic!("nobody has it any more") };
    assert_eq!(end.nodes_as_of, Some(40));
    state = committed(&state, &end);
    assert_eq!(states(&state), [(1, CidState::Issuing)]);
    assert_eq!(look(&state, 3_060), Next::Settled);
}

#[test]
fn it_waits_for_those_who_are_there() {
    let mut state = cluster(&[2, 1, 1]);
    state = committed(&state, &announce(&state, SHAPE, 2_000, &NOBODY).unwrap());
    let waits_for = |state: &ClusterState| waits_for(&look(state, 2_000));
    assert_eq!(waits_for(&state), [(2, 1), (3, 1)]);
    order_forget(&mut state, 2);
    assert_eq!(waits_for(&state), [(3, 1)], "not for one that was forgotten");
    order_forget(&mut state, 3);
    assert!(matches!(look(&state, 2_000), Next::Change(_)));
}

#[test]
fn it_waits_for_those_who_live_without_a_lease() {
    let mut state = cluster(&[2, 2, 2]);
    state.nodes.get_mut(&number(2)).unwrap().record = None;
    let before = may_live(2, 1);
    state = committed(&state, &announce(&state, SHAPE, 2_000, &before).unwrap());
    assert_eq!(awaited(&state, 1), [1, 2, 3]);
    assert_eq!(waits_for(&look_with(&state, &before)), [(2, 1)]);
    assert!(matches!(look_with(&state, &may_live(2, 2)), Next::Change(_)), "it decodes it already");
    // Where it has a record, that counts.
    let other = Unleased::from([(number(2), WithoutLease::Gone), (number(3), WithoutLease::MayLive { acks: 1 })]);
    assert!(matches!(look_with(&state, &other), Next::Change(_)));
    order_forget(&mut state, 2);
    assert!(matches!(look_with(&state, &before), Next::Change(_)), "not for one that was forgotten");
}

/// An agent that began after a node had lost its lease knows nothing of it; the rotation's record does.
#[test]
fn it_waits_for_those_it_names_whoever_remembers_them() {
    let mut state = cluster(&[2, 2]);
    state = committed(&state, &announce(&state, SHAPE, 2_000, &NOBODY).unwrap());
    state.nodes.get_mut(&number(2)).unwrap().record = None;
    assert_eq!(waits_for(&look(&state, 2_000)), [(2, 0)]);
    let mut lost = state.clone();
    lost.nodes.remove(&number(2));
    assert_eq!(waits_for(&look(&lost, 2_000)), [(2, 0)], "nor is its number known");
    // Of one that was not there then, nothing is concluded.
    let mut older = state.clone();
    older.nodes.insert(number(3), Member::default());
    assert_eq!(waits_for(&look(&older, 2_000)), [(2, 0)]);
    let gone = Unleased::from([(number(2), WithoutLease::Gone)]);
    assert!(matches!(look_with(&state, &gone), Next::Change(_)), "who has heard its silence may go on");
    let mut forgotten = state.clone();
    order_forget(&mut forgotten, 2);
    assert!(matches!(look(&forgotten, 2_000), Next::Change(_)));
    set(&mut state, 2, 2);
    let Next::Change(issue) = look(&state, 2_000) else { panic!("it is back, and has acked") };
    // What retires then, waits for them, too.
    state = committed(&state, &issue);
    assert_eq!((awaited(&state, 0), awaited(&state, 1)), (vec![1, 2], vec![]));
    set(&mut state, 1, 3);
    state.nodes.get_mut(&number(2)).unwrap().record = None;
    assert_eq!(waits_for(&look(&state, 2_060)), [(2, 0)]);
}

/// The one that announces may have begun after a node had lost its lease.
#[test]
fn who_remembers_a_node_adds_it() {
    let mut state = cluster(&[2, 1, 2]);
    state.nodes.get_mut(&number(3)).unwrap().record = None;
    state = committed(&state, &announce(&state, SHAPE, 2_000, &NOBODY).unwrap());
    assert_eq!(awaited(&state, 1), [1, 2]);
    let Next::Change(named) = look_with(&state, &may_live(3, 1)) else { panic!("node 3 is not named") };
    let announced = state.cid[&ConfigRotation::new(1)].announced;
    state = committed(&state, &named);
    assert_eq!((awaited(&state, 1), states(&state)[1]), (vec![1, 2, 3], (1, CidState::Announced)));
    assert_eq!(state.cid[&ConfigRotation::new(1)].announced, announced, "what was acked is acked");
    assert_eq!(waits_for(&look(&state, 2_000)), [(2, 1), (3, 0)]);
    set(&mut state, 2, 2);
    assert_eq!(waits_for(&look_with(&state, &may_live(3, 1))), [(3, 1)]);
}

fn number(number: u16) -> NodeNumber {
    NodeNumber::new(number).unwrap()
}

fn may_live(node: u16, acks: u64) -> Unleased {
    Unleased::from([(number(node), WithoutLease::MayLive { acks })])
}

fn order_forget(state: &mut ClusterState, node: u16) {
    state.nodes.get_mut(&number(node)).unwrap().order = Some(Order::Forget);
}

fn look_with(state: &ClusterState, unleased: &Unleased) -> Next {
    let view = View { state: Arc::new(state.clone()), version: 40, freshness: Freshness::Live };
    next(&view, 2_000, RETIRE_AFTER, unleased)
}

fn waits_for(next: &Next) -> Vec<(u16, u64)> {
    let Next::Waiting { nodes, .. } = next else { panic!("{next:?}") };
    nodes.iter().map(|(number, acks)| (number.get(), *acks)).collect()
}

fn awaited(state: &ClusterState, rotation: u8) -> Vec<u16> {
    state.cid[&ConfigRotation::new(rotation)].awaited.iter().map(|number| number.get()).collect()
}

#[test]
fn nothing_is_decided_while_the_engine_is_away() {
    let mut state = cluster(&[2]);
    state = committed(&state, &announce(&state, SHAPE, 2_000, &NOBODY).unwrap());
    let why = String::new();
    for freshness in [Freshness::LastKnown { since: SystemTime::now(), why: why.clone() }, Freshness::Unread { why }] {
        let view = View { state: Arc::new(state.clone()), version: 40, freshness };
        assert_eq!(next(&view, 2_000, RETIRE_AFTER, &NOBODY), Next::Away);
    }
}

#[test]
fn one_at_a_time_and_seven_in_all() {
    assert_eq!(announce(&ClusterState::default(), SHAPE, 0, &NOBODY), Err(RotationError::NotMade));
    let mut state = cluster(&[]);
    for turn in 1..7 {
        state = committed(&state, &announce(&state, SHAPE, 2_000, &NOBODY).unwrap());
        assert_eq!(announce(&state, SHAPE, 2_000, &NOBODY), Err(RotationError::OnItsWay(ConfigRotation::new(turn))));
        let Next::Change(issue) = look(&state, 2_000) else { panic!("there is no node to wait for") };
        state = committed(&state, &issue);
        assert_eq!(state.issuing().unwrap().rotation.get(), turn);
    }
    assert_eq!(announce(&state, SHAPE, 2_000, &NOBODY), Err(RotationError::AllInUse));
    // The one that has retired longest goes first, and its rotation comes next.
    let Next::Change(end) = look(&state, 2_060) else { panic!("its time is over") };
    assert_eq!(end.writes, [Write::RemoveCid(ConfigRotation::new(0))]);
    state = committed(&state, &end);
    let next = announce(&state, SHAPE, 3_000, &NOBODY).unwrap();
    assert!(matches!(&next.writes[..], [Write::Cid(cid)] if cid.rotation.get() == 0), "{next:?}");
}

#[test]
fn keys_are_fresh_each_time() {
    let secrets = |change: Change| match change.writes.last() {
        Some(Write::Cid(cid)) => cid.secrets.clone(),
        _ => panic!("{change:?}"),
    };
    assert_ne!(secrets(make(SHAPE, 1)), secrets(make(SHAPE, 1)));
    let state = cluster(&[]);
    assert_ne!(secrets(announce(&state, SHAPE, 1, &NOBODY).unwrap()), state.issuing().unwrap().secrets);
}
