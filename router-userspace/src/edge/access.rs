//! What is written down of a request or a raw stream: begun with its first octets, ended with the
//! last of the response, or where it broke off.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use http::{HeaderValue, Method, Request, StatusCode, Uri, Version, header};

use super::{client::Client, http::read_meter::ReadMeter, route::HttpRoute};
use crate::{
    address::Validated,
    telemetry::{AccessLog, Meter, NO_ROUTE, Outcome, Protocol, Record, RouteMeter, Tls, TraceContext},
};

/// Where entries go.
#[derive(Clone)]
pub(super) struct AccessSink {
    access_log: Option<AccessLog>,
    /// Counts what no route matched.
    unrouted: Arc<RouteMeter>,
}

impl AccessSink {
    pub(super) fn new(access_log: Option<AccessLog>, meter: &Meter) -> Self {
        Self { access_log, unrouted: meter.route(&NO_ROUTE.into()) }
    }

    fn write(&self, meter: Option<&Arc<RouteMeter>>, record: &Record<'_>) {
        meter.unwrap_or(&self.unrouted).count(record);
        if let Some(access_log) = &self.access_log {
            access_log.write(record);
        }
    }
}

/// A request that is being served. Dropping it writes it down.
pub(super) struct RequestRecord {
    book: AccessSink,
    when: SystemTime,
    begun: Instant,
    protocol: Protocol,
    client: Client,
    /// It came in 0-RTT.
    pub(super) early_data: bool,
    /// None of a request whose head was not read.
    method: Option<Method>,
    uri: Option<Uri>,
    user_agent: Option<HeaderValue>,
    referer: Option<HeaderValue>,
    pub(super) trace: TraceContext,
    pub(super) route: Option<Arc<HttpRoute>>,
    pub(super) server: Option<Arc<str>>,
    /// Other than what its end says.
    outcome: Option<Outcome>,
    status: Option<StatusCode>,
    first_byte: Option<Duration>,
    /// Has the octets of the request's content.
    received: Arc<ReadMeter>,
    sent: u64,
    is_complete: bool,
}

impl RequestRecord {
    /// Of a request that was just read from `client`.
    pub(super) fn begin<B>(book: &AccessSink, request: &Request<B>, client: &Client, received: Arc<ReadMeter>) -> Self {
        let field = |name| request.headers().get(name).cloned();
        Self {
            book: book.clone(),
            when: SystemTime::now(),
            begun: Instant::now(),
            protocol: match request.version() {
                Version::HTTP_3 => Protocol::Http3,
                Version::HTTP_2 => Protocol::Http2,
                _ => Protocol::Http11,
            },
            client: client.clone(),
            early_data: false,
            method: Some(request.method().clone()),
            uri: Some(request.uri().clone()),
            user_agent: field(header::USER_AGENT),
            referer: field(header::REFERER),
            trace: TraceContext::of(request.headers()),
            route: None,
            server: None,
            outcome: None,
            status: None,
            first_byte: None,
            received,
            sent: 0,
            is_complete: false,
        }
    }

    /// Of a request over HTTP/3 of whose head nothing is known.
    pub(super) fn unread(book: &AccessSink, client: &Client) -> Self {
        let mut nothing = Request::new(());
        *nothing.version_mut() = Version::HTTP_3;
        let mut entry = Self::begin(book, &nothing, client, Arc::default());
        (entry.method, entry.uri) = (None, None);
        entry
    }

    /// It ends like that, whatever becomes of its response.
    pub(super) fn ends(&mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
    }

    /// Its response has begun.
    pub(super) fn respond(&mut self, status: StatusCode) {
        self.status = Some(status);
        self.received.answered();
        self.first_byte = Some(self.begun.elapsed());
    }

    /// Octets of content are on their way to the client.
    pub(super) fn sent(&mut self, octets: usize) {
        self.sent += octets as u64;
    }

    /// All of its response is on its way to the client.
    pub(super) fn complete(&mut self) {
        self.is_complete = true;
    }
}

impl Drop for RequestRecord {
    fn drop(&mut self) {
        let Client { address, server_name, certificate, .. } = &self.client;
        let whole = if self.is_complete { Outcome::Complete } else { Outcome::Cancelled };
        let route = self.route.as_deref();
        let record = Record {
            duration: self.begun.elapsed(),
            first_byte: self.first_byte,
            method: self.method.as_ref().map(Method::as_str),
            host: self.uri.as_ref().and_then(Uri::authority).map(|authority| authority.as_str()),
            path: self.uri.as_ref().and_then(Uri::path_and_query).map(|path| path.as_str()),
            route: route.map(|route| &*route.name),
            upstream: route.and_then(|route| route.upstream.as_deref()),
            server: self.server.as_deref(),
            status: self.status.map(|status| status.as_u16()),
            received: self.received.content(),
            sent: self.sent,
            outcome: self.outcome.unwrap_or(whole),
            user_agent: self.user_agent.as_ref().map(HeaderValue::as_bytes),
            referer: self.referer.as_ref().map(HeaderValue::as_bytes),
            trace: Some(self.trace.trace_id()),
            tls: Tls {
                sni: server_name.as_deref(),
                early_data: self.early_data,
                client_certificate: certificate.as_ref().map(|certificate| certificate.subject.as_bytes()),
            },
            ..Record::new(self.when, self.protocol, *address)
        };
        self.book.write(route.map(|route| &route.meter), &record);
    }
}

/// A raw stream that is being served. Dropping it writes it down.
pub(super) struct StreamEntry {
    book: AccessSink,
    when: SystemTime,
    begun: Instant,
    peer: Validated,
    server_name: Option<Arc<str>>,
    route: Arc<super::route::RawRoute>,
    pub(super) received: AtomicU64,
    pub(super) sent: AtomicU64,
    outcome: Outcome,
}

impl StreamEntry {
    /// Of a stream that was just opened by `client`.
    pub(super) fn begin(book: &AccessSink, route: Arc<super::route::RawRoute>, client: &Client) -> Self {
        Self {
            book: book.clone(),
            when: SystemTime::now(),
            begun: Instant::now(),
            peer: client.address,
            server_name: client.server_name.clone(),
            route,
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            // Unless its end says otherwise: the connection is lost.
            outcome: Outcome::Cancelled,
        }
    }

    /// How it has ended.
    pub(super) fn ends(&mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for StreamEntry {
    fn drop(&mut self) {
        let record = Record {
            duration: self.begun.elapsed(),
            route: Some(&self.route.name),
            upstream: Some(&self.route.upstream_name),
            received: self.received.load(Relaxed),
            sent: self.sent.load(Relaxed),
            outcome: self.outcome,
            tls: Tls { sni: self.server_name.as_deref(), ..Tls::default() },
            ..Record::new(self.when, Protocol::Raw, self.peer)
        };
        self.book.write(Some(&self.route.meter), &record);
    }
}
