//! The key of address validation tokens (RFC 9000 section 8.1): of those that quinn seals, and of those that a kernel
//! program issued.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hkdf;
use quinn_proto::crypto::{AeadKey, CryptoError, HandshakeTokenKey};
use router_common::admission::{self, TokenKey, TokenKeys};
use zeroize::Zeroizing;

/// Seals tokens, and opens those that a worker of any run has sealed or a kernel program has issued.
pub(super) struct ValidationKey {
    sealing: hkdf::Prk,
    kernel: KernelTokenKeys,
}

impl ValidationKey {
    pub(super) fn new(sealing: hkdf::Prk, kernel: KernelTokenKeys) -> Self {
        Self { sealing, kernel }
    }
}

impl HandshakeTokenKey for ValidationKey {
    fn aead_from_hkdf(&self, nonce: &[u8]) -> Box<dyn AeadKey> {
        let sealed = self.sealing.aead_from_hkdf(nonce);
        let Ok(nonce) = <[u8; 16]>::try_from(nonce) else { return sealed };
        match admission::epoch_of_nonce(&nonce).and_then(|epoch| self.kernel.honoured(epoch, SystemTime::now())) {
            // A nonce of quinn's own may look like a kernel's by chance.
            Some(key) => Box::new(OfKernel { key, nonce, sealed }),
            None => sealed,
        }
    }
}

/// What opens a token whose nonce says that a kernel made it.
struct OfKernel {
    key: TokenKey,
    nonce: [u8; 16],
    sealed: Box<dyn AeadKey>,
}

impl AeadKey for OfKernel {
    fn seal(&self, data: &mut Vec<u8>, additional_data: &[u8]) -> Result<(), CryptoError> {
        self.sealed.seal(data, additional_data)
    }

    fn open<'a>(&self, data: &'a mut [u8], additional_data: &[u8]) -> Result<&'a mut [u8], CryptoError> {
        let token = [&*data, &self.nonce].concat();
        match admission::open_token(&token, &self.key) {
            Some(said) => data.get_mut(..said.len()).ok_or(CryptoError),
            None => self.sealed.open(data, additional_data),
        }
    }
}

/// The keys of the tokens that kernel programs issue, one for each epoch.
pub(super) struct KernelTokenKeys(hkdf::Prk);

impl KernelTokenKeys {
    pub(super) fn new(secret: hkdf::Prk) -> Self {
        Self(secret)
    }

    /// Those that a kernel program has to know at `now`.
    pub(super) fn at(&self, now: SystemTime) -> TokenKeys {
        let [epoch, neighbour] = TokenKeys::epochs_at(seconds(now));
        TokenKeys::new(self.of(epoch), self.of(neighbour))
    }

    /// That of `epoch`, unless no kernel program issues or has just issued under it.
    fn honoured(&self, epoch: u32, now: SystemTime) -> Option<TokenKey> {
        TokenKeys::epochs_at(seconds(now)).contains(&epoch).then(|| self.of(epoch))
    }

    fn of(&self, epoch: u32) -> TokenKey {
        let mut key = Zeroizing::new([0; 16]);
        self.0
            .expand(&[b"epoch", &epoch.to_be_bytes()], Length)
            .and_then(|okm| okm.fill(&mut *key))
            .expect("HKDF-SHA256 gives 16 octets for any label");
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *key;
        let words = [u64::from_le_bytes([a, b, c, d, e, f, g, h]), u64::from_le_bytes([i, j, k, l, m, n, o, p])];
        TokenKey::new(epoch, words)
    }
}

/// Octets of a key.
struct Length;

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        16
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn keys(secret: u8) -> KernelTokenKeys {
        KernelTokenKeys::new(hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, &[secret; 32]))
    }

    #[test]
    fn each_epoch_of_each_secret_has_its_own_key() {
        let at = |hour: u64| UNIX_EPOCH + Duration::from_secs(3_600 * hour);
        let (now, later) = (keys(1).at(at(500_000)), keys(1).at(at(500_001)));
        assert!(now == keys(1).at(at(500_000)) && now != keys(2).at(at(500_000)) && now != later);
        // What was issued in the hour before is honoured in this one.
        assert!(now.issuing() == later.of(500_000) && now.issuing() != later.issuing());
        assert!(later.of(499_999).is_none());
        assert!(keys(1).honoured(500_000, at(500_001)).is_some());
        assert!(keys(1).honoured(499_999, at(500_001)).is_none());
    }

    #[test]
    fn what_quinn_seals_opens() {
        let sealing = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, &[3; 32]);
        let key = ValidationKey::new(sealing, keys(1));
        let epoch = TokenKeys::epochs_at(seconds(SystemTime::now()))[0];
        let mut like_a_kernels = [7; 16];
        like_a_kernels[..8].copy_from_slice(&[[b'q', b'r', 0, 1], epoch.to_be_bytes()].concat());
        for nonce in [[7; 16], like_a_kernels] {
            let mut token = b"a token".to_vec();
            key.aead_from_hkdf(&nonce).seal(&mut token, &[]).unwrap();
            assert_eq!(key.aead_from_hkdf(&nonce).open(&mut token.clone(), &[]).unwrap(), b"a token");
            token[0] ^= 1;
            assert!(key.aead_from_hkdf(&nonce).open(&mut token, &[]).is_err());
        }
    }
}
