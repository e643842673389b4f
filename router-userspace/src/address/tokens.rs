//! Tokens of NEW_TOKEN frames that were used: each is good for one connection (RFC 9000 section
//! 8.1.4).
//!
//! What cannot be told from a token that was used is ignored, never believed: the client is then
//! validated like one without a token.

use std::{
    collections::HashSet,
    mem,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use quinn_proto::{TokenLog, TokenReuseError};

/// How long a token is good. A client may have left its address since, and another may have it now.
pub const LIFETIME: Duration = Duration::from_secs(60 * 60);

/// Tokens used in one lifetime, at most: 16 octets each, and those of two lifetimes are kept.
const USED_MAX: usize = 1 << 18;

/// The tokens that were used, of all workers of a run.
pub struct UsedTokens {
    began: SystemTime,
    used: Mutex<Used>,
}

struct Used {
    since: SystemTime,
    now: HashSet<u128>,
    before: HashSet<u128>,
}

impl Default for UsedTokens {
    fn default() -> Self {
        Self::new(SystemTime::now())
    }
}

impl UsedTokens {
    fn new(began: SystemTime) -> Self {
        Self { began, used: Mutex::new(Used { since: began, now: HashSet::new(), before: HashSet::new() }) }
    }

    fn is_fresh(&self, nonce: u128, issued: SystemTime, now: SystemTime) -> bool {
        // Another run may have seen it used. A token tells whole seconds.
        if issued <= self.began {
            return false;
        }
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if now.duration_since(used.since).is_ok_and(|passed| passed > LIFETIME) {
            used.before = mem::take(&mut used.now);
            used.since = now;
        }
        !used.before.contains(&nonce) && used.now.len() < USED_MAX && used.now.insert(nonce)
    }
}

impl TokenLog for UsedTokens {
    fn check_and_insert(&self, nonce: u128, issued: SystemTime, _: Duration) -> Result<(), TokenReuseError> {
        self.is_fresh(nonce, issued, SystemTime::now()).then_some(()).ok_or(TokenReuseError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_once() {
        let began = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let at = |seconds| began + Duration::from_secs(seconds);
        let tokens = UsedTokens::new(began);
        assert!(!tokens.is_fresh(1, began, at(1)), "of a run before");
        assert!(tokens.is_fresh(1, at(1), at(2)));
        assert!(!tokens.is_fresh(1, at(1), at(3)));
        assert!(tokens.is_fresh(2, at(1), at(3)));
        // quinn refuses a token after its lifetime; until then it is remembered.
        let later = at(1) + LIFETIME;
        assert!(tokens.is_fresh(3, later, later));
        assert!(!tokens.is_fresh(1, at(1), later));
        assert!(tokens.is_fresh(4, later, later + LIFETIME));
        assert!(!tokens.is_fresh(3, later, later + LIFETIME));
    }

    #[test]
    fn where_there_is_no_room_a_token_proves_nothing() {
        let began = SystemTime::UNIX_EPOCH;
        let issued = began + Duration::from_secs(1);
        let tokens = UsedTokens::new(began);
        assert!((0..USED_MAX as u128).all(|nonce| tokens.is_fresh(nonce, issued, issued)));
        assert!(!tokens.is_fresh(u128::MAX, issued, issued));
    }
}
