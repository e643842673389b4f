//! What the configuration file wants of connection IDs, and the configuration that it needs.

use std::{cell::Cell, path::PathBuf, time::Duration};

use router_common::identifiers::ConfigRotation;
use zeroize::Zeroizing;

use super::{
    error::CidError,
    key_store::{ConfigSpec, KeyFrom, KeyStore, Pages, StoredConfig, StoredIdentity, digest},
};
use crate::{
    agent::hex,
    config::{Config, Encryption, key_file},
};

/// What the configuration file says.
pub(super) struct Plan {
    pub(super) shape: ConfigSpec,
    key_file: Option<PathBuf>,
    /// What says by which configurations the nodes of a cluster decode and issue.
    pub(super) list: Option<String>,
    pub(super) lifetime: Duration,
    /// The longest that a connection may be silent, whenever it began.
    pub(super) idle_timeout: Cell<Duration>,
}

impl Plan {
    pub(super) fn of(config: &Config) -> Self {
        let plan = &config.connection_id;
        let (key_from, key_file) = match &plan.encryption {
            Encryption::Auto => (KeyFrom::Auto, None),
            Encryption::None => (KeyFrom::None, None),
            Encryption::File(path) => (KeyFrom::File, Some(path.clone())),
        };
        let identity = match &plan.server_id {
            Some(server_id) => StoredIdentity::ServerId(hex::encode(server_id.as_slice())),
            None => StoredIdentity::NodeId(config.router.node_id),
        };
        Self {
            shape: ConfigSpec { length: plan.length, describes_length: plan.describe_length, identity, key_from },
            key_file,
            list: config.cluster.as_ref().and_then(|cluster| Some(cluster.engine.members()?.display().to_string())),
            lifetime: plan.lifetime,
            idle_timeout: Cell::new(config.limits.idle_timeout),
        }
    }

    /// Sees to it that the book's issued configuration is what this asks for.
    pub(super) fn prepare(&self, book: &KeyStore) -> Result<(), CidError> {
        let pages = book.pages();
        let given = self.file_key()?;
        let fits =
            |page: &&StoredConfig| page.shape == self.shape && given.as_ref().is_none_or(|key| *key == page.key());
        if pages.issuing().filter(fits).is_some() {
            return Ok(());
        }
        // One length for a node: a short header does not tell it.
        let dropped = |page: &StoredConfig| page.shape.length != self.shape.length;
        if let Some(page) = pages.configurations.iter().find(|page| dropped(page)) {
            tracing::warn!(
                "connection IDs of {} octets, as issued by earlier runs, are no longer decoded: now they have {}",
                page.shape.length,
                self.shape.length
            );
        }
        // A key from a file that was issued before: its nonces go on where they were.
        if let Some(page) = pages.configurations.iter().find(|page| given.is_some() && fits(page)) {
            let era = page.era();
            // A new era, so that it comes after those that were issued between.
            return Ok(book.change(|pages| {
                let next = pages.next_era();
                pages.issue(next);
                pages.configurations.iter_mut().filter(|page| page.era() == era).for_each(|page| page.move_to(next));
            })?);
        }
        let key = self.new_key(&pages)?;
        Ok(book.change(|pages| {
            pages.forget(dropped);
            let rotation = pages.free_rotation().unwrap_or_else(|| {
                // No connection is left from earlier runs: whom the oldest is for, gave up first.
                let oldest = pages.configurations.iter().map(StoredConfig::era).min();
                pages.forget(|page| Some(page.era()) == oldest);
                pages.free_rotation().unwrap_or(ConfigRotation::new(0))
            });
            let era = pages.next_era();
            pages.issue(era);
            pages.configurations.push(StoredConfig::new(rotation, era, self.shape.clone(), key.as_deref()));
        })?)
    }

    /// The key of a new configuration, if it is to have one.
    ///
    /// # Errors
    /// If it is to come from a file, and the one there has been used.
    pub(super) fn new_key(&self, pages: &Pages) -> Result<Option<Zeroizing<[u8; 16]>>, CidError> {
        let key = match self.shape.key_from {
            KeyFrom::None => return Ok(None),
            KeyFrom::Auto => return Ok(Some(Zeroizing::new(rand::random()))),
            KeyFrom::File => self.file_key()?,
        };
        let used = |key: &[u8; 16]| {
            let known = pages.configurations.iter().any(|page| *page.key() == *key);
            known || pages.spent.contains(&digest(key))
        };
        match (&self.key_file, key.as_ref().filter(|key| used(key))) {
            (Some(path), Some(_)) => Err(CidError::SpentKey(path.clone())),
            _ => Ok(key),
        }
    }

    /// The key in the file, if one is named.
    fn file_key(&self) -> Result<Option<Zeroizing<[u8; 16]>>, CidError> {
        let Some(path) = &self.key_file else { return Ok(None) };
        Ok(Some(Zeroizing::new(*key_file::read(path)?.octets())))
    }
}
