//! The engine `file`: the operator's list of nodes, which every node reads for itself, at its start and at each reload.
//!
//! ```toml
//! [connection_ids]            # may be left out: announced = [1], issuing = 1
//! announced = [1, 2]          # every node decodes these
//! issuing = 1                 # and issues by this one
//!
//! [[node]]
//! number = 1                  # 1 to 65535; never one that another node has had under these keys
//! address = "10.0.0.11"       # where other nodes reach it; not the address that clients use
//! port = 6080                 # UDP port of the tunnel
//! weight = 100                # 1 to 1000
//! state = "up"                # up, draining or gone
//! ```
//!
//! There are no leases: a node is listed until the operator says `gone` or takes it out. Keys are derived from the cluster
//! secret and the configuration's number, so nothing secret is in the list.

mod error;
mod list;
mod reader;

use std::{
    collections::BTreeSet,
    fs, future, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use tokio::sync::watch;

pub use self::error::{ListError, Problem};
use self::list::{Epoch, List};
use super::{
    Answer, Change, CidConfiguration, CidSecrets, Claim, ClusterState, EngineInfo, Freshness, Master, Membership,
    MembershipError, NodeNumber, NodeRecord, View,
};
use crate::secret::ClusterSecret;
use router_common::identifiers::ConfigRotation;

/// The engine `file`.
#[derive(Debug)]
pub struct File {
    path: PathBuf,
    secret: ClusterSecret,
    view: watch::Sender<Arc<View>>,
}

impl File {
    /// Reads the list in `path`. The cluster's keys are derived from `secret`.
    ///
    /// # Errors
    /// All that is wrong with the list.
    pub fn open(path: &Path, secret: ClusterSecret) -> Result<Self, ListError> {
        let state = Arc::new(state(&read(path)?, &secret));
        let view = watch::Sender::new(Arc::new(View { state, version: 1, freshness: Freshness::Live }));
        Ok(Self { path: path.to_owned(), secret, view })
    }

    /// Reads the list again. While it is wrong, the last one that was right holds, and the view says so.
    ///
    /// # Errors
    /// All that is wrong with the list.
    pub fn reload(&self) -> Result<(), ListError> {
        let list = read(&self.path);
        self.view.send_modify(|view| {
            let next = match &list {
                Ok(list) => {
                    let state = state(list, &self.secret);
                    let version = view.version + u64::from(*view.state != state);
                    View { state: Arc::new(state), version, freshness: Freshness::Live }
                }
                Err(error) => View { freshness: stale(&view.freshness, error), ..View::clone(view) },
            };
            *view = Arc::new(next);
        });
        list.map(drop)
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn by_hand<T>(&self) -> Result<T, MembershipError> {
        Err(MembershipError::ChangedByHand { list: self.name() })
    }

    fn number_of(&self, claim: Claim) -> Result<NodeNumber, MembershipError> {
        let view = self.view();
        let mut listed = view.state.nodes.iter();
        let own =
            listed.find(|(_, member)| member.record.as_ref().is_some_and(|record| record.address == claim.address));
        own.map(|(number, _)| *number)
            .ok_or_else(|| MembershipError::NotListed { list: self.name(), address: claim.address })
    }
}

impl Membership for File {
    fn engine(&self) -> EngineInfo {
        EngineInfo { name: "file", has_leases: false }
    }

    fn watch(&self) -> watch::Receiver<Arc<View>> {
        self.view.subscribe()
    }

    fn register(&self, claim: Claim) -> Answer<'_, NodeNumber> {
        Box::pin(future::ready(self.number_of(claim)))
    }

    /// Nothing is told: the others have the list.
    fn publish(&self, record: NodeRecord) -> Answer<'_, ()> {
        let is_listed = self.view().state.nodes.contains_key(&record.number);
        let answer = if is_listed { Ok(()) } else { Err(MembershipError::NotOurs { record: record.number }) };
        Box::pin(future::ready(answer))
    }

    /// Nothing is told: the others have the list.
    fn withdraw(&self) -> Answer<'_, ()> {
        Box::pin(future::ready(Ok(())))
    }

    fn commit(&self, _change: Change) -> Answer<'_, u64> {
        Box::pin(future::ready(self.by_hand()))
    }
}

fn read(path: &Path) -> Result<List, ListError> {
    let name = path.display().to_string();
    let text = fs::read(path)
        .and_then(|octets| String::from_utf8(octets).map_err(|_| io::Error::other("not UTF-8, which TOML must be")))
        .map_err(|error| ListError::unreadable(&name, &error))?;
    List::read(&text, &name)
}

/// What a view becomes when the list is wrong.
fn stale(before: &Freshness, error: &ListError) -> Freshness {
    let since = match before {
        Freshness::LastKnown { since, .. } => *since,
        Freshness::Live | Freshness::Unread { .. } => SystemTime::now(),
    };
    Freshness::LastKnown { since, why: error.to_string() }
}

fn state(list: &List, secret: &ClusterSecret) -> ClusterState {
    let newest = list.epochs.values().map(|epoch| epoch.number).max().unwrap_or_default();
    let highest = list.nodes.keys().map(|number| u32::from(number.get())).max().unwrap_or_default();
    let cid = list.epochs.iter().map(|(&rotation, epoch)| (rotation, configuration(rotation, epoch, secret)));
    ClusterState {
        revision: newest,
        master: Some(Master::from(*secret.derive("master", b""))),
        nodes: list.nodes.clone(),
        incarnations: std::collections::BTreeMap::new(),
        cid: cid.collect(),
        next_id: highest + 1,
        faults: Vec::new(),
    }
}

fn configuration(rotation: ConfigRotation, epoch: &Epoch, secret: &ClusterSecret) -> CidConfiguration {
    let secrets = secret.derive::<36>("connection IDs", &epoch.number.to_be_bytes());
    CidConfiguration {
        rotation,
        state: epoch.state,
        announced: epoch.number,
        entered: epoch.number,
        since: 0,
        shape: None,
        awaited: BTreeSet::new(),
        secrets: CidSecrets::from(*secrets),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::{CidState, Incarnation, Presence, Write};

    struct Listed {
        path: PathBuf,
    }

    impl Listed {
        fn new(name: &str, text: &str) -> Self {
            let path = std::env::temp_dir().join(format!("quic-router-members-{}-{name}.toml", std::process::id()));
            fs::write(&path, text).unwrap();
            Self { path }
        }

        fn open(&self) -> File {
            File::open(&self.path, ClusterSecret::from([7; 32])).unwrap()
        }
    }

    impl Drop for Listed {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.path);
        }
    }

    const THREE: &str = "[[node]]\nnumber = 1\naddress = \"10.0.0.11\"\n[[node]]\nnumber = 2\naddress = \"10.0.0.12\"\n\
                         [[node]]\nnumber = 5\naddress = \"fd00::5\"\n";

    fn claim(address: &str) -> Claim {
        Claim { address: address.parse().unwrap(), incarnation: Incarnation::new(1), host: 1 }
    }

    #[tokio::test]
    async fn a_node_finds_its_number_by_its_address() {
        let listed = Listed::new("number", THREE);
        let file = listed.open();
        assert_eq!(file.register(claim("fd00::5")).await.unwrap().get(), 5);
        let error = file.register(claim("10.0.0.5")).await.unwrap_err();
        assert!(error.to_string().contains("10.0.0.5") && error.hint().contains("[[node]]"), "{error}");
        let record = file.view().state.nodes[&NodeNumber::new(1).unwrap()].record.clone().unwrap();
        file.publish(record.clone()).await.unwrap();
        let other = NodeRecord { number: NodeNumber::new(9).unwrap(), ..record };
        assert_eq!(file.publish(other.clone()).await, Err(MembershipError::NotOurs { record: other.number }));
        file.withdraw().await.unwrap();
    }

    #[tokio::test]
    async fn it_is_changed_by_its_operator_alone() {
        let listed = Listed::new("by-hand", THREE);
        let forget = Write::Order(NodeNumber::new(1).unwrap(), crate::membership::Order::Forget);
        let change = Change { based_on: 1, nodes_as_of: None, writes: vec![forget] };
        let error = listed.open().commit(change).await.unwrap_err();
        assert!(error.to_string().contains("members-") && error.hint().contains("reload"), "{error}");
    }

    #[tokio::test]
    async fn a_wrong_list_leaves_the_last_right_one() {
        let listed = Listed::new("reload", THREE);
        let file = listed.open();
        let mut changes = file.watch();
        changes.mark_unchanged();
        fs::write(&listed.path, "[[node]]\nnumber = 1\n").unwrap();
        let error = file.reload().unwrap_err();
        changes.changed().await.unwrap();
        let view = changes.borrow_and_update().clone();
        assert_eq!(view.state.nodes.len(), 3);
        assert!(matches!(&view.freshness, Freshness::LastKnown { why, .. } if *why == error.to_string()));
        fs::write(&listed.path, THREE.replace("number = 5", "number = 5\nstate = \"gone\"")).unwrap();
        file.reload().unwrap();
        changes.changed().await.unwrap();
        let after = changes.borrow_and_update().clone();
        assert!(after.freshness.is_live() && after.version == view.version + 1);
        assert_eq!(after.state.nodes[&NodeNumber::new(5).unwrap()].presence(), Presence::Forgotten);
        fs::remove_file(&listed.path).unwrap();
        assert!(file.reload().unwrap_err().hint().contains("cluster.members"));
    }

    #[test]
    fn keys_depend_on_the_secret_and_the_number_of_the_configuration() {
        let listed = Listed::new("keys", &format!("{THREE}[connection_ids]\nannounced = [1, 2]\nissuing = 1\n"));
        let state = Arc::clone(&listed.open().view().state);
        let [first, second] = state.cid.values().collect::<Vec<_>>()[..] else { panic!("{:?}", state.cid) };
        assert_eq!((first.state, second.state), (CidState::Issuing, CidState::Announced));
        assert_eq!((state.revision, second.announced), (2, 2));
        assert_ne!(first.secrets, second.secrets);
        assert_eq!(state.issuing(), Some(first));
        let other = File::open(&listed.path, ClusterSecret::from([8; 32])).unwrap().view();
        assert_ne!(other.state.cid[&first.rotation].secrets, first.secrets);
        assert_ne!(other.state.master, state.master);
        assert_eq!(listed.open().view().state, state);
        let printed = format!("{state:?}");
        assert!(printed.contains("CidSecrets") && !printed.contains("CidSecrets("), "{printed}");
    }
}
