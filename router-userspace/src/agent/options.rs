//! How the agent is run, besides what is in its configuration, and where that comes from.

use std::{fs, net::SocketAddr, os::unix::fs::MetadataExt as _, sync::Arc};

use super::error::AgentError;
use crate::{
    build_identity::{self, Exemption},
    config::{Config, ConfigError},
    telemetry::Log,
};

/// How to run, besides the configuration.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// Load the kernel programs that log, at this level.
    pub kernel_log: Option<String>,
    /// Take over from the agent that runs, if one does.
    pub takeover: bool,
    /// The log, whose level a reload may change.
    pub log: Log,
}

/// Where the configuration comes from: read at the start, and again at every reload, on another thread.
#[derive(Clone)]
pub struct ConfigSource {
    read: Arc<dyn Fn() -> Result<Config, ConfigError> + Send + Sync>,
    exemption: Option<Exemption>,
}

impl ConfigSource {
    /// Reads it by `read`. With an exemption a debug or sanitizer build may listen anywhere.
    pub fn new(
        read: impl Fn() -> Result<Config, ConfigError> + Send + Sync + 'static,
        exemption: Option<Exemption>,
    ) -> Self {
        Self { read: Arc::new(read), exemption }
    }

    /// The configuration as it is now.
    ///
    /// # Errors
    /// If it is not valid, or if this is a test build that would listen on a public address.
    pub(super) fn read(&self) -> Result<Config, AgentError> {
        let config = (self.read)()?;
        let addresses: Vec<SocketAddr> = config.listeners.iter().map(|listener| listener.address).collect();
        let exemption = self.exemption.or_else(|| in_private_namespace().then_some(Exemption::PrivateNamespace));
        build_identity::refuse_public_listen(&addresses, exemption)?;
        Ok(config)
    }
}

/// Whether this process is in another network namespace than the host's first process: a
/// test's lab, not a host's uplink.
fn in_private_namespace() -> bool {
    let namespace = |pid: &str| fs::metadata(format!("/proc/{pid}/ns/net")).map(|m| m.ino()).ok();
    matches!((namespace("self"), namespace("1")), (Some(own), Some(first)) if own != first)
}
