//! One configuration as userspace has it: what its connection IDs look like, its keys, and
//! the nonces that are left.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use aes::cipher::{BlockCipherDecrypt as _, BlockCipherEncrypt as _, KeyInit as _};
use quinn::crypto::HmacKey;
use rand::RngCore as _;
use router_common::{
    aes::Block,
    connection_id::{CidConfig, ConnectionId, Encoding, Keys, MAX_LENGTH, Nonce, Opened, Owner, codec::Cipher},
    identifiers::{ConfigRotation, EraId, SlotId},
};

use super::Nonces;

/// A configuration of connection IDs.
pub struct Configuration {
    rotation: ConfigRotation,
    config: CidConfig,
    keys: HostKeys,
    reset_key: Arc<dyn HmacKey>,
    nonces: Nonces,
    issued: AtomicU64,
}

/// What of a configuration is secret.
pub struct Secrets {
    /// Encrypts and decrypts; no matter what, if it is in clear.
    pub keys: HostKeys,
    /// Signs the stateless-reset tokens of its connection IDs.
    pub reset_key: Arc<dyn HmacKey>,
}

impl Configuration {
    /// The configuration of `rotation` (0 to 6), of the era that its `nonces` are of.
    pub fn new(rotation: ConfigRotation, config: CidConfig, secrets: Secrets, nonces: Nonces) -> Self {
        let Secrets { keys, reset_key } = secrets;
        Self { rotation, config, keys, reset_key, nonces, issued: AtomicU64::new(0) }
    }

    /// The top three bits of its connection IDs.
    pub fn rotation(&self) -> ConfigRotation {
        self.rotation
    }

    /// Which one of all that this node has had.
    pub fn era(&self) -> EraId {
        self.nonces.era()
    }

    /// What its connection IDs look like.
    #[inline]
    pub fn config(&self) -> &CidConfig {
        &self.config
    }

    /// What decrypts them.
    #[inline]
    pub fn keys(&self) -> &HostKeys {
        &self.keys
    }

    /// What signs the stateless-reset tokens of its connection IDs.
    pub fn reset_key(&self) -> &dyn HmacKey {
        &*self.reset_key
    }

    /// The nonces that are left.
    pub fn nonces(&self) -> &Nonces {
        &self.nonces
    }

    /// Connection IDs issued in this run of the agent.
    pub fn issued(&self) -> u64 {
        self.issued.load(Ordering::Relaxed)
    }

    /// Whether its connection IDs are encrypted, so that no nonce may come twice.
    pub fn is_encrypted(&self) -> bool {
        match self.config.encoding() {
            Some(Encoding::SinglePass | Encoding::FourPass) => true,
            Some(Encoding::Clear | Encoding::ClearMaskedSlot) | None => false,
        }
    }

    /// A fresh connection ID of `slot`; `None` if there is no nonce for it.
    pub fn issue(&self, slot: SlotId) -> Option<ConnectionId> {
        let mut random = [0; MAX_LENGTH + 1];
        rand::rng().fill_bytes(&mut random);
        let [low_bits, octets @ ..] = random;
        let octets = if self.is_encrypted() { self.nonces.take(slot)? } else { octets };
        let cid = self.config.encode(self.rotation, slot, &Nonce { octets, low_bits }, &self.keys)?;
        self.issued.fetch_add(1, Ordering::Relaxed);
        Some(cid)
    }

    /// The slot on this node that `cid` names.
    pub fn slot(&self, cid: &ConnectionId) -> Option<SlotId> {
        self.config.slot(cid, &self.keys)
    }

    /// Who issued `cid`, as it says itself.
    pub fn owner(&self, cid: &ConnectionId) -> Option<Owner> {
        self.config.owner(cid, &self.keys)
    }

    /// Everything in `cid`, ours or another node's.
    pub fn open(&self, cid: &ConnectionId) -> Option<Opened> {
        self.config.open(cid, &self.keys)
    }
}

impl fmt::Debug for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Configuration")
            .field("rotation", &self.rotation)
            .field("era", &self.era())
            .finish_non_exhaustive()
    }
}

/// A configuration's keys with the processor's AES instructions: some 10 ns a block, and in
/// constant time.
pub struct HostKeys {
    aes: aes::Aes128,
    slot_mask: [u64; 2],
}

impl HostKeys {
    /// The AES key, and that of the hash which masks a slot in clear.
    pub fn new(key: &[u8; 16], slot_mask: [u64; 2]) -> Self {
        Self { aes: aes::Aes128::new(key.into()), slot_mask }
    }
}

impl Cipher for HostKeys {
    fn encrypt(&self, block: &mut Block) {
        on_octets(block, |octets| self.aes.encrypt_block(octets));
    }

    fn decrypt(&self, block: &mut Block) {
        on_octets(block, |octets| self.aes.decrypt_block(octets));
    }
}

impl Keys for HostKeys {
    fn slot_mask(&self) -> [u64; 2] {
        self.slot_mask
    }
}

fn on_octets(block: &mut Block, act: impl FnOnce(&mut aes::Block)) {
    let [high, low] = *block;
    let mut octets = (u128::from(high) << 64 | u128::from(low)).to_be_bytes().into();
    act(&mut octets);
    let whole = u128::from_be_bytes(octets.into());
    *block = [(whole >> 64) as u64, whole as u64];
}

#[cfg(test)]
pub(in crate::worker) mod tests {
    use std::{collections::HashSet, io};

    use aws_lc_rs::hmac;
    use router_common::connection_id::{CidKeys, Identity};

    use super::{super::Ledger, *};

    /// A state folder that never fails.
    pub(in crate::worker) struct Unwritten;

    impl Ledger for Unwritten {
        fn lease(&self, _: EraId, _: SlotId, _: u64) -> io::Result<()> {
            Ok(())
        }
    }

    /// Encrypted connection IDs of 17 octets and node 7; eras go with the rotations.
    pub(in crate::worker) fn configuration(rotation: u8) -> Arc<Configuration> {
        configuration_of(rotation, CidConfig::encrypted(Identity::node(7), 17).unwrap())
    }

    /// The same in clear.
    pub(in crate::worker) fn configuration_in_clear(rotation: u8) -> Arc<Configuration> {
        configuration_of(rotation, CidConfig::in_clear(Identity::node(7), 17).unwrap())
    }

    fn configuration_of(rotation: u8, config: CidConfig) -> Arc<Configuration> {
        let era = EraId::new(rotation.into());
        with(rotation, config, Nonces::new(era, [5; MAX_LENGTH], config.free_octets(), Arc::new(Unwritten)))
    }

    /// The same without a single nonce left.
    pub(in crate::worker) fn used_up() -> Arc<Configuration> {
        let config = CidConfig::encrypted(Identity::node(7), 17).unwrap();
        let nonces = Nonces::new(EraId::new(0), [5; MAX_LENGTH], config.free_octets(), Arc::new(Unwritten));
        with(0, config, SlotId::all().fold(nonces, |nonces, slot| nonces.leased(slot, u64::MAX)))
    }

    fn with(rotation: u8, config: CidConfig, nonces: Nonces) -> Arc<Configuration> {
        let keys = HostKeys::new(&[rotation; 16], [1, 2]);
        let reset_key = Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &[rotation; 32]));
        Arc::new(Configuration::new(ConfigRotation::new(rotation), config, Secrets { keys, reset_key }, nonces))
    }

    #[test]
    fn never_the_same_twice() {
        for configuration in [configuration(2), configuration_in_clear(2)] {
            let mut seen = HashSet::new();
            for slot in [0, 255].map(SlotId::new) {
                for _ in 0..10_000 {
                    let cid = configuration.issue(slot).unwrap();
                    assert_eq!(
                        (cid.rotation(), cid.length_bits(), configuration.slot(&cid)),
                        (ConfigRotation::new(2), 16, Some(slot))
                    );
                    assert!(seen.insert(cid));
                }
            }
            assert_eq!(configuration.issued(), 20_000);
        }
    }

    #[test]
    fn both_ciphers_agree() {
        let (host, tables) = (HostKeys::new(&[3; 16], [1, 2]), CidKeys::new(&[3; 16], [1, 2]));
        for length in 8..=20 {
            for config in [CidConfig::in_clear, CidConfig::encrypted] {
                let config = config(Identity::node(7), length).unwrap();
                let nonce = Nonce { octets: [length as u8; MAX_LENGTH], low_bits: 0 };
                let cid = config.encode(ConfigRotation::new(1), SlotId::new(9), &nonce, &host).unwrap();
                assert_eq!(Some(cid), config.encode(ConfigRotation::new(1), SlotId::new(9), &nonce, &tables));
                assert_eq!(
                    (config.slot(&cid, &host), config.slot(&cid, &tables)),
                    (Some(SlotId::new(9)), Some(SlotId::new(9)))
                );
                assert_eq!(config.open(&cid, &host), config.open(&cid, &tables));
            }
        }
    }
}
