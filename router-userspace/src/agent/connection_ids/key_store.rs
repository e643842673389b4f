//! What a node keeps about its connection IDs from run to run: `connection-ids.json` in the
//! state folder, with the keys, so for its owner's eyes only.
//!
//! Every change is on the disk before it has an effect.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use router_cluster::membership::CidConfiguration;
use router_common::{
    connection_id::{CidConfig, CidKeys, Identity, MAX_LENGTH, ROTATIONS},
    identifiers::{ConfigRotation, EraId, SlotId},
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    agent::{
        hex,
        state_dir::{State, read_secret, replace},
        state_error::{ConfigFault, KeyStoreFault, StateError},
    },
    worker::Ledger,
};

/// The file, and what stands in it.
pub(super) struct KeyStore {
    path: PathBuf,
    pages: Mutex<Pages>,
    /// Whether another generation writes the file now.
    lent: AtomicBool,
}

/// All of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pages {
    /// Of this file's form: [`VERSION`].
    version: u32,
    /// How many configurations this node has had.
    eras: u64,
    /// The era of the configuration that new connection IDs follow.
    issuing: u64,
    /// Those that can be decoded.
    pub(super) configurations: Vec<StoredConfig>,
    /// Digests of keys from files that were used and are not to be used again.
    pub(super) spent: Vec<String>,
}

/// One configuration.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoredConfig {
    rotation: u8,
    era: u64,
    /// Seconds since 1970.
    pub(super) created: u64,
    pub(super) shape: ConfigSpec,
    /// Hex of 16 octets; none in clear.
    key: Option<Zeroizing<String>>,
    /// Hex of 20 octets: where the nonces begin, and what the configuration's other keys are
    /// derived with.
    salt: String,
    /// Of a configuration that all nodes of a cluster have, and the salt with it: hex of 20 octets, where
    /// this node's nonces begin. They are random, so that they begin elsewhere where this file was lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nonces_from: Option<String>,
    /// By slot: nonces before this number may have been used.
    leased: BTreeMap<u8, u64>,
}

/// What an operator decides about a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConfigSpec {
    /// Octets of a whole connection ID.
    pub(super) length: u8,
    pub(super) describes_length: bool,
    pub(super) identity: StoredIdentity,
    pub(super) key_from: KeyFrom,
}

/// What tells our connection IDs from others'.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum StoredIdentity {
    /// `router.node_id`
    NodeId(u16),
    /// `connection_id.server_id`, hex.
    ServerId(String),
}

/// Where a configuration's key comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum KeyFrom {
    /// Made here.
    Auto,
    /// A file of the operator's.
    File,
    /// There is none.
    None,
}

impl KeyFrom {
    /// As the configuration says it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::File => "file",
            Self::None => "none",
        }
    }
}

impl KeyStore {
    /// Opens the book in the state folder; an empty one at the first start.
    ///
    /// # Errors
    /// If it cannot be read, or does not make sense.
    pub(super) fn open(state: &State) -> Result<Self, StateError> {
        let path = state.path(FILE);
        let pages = read(&path)?;
        Ok(Self { path, pages: Mutex::new(pages), lent: AtomicBool::default() })
    }

    /// Leaves the file to another generation. Nothing can be changed here until it is back.
    pub(super) fn lend(&self) {
        self.lent.store(true, Ordering::Release);
    }

    /// The file is ours again, as the other generation left it.
    ///
    /// # Errors
    /// If it cannot be read, or does not make sense.
    pub(super) fn take_back(&self) -> Result<(), StateError> {
        *self.lock() = read(&self.path)?;
        self.lent.store(false, Ordering::Release);
        Ok(())
    }

    /// What stands in it now.
    pub(super) fn pages(&self) -> Pages {
        self.lock().clone()
    }

    /// Changes it, on the disk first.
    ///
    /// # Errors
    /// If it cannot be written; then nothing has changed.
    pub(super) fn change(&self, change: impl FnOnce(&mut Pages)) -> Result<(), StateError> {
        self.try_change(change).map_err(|source| StateError::System { path: self.path.clone(), source })
    }

    fn try_change(&self, change: impl FnOnce(&mut Pages)) -> io::Result<()> {
        let mut pages = self.lock();
        if self.lent.load(Ordering::Acquire) {
            return Err(io::Error::other("it is the next generation's now"));
        }
        let mut changed = pages.clone();
        change(&mut changed);
        let text = Zeroizing::new(serde_json::to_vec_pretty(&changed).map_err(io::Error::other)?);
        replace(&self.path, &text)?;
        *pages = changed;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells whether a key is one that was seen before, without giving it away: hex. It depends on
/// nothing else, so that it is known again whatever becomes of the other secrets.
pub(super) fn digest(key: &[u8; 16]) -> String {
    let text = Zeroizing::new([&b"quic-router spent key 1"[..], key].concat());
    hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &text).as_ref())
}

/// What stands in the file; nothing if there is none.
fn read(path: &Path) -> Result<Pages, StateError> {
    let refuse = |why| StateError::KeyStore { path: path.to_owned(), why };
    let pages = match read_secret(path)? {
        None => Pages { version: VERSION, eras: 0, issuing: 0, configurations: Vec::new(), spent: Vec::new() },
        Some(text) => serde_json::from_slice::<Pages>(&text)
            // The error's own words might quote a key.
            .map_err(|e| refuse(KeyStoreFault::Unreadable { line: e.line(), column: e.column() }))?,
    };
    if pages.version != VERSION {
        return Err(refuse(KeyStoreFault::OtherVersion { found: pages.version, known: VERSION }));
    }
    pages.configurations.iter().try_for_each(StoredConfig::check).map_err(refuse)?;
    Ok(pages)
}

impl Ledger for KeyStore {
    fn lease(&self, era: EraId, slot: SlotId, up_to: u64) -> io::Result<()> {
        self.try_change(|pages| {
            for page in pages.configurations.iter_mut().filter(|page| page.era() == era) {
                page.leased.insert(slot.get(), up_to);
            }
        })
    }
}

impl Pages {
    /// The configuration that new connection IDs follow; none before the first.
    pub(super) fn issuing(&self) -> Option<&StoredConfig> {
        self.configurations.iter().find(|page| self.issues(page))
    }

    /// Whether new connection IDs follow `page`.
    pub(super) fn issues(&self, page: &StoredConfig) -> bool {
        page.era == self.issuing
    }

    /// The era of the configuration that comes next.
    pub(super) fn next_era(&self) -> EraId {
        EraId::new(self.eras + 1)
    }

    /// From now on new connection IDs follow the configuration of `era`.
    pub(super) fn issue(&mut self, era: EraId) {
        self.eras = self.eras.max(era.get());
        self.issuing = era.get();
    }

    /// Adds a configuration that is decoded, and issued by later, if at all.
    pub(super) fn announce(&mut self, config: StoredConfig) {
        self.eras = self.eras.max(config.era);
        self.configurations.push(config);
    }

    /// Whether there is a configuration of `rotation`.
    pub(super) fn has(&self, rotation: ConfigRotation) -> bool {
        self.configurations.iter().any(|page| page.rotation() == rotation)
    }

    /// Takes out the configurations that `which` names. Keys that came from files are noted as
    /// spent: their nonces would begin anew.
    pub(super) fn forget(&mut self, which: impl Fn(&StoredConfig) -> bool) {
        let from_files = self.configurations.iter().filter(|page| which(page) && page.shape.key_from == KeyFrom::File);
        self.spent.extend(from_files.map(|page| digest(&page.key())));
        self.configurations.retain(|page| !which(page));
    }

    /// The rotation for a new configuration: the next one that is free.
    pub(super) fn free_rotation(&self) -> Option<ConfigRotation> {
        let first = self.issuing().map_or(ConfigRotation::new(0), StoredConfig::rotation);
        first.onwards().find(|&rotation| !self.has(rotation))
    }
}

impl StoredConfig {
    /// A new configuration.
    pub(super) fn new(rotation: ConfigRotation, era: EraId, shape: ConfigSpec, key: Option<&[u8; 16]>) -> Self {
        let created = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Self {
            rotation: rotation.get(),
            era: era.get(),
            created: created.map_or(0, |since| since.as_secs()),
            shape,
            key: key.map(|key| Zeroizing::new(hex::encode(key))),
            salt: hex::encode(&rand::random::<[u8; MAX_LENGTH]>()),
            nonces_from: None,
            leased: BTreeMap::new(),
        }
    }

    /// One that all nodes of a cluster have.
    pub(super) fn of_cluster(shared: &CidConfiguration, era: EraId, shape: ConfigSpec) -> Self {
        let key = (shape.key_from != KeyFrom::None).then(|| shared.secrets.key());
        Self {
            salt: hex::encode(shared.secrets.salt()),
            nonces_from: Some(hex::encode(&rand::random::<[u8; MAX_LENGTH]>())),
            ..Self::new(shared.rotation, era, shape, key)
        }
    }

    /// The same of a cluster's configuration, as the one of `era` and of another shape.
    pub(super) fn moved(self, era: EraId, shared: &CidConfiguration, shape: &ConfigSpec) -> Self {
        let key = (shape.key_from != KeyFrom::None).then(|| Zeroizing::new(hex::encode(shared.secrets.key())));
        Self { era: era.get(), key, shape: shape.clone(), ..self }
    }

    /// Whether all nodes of a cluster have it.
    pub(super) fn is_of_cluster(&self) -> bool {
        self.nonces_from.is_some()
    }

    /// Whether it is this one of the cluster's.
    pub(super) fn is_shared(&self, shared: &CidConfiguration) -> bool {
        self.is_of_cluster() && self.rotation() == shared.rotation && self.salt() == *shared.secrets.salt()
    }

    /// What tells its connection IDs from other configurations'.
    pub(super) fn rotation(&self) -> ConfigRotation {
        ConfigRotation::new(self.rotation)
    }

    /// Which one of all that this node has had.
    pub(super) fn era(&self) -> EraId {
        EraId::new(self.era)
    }

    /// From now on it counts as the one of `era`.
    pub(super) fn move_to(&mut self, era: EraId) {
        self.era = era.get();
    }

    /// What its connection IDs look like.
    pub(super) fn config(&self) -> Option<CidConfig> {
        let config = if self.key.is_some() { CidConfig::encrypted } else { CidConfig::in_clear };
        let config = config(self.shape.identity.identity()?, self.shape.length.into())?;
        Some(config.describing_length(self.shape.describes_length))
    }

    /// Its AES key; zeros in clear, where none is used.
    pub(super) fn key(&self) -> Zeroizing<[u8; 16]> {
        Zeroizing::new(self.key.as_deref().and_then(|key| octets(key)).unwrap_or_default())
    }

    /// What its nonces begin with.
    pub(super) fn nonces_from(&self) -> [u8; MAX_LENGTH] {
        self.nonces_from.as_deref().map_or_else(|| self.salt(), |from| octets(from).unwrap_or_default())
    }

    /// What its other keys are derived with.
    pub(super) fn salt(&self) -> [u8; MAX_LENGTH] {
        octets(&self.salt).unwrap_or_default()
    }

    /// What the kernel needs to decode its connection IDs.
    pub(super) fn kernel_keys(&self, slot_mask: [u64; 2]) -> CidKeys {
        CidKeys::new(&self.key(), slot_mask)
    }

    /// By slot, the number that the next nonce has at least.
    pub(super) fn leased(&self) -> impl Iterator<Item = (SlotId, u64)> {
        self.leased.iter().map(|(&slot, &up_to)| (SlotId::new(slot), up_to))
    }

    fn check(&self) -> Result<(), KeyStoreFault> {
        let wrong = |why| Err(KeyStoreFault::Configuration { rotation: self.rotation, why });
        if self.rotation >= ROTATIONS {
            return wrong(ConfigFault::Rotation);
        }
        if self.key.as_deref().is_some_and(|key| octets::<16>(key).is_none()) {
            return wrong(ConfigFault::Key);
        }
        if self.key.is_some() != (self.shape.key_from != KeyFrom::None) {
            return wrong(ConfigFault::KeyOrNone);
        }
        let salts = [Some(&self.salt), self.nonces_from.as_ref()];
        if salts.into_iter().flatten().any(|salt| octets::<MAX_LENGTH>(salt).is_none()) {
            return wrong(ConfigFault::Salt);
        }
        match self.config() {
            Some(_) => Ok(()),
            None => wrong(ConfigFault::Lengths),
        }
    }
}

impl std::fmt::Debug for StoredConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredConfig").field("rotation", &self.rotation).field("era", &self.era).finish_non_exhaustive()
    }
}

impl StoredIdentity {
    fn identity(&self) -> Option<Identity> {
        match self {
            Self::NodeId(node) => Some(Identity::node(*node)),
            Self::ServerId(text) => Identity::server_id(&hex::decode(text)?),
        }
    }
}

fn octets<const N: usize>(text: &str) -> Option<[u8; N]> {
    hex::decode(text)?.try_into().ok()
}

const FILE: &str = "connection-ids.json";
const VERSION: u32 = 1;

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;
    use crate::agent::error::RoomError as _;

    fn state(name: &str) -> (State, PathBuf) {
        let path = std::env::temp_dir().join(format!("quic-router-book-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        (State::take(&path).unwrap(), path)
    }

    fn shape() -> ConfigSpec {
        let identity = StoredIdentity::NodeId(1);
        ConfigSpec { length: 17, describes_length: true, identity, key_from: KeyFrom::Auto }
    }

    fn with_one(state: &State) -> KeyStore {
        let book = KeyStore::open(state).unwrap();
        book.change(|pages| {
            pages.configurations.push(StoredConfig::new(
                ConfigRotation::new(3),
                EraId::new(1),
                shape(),
                Some(&[7; 16]),
            ));
            pages.issue(EraId::new(1));
        })
        .unwrap();
        book
    }

    #[test]
    fn what_was_written_is_there_in_the_next_run() {
        let (state, path) = state("again");
        with_one(&state).lease(EraId::new(1), SlotId::new(9), 4_096).unwrap();
        let pages = KeyStore::open(&state).unwrap().pages();
        let page = pages.issuing().unwrap();
        assert_eq!((page.rotation, *page.key(), &page.shape), (3, [7; 16], &shape()));
        assert_eq!(page.leased().collect::<Vec<_>>(), [(SlotId::new(9), 4_096)]);
        assert_eq!(pages.free_rotation(), Some(ConfigRotation::new(4)));
        let mode = fs::metadata(state.path(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn what_makes_no_sense_is_refused_without_quoting_it() {
        let (state, path) = state("senseless");
        with_one(&state);
        let good = fs::read_to_string(state.path(FILE)).unwrap();
        let key = "07".repeat(16);
        for (from, to, why) in [
            ("{", "[", "not as this version writes it"),
            ("\"version\": 1", "\"version\": 2", "of version 2"),
            ("\"rotation\": 3", "\"rotation\": 7", "rotations 0 to 6"),
            (&key, "0707", "its key is not hex"),
            (&format!("\"{key}\""), "null", "where it should have none"),
            ("\"length\": 17", "\"length\": 7", "its lengths"),
            (&format!("\"{key}\""), &format!("[\"{key}\"]"), "not as this version"),
        ] {
            assert!(good.contains(from), "{from}");
            replace(&state.path(FILE), good.replacen(from, to, 1).as_bytes()).unwrap();
            let error = KeyStore::open(&state).err().unwrap();
            assert!(error.to_string().contains(why) && !error.to_string().contains("0707"), "{error}");
            assert!(error.hint().is_some());
        }
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_change_that_cannot_be_written_is_none() {
        let (state, path) = state("unwritable");
        let book = with_one(&state);
        fs::create_dir(path.join("connection-ids.json.new")).unwrap();
        assert!(book.lease(EraId::new(1), SlotId::new(0), 1).is_err());
        let error = book.change(|pages| pages.issuing = 5).unwrap_err();
        assert!(error.to_string().contains(FILE), "{error}");
        assert_eq!(book.pages().issuing, 1);
        assert_eq!(book.pages().issuing().unwrap().leased().count(), 0);
        fs::remove_dir_all(path).unwrap();
    }
}
