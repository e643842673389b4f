use std::collections::BTreeSet;

use super::*;
use crate::{
    membership::{
        Change, CidShape, CidState, Claim, ClusterState, Incarnation, MembershipError, NodeNumber, NodeRecord,
        NodeState, Order, Presence, RunInfo, TunnelVersions, Write, rotation,
    },
    secret::ClusterSecret,
};

/// Entries with what etcd would do with transactions.
#[derive(Clone, Default)]
struct Fake {
    entries: Entries,
    revision: u64,
}

impl Fake {
    fn execute(&mut self, transaction: &Transaction) -> bool {
        let modified = |name: &str| self.entries.get(name).map_or(0, |entry| entry.modified);
        let holds = transaction.compares.iter().all(|compare| match compare {
            Compare::ModifiedAt { name, revision } => modified(name) == *revision,
            Compare::NoneAfter { prefix, revision } => {
                self.entries.iter().all(|(key, entry)| !key.starts_with(prefix) || entry.modified <= *revision)
            }
        });
        self.revision += u64::from(holds);
        for operation in transaction.operations.iter().filter(|_| holds) {
            match operation {
                Operation::Put { name, value } | Operation::PutLeased { name, value } => {
                    self.entries.insert(name.clone(), Entry { value: value.clone(), modified: self.revision });
                }
                Operation::Delete { name } => drop(self.entries.remove(name)),
            }
        }
        holds
    }

    fn state(&self) -> ClusterState {
        assemble(&codec(), &self.entries, &Seen::default()).unwrap().0
    }

    fn seen(&self) -> Seen {
        assemble(&codec(), &self.entries, &Seen::default()).unwrap().1
    }

    fn commit(&mut self, writes: Vec<Write>) {
        let change = Change { based_on: self.state().revision, nodes_as_of: None, writes };
        let transaction = commit(&codec(), &self.entries, &self.state(), &change).unwrap();
        assert!(self.execute(&transaction));
    }

    /// Registers a node and has it come up.
    fn join(&mut self, incarnation: u128) -> NodeNumber {
        let claim = claim(incarnation);
        let number = match register(&codec(), &self.entries, &self.state(), claim).unwrap() {
            Registration::Known(number) | Registration::Copied(number) => number,
            Registration::New { number, transaction } => {
                assert!(self.execute(&transaction));
                number
            }
        };
        let transaction = publish(&codec(), &self.entries, &record(number, claim)).unwrap();
        assert!(self.execute(&transaction));
        number
    }

    /// As etcd has it when all leases have run out.
    fn without_leases(&self) -> Self {
        let mut other = self.clone();
        other.entries.retain(|key, _| !name::is_leased(key));
        other
    }
}

fn codec() -> Codec {
    Codec::new("edge", &ClusterSecret::from([7; 32]))
}

fn claim(incarnation: u128) -> Claim {
    Claim { address: [10, 0, 0, 1].into(), incarnation: Incarnation::new(incarnation), host: 1 }
}

fn record(number: NodeNumber, claim: Claim) -> NodeRecord {
    let run = RunInfo {
        incarnation: claim.incarnation,
        host: claim.host,
        acks: 1,
        versions: TunnelVersions { lowest: 1, highest: 2 },
        engine: "af_xdp".to_owned(),
        listeners: "00".to_owned(),
        unheard: BTreeSet::new(),
        addresses: None,
        encrypts: None,
    };
    NodeRecord { number, address: claim.address, port: 6080, weight: 100, state: NodeState::Up, run: Some(run) }
}

/// A cluster with two nodes, one configuration on its way and one order.
fn cluster() -> Fake {
    let mut fake = Fake::default();
    fake.commit(rotation::make(SHAPE, 1_000).writes);
    fake.join(1);
    fake.join(2);
    fake.commit(rotation::announce(&fake.state(), SHAPE, 2_000, &rotation::Unleased::new()).unwrap().writes);
    fake.commit(vec![Write::Order(NodeNumber::new(2).unwrap(), Order::Drain)]);
    fake
}

const SHAPE: CidShape = CidShape { length: 17, describes_length: true };

fn refused(entries: &Entries, seen: &Seen) -> String {
    assemble(&codec(), entries, seen).unwrap_err().to_string()
}

#[test]
fn entries_say_the_whole_state() {
    let state = cluster().state();
    assert_eq!((state.revision, state.next_id, &state.faults), (3, 3, &Vec::new()));
    let cid: Vec<_> = state.cid.values().map(|cid| (cid.rotation.get(), cid.state, cid.announced, cid.since)).collect();
    assert_eq!(cid, [(0, CidState::Issuing, 1, 1_000), (1, CidState::Announced, 2, 2_000)]);
    let second = &state.nodes[&NodeNumber::new(2).unwrap()];
    assert_eq!(second.record, Some(record(NodeNumber::new(2).unwrap(), claim(2))));
    assert_eq!(second.state(), Some(NodeState::Draining));
}

#[test]
fn what_is_shared_opens_as_a_whole_or_not_at_all() {
    let before = cluster();
    let mut after = before.clone();
    after.commit(vec![Write::Order(NodeNumber::new(2).unwrap(), Order::Forget)]);
    let shared = ["config", "master", "cid/0", "cid/1", "orders/2", "next_id"];
    for key in shared {
        let mut entries = after.entries.clone();
        entries.remove(key).unwrap();
        if key != "config" {
            assert!(refused(&entries, &Seen::default()).starts_with(key), "{key} missing");
        }
        assert!(refused(&entries, &after.seen()).starts_with(key), "{key} missing after it was seen");
        // Sealed for another name.
        let other = shared[(shared.iter().position(|shared| *shared == key).unwrap() + 1) % shared.len()];
        entries.insert(key.to_owned(), after.entries[other].clone());
        assert!(refused(&entries, &Seen::default()).starts_with(key), "{key} is {other}");
    }
    // As it once was.
    let mut entries = after.entries.clone();
    entries.insert("orders/2".to_owned(), before.entries["orders/2"].clone());
    assert_eq!(refused(&entries, &Seen::default()), "orders/2: of epoch 3, and the cluster's is 4");
}

#[test]
fn what_is_older_than_was_seen_is_refused() {
    let before = cluster();
    let mut after = before.clone();
    after.commit(vec![]);
    assert_eq!(refused(&before.entries, &after.seen()), "config: revision 3, and 4 was seen before");
    after.join(3);
    let mut entries = after.entries.clone();
    entries.insert("next_id".to_owned(), before.entries["next_id"].clone());
    assert_eq!(refused(&entries, &after.seen()), "next_id: 3, and it was 4 before: numbers would be given twice");
    let why = refused(&cluster().entries, &after.seen());
    assert_eq!(why, "config: another cluster was made under the same name");
}

#[test]
fn one_nodes_mistake_is_no_other_nodes_trouble() {
    let mut fake = cluster();
    let wrong = Entry { value: b"wrong".to_vec(), modified: 9 };
    for key in ["nodes/2", "nodes/x", "ids/x"] {
        fake.entries.insert(key.to_owned(), wrong.clone());
    }
    // A node that claims to be another one, and an order that no node has written.
    fake.entries.insert("nodes/7".to_owned(), fake.entries["nodes/1"].clone());
    fake.entries.insert("orders/1".to_owned(), wrong);
    let state = fake.state();
    assert_eq!(state.nodes[&NodeNumber::new(1).unwrap()].presence(), Presence::Present);
    assert_eq!(state.nodes[&NodeNumber::new(2).unwrap()].presence(), Presence::LeaseGone);
    let names: Vec<_> = state.faults.iter().map(|fault| fault.split(':').next().unwrap()).collect();
    assert_eq!(names, ["orders/1", "ids/x", "nodes/2", "nodes/7", "nodes/x"]);
}

#[test]
fn a_number_is_never_given_again() {
    let mut fake = cluster();
    assert_eq!(fake.join(1).get(), 1, "the same incarnation");
    assert_eq!(fake.join(3).get(), 3);
    let third = NodeNumber::new(3).unwrap();
    let ids = fake.entries[&name::id(Incarnation::new(3))].clone();
    fake.commit(vec![Write::Order(third, Order::Forget)]);
    assert!(!fake.entries.contains_key(&name::id(Incarnation::new(3))));
    assert!(!fake.entries.contains_key(&name::node(third)), "its record goes with it, whatever its lease");
    assert_eq!(fake.join(4).get(), 4);
    assert_eq!(fake.join(3).get(), 5, "a forgotten incarnation");
    // Someone puts back what was forgotten: the order still stands.
    fake.entries.insert(name::id(Incarnation::new(3)), ids);
    assert_eq!(fake.join(3).get(), 6);
    // Even if the counter had been wrong.
    fake.entries.insert("nodes/900".to_owned(), {
        let value = codec().write_node(&record(NodeNumber::new(900).unwrap(), claim(900)));
        Entry { value, modified: 1 }
    });
    assert_eq!(fake.join(7).get(), 901);
    fake.entries.get_mut("next_id").unwrap().value = codec().write_next_id(65_535);
    assert_eq!(fake.join(8).get(), 65_535);
    let none = register(&codec(), &fake.entries, &fake.state(), claim(9));
    assert_eq!(none, Err(MembershipError::NumbersUsed));
}

/// What an agent that begins to look later has of a node whose lease has run out.
#[test]
fn where_a_node_was_outlasts_its_lease() {
    let mut fake = cluster();
    let number = NodeNumber::new(1).unwrap();
    let last = |fake: &Fake| fake.without_leases().state().nodes[&number].last_tunnel.map(|tunnel| tunnel.to_string());
    assert_eq!(last(&fake).unwrap(), "10.0.0.1:6080");
    let written = |fake: &Fake| fake.entries[&name::id(Incarnation::new(1))].modified;
    let (before, id) = (written(&fake), name::id(Incarnation::new(1)));
    fake.join(1);
    assert_eq!(written(&fake), before, "nothing has changed");
    let moved = NodeRecord { address: [10, 0, 0, 9].into(), port: 7_000, ..record(number, claim(1)) };
    let transaction = publish(&codec(), &fake.entries, &moved).unwrap();
    assert!(fake.execute(&transaction));
    assert_eq!(last(&fake).unwrap(), "10.0.0.9:7000");
    assert_eq!(fake.state().nodes[&number].tunnel(), Some(moved.tunnel()));
    assert_eq!(fake.state().incarnations[&Incarnation::new(1)], Some(number));
    // A version before this was there.
    let value = codec().write_id(&id, codec::Numbered { number, tunnel: None });
    assert!(!String::from_utf8_lossy(&value).contains("tunnel"), "it reads what this one writes");
    fake.entries.insert(id, Entry { value, modified: fake.revision });
    assert_eq!(last(&fake), None);
    assert_eq!(fake.join(1), number);
    assert_eq!(last(&fake).unwrap(), "10.0.0.1:6080");
}

#[test]
fn a_node_and_its_copy_are_told_apart_while_one_is_there() {
    let fake = cluster();
    let copy = Claim { host: 2, ..claim(1) };
    let number = NodeNumber::new(1).unwrap();
    let register = |fake: &Fake| register(&codec(), &fake.entries, &fake.state(), copy).unwrap();
    assert_eq!(register(&fake), Registration::Copied(number));
    assert_eq!(register(&fake.without_leases()), Registration::Known(number), "a machine that was moved");
}

#[test]
fn a_record_is_told_under_its_own_number_only() {
    let fake = cluster();
    let number = NodeNumber::new(2).unwrap();
    let error = publish(&codec(), &fake.entries, &record(number, claim(1))).unwrap_err();
    assert_eq!(error, MembershipError::NotOurs { record: number });
    let stranger = record(number, claim(99));
    assert_eq!(publish(&codec(), &fake.entries, &stranger).unwrap_err(), MembershipError::NotOurs { record: number });
}

fn repaired(last: &Fake, now: &Fake) -> Fake {
    assert!(has_lost_data(&codec(), &now.entries, &last.seen()));
    let mut store = now.clone();
    for transaction in repair(&codec(), &last.entries, &now.entries) {
        assert!(store.execute(&transaction));
    }
    assert!(!has_lost_data(&codec(), &store.entries, &last.seen()));
    store
}

#[test]
fn what_was_wiped_is_put_back() {
    let last = cluster();
    assert_eq!(repaired(&last, &Fake::default()).state(), last.without_leases().state());
}

#[test]
fn an_old_backup_is_brought_up_to_date() {
    let backup = cluster();
    let mut last = backup.clone();
    last.join(3);
    last.commit(vec![Write::RemoveCid(last.state().issuing().unwrap().rotation)]);
    last.commit(vec![Write::Revoke(NodeNumber::new(2).unwrap())]);
    let store = repaired(&last, &backup.without_leases());
    assert_eq!(store.state(), last.without_leases().state());
}

#[test]
fn a_lost_counter_is_put_back_alone() {
    let last = cluster();
    let mut now = last.clone();
    now.entries.remove("next_id").unwrap();
    let store = repaired(&last, &now);
    assert_eq!(store.state(), last.state());
    assert_eq!(store.entries["config"], last.entries["config"], "nothing else is written");
}

#[test]
fn who_knows_less_overwrites_nothing() {
    let stale = cluster();
    let mut last = stale.clone();
    last.join(3);
    last.commit(vec![]);
    // The one who knows less is faster.
    let mut store = repaired(&stale, &Fake::default());
    let late = repair(&codec(), &last.entries, &Fake::default().entries);
    assert!(!store.execute(&late[0]), "it was decided on an empty store");
    assert!(!has_lost_data(&codec(), &last.entries, &stale.seen()));
    assert_eq!(repaired(&last, &store).state(), last.without_leases().state());
    // Another cluster under the same name is not ours to repair, nor is what cannot be opened.
    assert!(!has_lost_data(&codec(), &cluster().entries, &last.seen()));
    let mut forged = last.entries.clone();
    forged.get_mut("config").unwrap().value = b"forged".to_vec();
    assert!(!has_lost_data(&codec(), &forged, &last.seen()));
    assert!(!has_lost_data(&codec(), &Entries::new(), &Seen::default()), "nothing was there before");
}

#[test]
fn a_transaction_is_no_longer_than_etcd_takes() {
    let mut last = Fake::default();
    last.commit(rotation::make(SHAPE, 1_000).writes);
    for incarnation in 1..=250 {
        last.join(incarnation);
    }
    let longest = repair(&codec(), &last.entries, &Entries::new()).iter().map(|t| t.operations.len()).max();
    assert!(longest.unwrap() <= 128, "{longest:?}");
    assert_eq!(repaired(&last, &Fake::default()).state(), last.without_leases().state());
}
