//! How TLS sessions are taken up again: by tickets that hold them, or by a store that keeps them.

use std::sync::Arc;

use rustls::server::{ProducesTickets, ServerSessionMemoryCache, StoresServerSessions};

use super::{authentication::Class, tickets::Tickets};

/// How sessions are taken up again: the same over reloads, for all listeners, of which each knows
/// the sessions of its own class alone.
#[derive(Clone)]
pub struct Resumption {
    /// Of listeners without 0-RTT.
    pub(super) tickets: Arc<Tickets>,
    /// Of listeners with it: each session is good for one connection, so that what came in 0-RTT
    /// cannot be replayed here (RFC 8446 section 8.1).
    sessions: Arc<dyn StoresServerSessions>,
    /// What clients remember of a connection when they send 0-RTT on the next.
    limits: Arc<[u8]>,
}

/// Sessions kept for 0-RTT, the node over; the oldest go first.
const SESSIONS_MAX: usize = 32 * 1024;

impl Resumption {
    /// By `tickets`, and with no sessions yet.
    pub fn new(tickets: Arc<Tickets>) -> Self {
        Self { tickets, sessions: ServerSessionMemoryCache::new(SESSIONS_MAX), limits: Arc::default() }
    }

    /// The same where clients are given these limits. With a session they remember those of its
    /// connection, and send 0-RTT by them; so 0-RTT is taken only under the same ones (RFC 9000
    /// section 7.4.1, RFC 9114 section 7.2.4.2).
    pub fn under(&self, limits: &[u8]) -> Self {
        Self { limits: limits.into(), ..self.clone() }
    }

    /// Those of `class`, for listeners with 0-RTT.
    pub(super) fn sessions(&self, class: Class) -> Arc<dyn StoresServerSessions> {
        Arc::new(ClassSessions { class: class.under(&self.limits), all: Arc::clone(&self.sessions) })
    }
}

/// The sessions of one class, under the same limits, among all that are kept.
#[derive(Debug)]
struct ClassSessions {
    class: Class,
    all: Arc<dyn StoresServerSessions>,
}

impl ClassSessions {
    fn name(&self, key: &[u8]) -> Vec<u8> {
        [self.class.as_bytes().as_slice(), key].concat()
    }
}

impl StoresServerSessions for ClassSessions {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.all.put(self.name(&key), value)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.all.get(&self.name(key))
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.all.take(&self.name(key))
    }

    fn can_cache(&self) -> bool {
        self.all.can_cache()
    }
}

/// No session is sealed into a ticket.
#[derive(Debug)]
pub(super) struct NoTickets;

impl ProducesTickets for NoTickets {
    fn enabled(&self) -> bool {
        false
    }

    fn lifetime(&self) -> u32 {
        0
    }

    fn encrypt(&self, _plain: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn decrypt(&self, _cipher: &[u8]) -> Option<Vec<u8>> {
        None
    }
}
