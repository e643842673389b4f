//! What every engine of membership that nodes write to has to keep: one test, whatever the engine.
//!
//! It is told how another node joins, and looks at nothing but what the trait says.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use router_cluster::membership::{
    Change, CidShape, CidState, Claim, ClusterState, Freshness, Incarnation, Membership, MembershipError, NodeNumber,
    NodeRecord, NodeState, Order, Presence, RunInfo, TunnelVersions, View, Write,
    rotation::{self, Next},
};

/// A way to a cluster that was not made yet.
pub(super) trait Cluster {
    /// Another node's engine. Each node has a host of its own.
    fn join(&self) -> Box<dyn Membership>;
}

/// All of it, on one cluster.
pub(super) async fn of_engine(cluster: &impl Cluster) {
    let mut nodes = Vec::new();
    for number in 1..=3 {
        nodes.push(Node::new(cluster.join(), number).await);
    }
    let [first, second, third] = &mut nodes[..] else { unreachable!("three were joined") };
    nothing_before_it_is_made(first).await;
    it_is_made_once(first, second).await;
    numbers_are_given_once(first, second).await;
    records_are_seen_by_all(first, second).await;
    changes_compare_and_swap(first, second).await;
    a_rotation_waits_for_every_node(first, second).await;
    a_rotation_sees_who_joins_meanwhile(first, third).await;
    operators_have_the_last_word(first, second).await;
    a_forgotten_number_stays_unused(first, second).await;
    a_copy_is_refused(first, third).await;
    a_node_that_stops_is_seen_to(first, second).await;
}

/// A node as the test moves it.
pub(super) struct Node {
    /// Its engine.
    pub(super) engine: Box<dyn Membership>,
    claim: Claim,
    record: Option<NodeRecord>,
}

impl Node {
    /// The one with this incarnation and host, once its view is live.
    pub(super) async fn new(engine: Box<dyn Membership>, number: u8) -> Self {
        let claim = Claim {
            address: [10, 0, 0, number].into(),
            incarnation: Incarnation::new(number.into()),
            host: number.into(),
        };
        let node = Self { engine, claim, record: None };
        node.until("its view is live", |view| view.freshness.is_live()).await;
        node
    }

    /// Gets its number, and tells the others that it is up and follows `acks`.
    pub(super) async fn come_up(&mut self, acks: u64) -> NodeNumber {
        let number = self.engine.register(self.claim).await.unwrap();
        let given = self.state().incarnations.get(&self.claim.incarnation).copied();
        assert_eq!(given, Some(Some(number)), "who has a number sees it at once");
        let run = RunInfo {
            incarnation: self.claim.incarnation,
            host: self.claim.host,
            acks,
            versions: TunnelVersions { lowest: 1, highest: 1 },
            engine: "xdp".to_owned(),
            listeners: "00ff".to_owned(),
            unheard: BTreeSet::new(),
            addresses: None,
            encrypts: None,
        };
        let (address, state) = (self.claim.address, NodeState::Up);
        self.publish(NodeRecord { number, address, port: 6080, weight: 100, state, run: Some(run) }).await;
        number
    }

    /// Tells the others that it follows `revision`.
    pub(super) async fn ack(&mut self, revision: u64) {
        let mut record = self.record.clone().unwrap();
        record.run.as_mut().unwrap().acks = revision;
        self.publish(record).await;
    }

    async fn publish(&mut self, record: NodeRecord) {
        self.engine.publish(record.clone()).await.unwrap();
        self.record = Some(record);
    }

    /// Commits writes on what it sees now.
    pub(super) async fn commit(&self, writes: Vec<Write>) -> u64 {
        let based_on = self.state().revision;
        let revision = self.engine.commit(Change { based_on, nodes_as_of: None, writes }).await.unwrap();
        self.until("it sees its own change", |view| view.state.revision >= revision).await;
        revision
    }

    /// What it sees now.
    pub(super) fn state(&self) -> Arc<ClusterState> {
        Arc::clone(&self.engine.view().state)
    }

    /// Waits until it sees what is looked for.
    pub(super) async fn until(&self, what: &str, is_so: impl Fn(&View) -> bool) -> Arc<View> {
        let mut views = self.engine.watch();
        let seen = tokio::time::timeout(PATIENCE, views.wait_for(|view| is_so(view))).await;
        match seen {
            Ok(view) => Arc::clone(&view.unwrap()),
            Err(_) => panic!("not within {PATIENCE:?}: {what}; {:?}", self.engine.view()),
        }
    }

    /// Waits until it sees a node as present or not.
    pub(super) async fn until_presence(&self, number: NodeNumber, presence: Presence) {
        let what = format!("{number:?} is {presence:?}");
        self.until(&what, |view| self::presence(view, number) == Some(presence)).await;
    }
}

fn presence(view: &View, number: NodeNumber) -> Option<Presence> {
    view.state.node(number).map(|member| member.presence())
}

async fn nothing_before_it_is_made(node: &Node) {
    assert_eq!(*node.state(), ClusterState::default());
    let error = node.engine.register(node.claim).await.unwrap_err();
    assert!(matches!(error, MembershipError::NotMade { .. }) && error.hint().contains("cluster init"), "{error}");
    let order = Write::Order(NodeNumber::new(1).unwrap(), Order::Drain);
    let error = node.engine.commit(Change { based_on: 0, nodes_as_of: None, writes: vec![order] }).await.unwrap_err();
    assert!(matches!(error, MembershipError::NotMade { .. }), "{error}");
}

async fn it_is_made_once(first: &Node, second: &Node) {
    let make = || rotation::make(SHAPE, 1_000);
    let (one, other) = tokio::join!(first.engine.commit(make()), second.engine.commit(make()));
    assert_eq!([&one, &other].iter().filter(|made| made.is_ok()).count(), 1, "{one:?} {other:?}");
    let lost = one.err().or(other.err()).unwrap();
    assert!(matches!(lost, MembershipError::Conflict { .. }), "{lost}");
    let seen = first.until("the cluster", |view| view.state.revision == 1).await;
    second.until("the cluster", |view| view.state.revision == 1).await;
    assert_eq!(seen.state, second.engine.view().state);
    let issuing = seen.state.issuing().unwrap();
    assert_eq!((issuing.rotation.get(), issuing.shape, issuing.announced), (0, Some(SHAPE), 1));
    assert!(seen.state.master.is_some() && seen.state.faults.is_empty(), "{:?}", seen.state.faults);
}

async fn numbers_are_given_once(first: &mut Node, second: &mut Node) {
    let (one, other) = tokio::join!(first.come_up(1), second.come_up(1));
    let mut numbers = [one.get(), other.get()];
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2]);
    assert_eq!(first.engine.register(first.claim).await.unwrap(), one, "the same incarnation has the same number");
    first.until("the next number", |view| view.state.next_id == 3).await;
}

async fn records_are_seen_by_all(first: &mut Node, second: &mut Node) {
    let number = first.record.as_ref().unwrap().number;
    second.until_presence(number, Presence::Present).await;
    let mut record = first.record.clone().unwrap();
    record.state = NodeState::Draining;
    record.weight = 7;
    record.run.as_mut().unwrap().unheard.insert(NodeNumber::new(9).unwrap());
    first.publish(record.clone()).await;
    let is_told = |view: &View| view.state.node(number).and_then(|member| member.record.as_ref()) == Some(&record);
    second.until("the record as it was told", is_told).await;
    let other = NodeRecord { number: NodeNumber::new(77).unwrap(), ..record };
    let error = first.engine.publish(other).await.unwrap_err();
    assert!(matches!(error, MembershipError::NotOurs { .. }), "{error}");
    first.publish(NodeRecord { state: NodeState::Up, ..first.record.clone().unwrap() }).await;
}

async fn changes_compare_and_swap(first: &Node, second: &Node) {
    let number = NodeNumber::new(9).unwrap();
    let drain = |based_on| Change { based_on, nodes_as_of: None, writes: vec![Write::Order(number, Order::Drain)] };
    let before = first.state().revision;
    let (one, other) = tokio::join!(first.engine.commit(drain(before)), second.engine.commit(drain(before)));
    assert_eq!([&one, &other].iter().filter(|done| **done == &Ok(before + 1)).count(), 1, "{one:?} {other:?}");
    let lost = one.err().or(other.err()).unwrap();
    assert!(matches!(lost, MembershipError::Conflict { .. }) && lost.hint().contains("again"), "{lost}");
    first.until("the order", |view| view.state.revision == before + 1).await;
    let stale = first.engine.commit(drain(before)).await.unwrap_err();
    assert!(matches!(stale, MembershipError::Conflict { .. }), "{stale}");
    first.commit(vec![Write::Revoke(number)]).await;
    assert!(first.state().node(number).is_none());
    second.until("the end of the order", |view| view.state.node(number).is_none()).await;
}

async fn a_rotation_waits_for_every_node(first: &mut Node, second: &mut Node) {
    let change = rotation::announce(&first.state(), SHAPE, 2_000, &NOBODY).unwrap();
    let revision = first.engine.commit(change).await.unwrap();
    first.until("the announcement", |view| view.state.revision == revision).await;
    assert!(rotation::announce(&first.state(), SHAPE, 2_000, &NOBODY).is_err(), "one at a time");
    first.ack(revision).await;
    let number = second.record.as_ref().unwrap().number;
    let waits_for_one = |view: &View| match rotation::next(view, 2_001, 60, &NOBODY) {
        Next::Waiting { nodes, .. } => nodes.len() == 1 && nodes[0].0 == number,
        _ => false,
    };
    first.until("it waits for the other", waits_for_one).await;
    let seen = second.until("the announcement", |view| view.state.cid.len() == 2).await;
    let numbers = [&*first, second].map(|node| node.record.as_ref().unwrap().number);
    let announced = seen.state.cid.values().find(|cid| cid.state == CidState::Announced).unwrap();
    assert_eq!(announced.awaited, BTreeSet::from(numbers));
    // As if it had lost its lease, for one that began to look after that.
    second.engine.withdraw().await.unwrap();
    let view = first.until("it has no record", |view| presence(view, number) == Some(Presence::LeaseGone)).await;
    let waits_for = rotation::next(&view, 2_001, 60, &NOBODY);
    assert!(matches!(&waits_for, Next::Waiting { nodes, .. } if *nodes == [(number, 0)]), "{waits_for:?}");
    second.ack(revision).await;
    let is_acked = |view: &View| matches!(rotation::next(view, 2_001, 60, &NOBODY), Next::Change(_));
    let view = first.until("all have acked", is_acked).await;
    let Next::Change(change) = rotation::next(&view, 2_001, 60, &NOBODY) else { unreachable!("looked at") };
    let revision = first.engine.commit(change).await.unwrap();
    let seen = second.until("the other issues", |view| view.state.revision == revision).await;
    let states: Vec<_> = seen.state.cid.values().map(|cid| (cid.rotation.get(), cid.state)).collect();
    assert_eq!(states, [(0, CidState::Retiring), (1, CidState::Issuing)]);
    first.until("the other issues", |view| view.state.revision == revision).await;
    for node in [first, second] {
        node.ack(revision).await;
    }
}

/// A node that joins between a look and the change that was decided by it was not asked: so the change is a conflict.
async fn a_rotation_sees_who_joins_meanwhile(first: &mut Node, third: &mut Node) {
    let change = rotation::announce(&first.state(), SHAPE, 3_000, &NOBODY).unwrap();
    let announced = first.state().revision;
    let revision = first.engine.commit(change).await.unwrap();
    first.until("the announcement", |view| view.state.revision == revision).await;
    // As if the two of before had acked, and the third came up just then.
    let view = first.engine.view();
    let number = third.come_up(announced).await;
    first.until_presence(number, Presence::Present).await;
    let writes = vec![Write::RemoveCid(view.state.issuing().unwrap().rotation)];
    let late = Change { based_on: revision, nodes_as_of: Some(view.version), writes };
    let error = first.engine.commit(late).await.unwrap_err();
    assert!(matches!(error, MembershipError::Conflict { .. }), "{error}");
    match rotation::next(&first.engine.view(), 3_001, 60, &NOBODY) {
        Next::Waiting { nodes, .. } => assert!(nodes.contains(&(number, announced)), "{nodes:?}"),
        other => panic!("{other:?}"),
    }
}

async fn operators_have_the_last_word(first: &Node, second: &Node) {
    let number = second.record.as_ref().unwrap().number;
    first.commit(vec![Write::Order(number, Order::Drain)]).await;
    let drains = |view: &View| view.state.node(number).and_then(|member| member.state()) == Some(NodeState::Draining);
    second.until("it is told to drain", drains).await;
    first.commit(vec![Write::Revoke(number)]).await;
    second.until("it takes connections again", |view| !drains(view)).await;
}

async fn a_forgotten_number_stays_unused(first: &Node, second: &mut Node) {
    let number = second.record.as_ref().unwrap().number;
    let next = first.state().next_id;
    first.commit(vec![Write::Order(number, Order::Forget)]).await;
    second.until_presence(number, Presence::Forgotten).await;
    assert!(!second.state().incarnations.contains_key(&second.claim.incarnation), "it sees that it has none any more");
    let after = second.come_up(0).await;
    assert_eq!(u32::from(after.get()), next, "a number that no node has had");
    first.until_presence(after, Presence::Present).await;
    assert_eq!(first.state().node(number).unwrap().presence(), Presence::Forgotten);
}

async fn a_copy_is_refused(first: &Node, third: &Node) {
    let copy = Claim { incarnation: first.claim.incarnation, ..third.claim };
    let error = third.engine.register(copy).await.unwrap_err();
    assert!(matches!(error, MembershipError::IncarnationInUse { .. }) && error.hint().contains("state_dir"), "{error}");
}

async fn a_node_that_stops_is_seen_to(first: &Node, second: &Node) {
    let number = second.record.as_ref().unwrap().number;
    second.engine.withdraw().await.unwrap();
    first.until_presence(number, Presence::LeaseGone).await;
    let last = first.state().node(number).unwrap().last_tunnel;
    assert_eq!(last, Some((second.claim.address, 6080).into()), "where it was outlasts its record");
    assert!(matches!(first.engine.view().freshness, Freshness::Live));
    assert_eq!(second.engine.register(second.claim).await.unwrap(), number, "its number is kept for it");
}

/// Of whom a node knows that began to look just now.
const NOBODY: rotation::Unleased = rotation::Unleased::new();

const SHAPE: CidShape = CidShape { length: 17, describes_length: true };

/// How long an engine may take to tell something.
const PATIENCE: Duration = Duration::from_secs(20);
