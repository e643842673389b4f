//! Shortages of this process or its host: descriptors, memory, ports. They are counted, logged once in
//! [`QUIET`] for each kind of call that met them, and never taken for a peer's failure.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

static COUNT: AtomicU64 = AtomicU64::new(0);
static SAID: Mutex<BTreeMap<&'static str, Instant>> = Mutex::new(BTreeMap::new());

/// Counts a shortage that `call` met, and logs it unless that was done lately. Answers whether the error is
/// one.
pub fn met(call: &'static str, error: &io::Error) -> bool {
    if !is_shortage(error) {
        return false;
    }
    COUNT.fetch_add(1, Relaxed);
    let now = Instant::now();
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if said.get(call).is_none_or(|last| now.duration_since(*last) >= QUIET) {
        said.insert(call, now);
        tracing::warn!("{call}: {error}; {}", way_out(error));
    }
    true
}

/// For an accept loop: counts a shortage, and waits, because the error stays for as long as it does.
pub async fn after_accept(listener: &'static str, error: &io::Error) {
    if !met(listener, error) {
        tracing::debug!("{listener}: {error}");
    }
    tokio::time::sleep(PAUSE).await;
}

/// Shortages met since the start.
pub fn count() -> u64 {
    COUNT.load(Relaxed)
}

/// Whether an error says nothing about the peer: this process or host has run out of something.
fn is_shortage(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS | libc::EADDRNOTAVAIL)
    )
}

fn way_out(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EMFILE) => "try: a higher LimitNOFILE (ulimit -n), or a lower limits.max_connections",
        Some(libc::ENFILE) => "try: a higher sysctl fs.file-max",
        Some(libc::EADDRNOTAVAIL) => "try: a wider sysctl net.ipv4.ip_local_port_range, or more servers",
        _ => "try: more memory for this host or its control group",
    }
}

/// How long one kind of call is not logged again.
const QUIET: Duration = Duration::from_secs(10);

/// How long an accept loop waits.
const PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_causes_is_no_shortage() {
        for theirs in [libc::ECONNREFUSED, libc::ECONNABORTED, libc::EHOSTUNREACH, libc::ETIMEDOUT] {
            assert!(!met("test", &io::Error::from_raw_os_error(theirs)), "{theirs}");
        }
        let before = count();
        for ours in [libc::EMFILE, libc::ENFILE, libc::ENOMEM] {
            assert!(met("test", &io::Error::from_raw_os_error(ours)), "{ours}");
        }
        assert!(count() >= before + 3);
    }
}
