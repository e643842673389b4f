//! One worker's HTTP connections to one server: opened, kept while idle, taken again.
//!
//! An HTTP/1.1 connection is for one request at a time, and the one used last is taken first: so
//! few are kept in use, and the others grow old and go. HTTP/2 connections are shared, each by as
//! many requests as the server allows; the first with room is taken.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    task::{Wake, Waker},
    time::Duration,
};

use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    runtime::Handle,
    sync::Notify,
    time::{Instant, sleep},
};
use tracing::debug;

use super::{
    connect::Io,
    http1::connection::Connection as Http1Connection,
    limits::FIELDS_MAX,
    request_body::{Forwarded, Outgoing},
    retry::Age,
};

/// How long a connection is kept without a request. Below what common servers allow (5 s for
/// some, 60 s and more for most): a stale one costs a second attempt, see `exchange`.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// How many HTTP/1.1 connections to a server a worker keeps without a request.
const KEPT_MAX: usize = 256;

/// Octets of a response that an HTTP/2 server may send ahead of the client, and of all of a
/// connection's responses.
const STREAM_WINDOW: u32 = 512 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

/// The connections, which outlive configurations that leave the server as it was.
pub(super) struct Pool<B: Forwarded> {
    /// The most recently used last.
    idle: Mutex<Vec<Idle>>,
    /// Woken when one of them is closed by its server.
    stir: Arc<Stir>,
    shared: Mutex<Vec<Shared<B>>>,
    /// Held while a connection is opened that others may share, so that they wait for that one.
    opening: tokio::sync::Mutex<()>,
    /// What was spoken last: an [`Agreed`], or [`NOTHING_YET`].
    agreed: AtomicU8,
    /// Connections opened so far.
    opened: AtomicU64,
    sweeping: AtomicBool,
}

const NOTHING_YET: u8 = 0;

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Agreed {
    Http1 = 1,
    Http2 = 2,
}

/// Takes one request.
pub(super) enum Connection<B: Forwarded> {
    Http1(Box<Http1Connection>),
    Http2(http2::SendRequest<Outgoing<B>>, InUse),
}

/// A connection for a request.
pub(super) struct Taken<B: Forwarded> {
    pub(super) connection: Connection<B>,
    /// The later it was opened the higher; zero for an HTTP/1.1 connection, as a later one is a
    /// new one.
    pub(super) number: u64,
    /// Whether it has had requests before.
    pub(super) age: Age,
}

struct Idle {
    connection: Box<Http1Connection>,
    since: Instant,
}

/// Has the pool looked through.
#[derive(Default)]
struct Stir(Notify);

impl Wake for Stir {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

struct Shared<B: Forwarded> {
    sender: http2::SendRequest<Outgoing<B>>,
    number: u64,
    usage: Arc<Usage>,
    driver: Arc<Mutex<Option<Driver<B>>>>,
}

type Driver<B> = http2::Connection<TokioIo<Io>, Outgoing<B>, TokioExecutor>;

/// Requests on an HTTP/2 connection.
struct Usage {
    streams: AtomicUsize,
    /// When one last ended.
    since: Mutex<Instant>,
    /// It gets no more.
    retired: AtomicBool,
}

/// A request on an HTTP/2 connection, until this is dropped.
pub(super) struct InUse(Arc<Usage>);

impl<B: Forwarded> Connection<B> {
    /// Gives the connection no more requests: one on it was not answered in time, and the way to
    /// the server may be broken without a word. Those that it has may finish.
    pub(super) fn retire(&self) {
        match self {
            // No other request has it.
            Self::Http1(_) => {}
            Self::Http2(_, InUse(usage)) => usage.retired.store(true, Relaxed),
        }
    }
}

impl<B: Forwarded> Default for Pool<B> {
    fn default() -> Self {
        Self {
            idle: Mutex::default(),
            stir: Arc::default(),
            shared: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
            agreed: AtomicU8::new(NOTHING_YET),
            opened: AtomicU64::new(0),
            sweeping: AtomicBool::new(false),
        }
    }
}

impl<B: Forwarded> Pool<B> {
    /// A connection that still seems alive and has room; with `newer_than`, none but such as were opened after the one
    /// with that number.
    pub(super) fn take(&self, newer_than: Option<u64>) -> Option<Taken<B>> {
        if newer_than.is_none()
            && let Some(connection) = self.take_idle()
        {
            return Some(Taken { connection: Connection::Http1(connection), number: 0, age: Age::Reused });
        }
        let mut shared = lock(&self.shared);
        if shared.is_empty() {
            return None;
        }
        // One that is told to go away is closed for us, and finishes what it has begun.
        shared.retain(|one| !one.sender.is_closed() && !one.usage.retired.load(Relaxed));
        let one = shared.iter().find(|one| newer_than.is_none_or(|than| one.number > than) && one.has_room())?;
        let connection = Connection::Http2(one.sender.clone(), InUse::new(&one.usage));
        Some(Taken { connection, number: one.number, age: Age::Reused })
    }

    /// One that its server has not closed, as far as is known here.
    fn take_idle(&self) -> Option<Box<Http1Connection>> {
        let mut idle = lock(&self.idle);
        while let Some(Idle { mut connection, since }) = idle.pop() {
            if since.elapsed() >= IDLE_MAX {
                // All below it are older.
                idle.clear();
            } else if connection.is_quiet(Waker::noop()) {
                return Some(connection);
            }
        }
        None
    }

    /// Whether the server was last spoken to in HTTP/1.1, by its own choice.
    pub(super) fn agreed_on_http1(&self) -> bool {
        self.agreed.load(Relaxed) == Agreed::Http1 as u8
    }

    /// The turn to open a connection that others may share: one at a time.
    pub(super) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.opening.lock().await
    }

    /// Begins to speak on a new connection.
    pub(super) async fn begin(self: &Arc<Self>, io: Io, agreed: Agreed) -> hyper::Result<Taken<B>> {
        let number = self.opened.fetch_add(1, Relaxed) + 1;
        self.agreed.store(agreed as u8, Relaxed);
        let connection = match agreed {
            Agreed::Http2 => self.begin_http2(io, number).await?,
            Agreed::Http1 => Connection::Http1(Box::new(Http1Connection::new(io))),
        };
        Ok(Taken { connection, number, age: Age::New })
    }

    /// Keeps a connection that is ready for a request.
    pub(super) fn put(self: &Arc<Self>, mut connection: Box<Http1Connection>) {
        if !connection.is_quiet(&Waker::from(self.stir.clone())) {
            return;
        }
        connection.rest();
        {
            let mut idle = lock(&self.idle);
            if idle.len() >= KEPT_MAX {
                idle.remove(0);
            }
            idle.push(Idle { connection, since: Instant::now() });
        }
        self.sweep_later();
    }

    /// Speaks HTTP/2; a task of its own drives the connection until it closes.
    async fn begin_http2(self: &Arc<Self>, io: Io, number: u64) -> hyper::Result<Connection<B>> {
        let (sender, driver) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(FIELDS_MAX)
            .handshake(TokioIo::new(io))
            .await?;
        let driver = Arc::new(Mutex::new(Some(driver)));
        let usage = Arc::new(Usage::default());
        let connection = Connection::Http2(sender.clone(), InUse::new(&usage));
        lock(&self.shared).push(Shared { sender, number, usage, driver: driver.clone() });
        tokio::spawn(drive(driver));
        self.sweep_later();
        Ok(connection)
    }

    /// How many are kept without a request.
    #[cfg(test)]
    pub(super) fn idle(&self) -> usize {
        lock(&self.idle).len()
    }

    /// Closes what is idle.
    #[cfg(test)]
    pub(super) fn forget(&self) {
        lock(&self.idle).clear();
    }

    /// Sees to it that what is not used any more is closed in time.
    pub(super) fn sweep_later(self: &Arc<Self>) {
        if self.sweeping.swap(true, Relaxed) {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        runtime.spawn(sweep(Arc::downgrade(self)));
    }

    /// Closes what has been idle too long, or is closed by its server; whether nothing is left.
    fn sweep(&self) -> bool {
        let stir = Waker::from(self.stir.clone());
        let mut idle = lock(&self.idle);
        idle.retain_mut(|one| one.since.elapsed() < IDLE_MAX && one.connection.is_quiet(&stir));
        let mut shared = lock(&self.shared);
        shared.retain(|one| !one.sender.is_closed() && !one.usage.is_stale());
        idle.is_empty() && shared.is_empty()
    }
}

async fn sweep<B: Forwarded>(pool: Weak<Pool<B>>) {
    let Some(stir) = pool.upgrade().map(|pool| pool.stir.clone()) else { return };
    loop {
        tokio::select! {
            () = sleep(IDLE_MAX / 2) => {}
            () = stir.0.notified() => {}
        }
        let Some(pool) = pool.upgrade() else { return };
        if pool.sweep() {
            pool.sweeping.store(false, Relaxed);
            return;
        }
    }
}

async fn drive<B: Forwarded>(driver: Arc<Mutex<Option<Driver<B>>>>) {
    let ended = poll_fn(|cx| match lock(&driver).as_mut() {
        Some(driver) => Pin::new(driver).poll(cx),
        None => std::task::Poll::Ready(Ok(())),
    });
    if let Err(error) = ended.await {
        debug!(%error, "connection to a server broke");
    }
    let ended = lock(&driver).take();
    drop(ended);
}

impl<B: Forwarded> Shared<B> {
    /// RFC 9113 section 5.1.2: the server says how many streams it takes at once.
    fn has_room(&self) -> bool {
        let most = lock(&self.driver).as_ref().map_or(0, http2::Connection::current_max_send_streams);
        self.usage.streams.load(Relaxed) < most
    }
}

impl Default for Usage {
    fn default() -> Self {
        Self { streams: AtomicUsize::new(0), since: Mutex::new(Instant::now()), retired: AtomicBool::new(false) }
    }
}

impl Usage {
    fn is_stale(&self) -> bool {
        self.streams.load(Relaxed) == 0 && lock(&self.since).elapsed() >= IDLE_MAX
    }
}

impl InUse {
    fn new(usage: &Arc<Usage>) -> Self {
        usage.streams.fetch_add(1, Relaxed);
        Self(usage.clone())
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        *lock(&self.0.since) = Instant::now();
        self.0.streams.fetch_sub(1, Relaxed);
    }
}

/// A worker is one thread, and nothing is awaited with a lock held: no lock is ever contended.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
