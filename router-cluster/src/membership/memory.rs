//! An engine for tests: entries in memory, shared by the nodes of one process. It has no lease to run out; a node that
//! dies is one whose record a test takes away.

use std::{
    future,
    sync::{Arc, Mutex},
};

use tokio::sync::watch;

use super::{
    Answer, Change, Claim, EngineInfo, Freshness, Membership, MembershipError, NodeNumber, NodeRecord, View,
    store::{
        Codec, Compare, Entries, Entry, Operation, Registration, Seen, Transaction, assemble, commit, publish, register,
    },
};

/// The entries, and what they say.
#[derive(Debug)]
pub(super) struct Store {
    codec: Codec,
    inside: Mutex<Inside>,
    view: watch::Sender<Arc<View>>,
}

#[derive(Debug, Default)]
struct Inside {
    entries: Entries,
    revision: u64,
    seen: Seen,
}

/// A node's way to the store.
#[derive(Debug)]
pub(super) struct Memory {
    store: Arc<Store>,
    own: Mutex<Option<NodeNumber>>,
}

impl Store {
    pub(super) fn new(codec: Codec) -> Arc<Self> {
        let view = View { state: Arc::default(), version: 0, freshness: Freshness::Live };
        Arc::new(Self { codec, inside: Mutex::default(), view: watch::Sender::new(Arc::new(view)) })
    }

    fn execute(&self, inside: &mut Inside, transaction: Transaction) -> Result<(), MembershipError> {
        let holds = |compare: &Compare| match compare {
            Compare::ModifiedAt { name, revision } => inside.entries.get(name).map_or(0, |e| e.modified) == *revision,
            Compare::NoneAfter { prefix, revision } => {
                inside.entries.iter().all(|(key, entry)| !key.starts_with(prefix) || entry.modified <= *revision)
            }
        };
        if !transaction.compares.iter().all(holds) {
            return Err(MembershipError::Conflict { what: "an entry was written".to_owned() });
        }
        inside.revision += 1;
        for operation in transaction.operations {
            match operation {
                Operation::Put { name, value } | Operation::PutLeased { name, value } => {
                    inside.entries.insert(name, Entry { value, modified: inside.revision });
                }
                Operation::Delete { name } => drop(inside.entries.remove(&name)),
            }
        }
        let (state, seen) = assemble(&self.codec, &inside.entries, &inside.seen)?;
        inside.seen = seen;
        let view = View { state: Arc::new(state), version: inside.revision, freshness: Freshness::Live };
        self.view.send_replace(Arc::new(view));
        Ok(())
    }
}

impl Memory {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self { store, own: Mutex::default() }
    }

    fn with<T>(
        &self,
        act: impl FnOnce(&Store, &mut Inside, &View) -> Result<T, MembershipError>,
    ) -> Result<T, MembershipError> {
        let mut inside = self.store.inside.lock().unwrap();
        let view = self.view();
        act(&self.store, &mut inside, &view)
    }
}

impl Membership for Memory {
    fn engine(&self) -> EngineInfo {
        EngineInfo { name: "memory", has_leases: true }
    }

    fn watch(&self) -> watch::Receiver<Arc<View>> {
        self.store.view.subscribe()
    }

    fn register(&self, claim: Claim) -> Answer<'_, NodeNumber> {
        let number =
            self.with(|store, inside, view| match register(&store.codec, &inside.entries, &view.state, claim)? {
                Registration::Known(number) => Ok(number),
                Registration::Copied(number) => {
                    Err(MembershipError::IncarnationInUse { number, incarnation: claim.incarnation })
                }
                Registration::New { number, transaction } => store.execute(inside, transaction).map(|()| number),
            });
        if let Ok(number) = number {
            *self.own.lock().unwrap() = Some(number);
        }
        Box::pin(future::ready(number))
    }

    fn publish(&self, record: NodeRecord) -> Answer<'_, ()> {
        if *self.own.lock().unwrap() != Some(record.number) {
            return Box::pin(future::ready(Err(MembershipError::NotOurs { record: record.number })));
        }
        let told = self.with(|store, inside, _| {
            let transaction = publish(&store.codec, &inside.entries, &record)?;
            store.execute(inside, transaction)
        });
        Box::pin(future::ready(told))
    }

    fn withdraw(&self) -> Answer<'_, ()> {
        let own = *self.own.lock().unwrap();
        let gone = self.with(|store, inside, _| {
            let delete = own.map(|number| Operation::Delete { name: super::store::name::node(number) });
            store.execute(inside, Transaction { compares: Vec::new(), operations: delete.into_iter().collect() })
        });
        Box::pin(future::ready(gone))
    }

    fn commit(&self, change: Change) -> Answer<'_, u64> {
        let done = self.with(|store, inside, view| {
            let transaction = commit(&store.codec, &inside.entries, &view.state, &change)?;
            store.execute(inside, transaction).map(|()| change.based_on + 1)
        });
        Box::pin(future::ready(done))
    }
}

#[cfg(test)]
#[path = "../../tests/contract/mod.rs"]
mod contract;

#[cfg(test)]
mod tests {
    use super::{
        contract::{self, Cluster},
        *,
    };
    use crate::secret::ClusterSecret;

    impl Cluster for Arc<Store> {
        fn join(&self) -> Box<dyn Membership> {
            Box::new(Memory::new(Self::clone(self)))
        }
    }

    #[tokio::test]
    async fn the_contract() {
        let store = Store::new(Codec::new("edge", &ClusterSecret::from([7; 32])));
        contract::of_engine(&store).await;
    }
}
