use std::collections::BTreeSet;

use super::*;
use crate::{
    membership::{
        Claim, Incarnation, NodeNumber, NodeRecord, NodeState, Presence, RunInfo, TunnelVersions, rotation,
        store::{Operation, Registration, commit, publish, register},
    },
    secret::ClusterSecret,
};

/// A store that was made, with one node that is up.
fn range() -> Range {
    let codec = codec();
    let mut entries = Entries::new();
    let mut put = |operations: &[Operation], modified: u64| {
        for operation in operations {
            match operation {
                Operation::Put { name, value } | Operation::PutLeased { name, value } => {
                    entries.insert(name.clone(), Entry { value: value.clone(), modified });
                }
                Operation::Delete { name } => drop(entries.remove(name)),
            }
        }
        (entries.clone(), assemble(&codec, &entries, &Seen::default()).unwrap().0)
    };
    let shape = crate::membership::CidShape { length: 17, describes_length: true };
    let made = commit(&codec, &Entries::new(), &ClusterState::default(), &rotation::make(shape, 1)).unwrap();
    let (found, state) = put(&made.operations, 1);
    let Registration::New { transaction, .. } = register(&codec, &found, &state, claim()).unwrap() else {
        panic!("it is new");
    };
    let (found, _) = put(&transaction.operations, 2);
    let told = publish(&codec, &found, &record()).unwrap();
    let (entries, _) = put(&told.operations, 3);
    Range { entries, revision: 3 }
}

/// The same entries, as of another revision.
fn same(range: &Range, revision: u64) -> Range {
    Range { entries: range.entries.clone(), revision }
}

fn codec() -> Codec {
    Codec::new("edge", &ClusterSecret::from([7; 32]))
}

fn claim() -> Claim {
    Claim { address: [10, 0, 0, 1].into(), incarnation: Incarnation::new(1), host: 1 }
}

fn record() -> NodeRecord {
    let run = RunInfo {
        incarnation: Incarnation::new(1),
        host: 1,
        acks: 1,
        versions: TunnelVersions { lowest: 1, highest: 1 },
        engine: "xdp".to_owned(),
        listeners: String::new(),
        unheard: BTreeSet::new(),
        addresses: None,
        encrypts: None,
    };
    let number = NodeNumber::new(1).unwrap();
    NodeRecord { number, address: [10, 0, 0, 1].into(), port: 6080, weight: 100, state: NodeState::Up, run: Some(run) }
}

fn gone(revision: u64) -> Vec<Event> {
    vec![Event { name: "nodes/1".to_owned(), entry: None, revision }]
}

fn presence(known: &Known) -> Presence {
    known.state.nodes[&NodeNumber::new(1).unwrap()].presence()
}

const SETTLING: Duration = Duration::from_secs(15);

#[test]
fn a_record_that_vanishes_is_gone() {
    let now = Instant::now();
    let mut known = Known::new(codec());
    known.replace(range(), now).unwrap();
    assert_eq!((presence(&known), known.settles()), (Presence::Present, None));
    known.apply(gone(4), now).unwrap();
    assert_eq!((presence(&known), known.version), (Presence::LeaseGone, 4));
}

#[test]
fn a_record_that_vanishes_just_after_the_store_came_back_is_kept_for_a_while() {
    let now = Instant::now();
    let settled = now + SETTLING;
    let mut known = Known::new(codec());
    let first = range();
    known.replace(same(&first, 3), now).unwrap();
    known.is_back(settled);
    // It is missing in the range already.
    let mut without = same(&first, 9);
    without.entries.remove("nodes/1").unwrap();
    known.replace(without, now).unwrap();
    assert_eq!((presence(&known), known.settles()), (Presence::Present, Some(settled)));
    assert!(!known.entries.contains_key("nodes/1"), "this node knows that it is missing there");
    // Nothing new meanwhile, and other things new, change nothing.
    known.settle(settled - Duration::from_millis(1)).unwrap();
    known.apply(vec![], now).unwrap();
    assert_eq!(presence(&known), Presence::Present);
    known.settle(settled).unwrap();
    assert_eq!((presence(&known), known.settles()), (Presence::LeaseGone, None));
    // It comes back late.
    let entry = first.entries["nodes/1"].clone();
    known.apply(vec![Event { name: "nodes/1".to_owned(), entry: Some(entry), revision: 10 }], settled).unwrap();
    assert_eq!(presence(&known), Presence::Present);
    known.apply(gone(11), settled).unwrap();
    assert_eq!(presence(&known), Presence::LeaseGone, "all are back by now");
}

#[test]
fn a_record_that_comes_back_is_no_longer_kept() {
    let now = Instant::now();
    let mut known = Known::new(codec());
    let first = range();
    known.replace(same(&first, 3), now).unwrap();
    known.is_back(now + SETTLING);
    known.apply(gone(4), now).unwrap();
    known.replace(same(&first, 5), now).unwrap();
    assert_eq!((presence(&known), known.settles()), (Presence::Present, None));
}

#[test]
fn what_a_range_has_said_is_no_news() {
    let now = Instant::now();
    let mut known = Known::new(codec());
    known.replace(range(), now).unwrap();
    known.apply(gone(3), now).unwrap();
    assert_eq!((presence(&known), known.version), (Presence::Present, 3));
    let mut other = Range { entries: known.entries.clone(), revision: 3 };
    assert!(!known.differs(&other));
    other.revision = 20;
    assert!(!known.differs(&other), "others write elsewhere");
    other.entries.remove("nodes/1");
    assert!(known.differs(&other));
    other.revision = 2;
    assert!(!known.differs(&other), "an answer of a member that is behind");
}

#[test]
fn what_makes_no_sense_leaves_all_as_it_was() {
    let now = Instant::now();
    let mut known = Known::new(codec());
    known.replace(range(), now).unwrap();
    let (state, entries) = (known.state.clone(), known.entries.clone());
    let forged =
        Event { name: "config".to_owned(), entry: Some(Entry { value: b"forged".to_vec(), modified: 4 }), revision: 4 };
    let error = known.apply(vec![forged], now).unwrap_err();
    assert!(error.to_string().starts_with("config: "), "{error}");
    assert_eq!((&known.state, &known.entries, known.version), (&state, &entries, 3));
    assert_eq!(known.repairs(&Range { entries, revision: 4 }), None, "nothing is lost");
    assert!(known.repairs(&Range { entries: Entries::new(), revision: 1 }).is_some());
}
