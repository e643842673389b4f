//! A named set of equivalent servers: which one is next, and a TCP connection to it.

use std::{
    io,
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{net::TcpStream, time::timeout};

use super::pool::Pool;
use crate::config::{self, Authority, Balance};

/// How long a server may take to accept a TCP connection, name resolution included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The servers of one upstream and this worker's load on each.
pub(super) struct Upstream {
    servers: Vec<Server>,
    balance: Balance,
    /// Moves on with every choice, also to spread equal loads.
    turn: AtomicUsize,
}

/// One server of an upstream.
pub(super) struct Server {
    authority: Authority,
    in_flight: AtomicUsize,
    /// Its HTTP/1.1 connections that wait for a request.
    pub(super) idle: Pool,
}

/// A server could not be reached. Names it.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("{server} did not accept a connection in {} s", CONNECT_TIMEOUT.as_secs())]
    TimedOut { server: String },
    #[error("{server} cannot be reached: {source}")]
    Failed { server: String, source: io::Error },
}

impl Upstream {
    pub(super) fn new(upstream: &config::Upstream) -> Self {
        let server = |server: &config::Server| match server {
            config::Server::Http(authority) | config::Server::Tcp(authority) => {
                Server { authority: authority.clone(), in_flight: AtomicUsize::new(0), idle: Pool::default() }
            }
        };
        Self {
            servers: upstream.servers.iter().map(server).collect(),
            balance: upstream.balance,
            turn: AtomicUsize::new(0),
        }
    }

    /// Every server once, the chosen one first, the others in case it can't be reached.
    pub(super) fn choose(self: &Arc<Self>) -> impl Iterator<Item = Lease> + use<> {
        let first = self.next();
        let upstream = self.clone();
        let count = upstream.servers.len();
        (first..first + count).map(move |index| Lease::new(upstream.clone(), index % count))
    }

    /// A TCP connection to the first server that takes one.
    pub(super) async fn connect(self: &Arc<Self>) -> Result<(Lease, TcpStream), ConnectError> {
        let mut failure = None;
        for lease in self.choose() {
            match lease.connect().await {
                Ok(stream) => return Ok((lease, stream)),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.expect("an upstream of a Config has a server"))
    }

    fn next(&self) -> usize {
        let count = self.servers.len();
        let turn = self.turn.fetch_add(1, Relaxed) % count;
        match self.balance {
            Balance::RoundRobin => turn,
            Balance::LeastRequests => (turn..turn + count)
                .map(|index| index % count)
                .min_by_key(|&index| self.servers[index].in_flight.load(Relaxed))
                .unwrap_or(turn),
        }
    }
}

impl Server {
    /// A new connection to this server, each write sent at once.
    pub(super) async fn connect(&self) -> Result<TcpStream, ConnectError> {
        let Authority { host, port } = &self.authority;
        let server = || format!("{host} port {port}");
        let connected = async {
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        match timeout(CONNECT_TIMEOUT, connected).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(source)) => Err(ConnectError::Failed { server: server(), source }),
            Err(_elapsed) => Err(ConnectError::TimedOut { server: server() }),
        }
    }
}

/// A server with a request or stream in flight, which counts until this is dropped.
pub(super) struct Lease {
    upstream: Arc<Upstream>,
    index: usize,
}

impl Lease {
    fn new(upstream: Arc<Upstream>, index: usize) -> Self {
        upstream.servers[index].in_flight.fetch_add(1, Relaxed);
        Self { upstream, index }
    }
}

impl Deref for Lease {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.upstream.servers[self.index]
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.in_flight.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Server;

    fn upstream(balance: Balance) -> Arc<Upstream> {
        let server = |port| Server::Http(Authority { host: "127.0.0.1".into(), port });
        Arc::new(Upstream::new(&config::Upstream { servers: [1, 2, 3].map(server).to_vec(), balance }))
    }

    fn ports(upstream: &Arc<Upstream>) -> Vec<u16> {
        upstream.choose().map(|lease| lease.authority.port).collect()
    }

    #[test]
    fn round_robin_takes_turns_and_offers_the_others_after() {
        let upstream = upstream(Balance::RoundRobin);
        assert_eq!(ports(&upstream), [1, 2, 3]);
        assert_eq!(ports(&upstream), [2, 3, 1]);
        assert_eq!(ports(&upstream), [3, 1, 2]);
        assert_eq!(ports(&upstream), [1, 2, 3]);
    }

    #[test]
    fn least_requests_counts_leases_until_they_are_dropped() {
        let upstream = upstream(Balance::LeastRequests);
        let first = || upstream.choose().next().expect("there are servers");
        let held = [first(), first(), first()];
        let mut taken = held.each_ref().map(|lease| lease.authority.port);
        taken.sort_unstable();
        assert_eq!(taken, [1, 2, 3], "equal loads are spread");
        let [one, two, three] = held;
        drop(two);
        for _ in 0..5 {
            assert_eq!(first().authority.port, 2, "the idle server is chosen as long as it is idle");
        }
        drop((one, three));
    }
}
