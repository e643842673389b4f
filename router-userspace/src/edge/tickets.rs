//! TLS session tickets that every worker of every generation can open.
//!
//! The keys are not random but derived from one secret and the time, so they need no exchange: a
//! client resumes with whichever worker it reaches next, also after a restart. Each key seals for
//! one period and opens for the next one too, then it can't be used any more.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf, rand,
};
use rustls::server::ProducesTickets;

/// How long a key seals. A ticket is good for at least this long, and for less than twice that.
///
/// Nonces are random: two tickets of a node in one period get the same one with a probability
/// below 2^-33 as long as there are fewer than 2^32 of them (RFC 5116 section 3.2).
const PERIOD: Duration = Duration::from_secs(12 * 60 * 60);

/// Distinguishes this use of the secret from any other.
const LABEL: &[u8] = b"quic-router session ticket key";

/// Octets of the period's number in front of a ticket.
const EPOCH_LEN: usize = size_of::<u64>();

/// Seals and opens the tickets of all who hold the same secret.
pub struct Tickets {
    secret: hkdf::Prk,
}

impl Tickets {
    /// `secret` is uniformly random and used for tickets alone.
    pub fn new(secret: &[u8; 32]) -> Self {
        Self { secret: hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, secret) }
    }

    /// epoch (8 octets), nonce (12), ciphertext, tag (16)
    fn seal(&self, epoch: u64, plain: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let mut sealed = plain.to_vec();
        let aad = Aad::from(epoch.to_be_bytes());
        self.key(epoch)?.seal_in_place_append_tag(Nonce::from(&nonce), aad, &mut sealed).ok()?;
        Some([&epoch.to_be_bytes(), nonce.as_slice(), &sealed].concat())
    }

    fn open(&self, now: u64, ticket: &[u8]) -> Option<Vec<u8>> {
        let (epoch, rest) = ticket.split_first_chunk::<EPOCH_LEN>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let aad = Aad::from(*epoch);
        let epoch = u64::from_be_bytes(*epoch);
        if epoch != now && epoch.checked_add(1) != Some(now) {
            return None;
        }
        let mut sealed = sealed.to_vec();
        let length = self.key(epoch)?.open_in_place(Nonce::from(nonce), aad, &mut sealed).ok()?.len();
        sealed.truncate(length);
        Some(sealed)
    }

    /// Derived each time: a few microseconds beside a handshake's hundreds, and no state to share.
    fn key(&self, epoch: u64) -> Option<LessSafeKey> {
        let info = [LABEL, &epoch.to_be_bytes()];
        let derived = self.secret.expand(&info, &AES_256_GCM).ok()?;
        Some(LessSafeKey::new(UnboundKey::from(derived)))
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        PERIOD.as_secs() as u32
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.seal(epoch(), plain)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.open(epoch(), ticket)
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").finish_non_exhaustive()
    }
}

/// Number of the period we are in. A clock before 1970 counts as its beginning.
fn epoch() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / PERIOD.as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_the_secret_opens_a_ticket_for_two_periods() {
        let [ours, same] = [Tickets::new(&[7; 32]), Tickets::new(&[7; 32])];
        let other = Tickets::new(&[8; 32]);
        let ticket = ours.seal(100, b"session").expect("sealed");
        assert_eq!(same.open(100, &ticket).as_deref(), Some(b"session".as_slice()));
        assert_eq!(same.open(101, &ticket).as_deref(), Some(b"session".as_slice()));
        assert_eq!(same.open(102, &ticket), None, "too old");
        assert_eq!(same.open(99, &ticket), None, "from the future");
        assert_eq!(other.open(100, &ticket), None, "another secret");
        assert_eq!(ours.seal(u64::MAX, b"").and_then(|ticket| ours.open(0, &ticket)), None, "no wrap-around");
    }

    #[test]
    fn equal_sessions_get_different_tickets() {
        let tickets = Tickets::new(&[7; 32]);
        assert_ne!(tickets.seal(1, b"session"), tickets.seal(1, b"session"));
    }

    #[test]
    fn what_was_touched_or_cut_short_is_no_ticket() {
        let tickets = Tickets::new(&[7; 32]);
        let ticket = tickets.seal(1, b"session").expect("sealed");
        for length in 0..ticket.len() {
            assert_eq!(tickets.open(1, &ticket[..length]), None, "{length} octets");
        }
        for bit in 0..ticket.len() * 8 {
            let mut touched = ticket.clone();
            touched[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(tickets.open(1, &touched), None, "bit {bit}");
        }
    }
}
