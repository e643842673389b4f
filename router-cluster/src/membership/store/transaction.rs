//! Transactions that change entries: what they compare, and what they then write.

use super::{
    codec::{Codec, Config, Numbered},
    entries::{Entries, name},
};
use crate::membership::{
    Claim,
    change::{Change, Write},
    error::MembershipError,
    node::{NodeNumber, NodeRecord, Order},
    state::ClusterState,
};

/// All operations are done if every comparison holds, and else none.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(in crate::membership) struct Transaction {
    pub(in crate::membership) compares: Vec<Compare>,
    pub(in crate::membership) operations: Vec<Operation>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::membership) enum Compare {
    /// The entry was last written in this revision of the store; 0: there is none.
    ModifiedAt { name: String, revision: u64 },
    /// No entry under this prefix was written after this revision of the store.
    NoneAfter { prefix: &'static str, revision: u64 },
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::membership) enum Operation {
    Put {
        name: String,
        value: Vec<u8>,
    },
    /// The entry goes with this node's lease.
    PutLeased {
        name: String,
        value: Vec<u8>,
    },
    Delete {
        name: String,
    },
}

/// How a node comes to its number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::membership) enum Registration {
    /// It has this one.
    Known(NodeNumber),
    /// It has this one, and so has another host that is present.
    Copied(NodeNumber),
    /// It gets this one by a transaction.
    New { number: NodeNumber, transaction: Transaction },
}

impl Transaction {
    /// Supposes that the entry is as in `entries`, or is as missing.
    pub(super) fn unless_changed(mut self, entries: &Entries, name: impl Into<String>) -> Self {
        let name = name.into();
        let revision = entries.get(&name).map_or(0, |entry| entry.modified);
        self.compares.push(Compare::ModifiedAt { name, revision });
        self
    }

    pub(super) fn put(&mut self, name: impl Into<String>, value: Vec<u8>) {
        self.operations.push(Operation::Put { name: name.into(), value });
    }

    pub(super) fn delete(&mut self, name: impl Into<String>) {
        self.operations.push(Operation::Delete { name: name.into() });
    }
}

/// The transaction that makes a change.
///
/// # Errors
/// If the state is not the one that the change supposes, or there is no cluster and the change does not make one.
pub(in crate::membership) fn commit(
    codec: &Codec,
    entries: &Entries,
    state: &ClusterState,
    change: &Change,
) -> Result<Transaction, MembershipError> {
    if state.revision != change.based_on {
        let what = format!("revision {} is no longer {}", state.revision, change.based_on);
        return Err(MembershipError::Conflict { what });
    }
    let mut config = match entries.get(name::CONFIG) {
        Some(entry) => codec.read_config(entry)?.content,
        None if change.writes.iter().any(|write| matches!(write, Write::Master(_))) => {
            Config { made: format!("{:032x}", rand::random::<u128>()), entries: std::collections::BTreeMap::new() }
        }
        None => return Err(MembershipError::NotMade { name: codec.cluster.clone() }),
    };
    let revision = state.revision + 1;
    let mut transaction = Transaction::default().unless_changed(entries, name::CONFIG);
    if let Some(version) = change.nodes_as_of {
        transaction.compares.push(Compare::NoneAfter { prefix: name::NODES, revision: version });
    }
    if !entries.contains_key(name::NEXT_ID) {
        transaction = transaction.unless_changed(entries, name::NEXT_ID);
        transaction.put(name::NEXT_ID, codec.write_next_id(1));
    }
    for write in &change.writes {
        let mut writing = Writing { codec, entries, revision, config: &mut config, transaction: &mut transaction };
        writing.write(write);
    }
    transaction.put(name::CONFIG, codec.write_config(revision, &config));
    Ok(transaction)
}

/// A transaction that is being put together.
struct Writing<'w> {
    codec: &'w Codec,
    entries: &'w Entries,
    revision: u64,
    config: &'w mut Config,
    transaction: &'w mut Transaction,
}

impl Writing<'_> {
    fn write(&mut self, write: &Write) {
        match write {
            Write::Master(master) => self.put(name::MASTER.to_owned(), self.codec.write_master(self.revision, master)),
            Write::Cid(cid) => self.put(name::cid(cid.rotation), self.codec.write_cid(self.revision, cid)),
            Write::RemoveCid(rotation) => self.delete(&name::cid(*rotation)),
            Write::Order(number, order) => {
                self.put(name::order(*number), self.codec.write_order(self.revision, *number, *order));
                if *order == Order::Forget {
                    self.take_number(*number);
                }
            }
            Write::Revoke(number) => self.delete(&name::order(*number)),
        }
    }

    fn put(&mut self, name: String, value: Vec<u8>) {
        self.config.entries.insert(name.clone(), self.revision);
        self.transaction.put(name, value);
    }

    fn delete(&mut self, name: &str) {
        if self.config.entries.remove(name).is_some() {
            self.transaction.delete(name);
        }
    }

    /// No incarnation has this number any more, and there is no record under it, whose lease may last for a while yet.
    fn take_number(&mut self, number: NodeNumber) {
        let record = name::node(number);
        if self.entries.contains_key(&record) {
            self.transaction.delete(&record);
        }
        let ids = self.entries.iter().filter(|(key, _)| key.starts_with(name::IDS));
        let has_it = |key: &str, entry| self.codec.read_id(key, entry).is_ok_and(|numbered| numbered.number == number);
        for (key, _) in ids.filter(|(key, entry)| has_it(key, entry)) {
            self.transaction.delete(key);
        }
    }
}

/// How the node that makes this claim comes to its number.
///
/// # Errors
/// If there is no cluster, or no number is left.
pub(in crate::membership) fn register(
    codec: &Codec,
    entries: &Entries,
    state: &ClusterState,
    claim: Claim,
) -> Result<Registration, MembershipError> {
    if state.revision == 0 {
        return Err(MembershipError::NotMade { name: codec.cluster.clone() });
    }
    let id = name::id(claim.incarnation);
    let had = entries.get(&id).and_then(|entry| codec.read_id(&id, entry).ok()).map(|numbered| numbered.number);
    let member = |number: &NodeNumber| state.nodes.get(number);
    let is_forgotten = |number: &NodeNumber| member(number).is_some_and(|member| member.order == Some(Order::Forget));
    if let Some(number) = had.filter(|number| !is_forgotten(number)) {
        let run = member(&number).and_then(|member| member.record.as_ref()?.run.as_ref());
        let is_elsewhere = run.is_some_and(|run| run.host != claim.host);
        return Ok(if is_elsewhere { Registration::Copied(number) } else { Registration::Known(number) });
    }
    // Whatever was seen of any node is behind the next number, too.
    let highest = state.nodes.keys().next_back().map_or(0, |number| u32::from(number.get()));
    let next = state.next_id.max(highest + 1);
    let number = u16::try_from(next).ok().and_then(NodeNumber::new).ok_or(MembershipError::NumbersUsed)?;
    let mut transaction = Transaction::default().unless_changed(entries, name::NEXT_ID).unless_changed(entries, &id);
    transaction.put(name::NEXT_ID, codec.write_next_id(next + 1));
    let value = codec.write_id(&id, Numbered { number, tunnel: None });
    transaction.put(id, value);
    Ok(Registration::New { number, transaction })
}

/// The transaction that tells the others a node's record: only while its incarnation has the number. Where the node is, its
/// number says from then on, too: that stays when its lease ends.
///
/// # Errors
/// If it has not.
pub(in crate::membership) fn publish(
    codec: &Codec,
    entries: &Entries,
    record: &NodeRecord,
) -> Result<Transaction, MembershipError> {
    let id = record.run.as_ref().map(|run| name::id(run.incarnation)).unwrap_or_default();
    let had = entries.get(&id).and_then(|entry| codec.read_id(&id, entry).ok());
    let Some(had) = had.filter(|numbered| numbered.number == record.number) else {
        return Err(MembershipError::NotOurs { record: record.number });
    };
    let mut transaction = Transaction::default().unless_changed(entries, id.as_str());
    let now = Numbered { tunnel: Some(record.tunnel()), ..had };
    if now != had {
        let value = codec.write_id(&id, now);
        transaction.put(id, value);
    }
    let (name, value) = (name::node(record.number), codec.write_node(record));
    transaction.operations.push(Operation::PutLeased { name, value });
    Ok(transaction)
}
