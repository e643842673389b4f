//! A server as one worker of one configuration uses it: its settings, and the worker's connections to it.

use std::sync::Arc;

use tokio::{
    runtime::Handle,
    time::{Instant, timeout_at},
};

use super::{
    balance::{self, Candidate, Turn},
    connect::{ConnectError, connect},
    http1::content::Kept,
    pool::{Agreed, Connection, Pool, Taken},
    request_body::Forwarded,
    server::Server,
    set::ServerSet,
};
use crate::config::{self, ServerAddress};

/// A server as one worker of one configuration uses it: what all workers know of it, and what is this worker's own.
pub(super) struct PooledServer<B: Forwarded> {
    /// What it is one of.
    set: Arc<ServerSet>,
    server: Arc<Server>,
    pool: Arc<Pool<B>>,
    turn: Turn,
    /// For [`Candidate::key`].
    key: u64,
}

impl<B: Forwarded> PooledServer<B> {
    /// `server` of `set`, with the connections in `pool`.
    pub(super) fn new(set: Arc<ServerSet>, server: Arc<Server>, pool: Arc<Pool<B>>) -> Self {
        let key = balance::key(server.name().as_bytes());
        Self { set, server, pool, turn: Turn::default(), key }
    }

    /// What all workers know of it.
    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    /// What the configuration says of all servers of its upstream.
    pub(super) fn settings(&self) -> &config::Servers {
        self.set.settings()
    }

    /// What the choice among servers needs to know of it at `now`, on [`clock`](super::clock).
    pub(super) fn candidate(&self, now: u64) -> Candidate<'_> {
        let load = self.server.load().in_flight();
        Candidate { weight: self.server.weight(now), load, key: self.key, turn: &self.turn }
    }

    /// The connections, which outlive a configuration that leaves the server as it was.
    pub(super) fn pool(&self) -> &Arc<Pool<B>> {
        &self.pool
    }

    /// A connection that can take a request: one that is there, or else a new one. With
    /// `newer_than`, none but such as were opened after the one with that number.
    pub(super) async fn connection(&self, newer_than: Option<u64>) -> Result<Taken<B>, ConnectError> {
        if let Some(taken) = self.pool.take(newer_than) {
            return Ok(taken);
        }
        // In a box: few requests have to wait for one.
        Box::pin(self.new_connection(newer_than)).await
    }

    async fn new_connection(&self, newer_than: Option<u64>) -> Result<Taken<B>, ConnectError> {
        let limit = self.settings().timeouts.connect;
        let until = Instant::now() + limit;
        if self.may_be_shared() {
            let Ok(_turn) = timeout_at(until, self.pool.turn()).await else {
                return Err(ConnectError::TimedOut { server: self.server.name().clone(), limit });
            };
            if let Some(taken) = self.pool.take(newer_than) {
                return Ok(taken);
            }
            // The one that had the turn before may have learnt better.
            if self.may_be_shared() {
                return self.open(until).await.map_err(|error| error.within(limit));
            }
        }
        self.open(until).await.map_err(|error| error.within(limit))
    }

    /// Keeps an HTTP/1.1 connection whose response has ended.
    pub(super) fn keep(&self, kept: Kept<B>) {
        match kept.into_connection() {
            Ok(connection) => self.pool.put(connection),
            Err(kept) => {
                let (pool, Ok(runtime)) = (self.pool.clone(), Handle::try_current()) else { return };
                runtime.spawn(async move {
                    if let Some(connection) = kept.sent().await {
                        pool.put(connection);
                    }
                });
            }
        }
    }

    /// Takes an HTTP/2 connection back, which is closed in time if no other request takes it.
    pub(super) fn release(&self, used: Connection<B>) {
        drop(used);
        self.pool.sweep_later();
    }

    fn may_be_shared(&self) -> bool {
        match self.server.address() {
            ServerAddress::H2c(_) => true,
            ServerAddress::Https(_) => !self.pool.agreed_on_http1(),
            ServerAddress::Http(_) | ServerAddress::Tcp(_) | ServerAddress::Unix(_) => false,
        }
    }

    async fn open(&self, until: Instant) -> Result<Taken<B>, ConnectError> {
        let io = connect(&self.server, until.saturating_duration_since(Instant::now())).await?;
        let agreed = match self.server.address() {
            ServerAddress::H2c(_) => Agreed::Http2,
            _ if io.agreed_on_http2() => Agreed::Http2,
            _ => Agreed::Http1,
        };
        if agreed == Agreed::Http2 {
            // HTTP/2 has windows of its own: those of TCP close only where the server's process stands still.
            io.end_unacknowledged(self.settings().timeouts.connect);
        }
        self.pool.begin(io, agreed).await.map_err(|error| {
            let source = std::io::Error::other(error);
            ConnectError::Failed { server: self.server.name().clone(), source }
        })
    }
}
