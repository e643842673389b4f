use std::{collections::BTreeSet, sync::Arc, time::SystemTime};

use super::*;
use crate::membership::{Freshness, Incarnation, Member, NodeRecord, NodeState, Order, RunInfo, TunnelVersions};

const SHAPE: CidShape = CidShape { length: 17, describes_length: true };
const RETIRE_AFTER: u64 = 60;

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
    state.nodes.insert(number, Member { record: Some(record), order: None });
}

fn look(state: &ClusterState, now: u64) -> Next {
    let view = View { state: Arc::new(state.clone()), version: 40, freshness: Freshness::Live };
    next(&view, now, RETIRE_AFTER, &Acks::new())
}

fn states(state: &ClusterState) -> Vec<(u8, CidState)> {
    state.cid.values().map(|cid| (cid.rotation.get(), cid.state)).collect()
}

#[test]
fn a_configuration_lives_from_its_announcement_to_its_end() {
    let mut state = cluster(&[1, 1]);
    assert_eq!(look(&state, 1_000), Next::Settled);
    state = committed(&state, &announce(&state, SHAPE, 2_000).unwrap());
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
    state = committed(&state, &announce(&state, SHAPE, 2_000).unwrap());
    let waits_for = |state: &ClusterState| match look(state, 2_000) {
        Next::Waiting { nodes, .. } => nodes.iter().map(|(number, _)| number.get()).collect(),
        _ => Vec::new(),
    };
    assert_eq!(waits_for(&state), [2, 3]);
    state.nodes.get_mut(&NodeNumber::new(2).unwrap()).unwrap().order = Some(Order::Forget);
    assert_eq!(waits_for(&state), [3], "not for one that was forgotten");
    state.nodes.get_mut(&NodeNumber::new(3).unwrap()).unwrap().record = None;
    assert!(waits_for(&state).is_empty(), "nor for one that is gone");
    assert!(matches!(look(&state, 2_000), Next::Change(_)));
}

#[test]
fn it_waits_for_those_who_live_without_a_lease() {
    let mut state = cluster(&[2, 2, 2]);
    state = committed(&state, &announce(&state, SHAPE, 2_000).unwrap());
    let node = |number| NodeNumber::new(number).unwrap();
    state.nodes.get_mut(&node(2)).unwrap().record = None;
    let looked = |state: &ClusterState, unleased: &Acks| {
        let view = View { state: Arc::new(state.clone()), version: 40, freshness: Freshness::Live };
        next(&view, 2_000, RETIRE_AFTER, unleased)
    };
    let before = Acks::from([(node(2), 1)]);
    let rotation = ConfigRotation::new(1);
    assert_eq!(looked(&state, &before), Next::Waiting { rotation, nodes: vec![(node(2), 1)] });
    assert!(matches!(looked(&state, &Acks::from([(node(2), 2)])), Next::Change(_)), "it decodes it already");
    // Where it has a record, that counts.
    assert!(matches!(looked(&state, &Acks::from([(node(3), 1)])), Next::Change(_)));
    state.nodes.get_mut(&node(2)).unwrap().order = Some(Order::Forget);
    assert!(matches!(looked(&state, &before), Next::Change(_)), "not for one that was forgotten");
}

#[test]
fn nothing_is_decided_while_the_engine_is_away() {
    let mut state = cluster(&[2]);
    state = committed(&state, &announce(&state, SHAPE, 2_000).unwrap());
    let why = String::new();
    for freshness in [Freshness::LastKnown { since: SystemTime::now(), why: why.clone() }, Freshness::Unread { why }] {
        let view = View { state: Arc::new(state.clone()), version: 40, freshness };
        assert_eq!(next(&view, 2_000, RETIRE_AFTER, &Acks::new()), Next::Away);
    }
}

#[test]
fn one_at_a_time_and_seven_in_all() {
    assert_eq!(announce(&ClusterState::default(), SHAPE, 0), Err(RotationError::NotMade));
    let mut state = cluster(&[]);
    for turn in 1..7 {
        state = committed(&state, &announce(&state, SHAPE, 2_000).unwrap());
        assert_eq!(announce(&state, SHAPE, 2_000), Err(RotationError::OnItsWay(ConfigRotation::new(turn))));
        let Next::Change(issue) = look(&state, 2_000) else { panic!("there is no node to wait for") };
        state = committed(&state, &issue);
        assert_eq!(state.issuing().unwrap().rotation.get(), turn);
    }
    assert_eq!(announce(&state, SHAPE, 2_000), Err(RotationError::AllInUse));
    // The one that has retired longest goes first, and its rotation comes next.
    let Next::Change(end) = look(&state, 2_060) else { panic!("its time is over") };
    assert_eq!(end.writes, [Write::RemoveCid(ConfigRotation::new(0))]);
    state = committed(&state, &end);
    let next = announce(&state, SHAPE, 3_000).unwrap();
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
    assert_ne!(secrets(announce(&state, SHAPE, 1).unwrap()), state.issuing().unwrap().secrets);
}
