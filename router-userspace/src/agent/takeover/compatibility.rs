//! What two generations of one node have to have in common.

use std::{fs, os::unix::fs::MetadataExt as _, path::PathBuf};

use router_common::{identifiers::GenerationId, maps::Settings};
use serde::{Deserialize, Serialize};

use crate::config::Router;

/// What the running generation and this one have to have in common.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(in crate::agent) struct Compatibility {
    schema: u32,
    node_id: u16,
    cid_length: usize,
    bpf_dir: PathBuf,
    state_dir: PathBuf,
    /// The inode of its network namespace: elsewhere it would have other sockets and other interfaces.
    #[serde(default)]
    network: Option<u64>,
}

impl Compatibility {
    pub(in crate::agent) fn of(router: &Router, cid_length: u8) -> Self {
        let settings = Settings::new(router.node_id, cid_length, GenerationId::new(0));
        Self {
            schema: settings.schema(),
            node_id: settings.node_id(),
            cid_length: settings.cid_length(),
            bpf_dir: router.bpf_dir.clone(),
            state_dir: router.state_dir.clone(),
            network: fs::metadata("/proc/self/ns/net").ok().map(|namespace| namespace.ino()),
        }
    }

    /// What of `other` is not as here, in words.
    pub(super) fn differs(&self, other: &Self) -> Option<String> {
        let network = |of: &Self| of.network.map_or_else(|| "unknown".to_owned(), |inode| inode.to_string());
        let both_known = self.network.is_some() && other.network.is_some();
        let mut differences = vec![
            ("the maps' schema", self.schema.to_string(), other.schema.to_string()),
            ("router.node_id", self.node_id.to_string(), other.node_id.to_string()),
            ("connection_id.length", self.cid_length.to_string(), other.cid_length.to_string()),
            ("router.bpf_dir", self.bpf_dir.display().to_string(), other.bpf_dir.display().to_string()),
            ("router.state_dir", self.state_dir.display().to_string(), other.state_dir.display().to_string()),
        ];
        if both_known {
            differences.push(("the network namespace", network(self), network(other)));
        }
        let found = differences.into_iter().find(|(_, ours, theirs)| ours != theirs);
        found.map(|(what, ours, theirs)| format!("{what} is {ours} here and {theirs} there"))
    }
}
