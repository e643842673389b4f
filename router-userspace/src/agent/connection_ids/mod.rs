//! The life of the configurations of connection IDs: found again at start, rotated, and
//! forgotten when no connection uses them.
//!
//! ```text
//! rotate:  kernel decodes ─► workers decode ─► written down ─► workers issue
//! retire:  unused ─► workers and kernel forget ─► written down
//! ```
//!
//! A connection uses the configuration it began under until it ends, or until quinn has
//! replaced its connection IDs (`connection_id.lifetime`). A configuration is out of use
//! when no connection can have its IDs any more, and none of them has been seen for as long
//! as a connection may be silent.

mod error;
mod key_store;
mod plan;
mod shared;

use std::{
    cell::{Cell, RefCell},
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use router_cluster::membership::{CidConfiguration, CidState, ClusterState};
use router_common::{
    connection_id::{CidConfig, Encoding},
    identifiers::{ConfigRotation, EraId, SlotId},
};

use self::{
    error::CidError,
    key_store::{KeyStore, StoredConfig},
    plan::Plan,
};
use super::{api, error::RoomError as _, hex, secrets::Secrets, state_dir::State};
use crate::{
    config::Config,
    datapath::{CidEntry, Datapath},
    worker::{self, Configuration, ConnectionIds, HostKeys, Nonces},
};

/// The configurations of a node, and what becomes of them.
pub(super) struct CidRotation {
    ids: Arc<ConnectionIds>,
    book: Arc<KeyStore>,
    secrets: Arc<Secrets>,
    plan: Plan,
    uses: RefCell<BTreeMap<EraId, Use>>,
    trouble: RefCell<Option<String>>,
    /// Rotations that the cluster names: these stay as long as it does.
    listed: RefCell<BTreeSet<ConfigRotation>>,
    /// The revision of the cluster's configurations that was followed last.
    followed: Cell<u64>,
    keeping: Cell<bool>,
    /// Connection IDs without a nonce, when last looked at, and when there was last one more.
    unroutable: Cell<u64>,
    ran_short: Cell<Option<Instant>>,
}

/// How a configuration is used, as far as the agent has seen.
#[derive(Debug)]
struct Use {
    /// When it was last issued; none while it is.
    retired: Option<Instant>,
    /// Datagrams, of earlier configurations of this rotation too, when it came into use.
    before: u64,
    /// The same when last looked at.
    datagrams: u64,
    /// When there was last one.
    seen: Instant,
}

impl Use {
    fn new(datagrams: u64) -> Self {
        Self { retired: None, before: datagrams, datagrams, seen: Instant::now() }
    }
}

impl CidRotation {
    /// Finds the configurations of earlier runs, and makes one if none of them is what `config`
    /// asks for, or takes those of a `cluster`.
    ///
    /// # Errors
    /// If the state folder or a key file does not allow it; nothing has changed then.
    pub(super) fn start(
        config: &Config,
        state: &State,
        secrets: Arc<Secrets>,
        cluster: Option<&ClusterState>,
    ) -> Result<Self, CidError> {
        let plan = Plan::of(config);
        let book = Arc::new(KeyStore::open(state)?);
        match cluster {
            Some(cluster) => shared::prepare(&book, &plan.shape, cluster)?,
            None => plan.prepare(&book)?,
        }
        let pages = book.pages();
        let issuing = pages.issuing().ok_or(CidError::NoneIssued)?;
        let ids = ConnectionIds::new(configuration(issuing, &secrets, &book)?, secrets.reset_key(&[]));
        let mut uses = BTreeMap::from([(issuing.era(), Use::new(0))]);
        for page in pages.configurations.iter().filter(|page| page.era() != issuing.era()) {
            ids.add(configuration(page, &secrets, &book)?);
            // One that comes after what is issued is still to be.
            let retired = (page.era() < issuing.era()).then(Instant::now);
            uses.insert(page.era(), Use { retired, ..Use::new(0) });
        }
        let listed = cluster.map(|cluster| cluster.cid.keys().copied().collect()).unwrap_or_default();
        let (uses, trouble) = (RefCell::new(uses), RefCell::default());
        Ok(Self {
            ids: Arc::new(ids),
            book,
            secrets,
            plan,
            uses,
            trouble,
            listed: RefCell::new(listed),
            followed: Cell::new(cluster.map_or(0, |cluster| cluster.revision)),
            keeping: Cell::default(),
            unroutable: Cell::default(),
            ran_short: Cell::default(),
        })
    }

    /// What the workers share.
    pub(super) fn ids(&self) -> &Arc<ConnectionIds> {
        &self.ids
    }

    /// What the kernel needs to decode all of them.
    pub(super) fn for_kernel(&self) -> Vec<CidEntry> {
        let pages = self.book.pages();
        let row = |page: &StoredConfig| {
            let config = page.config()?.issuing(pages.issues(page));
            let keys = page.kernel_keys(self.secrets.slot_mask(&page.salt()));
            Some(CidEntry { rotation: page.rotation(), config, keys })
        };
        pages.configurations.iter().filter_map(row).collect()
    }

    /// Brings in a new configuration: decodable everywhere before anything is issued under it.
    /// `seen` is how many datagrams the workers have had of a rotation.
    ///
    /// # Errors
    /// If it cannot be had now; nothing has changed then.
    pub(super) fn rotate(
        &self,
        kernel: Option<&mut Datapath>,
        seen: impl Fn(ConfigRotation) -> u64,
    ) -> Result<(), CidError> {
        if let Some(list) = &self.plan.list {
            return Err(CidError::ClusterRotates { list: list.clone() });
        }
        let pages = self.book.pages();
        let rotation = pages.free_rotation().ok_or(CidError::AllInUse)?;
        let key = self.plan.new_key(&pages)?;
        let page = StoredConfig::new(rotation, pages.next_era(), self.plan.shape.clone(), key.as_deref());
        let new = configuration(&page, &self.secrets, &self.book)?;
        let old = self.ids.now().issuing().clone();

        let mut kernel = kernel;
        if let Some(datapath) = kernel.as_deref_mut() {
            let keys = page.kernel_keys(self.secrets.slot_mask(&page.salt()));
            datapath.set_cid_config(rotation, new.config().issuing(true), &keys)?;
        }
        self.ids.add(Arc::clone(&new));
        let era = page.era();
        let written = self.book.change(|pages| {
            pages.issue(era);
            pages.configurations.push(page);
        });
        if let Err(e) = written {
            self.ids.remove(rotation);
            if let Some(datapath) = kernel {
                datapath.clear_cid_config(rotation)?;
            }
            return Err(e.into());
        }
        self.ids.issue_under(Arc::clone(&new));
        if let Some(datapath) = kernel
            && let Some(page) = pages.configurations.iter().find(|page| page.era() == old.era())
        {
            self.show_as_replaced(&old, page, datapath);
        }
        let mut uses = self.uses.borrow_mut();
        uses.insert(era, Use::new(seen(rotation)));
        if let Some(old) = uses.get_mut(&old.era()) {
            old.retired = Some(Instant::now());
        }
        tracing::info!("connection IDs: configuration {rotation} is issued from now on");
        Ok(())
    }

    /// Decodes and issues by what the nodes of a cluster do from now on: what is new is decoded first.
    ///
    /// # Errors
    /// If that cannot be; what could be done is done.
    pub(super) fn follow(&self, cluster: &ClusterState, mut kernel: Option<&mut Datapath>) -> Result<(), CidError> {
        let issuing = cluster.issuing().ok_or(CidError::ClusterIssuesNone)?;
        *self.listed.borrow_mut() = cluster.cid.keys().copied().collect();
        for shared in shared::in_order(cluster) {
            if !self.book.pages().configurations.iter().any(|page| page.is_shared(shared)) {
                self.announce(shared, kernel.as_deref_mut())?;
            }
        }
        self.issue_by(issuing, kernel)?;
        self.followed.set(cluster.revision);
        Ok(())
    }

    /// Whether they are a cluster's that no list of nodes names.
    pub(super) fn are_shared(&self) -> bool {
        self.plan.list.is_none() && !self.listed.borrow().is_empty()
    }

    /// The revision of the cluster's configurations that is followed: all of them are decoded, and the right one is issued
    /// by.
    pub(super) fn followed(&self) -> u64 {
        self.followed.get()
    }

    fn announce(&self, shared: &CidConfiguration, mut kernel: Option<&mut Datapath>) -> Result<(), CidError> {
        shared::fits(shared, &self.plan.shape)?;
        let rotation = shared.rotation;
        let before = self.ids.now().get(rotation).cloned();
        if let Some(before) = before {
            let is_unused = self.ids.connections_up_to(before.era()) == 0;
            if !is_unused || before.era() == self.ids.now().issuing().era() {
                return Err(CidError::RotationInUse(rotation));
            }
            self.forget(&before, kernel.as_deref_mut())?;
        }
        let page = StoredConfig::of_cluster(shared, self.book.pages().next_era(), self.plan.shape.clone());
        let (era, new) = (page.era(), configuration(&page, &self.secrets, &self.book)?);
        if let Some(datapath) = kernel {
            let keys = page.kernel_keys(self.secrets.slot_mask(&page.salt()));
            datapath.set_cid_config(rotation, *new.config(), &keys)?;
        }
        self.ids.add(new);
        self.book.change(|pages| pages.announce(page)).inspect_err(|_| self.ids.remove(rotation))?;
        let retired = (shared.state == CidState::Retiring).then(Instant::now);
        self.uses.borrow_mut().insert(era, Use { retired, ..Use::new(0) });
        tracing::info!("connection IDs: configuration {rotation} is decoded from now on");
        Ok(())
    }

    fn issue_by(&self, shared: &CidConfiguration, kernel: Option<&mut Datapath>) -> Result<(), CidError> {
        let (pages, old) = (self.book.pages(), self.ids.now().issuing().clone());
        let page = pages.configurations.iter().find(|page| page.is_shared(shared)).ok_or(CidError::NoneIssued)?;
        if page.era() == old.era() {
            return Ok(());
        }
        if page.era() < old.era() {
            return Err(CidError::IssuedBefore(page.rotation()));
        }
        let new = self.ids.now().get(page.rotation()).cloned().ok_or(CidError::NoneIssued)?;
        self.book.change(|pages| pages.issue(page.era()))?;
        self.ids.issue_under(Arc::clone(&new));
        if let Some(datapath) = kernel {
            let keys = page.kernel_keys(self.secrets.slot_mask(&page.salt()));
            datapath.set_cid_config(new.rotation(), new.config().issuing(true), &keys)?;
            if let Some(page) = pages.configurations.iter().find(|page| page.era() == old.era()) {
                self.show_as_replaced(&old, page, datapath);
            }
        }
        if let Some(old) = self.uses.borrow_mut().get_mut(&old.era()) {
            old.retired = Some(Instant::now());
        }
        tracing::info!("connection IDs: configuration {} is issued from now on", new.rotation());
        Ok(())
    }

    /// Says in the maps that a configuration is no longer issued. Only what people see changes: it is decoded as before.
    fn show_as_replaced(&self, old: &Configuration, page: &StoredConfig, datapath: &mut Datapath) {
        let keys = page.kernel_keys(self.secrets.slot_mask(&page.salt()));
        if let Err(e) = datapath.set_cid_config(old.rotation(), *old.config(), &keys) {
            tracing::warn!("map cid_configs: configuration {} still reads as issued: {e}", old.rotation());
        }
    }

    /// What is to be done now and then: forget what is out of use, keep nonces in stock, and
    /// rotate before they run out.
    pub(super) fn maintain(&self, mut kernel: Option<&mut Datapath>, seen: impl Fn(ConfigRotation) -> u64) {
        let result = (|| {
            self.note_uses(&seen);
            for configuration in self.out_of_use() {
                self.forget(&configuration, kernel.as_deref_mut())?;
            }
            let issuing = self.ids.now().issuing().clone();
            let rotation = issuing.rotation();
            issuing.nonces().renew_in_time().map_err(|source| CidError::NoNonces { rotation, source })?;
            if issuing.nonces().used() >= NEARLY_USED_UP {
                self.rotate(kernel, &seen).map_err(|e| CidError::NotReplaced {
                    rotation,
                    used: issuing.nonces().used(),
                    source: Box::new(e),
                })?;
            }
            let unroutable = self.ids.unroutable();
            if unroutable != self.unroutable.replace(unroutable) {
                self.ran_short.set(Some(Instant::now()));
            }
            if self.ran_short.get().is_some_and(|when| when.elapsed() < REMEMBERED) {
                return Err(CidError::Unroutable(unroutable));
            }
            Ok(())
        })();
        let trouble = result.err().map(|e: CidError| match e.hint() {
            Some(hint) => format!("{e} (try: {hint})"),
            None => e.to_string(),
        });
        let mut last = self.trouble.borrow_mut();
        if let Some(trouble) = trouble.as_ref().filter(|trouble| last.as_ref() != Some(trouble)) {
            tracing::warn!("{trouble}");
        }
        *last = trouble;
    }

    /// New connections may be silent for so long; those there are keep their own idle timeout.
    pub(super) fn silence_lasts(&self, idle_timeout: Duration) {
        self.plan.idle_timeout.set(self.plan.idle_timeout.get().max(idle_timeout));
    }

    /// Leaves the book to the next generation: until it is back, no configuration comes or goes,
    /// and `slots`, which are ours, make do with the nonces that they are given now.
    ///
    /// # Errors
    /// If these cannot be written down; then nothing has changed.
    pub(super) fn lend(&self, slots: &[SlotId]) -> Result<(), CidError> {
        let issuing = self.ids.now().issuing().clone();
        if issuing.is_encrypted() {
            let rotation = issuing.rotation();
            issuing.nonces().stock_up(slots).map_err(|source| CidError::NoNonces { rotation, source })?;
        }
        self.book.lend();
        Ok(())
    }

    /// The book is ours again, with what the other generation wrote: the configurations it
    /// brought in, and the nonces it took.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) fn take_back(&self) -> Result<(), CidError> {
        self.book.take_back()?;
        let pages = self.book.pages();
        for page in &pages.configurations {
            let known = self.ids.now().iter().find(|known| known.era() == page.era()).cloned();
            let configuration = match known {
                Some(known) => known,
                None => {
                    let new = configuration(page, &self.secrets, &self.book)?;
                    self.ids.add(Arc::clone(&new));
                    let unused = Use { retired: Some(Instant::now()), ..Use::new(0) };
                    self.uses.borrow_mut().insert(page.era(), unused);
                    new
                }
            };
            page.leased().for_each(|(slot, up_to)| configuration.nonces().skip_to(slot, up_to));
            if pages.issues(page) {
                self.ids.issue_under(configuration);
            }
        }
        Ok(())
    }

    /// Says whether configurations stay because connections of other generations may use them.
    pub(super) fn keep_all(&self, yes: bool) {
        self.keeping.set(yes);
    }

    /// What is wrong, in one sentence.
    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.borrow().clone()
    }

    /// All configurations, for people, the issued one first.
    pub(super) fn describe(&self) -> Vec<api::CidConfiguration> {
        let (pages, set, uses) = (self.book.pages(), self.ids.now(), self.uses.borrow());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mut all: Vec<_> = set.iter().collect();
        all.sort_by_key(|configuration| std::cmp::Reverse(configuration.era()));
        let describe = |configuration: &&Arc<Configuration>| {
            let (page, used) = (
                pages.configurations.iter().find(|page| page.era() == configuration.era()),
                uses.get(&configuration.era()),
            );
            let config = configuration.config();
            api::CidConfiguration {
                rotation: configuration.rotation().get(),
                state: match configuration.era().cmp(&set.issuing().era()) {
                    Ordering::Less => api::CidState::Retiring,
                    Ordering::Equal => api::CidState::Issuing,
                    Ordering::Greater => api::CidState::Announced,
                },
                encoding: encoding_name(config).to_owned(),
                length: config.length() as u8,
                server_id_length: config.server_id_length() as u8,
                identity: hex::encode(config.identity()),
                key: page.map_or("none", |page| page.shape.key_from.name()).to_owned(),
                age_seconds: page.map_or(0, |page| now.saturating_sub(page.created)),
                connections: self.ids.connections_of(configuration.era()),
                issued: configuration.issued(),
                datagrams: used.map_or(0, |used| used.datagrams - used.before),
                quiet_seconds: used.map_or(0, |used| used.seen.elapsed().as_secs()),
                nonces_used: configuration.is_encrypted().then(|| configuration.nonces().used()),
            }
        };
        all.iter().map(describe).collect()
    }

    fn note_uses(&self, seen: impl Fn(ConfigRotation) -> u64) {
        let mut uses = self.uses.borrow_mut();
        for configuration in self.ids.now().iter() {
            let datagrams = seen(configuration.rotation());
            if let Some(used) = uses.get_mut(&configuration.era())
                && used.datagrams != datagrams
            {
                used.datagrams = datagrams;
                used.seen = Instant::now();
            }
        }
    }

    fn out_of_use(&self) -> Vec<Arc<Configuration>> {
        if self.keeping.get() {
            return Vec::new();
        }
        let listed = self.listed.borrow();
        let (lifetime, idle_timeout) = (self.plan.lifetime, self.plan.idle_timeout.get());
        let uses = self.uses.borrow();
        let is_over = |configuration: &&Arc<Configuration>| {
            let Some(used) = uses.get(&configuration.era()) else { return false };
            let Some(retired) = used.retired else { return false };
            // Who was silent when its connection IDs were replaced learns so when it comes back. Those
            // that were issued within a round trip of others, quinn replaces a lifetime later.
            let replaced = retired.elapsed() >= 2 * lifetime + idle_timeout;
            let unused = self.ids.connections_up_to(configuration.era()) == 0;
            (unused || replaced) && used.seen.elapsed() >= idle_timeout
        };
        let all = self.ids.now();
        all.iter().filter(|one| !listed.contains(&one.rotation())).filter(is_over).cloned().collect()
    }

    fn forget(&self, configuration: &Configuration, kernel: Option<&mut Datapath>) -> Result<(), CidError> {
        let rotation = configuration.rotation();
        // Each step may be done again: if one fails, all are tried again at the next look.
        self.book.change(|pages| pages.forget(|page| page.era() == configuration.era()))?;
        if let Some(datapath) = kernel {
            datapath.clear_cid_config(rotation)?;
        }
        self.ids.remove(rotation);
        self.uses.borrow_mut().remove(&configuration.era());
        tracing::info!("connection IDs: configuration {rotation} is out of use, and gone");
        Ok(())
    }
}

/// `page` as the workers have it.
fn configuration(page: &StoredConfig, secrets: &Secrets, book: &Arc<KeyStore>) -> Result<Arc<Configuration>, CidError> {
    let config = page.config().ok_or(CidError::Illegal)?;
    let ledger = Arc::clone(book);
    let nonces = Nonces::new(page.era(), page.nonces_from(), config.free_octets(), ledger);
    let nonces = page.leased().fold(nonces, |nonces, (slot, up_to)| nonces.leased(slot, up_to));
    let salt = page.salt();
    let keys = HostKeys::new(&page.key(), secrets.slot_mask(&salt));
    let secrets = worker::Secrets { keys, reset_key: secrets.reset_key(&salt) };
    Ok(Arc::new(Configuration::new(page.rotation(), config, secrets, nonces)))
}

/// How a configuration writes connection IDs, for people.
pub(super) fn encoding_name(config: &CidConfig) -> &'static str {
    match config.encoding() {
        Some(Encoding::Clear) => "clear",
        Some(Encoding::SinglePass) => "single pass",
        Some(Encoding::FourPass) => "four pass",
        Some(Encoding::ClearMaskedSlot) => "clear, slot masked",
        None => "not in use",
    }
}

/// From this share of its nonces on a configuration is replaced: time for the last lease, and
/// for an operator where it has to be done by hand.
const NEARLY_USED_UP: f64 = 0.875;

/// How long `status` tells of connection IDs that were issued without a nonce.
const REMEMBERED: Duration = Duration::from_secs(600);
