//! Which of this host's addresses a client is answered from, where clients are asked to move to
//! another one (RFC 9000 section 9.6).
//!
//! quinn answers from the address at which a connection began, also when its client has moved to the
//! preferred one; that client takes nothing from the first any more. So it is remembered which clients
//! have moved: by address and port, as that is all a datagram on its way out tells.
//!
//! The rule this file keeps: an attacker can send a datagram in a client's name, so where it came to says
//! nothing. A client that moves sends PATH_CHALLENGE frames first (RFC 9000 section 8.2), and quinn counts
//! those of each connection. Until there is one, a few answers leave from both addresses: the client takes
//! those that it waits for, and has lost nothing by the others.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use quinn::Connection;
use tokio::{sync::Notify, time::sleep};

/// The clients of a socket that have moved.
#[derive(Debug)]
pub(in crate::worker) struct SourceOverride<P = Connection> {
    /// Whether clients are ever asked to: nothing else costs anything.
    used: AtomicBool,
    moves: Mutex<Moves<P>>,
    tried: Notify,
}

#[derive(Debug)]
struct Moves<P> {
    preferred: Option<IpAddr>,
    /// By the number of its connection.
    peers: HashMap<u64, Peer<P>>,
    next: u64,
    moved: HashMap<SocketAddr, IpAddr>,
    trials: HashMap<SocketAddr, Trial>,
}

#[derive(Debug)]
struct Peer<P> {
    connection: P,
    /// Where it has been found to have moved from.
    moved: Option<SocketAddr>,
}

/// A client that seems to be about to move.
#[derive(Debug)]
struct Trial {
    to: IpAddr,
    /// Challenges of the connections from there, before. None: there was no connection.
    challenges: Option<u64>,
    begun: Instant,
    copies: u8,
}

/// Where a datagram is to come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::worker) enum Source {
    /// From where quinn says.
    AsSaid,
    /// From this address.
    From(IpAddr),
    /// From where quinn says, and a copy from this address.
    Both(IpAddr),
}

/// What is asked about a connection.
pub(in crate::worker) trait Challenged {
    /// Where its client is, by what has been authenticated.
    fn client(&self) -> SocketAddr;
    /// PATH_CHALLENGE frames that the client has sent.
    fn challenges(&self) -> u64;
}

impl Challenged for Connection {
    fn client(&self) -> SocketAddr {
        self.remote_address()
    }

    fn challenges(&self) -> u64 {
        self.stats().frame_rx.path_challenge
    }
}

impl<P> Default for SourceOverride<P> {
    fn default() -> Self {
        let (peers, moved, trials) = (HashMap::new(), HashMap::new(), HashMap::new());
        let moves = Moves { preferred: None, peers, next: 0, moved, trials };
        Self { used: AtomicBool::new(false), moves: Mutex::new(moves), tried: Notify::new() }
    }
}

impl<P: Challenged> SourceOverride<P> {
    /// Clients are asked to move to `address` from now on, or nowhere. Those that have moved stay there.
    pub(in crate::worker) fn prefer(&self, address: Option<IpAddr>) {
        self.lock().preferred = address;
        if address.is_some() {
            self.used.store(true, Relaxed);
        }
    }

    /// The client of a connection may move, until the result is dropped.
    pub(in crate::worker) fn may_move(self: &Arc<Self>, connection: P) -> Option<MayMove<P>> {
        if !self.used.load(Relaxed) {
            return None;
        }
        let mut moves = self.lock();
        let number = moves.next;
        moves.next += 1;
        moves.peers.insert(number, Peer { connection, moved: None });
        Some(MayMove { number, of: Arc::clone(self) })
    }

    /// A datagram has come from `client` to `address`, with a connection ID that is this worker's if
    /// `is_own` says so.
    pub(in crate::worker) fn arrived(
        &self,
        client: SocketAddr,
        address: Option<IpAddr>,
        is_own: impl FnOnce() -> bool,
    ) {
        if !self.used.load(Relaxed) {
            return;
        }
        let mut moves = self.lock();
        let Some(to) = address.filter(|address| moves.preferred == Some(*address)) else { return };
        let is_known = moves.moved.contains_key(&client) || moves.trials.contains_key(&client);
        if is_known || moves.trials.len() >= TRIALS_MAX || !is_own() {
            return;
        }
        let trial = Trial { to, challenges: moves.challenges(client), begun: Instant::now(), copies: COPIES };
        moves.trials.insert(client, trial);
        self.tried.notify_one();
    }

    /// Where a datagram to `client` is to come from. A long header belongs to a handshake, and during that
    /// no client moves (RFC 9000 section 9.6).
    pub(in crate::worker) fn source(&self, client: SocketAddr, datagram: &[u8]) -> Source {
        let is_short = datagram.first().is_some_and(|first| first & LONG_HEADER == 0);
        if !self.used.load(Relaxed) || !is_short {
            return Source::AsSaid;
        }
        let mut moves = self.lock();
        if let Some(&address) = moves.moved.get(&client) {
            return Source::From(address);
        }
        match moves.trials.get_mut(&client) {
            Some(trial) if trial.copies > 0 => {
                trial.copies -= 1;
                Source::Both(trial.to)
            }
            _ => Source::AsSaid,
        }
    }

    /// Finds out which clients have moved, for as long as the socket is there.
    pub(in crate::worker) async fn decide(self: Arc<Self>) {
        loop {
            self.tried.notified().await;
            while self.look(Instant::now()) {
                sleep(BETWEEN_LOOKS).await;
            }
        }
    }

    /// Whether there is anything more to find out.
    fn look(&self, now: Instant) -> bool {
        let mut moves = self.lock();
        let clients: Vec<_> = moves.trials.keys().copied().collect();
        for client in clients {
            moves.judge(client, now);
        }
        !moves.trials.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Moves<P>> {
        self.moves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<P: Challenged> Moves<P> {
    fn challenges(&self, client: SocketAddr) -> Option<u64> {
        let there = self.peers.values().filter(|peer| peer.connection.client() == client);
        there.map(|peer| peer.connection.challenges()).reduce(|sum, more| sum + more)
    }

    fn judge(&mut self, client: SocketAddr, now: Instant) {
        let Some(trial) = self.trials.get(&client) else { return };
        let is_over = now.saturating_duration_since(trial.begun) >= TRIAL;
        let mut there: Vec<_> = self.peers.values_mut().filter(|peer| peer.connection.client() == client).collect();
        let challenges: u64 = there.iter().map(|peer| peer.connection.challenges()).sum();
        let has_moved = match trial.challenges {
            Some(before) => challenges > before,
            // From a new port, as browsers do. Two would be one that claims the address of the other.
            None => there.len() == 1 && challenges > 0,
        };
        if has_moved {
            there.iter_mut().for_each(|peer| peer.moved = Some(client));
            self.moved.insert(client, trial.to);
        }
        if has_moved || is_over {
            self.trials.remove(&client);
        }
    }
}

/// A connection's part in this.
pub(in crate::worker) struct MayMove<P = Connection> {
    number: u64,
    of: Arc<SourceOverride<P>>,
}

impl<P> Drop for MayMove<P> {
    fn drop(&mut self) {
        let mut moves = self.of.moves.lock().unwrap_or_else(PoisonError::into_inner);
        let moved = moves.peers.remove(&self.number).and_then(|peer| peer.moved);
        if let Some(client) = moved
            && !moves.peers.values().any(|peer| peer.moved == Some(client))
        {
            moves.moved.remove(&client);
        }
    }
}

/// An attacker can have one begun: what is kept about them has an end.
const TRIALS_MAX: usize = 256;
/// Datagrams that leave from both addresses: the answers to a few challenges.
const COPIES: u8 = 16;
/// How long a client has to show that it moves.
const TRIAL: Duration = Duration::from_secs(2);
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);
const LONG_HEADER: u8 = 0x80;

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, sync::atomic::AtomicU64};

    use super::*;

    const FIRST: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
    const SECOND: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9));
    const SHORT: &[u8] = &[0x40; 40];

    #[derive(Debug)]
    struct Fake {
        client: Mutex<SocketAddr>,
        challenges: AtomicU64,
    }

    impl Challenged for Arc<Fake> {
        fn client(&self) -> SocketAddr {
            *self.client.lock().unwrap()
        }

        fn challenges(&self) -> u64 {
            self.challenges.load(Relaxed)
        }
    }

    fn client(number: u16) -> SocketAddr {
        (Ipv4Addr::new(10, 0, 0, 1), number).into()
    }

    fn at(number: u16) -> Arc<Fake> {
        Arc::new(Fake { client: Mutex::new(client(number)), challenges: AtomicU64::new(3) })
    }

    fn answers() -> Arc<SourceOverride<Arc<Fake>>> {
        let answers = SourceOverride::default();
        answers.prefer(Some(SECOND));
        Arc::new(answers)
    }

    #[test]
    fn who_moves_is_answered_from_both_and_then_from_there() {
        let (answers, connection) = (answers(), at(1));
        let may_move = answers.may_move(Arc::clone(&connection));
        let source = || answers.source(client(1), SHORT);
        answers.arrived(client(1), FIRST, || true);
        answers.arrived(client(1), Some(SECOND), || false);
        assert_eq!(source(), Source::AsSaid);
        answers.arrived(client(1), Some(SECOND), || true);
        assert_eq!((source(), answers.source(client(1), &[0xc0; 40])), (Source::Both(SECOND), Source::AsSaid));
        assert!(answers.look(Instant::now()), "not decided");
        connection.challenges.store(4, Relaxed);
        assert!(!answers.look(Instant::now()));
        assert_eq!(source(), Source::From(SECOND));
        // Forged in its name.
        answers.arrived(client(1), FIRST, || true);
        // After a reload no client is asked to move.
        answers.prefer(None);
        assert_eq!((source(), answers.source(client(2), SHORT)), (Source::From(SECOND), Source::AsSaid));
        drop(may_move);
        assert_eq!(source(), Source::AsSaid, "its connection has ended");
    }

    /// One junk datagram in a client's name had it get nothing any more.
    #[test]
    fn no_client_moves_another() {
        let (answers, victim) = (answers(), at(1));
        let _may_move = answers.may_move(Arc::clone(&victim));
        answers.arrived(client(1), Some(SECOND), || true);
        let copies = (0..100).filter(|_| answers.source(client(1), SHORT) == Source::Both(SECOND)).count();
        assert_eq!(copies, usize::from(COPIES), "each of them left from the first address, too");
        assert!(!answers.look(Instant::now() + TRIAL));
        victim.challenges.store(5, Relaxed);
        assert!(!answers.look(Instant::now()));
        assert_eq!(answers.source(client(1), SHORT), Source::AsSaid, "a challenge for another reason, later");
        for number in 1..=1_000 {
            answers.arrived(client(number), Some(SECOND), || true);
        }
        assert_eq!(answers.lock().trials.len(), TRIALS_MAX);
    }

    #[test]
    fn from_a_new_port_unless_another_connection_is_there() {
        for (others, expected) in [(0, Source::From(SECOND)), (1, Source::Both(SECOND))] {
            let (answers, connection) = (answers(), at(1));
            let _may_move = answers.may_move(Arc::clone(&connection));
            answers.arrived(client(2), Some(SECOND), || true);
            let _other = (0..others).map(|_| answers.may_move(at(2))).collect::<Vec<_>>();
            *connection.client.lock().unwrap() = client(2);
            answers.look(Instant::now());
            assert_eq!(answers.source(client(2), SHORT), expected, "{others}");
        }
    }
}
