//! How each kind of entry is written, and read.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use router_common::{connection_id::ROTATIONS, identifiers::ConfigRotation};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::entries::{Entry, name};
use crate::{
    membership::{
        cid::{CidConfiguration, CidShape, CidState},
        error::MembershipError,
        keys::{CidSecrets, Master},
        node::{NodeNumber, NodeRecord, Order},
    },
    seal::{Opened, Seal},
    secret::ClusterSecret,
};

/// Writes and reads the entries of one cluster.
#[derive(Debug)]
pub(in crate::membership) struct Codec {
    /// The cluster's name.
    pub(in crate::membership) cluster: String,
    seal: Seal,
}

/// What `config` says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Config {
    /// Random, made with the cluster: two that were made under one name are not taken for one.
    pub(super) made: String,
    /// By name, the epoch of every entry of `master`, `cid/` and `orders/`.
    pub(super) entries: BTreeMap<String, u64>,
}

/// `master` and others that say nothing in clear.
#[derive(Serialize, Deserialize)]
struct Nothing {}

#[derive(Serialize, Deserialize)]
struct Cid {
    state: CidState,
    announced: u64,
    since: u64,
    shape: Option<CidShape>,
    /// Versions before this was there have none.
    #[serde(default)]
    awaited: BTreeSet<NodeNumber>,
}

#[derive(Serialize, Deserialize)]
struct Ordered {
    order: Order,
}

/// What `ids/` says of an incarnation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Numbered {
    /// Its number.
    pub(super) number: NodeNumber,
    /// Where it was when it told its record last. Before its first record, and of versions before this was there, none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) tunnel: Option<SocketAddr>,
}

/// `next_id`: its epoch is the number itself.
#[derive(Serialize, Deserialize)]
struct Next {
    next: u32,
}

/// What an entry says, and its epoch.
pub(super) struct Read<T> {
    pub(super) epoch: u64,
    pub(super) content: T,
}

impl Codec {
    pub(in crate::membership) fn new(cluster: &str, secret: &ClusterSecret) -> Self {
        Self { cluster: cluster.to_owned(), seal: Seal::new(secret, cluster) }
    }

    pub(super) fn write_config(&self, revision: u64, config: &Config) -> Vec<u8> {
        self.seal.close(name::CONFIG, revision, config, b"")
    }

    pub(super) fn read_config(&self, entry: &Entry) -> Result<Read<Config>, MembershipError> {
        let Opened { epoch, clear, .. } = self.open(name::CONFIG, entry)?;
        Ok(Read { epoch, content: clear })
    }

    pub(super) fn write_master(&self, epoch: u64, master: &Master) -> Vec<u8> {
        self.seal.close(name::MASTER, epoch, &Nothing {}, master.octets())
    }

    pub(super) fn read_master(&self, entry: &Entry) -> Result<Read<Master>, MembershipError> {
        let opened = self.open::<Nothing>(name::MASTER, entry)?;
        let octets = <[u8; 32]>::try_from(opened.secret.octets())
            .map_err(|_| unreadable(name::MASTER, "no key of 32 octets"))?;
        Ok(Read { epoch: opened.epoch, content: Master::from(octets) })
    }

    pub(super) fn write_cid(&self, epoch: u64, cid: &CidConfiguration) -> Vec<u8> {
        let CidConfiguration { state, announced, since, shape, .. } = *cid;
        let clear = Cid { state, announced, since, shape, awaited: cid.awaited.clone() };
        self.seal.close(&name::cid(cid.rotation), epoch, &clear, cid.secrets.octets())
    }

    pub(super) fn read_cid(&self, entry_name: &str, entry: &Entry) -> Result<CidConfiguration, MembershipError> {
        let rotation = entry_name.strip_prefix(name::CID).and_then(|rotation| rotation.parse().ok());
        let rotation = rotation.filter(|rotation| *rotation < ROTATIONS).map(ConfigRotation::new);
        let rotation = rotation.ok_or_else(|| unreadable(entry_name, "rotations are 0 to 6"))?;
        let opened = self.open::<Cid>(entry_name, entry)?;
        let octets = <[u8; 36]>::try_from(opened.secret.octets())
            .map_err(|_| unreadable(entry_name, "no key and salt of 36 octets"))?;
        let Cid { state, announced, since, shape, awaited } = opened.clear;
        let secrets = CidSecrets::from(octets);
        Ok(CidConfiguration { rotation, state, announced, entered: opened.epoch, since, shape, awaited, secrets })
    }

    pub(super) fn write_order(&self, epoch: u64, number: NodeNumber, order: Order) -> Vec<u8> {
        self.seal.close(&name::order(number), epoch, &Ordered { order }, b"")
    }

    pub(super) fn read_order(&self, entry_name: &str, entry: &Entry) -> Result<Read<Order>, MembershipError> {
        let Opened { epoch, clear, .. } = self.open::<Ordered>(entry_name, entry)?;
        Ok(Read { epoch, content: clear.order })
    }

    pub(super) fn write_id(&self, entry_name: &str, numbered: Numbered) -> Vec<u8> {
        self.seal.close(entry_name, 0, &numbered, b"")
    }

    pub(super) fn read_id(&self, entry_name: &str, entry: &Entry) -> Result<Numbered, MembershipError> {
        Ok(self.open(entry_name, entry)?.clear)
    }

    pub(super) fn write_next_id(&self, next: u32) -> Vec<u8> {
        self.seal.close(name::NEXT_ID, next.into(), &Next { next }, b"")
    }

    pub(super) fn read_next_id(&self, entry: &Entry) -> Result<u32, MembershipError> {
        Ok(self.open::<Next>(name::NEXT_ID, entry)?.clear.next)
    }

    pub(super) fn write_node(&self, record: &NodeRecord) -> Vec<u8> {
        let acks = record.run.as_ref().map_or(0, |run| run.acks);
        self.seal.close(&name::node(record.number), acks, record, b"")
    }

    pub(super) fn read_node(&self, entry_name: &str, entry: &Entry) -> Result<NodeRecord, MembershipError> {
        let record = self.open::<NodeRecord>(entry_name, entry)?.clear;
        if name::node(record.number) == entry_name { Ok(record) } else { Err(unreadable(entry_name, "another node's")) }
    }

    fn open<T: DeserializeOwned>(&self, entry_name: &str, entry: &Entry) -> Result<Opened<T>, MembershipError> {
        self.seal.open(entry_name, &entry.value).map_err(|error| unreadable(entry_name, &error.to_string()))
    }
}

/// An entry that does not say what it should.
pub(super) fn unreadable(entry: &str, why: &str) -> MembershipError {
    MembershipError::Unreadable { entry: entry.to_owned(), why: why.to_owned() }
}
