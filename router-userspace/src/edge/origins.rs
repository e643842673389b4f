//! Where responses come from: servers and folders, and the instructions that name them.

use std::sync::Arc;

use super::{
    memory::Memory,
    route::{FolderError, Folders},
    tls::certificate_names::Shown,
    upstream::{UpstreamError, Upstreams},
};
use crate::{config::Config, telemetry::AccessLog};

/// What requests are answered from; the same for all workers.
#[derive(Clone)]
pub struct Origins {
    pub(super) upstreams: Arc<Upstreams>,
    pub(super) folders: Arc<Folders>,
    pub(super) memory: Arc<Memory>,
    pub(super) shown: Arc<Shown>,
}

/// What requests are served by, from a configuration on.
#[derive(Clone)]
pub struct Instructions {
    /// The configuration.
    pub config: Arc<Config>,
    /// Its origins.
    pub origins: Origins,
    /// Where requests are written down, if anywhere.
    pub access_log: Option<AccessLog>,
}

/// Why there is nothing to answer requests from.
#[derive(Debug, thiserror::Error)]
pub enum OriginError {
    /// Of servers.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// A folder cannot be opened. Names it.
    #[error(transparent)]
    Folder(#[from] FolderError),
}

impl Origins {
    /// Those of `config`; servers that were the same `before` stay what they are.
    ///
    /// # Errors
    /// A file that is needed to reach a server, or a folder, cannot be read.
    pub fn new(config: &Config, before: Option<&Self>) -> Result<Self, OriginError> {
        let upstreams = Upstreams::new(config, before.map(|before| &*before.upstreams))?;
        let folders = Folders::open(config)?;
        let memory = before.map_or_else(|| Memory::new(config.limits.memory), |before| Arc::clone(&before.memory));
        let shown = Arc::new(Shown::new(config));
        Ok(Self { upstreams: Arc::new(upstreams), folders: Arc::new(folders), memory, shown })
    }

    /// What is known of the servers.
    pub fn upstreams(&self) -> &Arc<Upstreams> {
        &self.upstreams
    }

    /// What requests make the node hold.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }
}
