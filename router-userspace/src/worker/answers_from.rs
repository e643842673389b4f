//! Which of this host's addresses a client is answered from, where clients are asked to move to
//! another one (RFC 9000 section 9.6).
//!
//! quinn answers from the address at which a connection began, also when its client has moved to the
//! preferred one; that client takes nothing from the first any more. So it is remembered who has
//! moved: by the client's address and port, as that is all a datagram on its way out tells.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// The clients of a socket that have moved.
#[derive(Debug, Default)]
pub(super) struct AnswersFrom {
    /// Whether anybody is ever asked to: nothing else costs anything.
    used: AtomicBool,
    moved: Mutex<Moved>,
}

#[derive(Debug, Default)]
struct Moved {
    preferred: Option<IpAddr>,
    clients: HashMap<SocketAddr, (IpAddr, Instant)>,
}

impl AnswersFrom {
    /// Clients are asked to move to `address` from now on, or nowhere. Who has moved stays there.
    pub(super) fn prefer(&self, address: Option<IpAddr>) {
        self.lock().preferred = address;
        if address.is_some() {
            self.used.store(true, Relaxed);
        }
    }

    /// A datagram of `client` has arrived at `address`.
    pub(super) fn arrived(&self, client: SocketAddr, address: Option<IpAddr>) {
        if !self.used.load(Relaxed) {
            return;
        }
        let Some(address) = address else { return };
        let (now, mut moved) = (Instant::now(), self.lock());
        let is_preferred = moved.preferred == Some(address);
        match moved.clients.get_mut(&client) {
            Some((at, seen)) if *at == address => *seen = now,
            // Another connection from the same port, or one that has moved back.
            Some(_) => drop(moved.clients.remove(&client)),
            None if is_preferred => moved.remember(client, address, now),
            None => {}
        }
    }

    /// Where a datagram to `client` is to come from, if not from where quinn says.
    pub(super) fn source(&self, client: SocketAddr) -> Option<IpAddr> {
        if !self.used.load(Relaxed) {
            return None;
        }
        self.lock().clients.get(&client).map(|(address, _)| *address)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Moved> {
        self.moved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Moved {
    /// Where there is no room, a client's move comes to nothing, and it stays where it was.
    fn remember(&mut self, client: SocketAddr, address: IpAddr, now: Instant) {
        if self.clients.len() >= CLIENTS_MAX {
            self.clients.retain(|_, (_, seen)| now.duration_since(*seen) < SILENCE);
        }
        if self.clients.len() < CLIENTS_MAX {
            self.clients.insert(client, (address, now));
        }
    }
}

/// Anybody can send from any address: what is kept about them has an end.
const CLIENTS_MAX: usize = 1 << 16;
/// After that a client is forgotten if the room is needed.
const SILENCE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const FIRST: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
    const PREFERRED: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9)));

    fn client(number: usize) -> SocketAddr {
        let octets = u32::try_from(number).unwrap().to_be_bytes();
        (Ipv4Addr::from(octets), 50_000).into()
    }

    #[test]
    fn who_has_moved_is_answered_from_there() {
        let answers = AnswersFrom::default();
        answers.arrived(client(1), PREFERRED);
        assert_eq!(answers.source(client(1)), None, "nobody was asked to");
        answers.prefer(PREFERRED);
        for (at, from) in [(FIRST, None), (PREFERRED, PREFERRED), (PREFERRED, PREFERRED), (FIRST, None), (None, None)] {
            answers.arrived(client(1), at);
            assert_eq!((answers.source(client(1)), answers.source(client(2))), (from, None), "{at:?}");
        }
        // A reload asks nobody any more.
        answers.arrived(client(1), PREFERRED);
        answers.prefer(None);
        answers.arrived(client(1), PREFERRED);
        answers.arrived(client(2), PREFERRED);
        assert_eq!((answers.source(client(1)), answers.source(client(2))), (PREFERRED, None));
    }

    #[test]
    fn there_is_an_end_to_it() {
        let answers = AnswersFrom::default();
        answers.prefer(PREFERRED);
        for number in 0..=CLIENTS_MAX {
            answers.arrived(client(number), PREFERRED);
        }
        assert_eq!((answers.source(client(0)), answers.source(client(CLIENTS_MAX))), (PREFERRED, None));
    }
}
