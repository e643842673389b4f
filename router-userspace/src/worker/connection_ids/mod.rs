//! The connection IDs of a node: which configurations there are, which of them new ones
//! follow, and what each is still used for.
//!
//! All workers and the agent share one [`ConnectionIds`]. A rotation adds a configuration,
//! so that every worker can decode it, then makes it the one that is issued; what is issued no
//! longer stays decodable until no connection uses it.

pub(in crate::worker) mod configuration;
mod nonces;

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::{ArcSwap, Guard};
use quinn::crypto::{CryptoError, HmacKey};
use rand::RngCore as _;
use router_common::{
    connection_id::{ConnectionId, MAX_LENGTH, Owner, ROTATIONS, UNROUTABLE, codec::first_octet},
    identifiers::{ConfigRotation, EraId, SlotId},
};

pub use self::{
    configuration::{Configuration, HostKeys, Secrets},
    nonces::{Ledger, Nonces},
};

/// The configurations of a node, and its connections by the one they began under.
pub struct ConnectionIds {
    set: ArcSwap<Set>,
    /// Connections now, by the era they were accepted in.
    eras: Mutex<BTreeMap<EraId, u64>>,
    /// Signs the reset tokens of connection IDs without a configuration.
    without: Arc<dyn HmacKey>,
    unroutable: AtomicU64,
}

/// The configurations at one moment.
#[derive(Clone, Debug)]
pub struct Set {
    by_rotation: [Option<Arc<Configuration>>; ROTATIONS as usize],
    issuing: Arc<Configuration>,
}

impl ConnectionIds {
    /// New connection IDs follow `issuing`. `without` signs the reset tokens of those that
    /// could not be issued under any configuration.
    pub fn new(issuing: Arc<Configuration>, without: Arc<dyn HmacKey>) -> Self {
        let by_rotation = Default::default();
        let set = Set { by_rotation, issuing: Arc::clone(&issuing) }.with(issuing);
        Self { set: ArcSwap::from_pointee(set), eras: Mutex::default(), without, unroutable: AtomicU64::new(0) }
    }

    /// The configurations there are now.
    pub fn now(&self) -> Guard<Arc<Set>> {
        self.set.load()
    }

    /// Makes `configuration` decodable.
    pub fn add(&self, configuration: Arc<Configuration>) {
        let set = Set::clone(&self.set.load());
        self.set.store(Arc::new(set.with(configuration)));
    }

    /// From now on new connection IDs follow `configuration`, which has been added.
    pub fn issue_under(&self, configuration: Arc<Configuration>) {
        let set = Set::clone(&self.set.load());
        self.set.store(Arc::new(Set { issuing: configuration, ..set }));
    }

    /// Forgets the configuration of `rotation`, unless it is the one that is issued.
    pub fn remove(&self, rotation: ConfigRotation) {
        let mut set = Set::clone(&self.set.load());
        if set.issuing.rotation() != rotation
            && let Some(place) = set.by_rotation.get_mut(usize::from(rotation))
        {
            *place = None;
            self.set.store(Arc::new(set));
        }
    }

    /// A fresh connection ID of `slot`.
    ///
    /// Where no nonce is to be had (the issued configuration is used up, or its state cannot
    /// be written), it is an unroutable one: random octets under rotation 7, which the flow
    /// table alone can place. A nonce is never used twice.
    pub fn issue(&self, slot: SlotId) -> ConnectionId {
        let set = self.set.load();
        set.issuing.issue(slot).unwrap_or_else(|| {
            self.unroutable.fetch_add(1, Ordering::Relaxed);
            unroutable(set.issuing.config().length())
        })
    }

    /// One for an answer of which nothing is kept. It names no slot: the assignment places what is sent
    /// to it.
    pub(in crate::worker) fn passing(&self) -> ConnectionId {
        unroutable(self.set.load().issuing.config().length())
    }

    /// How many unroutable ones have been issued.
    pub fn unroutable(&self) -> u64 {
        self.unroutable.load(Ordering::Relaxed)
    }

    /// Counts a connection as one of the configuration that is issued now, until dropped.
    pub fn begin(self: &Arc<Self>) -> Era {
        let era = self.set.load().issuing.era();
        *self.eras().entry(era).or_default() += 1;
        Era { ids: Arc::clone(self), era }
    }

    /// Connections now that were accepted in `era`.
    pub fn connections_of(&self, era: EraId) -> u64 {
        self.eras().get(&era).copied().unwrap_or(0)
    }

    /// Connections now that may have connection IDs of `era`: those accepted then or before.
    pub fn connections_up_to(&self, era: EraId) -> u64 {
        self.eras().range(..=era).map(|(_, count)| count).sum()
    }

    fn eras(&self) -> MutexGuard<'_, BTreeMap<EraId, u64>> {
        self.eras.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key that signs the reset token of `cid`: its configuration's own.
    fn reset_key<T>(&self, cid: &[u8], act: impl FnOnce(&dyn HmacKey) -> T) -> T {
        let set = self.set.load();
        match cid.first().and_then(|first| set.get(ConfigRotation::new(first >> 5))) {
            Some(configuration) => act(configuration.reset_key()),
            None => act(&*self.without),
        }
    }
}

impl fmt::Debug for ConnectionIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionIds").field("set", &self.set.load()).finish_non_exhaustive()
    }
}

impl Set {
    /// The configuration that new connection IDs follow.
    pub fn issuing(&self) -> &Arc<Configuration> {
        &self.issuing
    }

    /// The configuration of `rotation`.
    #[inline]
    pub fn get(&self, rotation: ConfigRotation) -> Option<&Arc<Configuration>> {
        self.by_rotation.get(usize::from(rotation))?.as_ref()
    }

    /// All of them, by rotation.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Configuration>> {
        self.by_rotation.iter().flatten()
    }

    /// The slot on this node that `cid` names, whether or not a worker is there.
    pub fn slot(&self, cid: &ConnectionId) -> Option<SlotId> {
        self.get(cid.rotation())?.slot(cid)
    }

    /// Who issued `cid`, as it says itself.
    pub fn owner(&self, cid: &ConnectionId) -> Option<Owner> {
        self.get(cid.rotation())?.owner(cid)
    }

    /// The rotation for a new configuration: the next one behind the issued one that is free.
    pub fn free_rotation(&self) -> Option<ConfigRotation> {
        self.issuing.rotation().onwards().find(|&rotation| self.get(rotation).is_none())
    }

    fn with(mut self, configuration: Arc<Configuration>) -> Self {
        let place = usize::from(configuration.rotation());
        self.by_rotation[place] = Some(configuration);
        self
    }
}

/// A connection's mark in its era, until dropped.
#[derive(Debug)]
pub struct Era {
    ids: Arc<ConnectionIds>,
    era: EraId,
}

impl Drop for Era {
    fn drop(&mut self) {
        let mut eras = self.ids.eras();
        if let Some(count) = eras.get_mut(&self.era) {
            *count -= 1;
            if *count == 0 {
                eras.remove(&self.era);
            }
        }
    }
}

/// Signs stateless-reset tokens (RFC 9000 section 10.3.2): each with the key of the
/// configuration that its connection ID names, and for one listener only.
///
/// A worker has an endpoint for each listener, and none knows the others' connections. If their
/// tokens were the same, an attacker that sees a connection ID could ask another listener about it,
/// and would be told the token that ends the connection (section 21.11).
#[derive(Debug)]
pub(in crate::worker) struct ResetKeys {
    ids: Arc<ConnectionIds>,
    listener: [u8; 18],
}

impl ResetKeys {
    /// Those of the listener on `address`, the same in every run.
    pub(in crate::worker) fn new(ids: Arc<ConnectionIds>, address: SocketAddr) -> Self {
        let ip = match address.ip() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        let mut listener = [0; 18];
        listener[..16].copy_from_slice(&ip.octets());
        listener[16..].copy_from_slice(&address.port().to_be_bytes());
        Self { ids, listener }
    }

    fn message(&self, cid: &[u8]) -> Vec<u8> {
        [&self.listener[..], cid].concat()
    }
}

impl HmacKey for ResetKeys {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        self.ids.reset_key(data, |key| key.sign(&self.message(data), signature_out));
    }

    fn signature_len(&self) -> usize {
        self.ids.without.signature_len()
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        self.ids.reset_key(data, |key| key.verify(&self.message(data), signature))
    }
}

/// A connection ID of `length` octets that no configuration made.
fn unroutable(length: usize) -> ConnectionId {
    let mut octets = [0; MAX_LENGTH];
    rand::rng().fill_bytes(&mut octets);
    octets[0] = first_octet(UNROUTABLE, octets[0]).unwrap_or(octets[0]);
    ConnectionId::from_first(length, router_common::bytes::Octets(octets))
}

#[cfg(test)]
mod tests {
    use super::{configuration::tests::configuration, *};

    fn without() -> Arc<dyn HmacKey> {
        Arc::new(aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &[9; 32]))
    }

    fn ids() -> Arc<ConnectionIds> {
        Arc::new(ConnectionIds::new(configuration(0), without()))
    }

    #[test]
    fn a_rotation_is_decodable_before_and_after_it_is_issued() {
        let ids = ids();
        let old = ids.issue(SlotId::new(3));
        ids.add(configuration(1));
        assert_eq!(
            (ids.issue(SlotId::new(3)).rotation(), ids.now().free_rotation()),
            (ConfigRotation::new(0), Some(ConfigRotation::new(2)))
        );
        let next = ids.now().get(ConfigRotation::new(1)).cloned().unwrap();
        ids.issue_under(next);
        let new = ids.issue(SlotId::new(4));
        assert_eq!(new.rotation(), ConfigRotation::new(1));
        assert_eq!((ids.now().slot(&old), ids.now().slot(&new)), (Some(SlotId::new(3)), Some(SlotId::new(4))));
        ids.remove(ConfigRotation::new(0));
        assert_eq!((ids.now().slot(&old), ids.now().slot(&new)), (None, Some(SlotId::new(4))));
        ids.remove(ConfigRotation::new(1));
        assert_eq!(ids.now().slot(&new), Some(SlotId::new(4)), "the one that is issued stays");
    }

    #[test]
    fn seven_at_a_time() {
        let ids = ids();
        for rotation in 1..ROTATIONS {
            assert_eq!(ids.now().free_rotation(), Some(ConfigRotation::new(rotation)));
            ids.add(configuration(rotation));
        }
        assert_eq!(ids.now().free_rotation(), None);
    }

    #[test]
    fn connections_hold_their_era_and_those_before() {
        let ids = ids();
        let (one, two) = (ids.begin(), ids.begin());
        let next = configuration(1);
        ids.add(Arc::clone(&next));
        ids.issue_under(Arc::clone(&next));
        let three = ids.begin();
        let eras = |ids: &ConnectionIds| (ids.connections_up_to(EraId::new(0)), ids.connections_up_to(next.era()));
        assert_eq!((eras(&ids), ids.connections_of(next.era())), ((2, 3), 1));
        drop(one);
        drop(three);
        assert_eq!(eras(&ids), (1, 1));
        drop(two);
        assert_eq!(eras(&ids), (0, 0));
    }

    #[test]
    fn each_configuration_signs_with_its_own_key() {
        let ids = ids();
        ids.add(configuration(1));
        let keys = ResetKeys::new(Arc::clone(&ids), ([192, 0, 2, 1], 443).into());
        let token = |first: u8| {
            let mut token = vec![0; keys.signature_len()];
            keys.sign(&[first, 1, 2, 3], &mut token);
            assert!(keys.verify(&[first, 1, 2, 3], &token).is_ok());
            token
        };
        let before = token(0);
        assert_ne!(before, token(1 << 5));
        // With its configuration gone, nothing is signed like it.
        let next = ids.now().get(ConfigRotation::new(1)).cloned().unwrap();
        ids.issue_under(next);
        ids.remove(ConfigRotation::new(0));
        assert_ne!(before, token(0));
    }

    #[test]
    fn no_listener_gives_the_token_of_another_away() {
        let token = |address: &str| {
            let keys = ResetKeys::new(ids(), address.parse().unwrap());
            let mut token = vec![0; keys.signature_len()];
            keys.sign(&[0, 1, 2, 3], &mut token);
            token
        };
        let all = ["0.0.0.0:443", "[::]:443", "0.0.0.0:444", "192.0.2.1:443"].map(token);
        let different: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
        assert_eq!(token("0.0.0.0:443"), all[0]);
    }

    #[test]
    fn without_nonces_an_unroutable_one_is_issued() {
        let ids = ConnectionIds::new(configuration::tests::used_up(), without());
        let cid = ids.issue(SlotId::new(3));
        assert_eq!((cid.rotation(), cid.len(), ids.unroutable()), (UNROUTABLE, 17, 1));
        assert_eq!(ids.now().slot(&cid), None);
    }
}
