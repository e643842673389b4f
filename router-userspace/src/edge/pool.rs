//! HTTP/1.1 connections to one server: opened, kept while idle, taken again.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tracing::debug;

use super::body::RequestBody;

/// Sends requests, one at a time, on one connection. Dropping it lets the connection close.
pub(super) type HttpConnection = SendRequest<RequestBody>;

/// How long a connection is kept without a request. Below what common servers allow (5 s for
/// some, 60 s and more for most): a stale one costs a second attempt, see `proxy`.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// How many connections to a server a worker keeps without a request.
const KEPT_MAX: usize = 256;

/// Bytes of a response that hyper reads ahead of the client; also the limit of its head.
const READ_AHEAD: usize = 128 * 1024;

/// Idle connections to one server, the most recently used last.
#[derive(Default)]
pub(super) struct Pool(Mutex<Vec<Idle>>);

struct Idle {
    connection: HttpConnection,
    since: Instant,
}

impl Pool {
    /// The connection that was used last, if it still seems alive.
    pub(super) fn take(&self) -> Option<HttpConnection> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(Idle { connection, since }) = idle.pop() {
            if since.elapsed() >= IDLE_MAX {
                // All below it are older.
                idle.clear();
            } else if connection.is_ready() {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps `connection`, which is ready for a request, and lets go of those kept too long.
    pub(super) fn put(&self, connection: HttpConnection) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let stale = idle.iter().take_while(|kept| now - kept.since >= IDLE_MAX || kept.connection.is_closed()).count();
        idle.drain(..stale);
        if idle.len() < KEPT_MAX {
            idle.push(Idle { connection, since: now });
        }
    }
}

/// Speaks HTTP/1.1 on `stream`; a task of its own drives it until it closes.
pub(super) async fn open(stream: TcpStream) -> hyper::Result<HttpConnection> {
    let (connection, driver) = http1::Builder::new().max_buf_size(READ_AHEAD).handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        if let Err(error) = driver.await {
            debug!(%error, "upstream connection broke");
        }
    });
    Ok(connection)
}
