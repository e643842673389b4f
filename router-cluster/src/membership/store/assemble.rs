//! What entries say together.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    codec::{Codec, Config, Numbered, Read, unreadable},
    entries::{Entries, Entry, name},
};
use crate::membership::{
    error::MembershipError,
    node::NodeNumber,
    state::{ClusterState, Member},
};

/// What a node has seen of its cluster, and what is therefore too old to be believed.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(in crate::membership) struct Seen {
    /// Which cluster it was; none before the first.
    pub(super) made: Option<String>,
    /// The highest revision.
    pub(super) revision: u64,
    /// The highest number that was said to be next.
    pub(super) next_id: u32,
}

impl Seen {
    /// The same after `state` of the cluster `config`.
    fn after(&self, config: &Config, state: &ClusterState) -> Self {
        Self {
            made: Some(config.made.clone()),
            revision: self.revision.max(state.revision),
            next_id: self.next_id.max(state.next_id),
        }
    }

    fn check(&self, config: &Read<Config>) -> Result<(), MembershipError> {
        if self.made.as_ref().is_some_and(|made| *made != config.content.made) {
            return Err(unreadable(name::CONFIG, "another cluster was made under the same name"));
        }
        if config.epoch < self.revision {
            let why = format!("revision {}, and {} was seen before", config.epoch, self.revision);
            return Err(unreadable(name::CONFIG, &why));
        }
        Ok(())
    }
}

/// The state that `entries` say, and what has been seen after it. A cluster that was not made yet is an empty state.
///
/// # Errors
/// If what is shared does not open as a whole, or is older than what was `seen`. A single node's entry that makes no sense
/// is no error: it is among the state's faults.
pub(in crate::membership) fn assemble(
    codec: &Codec,
    entries: &Entries,
    seen: &Seen,
) -> Result<(ClusterState, Seen), MembershipError> {
    let Some(entry) = entries.get(name::CONFIG) else {
        return match seen.made {
            None => Ok((ClusterState::default(), seen.clone())),
            Some(_) => Err(unreadable(name::CONFIG, "no longer there")),
        };
    };
    let config = codec.read_config(entry)?;
    seen.check(&config)?;
    let mut state = ClusterState { revision: config.epoch, ..ClusterState::default() };
    let shared = Shared { codec, entries, config: &config.content };
    shared.read_into(&mut state)?;
    read_nodes(codec, entries, &mut state);
    state.next_id = read_next_id(codec, entries, seen)?;
    let seen = seen.after(&config.content, &state);
    Ok((state, seen))
}

/// What `config` names.
struct Shared<'s> {
    codec: &'s Codec,
    entries: &'s Entries,
    config: &'s Config,
}

impl Shared<'_> {
    fn read_into(&self, state: &mut ClusterState) -> Result<(), MembershipError> {
        for (entry_name, &epoch) in &self.config.entries {
            let entry = self.entries.get(entry_name).ok_or_else(|| unreadable(entry_name, "missing"))?;
            let found = self.read_one(state, entry_name, entry)?;
            if found != epoch {
                let why = format!("of epoch {found}, and the cluster's is {epoch}");
                return Err(unreadable(entry_name, &why));
            }
        }
        // What `config` does not name was not written by a node.
        let kinds = [name::CID, name::ORDERS];
        let stray = self.entries.keys().filter(|key| kinds.iter().any(|kind| key.starts_with(kind)));
        let stray = stray.filter(|key| !self.config.entries.contains_key(*key));
        state.faults.extend(stray.map(|key| format!("{key}: not part of the cluster")));
        Ok(())
    }

    /// Reads one entry; answers its epoch.
    fn read_one(&self, state: &mut ClusterState, entry_name: &str, entry: &Entry) -> Result<u64, MembershipError> {
        if entry_name == name::MASTER {
            let Read { epoch, content } = self.codec.read_master(entry)?;
            state.master = Some(content);
            return Ok(epoch);
        }
        if let Some(number) = entry_name.strip_prefix(name::ORDERS) {
            let number = number_of(number).ok_or_else(|| unreadable(entry_name, "no node's number"))?;
            let Read { epoch, content } = self.codec.read_order(entry_name, entry)?;
            state.nodes.entry(number).or_default().order = Some(content);
            return Ok(epoch);
        }
        let cid = self.codec.read_cid(entry_name, entry)?;
        let entered = cid.entered;
        state.cid.insert(cid.rotation, cid);
        Ok(entered)
    }
}

/// Records and numbers of nodes. One that cannot be read is none, and a fault.
fn read_nodes(codec: &Codec, entries: &Entries, state: &mut ClusterState) {
    let mut given = BTreeMap::new();
    for (entry_name, entry) in entries.range(name::IDS.to_owned()..).take_while(|(key, _)| key.starts_with(name::IDS)) {
        let read = codec.read_id(entry_name, entry);
        if let Some(incarnation) = entry_name.strip_prefix(name::IDS).and_then(|text| text.parse().ok()) {
            state.incarnations.insert(incarnation, read.as_ref().ok().map(|numbered| numbered.number));
        }
        match read {
            Ok(Numbered { number, tunnel }) => {
                state.nodes.entry(number).or_default().last_tunnel = tunnel;
                if let Some(other) = given.insert(number, entry_name) {
                    state.faults.push(format!("{entry_name}: node {number} is {other}, too"));
                }
            }
            Err(error) => state.faults.push(error.to_string()),
        }
    }
    let nodes = entries.range(name::NODES.to_owned()..).take_while(|(key, _)| key.starts_with(name::NODES));
    for (entry_name, entry) in nodes {
        match codec.read_node(entry_name, entry) {
            Ok(record) => {
                let member: &mut Member = state.nodes.entry(record.number).or_default();
                member.record = Some(record);
            }
            Err(error) => state.faults.push(error.to_string()),
        }
    }
}

fn read_next_id(codec: &Codec, entries: &Entries, seen: &Seen) -> Result<u32, MembershipError> {
    let entry = entries.get(name::NEXT_ID).ok_or_else(|| unreadable(name::NEXT_ID, "missing"))?;
    let next = codec.read_next_id(entry)?;
    if next < seen.next_id {
        let why = format!("{next}, and it was {} before: numbers would be given twice", seen.next_id);
        return Err(unreadable(name::NEXT_ID, &why));
    }
    Ok(next)
}

fn number_of(text: &str) -> Option<NodeNumber> {
    NodeNumber::new(text.parse().ok()?)
}
