//! HTTP/3 on quinn's streams. What the octets mean is [`router_http3`]'s; here they are moved, connections are drained,
//! and clients kept within bounds.
//!
//! A connection's requests are accepted in its own task, and each is served in one of its own (`exchange`), so that none
//! holds up another: `request_stream` reads, `response_stream` writes. `client_streams` are the client's own. What reads and
//! writes streams knows of their connection how it is closed (`client_connection`), and nothing of what serves it.

mod client_connection;
mod client_streams;
pub(super) mod early_data;
mod error_code;
mod exchange;
mod reminder;
pub(super) mod request_stream;
mod reset_budget;
mod response_stream;
mod shared;

use std::{
    pin::{Pin, pin},
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use bytes::BytesMut;
use futures_util::stream::{FuturesUnordered, StreamExt};
use quinn::{ConnectionError, RecvStream, SendStream, VarInt, WriteError};
use router_http3::{Code, CriticalStreams, Settings, Violation, write_goaway};
use tokio::time;
use tracing::debug;

use self::{
    client_connection::ClientConnection, early_data::Handshake, error_code::varint, exchange::Exchange,
    reminder::Reminder, shared::Shared,
};
use super::{Draining, IncomingConnection, Site, bidirectional_stream::BidirectionalStream, client::Client};
use crate::address::path::Path;

/// How long a client that was told to go elsewhere may be silent before its connection is closed.
const LINGER: Duration = Duration::from_secs(3);

/// How long what crosses the last GOAWAY may be on its way.
const CROSSING: Duration = Duration::from_secs(1);

/// Names no request: the greatest ID of a request stream (RFC 9114 section 5.2).
const GOAWAY_FIRST: u64 = (1 << 62) - 4;

/// Serves requests until the connection ends, or is drained and its last response acknowledged.
pub(super) async fn serve(site: Arc<Site>, arrival: IncomingConnection, client: Client) {
    let IncomingConnection { connection, address, handshake, draining, .. } = arrival;
    let path = Path::new(connection.clone(), address);
    let peer = client.address;
    let shared = Arc::new(Shared { site, connection: Arc::new(ClientConnection::new(connection)) });
    let ended = match Session::begin(Arc::clone(&shared), client, path, handshake).await {
        // Borrowed from where it is: it is large, and stays for as long as the connection.
        Ok(ref mut session) => session.serve(draining).await,
        Err(lost) => Err(lost),
    };
    match ended {
        Ok(()) => shared.connection.quinn().close(varint(Code::H3_NO_ERROR), b""),
        Err(error) => debug!(%peer, %error, "HTTP/3 connection ended"),
    }
}

/// A connection that is served.
struct Session {
    shared: Arc<Shared>,
    client: Client,
    path: Path,
    handshake: Handshake,
    /// The server's control stream (RFC 9114 section 6.2.1). It stays open as long as the connection.
    control: SendStream,
    reminder: Reminder,
    incoming: Incoming,
    /// The first request stream that was not accepted.
    next_stream: u64,
    /// Each request holds a clone until its response is acknowledged or given up.
    alive: Arc<()>,
}

impl Session {
    async fn begin(
        shared: Arc<Shared>,
        client: Client,
        path: Path,
        handshake: Handshake,
    ) -> Result<Self, ConnectionError> {
        let mut control = shared.connection.quinn().open_uni().await?;
        let settings = Settings {
            max_field_section_size: Some(shared.site.now.load().limits.max_header_bytes.into()),
            ..Settings::default()
        };
        let mut octets = BytesMut::new();
        settings.write_control_stream(&mut octets);
        // There are no QPACK streams of ours: nothing would be said on them (RFC 9204 section 4.2).
        write(&mut control, octets).await?;
        let incoming = Incoming::new(Arc::clone(&shared));
        let reminder = Reminder::new(shared.site.now.load().limits.idle_timeout);
        let alive = Arc::new(());
        Ok(Self { shared, client, path, handshake, control, reminder, incoming, next_stream: 0, alive })
    }

    async fn serve(&mut self, mut draining: Draining) -> Result<(), ConnectionError> {
        {
            let mut begun = pin!(draining.begun());
            loop {
                tokio::select! {
                    biased;
                    () = &mut begun => break,
                    request = self.request() => self.start(request?),
                }
            }
        }
        // In a box: connections that do not drain need no room for it.
        Box::pin(self.drain()).await
    }

    /// The next request. Those that take long keep the connection meanwhile.
    async fn request(&mut self) -> Result<BidirectionalStream, ConnectionError> {
        let Self { incoming, reminder, control, alive, .. } = self;
        loop {
            tokio::select! {
                biased;
                request = incoming.request() => return request,
                // One is the session's own.
                () = reminder.due(|| Arc::strong_count(alive) > 1) => {
                    write(control, BytesMut::from(reminder::FRAME)).await?;
                }
            }
        }
    }

    fn start(&mut self, stream: BidirectionalStream) {
        self.next_stream = self.next_stream.max(VarInt::from(stream.send.id()).into_inner() + 4);
        let Some(held) = self.shared.site.now.load().memory.admit() else { return reject(stream) };
        // It may have moved since the last request.
        let client = Client { address: self.path.address(), ..self.client.clone() };
        let early = stream.recv.is_0rtt().then(|| self.handshake.clone());
        let exchange = Exchange { stream, shared: Arc::clone(&self.shared), client, early, held };
        let alive = Arc::clone(&self.alive);
        self.reminder.start();
        // In a box before it is spawned: it is some kilobytes, and a spawn moves it several times.
        let served = Box::pin(exchange.serve());
        tokio::spawn(async move {
            served.await;
            drop(alive);
        });
    }

    /// RFC 9114 section 5.2. A GOAWAY that names no request asks the client to go elsewhere. What
    /// it asks here all the same is served: clients differ in how well they listen. When it has
    /// been silent for a while, a GOAWAY names the first request that will not be served; one
    /// that crosses it is rejected, so that the client knows that it may send it again elsewhere.
    async fn drain(&mut self) -> Result<(), ConnectionError> {
        let mut silent = pin!(silence(self.shared.connection.quinn().clone(), Arc::downgrade(&self.alive)));
        let mut asked = false;
        loop {
            // Not before the first request: a client that has just come would never send it.
            if self.next_stream > 0 && !asked {
                asked = true;
                self.goaway(GOAWAY_FIRST).await?;
            }
            tokio::select! {
                biased;
                () = &mut silent => break,
                request = self.request() => self.start(request?),
            }
        }
        self.goaway(self.next_stream).await?;
        let mut crossed = pin!(time::sleep(CROSSING));
        loop {
            tokio::select! {
                () = &mut crossed => return Ok(()),
                request = self.incoming.request() => reject(request?),
            }
        }
    }

    async fn goaway(&mut self, id: u64) -> Result<(), ConnectionError> {
        let mut octets = BytesMut::new();
        write_goaway(id, &mut octets);
        write(&mut self.control, octets).await
    }
}

/// What a client opens.
struct Incoming {
    shared: Arc<Shared>,
    critical: Arc<Mutex<CriticalStreams>>,
    /// The client's own streams: the next is waited for, the others are read. Each is looked at when something has come
    /// for it, and not with each request.
    own: FuturesUnordered<Pin<Box<dyn Future<Output = Own> + Send>>>,
}

/// What became of the client's own streams.
enum Own {
    Opened(Result<RecvStream, ConnectionError>),
    Ended(Option<Violation>),
}

impl Incoming {
    fn new(shared: Arc<Shared>) -> Self {
        let incoming = Self { shared, critical: Arc::default(), own: FuturesUnordered::new() };
        incoming.await_own();
        incoming
    }

    fn await_own(&self) {
        let connection = self.shared.connection.quinn().clone();
        self.own.push(Box::pin(async move { Own::Opened(connection.accept_uni().await) }));
    }

    /// The next request stream. The client's other streams are read meanwhile.
    async fn request(&mut self) -> Result<BidirectionalStream, ConnectionError> {
        let mut accepted = pin!(self.shared.connection.quinn().accept_bi());
        loop {
            tokio::select! {
                biased;
                request = &mut accepted => return request.map(BidirectionalStream::from),
                Some(own) = self.own.next() => match own {
                    Own::Opened(stream) => {
                        let read = client_streams::read(stream?, Arc::clone(&self.critical));
                        self.own.push(Box::pin(async { Own::Ended(read.await) }));
                        self.await_own();
                    }
                    Own::Ended(None) => {}
                    Own::Ended(Some(violation)) => {
                        self.shared.connection.close(violation);
                        return Err(ConnectionError::LocallyClosed);
                    }
                },
            }
        }
    }
}

/// On the control stream, for which a client always has room unless it means harm.
async fn write(control: &mut SendStream, octets: BytesMut) -> Result<(), ConnectionError> {
    match control.write_chunk(octets.freeze()).await {
        Err(WriteError::ConnectionLost(error)) => Err(error),
        // RFC 9114 section 6.2.1 has the client close the connection, and not the stream.
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Waits until no request is in flight and nothing of one came for [`LINGER`].
///
/// A client that is told to go elsewhere closes the connection when it has done with the last
/// response; what it has received and acknowledged but not yet read would be lost to it if we
/// closed. While it reads, it raises its flow control's limits. That it sends PINGs says nothing.
async fn silence(connection: quinn::Connection, alive: Weak<()>) {
    let heard = || {
        let frames = connection.stats().frame_rx;
        [frames.stream, frames.max_data, frames.max_stream_data, frames.stop_sending, frames.reset_stream]
    };
    // One is the session's own.
    let in_flight = || alive.strong_count() > 1;
    let mut before = heard();
    loop {
        time::sleep(LINGER).await;
        let now = heard();
        if now == before && !in_flight() {
            return;
        }
        before = now;
    }
}

/// RFC 9114 section 4.1.1: nothing was done for this request.
fn reject(mut stream: BidirectionalStream) {
    stream.abort(varint(Code::H3_REQUEST_REJECTED));
}
