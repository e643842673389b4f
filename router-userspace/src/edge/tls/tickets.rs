//! TLS session tickets that every worker of every generation can open.
//!
//! The keys are not random but derived from one secret and the time, so they need no exchange: a
//! client resumes with whichever worker it reaches next, also after a restart. Each key seals for
//! one period and opens for the next one too, then it can't be used any more.
//!
//! A key also belongs to one [`Class`] of sessions: a ticket of a listener that asks its clients for
//! something else, or for nothing, does not open. What a ticket says of a client's certificate is
//! verified again before it counts, because certificates expire.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf, rand,
};
use rustls::server::{ProducesTickets, danger::ClientCertVerifier};
use rustls_pki_types::UnixTime;

use super::{
    authentication::{Authentication, Class, Transport},
    session::client_chain,
};

/// How long a key seals. A ticket is good for at least this long, and for less than twice that.
///
/// Nonces are random: two tickets of a node in one period get the same one with a probability
/// below 2^-33 as long as there are fewer than 2^32 of them (RFC 5116 section 3.2).
const PERIOD: Duration = Duration::from_secs(12 * 60 * 60);

/// Distinguishes this use of the secret from any other.
const LABEL: &[u8] = b"quic-router session ticket key";

/// Octets of the period's number in front of a ticket.
const EPOCH_LEN: usize = size_of::<u64>();

/// Derives the keys of tickets; equal for equal secrets.
#[derive(Clone)]
pub struct Tickets {
    secret: hkdf::Prk,
}

/// Seals and opens the tickets of one class.
struct ClassTickets {
    secret: hkdf::Prk,
    class: Class,
    verifier: Arc<dyn ClientCertVerifier>,
}

impl Tickets {
    /// `secret` is uniformly random and used for tickets alone.
    pub fn new(secret: &[u8; 32]) -> Self {
        Self { secret: hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, secret) }
    }

    /// Those of listeners that ask the same of their clients, over the same transport.
    pub(in crate::edge) fn of(&self, asked: &Authentication, transport: Transport) -> Arc<dyn ProducesTickets> {
        Arc::new(self.of_class(asked.class(transport), Arc::clone(&asked.verifier)))
    }

    fn of_class(&self, class: Class, verifier: Arc<dyn ClientCertVerifier>) -> ClassTickets {
        ClassTickets { secret: self.secret.clone(), class, verifier }
    }
}

impl ClassTickets {
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
        let info = [LABEL, self.class.as_bytes(), &epoch.to_be_bytes()];
        let derived = self.secret.expand(&info, &AES_256_GCM).ok()?;
        Some(LessSafeKey::new(UnboundKey::from(derived)))
    }
}

impl ClassTickets {
    /// Whether the client of a session would be admitted now, too, by what it has shown then.
    fn admits(&self, session: &[u8]) -> bool {
        if !self.verifier.offer_client_auth() {
            return true;
        }
        match client_chain(session).as_deref() {
            Some([]) => !self.verifier.client_auth_mandatory(),
            Some([leaf, issuers @ ..]) => self.verifier.verify_client_cert(leaf, issuers, UnixTime::now()).is_ok(),
            None => false,
        }
    }
}

impl ProducesTickets for ClassTickets {
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
        self.open(epoch(), ticket).filter(|session| self.admits(session))
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").finish_non_exhaustive()
    }
}

impl fmt::Debug for ClassTickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClassTickets").field("class", &self.class).finish_non_exhaustive()
    }
}

/// Number of the period we are in. A clock before 1970 counts as its beginning.
fn epoch() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / PERIOD.as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of listeners that ask their clients for nothing.
    fn tickets(secret: u8) -> ClassTickets {
        let asked = Authentication::nothing();
        Tickets::new(&[secret; 32]).of_class(asked.class(Transport::Quic), asked.verifier)
    }

    #[test]
    fn a_node_that_has_the_secret_opens_a_ticket_for_two_periods() {
        let [ours, same] = [tickets(7), tickets(7)];
        let other = tickets(8);
        let asked = Authentication::nothing();
        let elsewhere = Tickets::new(&[7; 32]).of_class(asked.class(Transport::Tcp), asked.verifier);
        let ticket = ours.seal(100, b"session").expect("sealed");
        assert_eq!(same.open(100, &ticket).as_deref(), Some(b"session".as_slice()));
        assert_eq!(same.open(101, &ticket).as_deref(), Some(b"session".as_slice()));
        assert_eq!(same.open(102, &ticket), None, "too old");
        assert_eq!(same.open(99, &ticket), None, "from the future");
        assert_eq!(other.open(100, &ticket), None, "another secret");
        assert_eq!(elsewhere.open(100, &ticket), None, "another class");
        assert_eq!(ours.seal(u64::MAX, b"").and_then(|ticket| ours.open(0, &ticket)), None, "no wrap-around");
    }

    #[test]
    fn equal_sessions_get_different_tickets() {
        let tickets = tickets(7);
        assert_ne!(tickets.seal(1, b"session"), tickets.seal(1, b"session"));
    }

    #[test]
    fn what_was_touched_or_cut_short_is_no_ticket() {
        let tickets = tickets(7);
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
