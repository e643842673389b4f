//! A request to one of the servers and the head of its response.
//!
//! What may be sent again, and when: a request that no server saw, to the next server, whatever
//! its method. One whose connection broke off before any of the response, if the method is
//! idempotent (RFC 9110 section 9.2.2) and there is no body: once more on a newer connection of the
//! same server, if the connection had been in use before, as the server may have closed it just as
//! we wrote; and else once to another server, as this one may have died. No other request is sent
//! twice.

use std::{
    net::SocketAddr,
    pin::pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use futures_util::future::Either;
use http::{Request, Response, StatusCode, header};
use hyper::body::Incoming;
use tokio::{io::AsyncWriteExt, time::timeout};
use tracing::debug;

use super::{
    balance::Chooser,
    body::{Broke, Forwarded, Held, Outgoing, ResponseBody},
    clock,
    connect::{ConnectError, NoPlace, Stream, connect},
    failure::Failure,
    head::Head,
    pool::{Connection, FIELDS_MAX, Member, Taken},
    proxy_protocol,
    queue::{Entered, Wanted},
    server::{Lease, Set, Standing},
};
use crate::{address::Validated, config::Balance, edge::body::RequestBody};

/// The response's timeout is looked at this many times, so that it is right to that part.
const LOOKS: u32 = 4;

/// One worker's way to the servers of an upstream.
pub(in crate::edge) struct Upstream<B: Forwarded = RequestBody> {
    pub(super) set: Arc<Set>,
    pub(super) members: Vec<Arc<Member<B>>>,
    pub(super) chooser: Chooser,
}

/// A response whose body is still to come, and the server (as the configuration writes it) that
/// it comes from.
pub(in crate::edge) struct Exchanged<B: Forwarded = RequestBody> {
    pub(in crate::edge) response: Response<ResponseBody<B>>,
    pub(in crate::edge) server: Arc<str>,
}

/// No response; the request if it was not used up; the last server that was tried.
pub(in crate::edge) struct Failed<B: Forwarded = RequestBody> {
    pub(in crate::edge) failure: Failure<B::Error>,
    /// Good for its body only: the head may have been made ready for a server.
    pub(in crate::edge) request: Option<Request<B>>,
    pub(in crate::edge) server: Option<Arc<str>>,
}

impl<B: Forwarded> Upstream<B> {
    /// Sends `request` of the client at `client` to a server, to the next if that can't be
    /// reached, and gives the response when its head is there.
    ///
    /// The head is as an HTTP/1.1 server expects it: a path for a target, `Host` as the client
    /// said it, no fields that are about a connection but `Connection: te`. It is changed here as
    /// the server's protocol and the upstream's `host` want it.
    pub(in crate::edge) async fn send(
        self: &Arc<Self>,
        mut request: Request<B>,
        client: Validated,
    ) -> Result<Exchanged<B>, Failed<B>> {
        let mut head = Head::of(&request);
        let mut tried = Vec::new();
        let mut last = None;
        let mut elsewhere = Elsewhere::Once;
        loop {
            let (index, lease) = match self.place(client, &tried).await {
                Ok(place) => place,
                Err(none) => {
                    let (failure, server) = last.unwrap_or((ConnectError::NoPlace(none).into(), None));
                    return Err(Failed { failure, request: Some(request), server });
                }
            };
            match self.members[index].exchange(request, &mut head, lease, &mut elsewhere).await {
                Ok(exchanged) => return Ok(exchanged),
                Err(Failed { failure, request: Some(unsent), server }) => {
                    debug!(%failure, "a server did not take a request");
                    request = unsent;
                    last = Some((failure, server));
                    tried.push(index);
                }
                Err(failed) => return Err(failed),
            }
        }
    }

    /// A stream to a server, to the next if that can't be reached. It begins with a header of the
    /// PROXY protocol where that is configured: `client`, and `local`, which the client reached.
    pub(in crate::edge) async fn open(
        self: &Arc<Self>,
        client: Validated,
        local: Option<SocketAddr>,
    ) -> Result<Stream, ConnectError> {
        let mut tried = Vec::new();
        let mut last = None;
        loop {
            let (index, lease) = match self.place(client, &tried).await {
                Ok(place) => place,
                Err(none) => return Err(last.unwrap_or(ConnectError::NoPlace(none))),
            };
            self.set.servers[index].state.requests.fetch_add(1, Relaxed);
            match self.open_on(index, lease, client, local).await {
                Ok(stream) => {
                    self.set.answered(index);
                    return Ok(stream);
                }
                Err(error) => {
                    if !error.is_shortage() {
                        self.set.failed(index, &error);
                    }
                    last = Some(error);
                    tried.push(index);
                }
            }
        }
    }

    async fn open_on(
        &self,
        index: usize,
        lease: Lease,
        client: Validated,
        local: Option<SocketAddr>,
    ) -> Result<Stream, ConnectError> {
        let (server, timeouts) = (&self.set.servers[index], &self.set.settings.timeouts);
        let mut io = connect(server, timeouts.connect).await?;
        if self.set.settings.proxy_protocol {
            // A new connection's buffers take it at once.
            let written = timeout(timeouts.connect, io.write_all(&proxy_protocol::header(client, local))).await;
            let name = || server.state.name.clone();
            match written {
                Ok(Ok(())) => {}
                Ok(Err(source)) => return Err(ConnectError::Failed { server: name(), source }),
                Err(_elapsed) => return Err(ConnectError::TimedOut { server: name(), limit: timeouts.connect }),
            }
        }
        Ok(Stream::new(io, lease))
    }

    /// A server and a place on it, if need be after a wait. None of `tried`.
    pub(super) async fn place(&self, client: Validated, tried: &[usize]) -> Result<(usize, Lease), NoPlace> {
        let only = match self.pick(client, tried) {
            Picked::Place(index, lease) => return Ok((index, lease)),
            Picked::Nobody => return Err(NoPlace::AllDown),
            Picked::Busy(only) => only,
        };
        let prefix = client.prefix(&self.set.limits);
        let wanted = Wanted { set: self.set.clone(), client: prefix, only, not: tried.to_vec() };
        let entered = self.set.queue.enter(wanted, || match self.pick(client, tried) {
            Picked::Place(index, lease) => Some((index, lease)),
            Picked::Nobody | Picked::Busy(_) => None,
        });
        match entered {
            Entered::AtOnce(place) => Ok(place),
            Entered::Full => Err(NoPlace::QueueFull),
            Entered::Waiting(ticket) => {
                let limit = self.set.settings.timeouts.queue;
                let lease = timeout(limit, ticket.given()).await.ok().flatten();
                let place = lease.and_then(|lease| Some((self.set.position(lease.state()?)?, lease)));
                place.ok_or(NoPlace::QueueTimedOut(limit))
            }
        }
    }

    /// A client of `source_hash` waits for its own server; for others any with room will do.
    fn pick(&self, client: Validated, tried: &[usize]) -> Picked {
        let (set, now) = (&*self.set, clock::now());
        let standing = set.standing(now);
        let most = set.settings.max_connections;
        let prefix = client.prefix(&set.limits);
        let keeps_to_one = set.settings.balance == Balance::SourceHash;
        let usable = |index: usize| !tried.contains(&index) && set.admits(index, standing, now);
        if standing == Standing::Down || !(0..set.servers.len()).any(usable) {
            return Picked::Nobody;
        }
        if !keeps_to_one && !set.lets(prefix, || set.free(standing, now)) {
            return Picked::Busy(None);
        }
        let has_room = |index: usize| keeps_to_one || set.servers[index].state.in_flight() < most;
        // Another worker may be faster; then there is another choice, until there is no room.
        loop {
            let candidate = |index| (usable(index) && has_room(index)).then(|| set.candidate(index, now));
            let Some(index) = self.chooser.choose(client, candidate) else { return Picked::Busy(None) };
            let free = || most.saturating_sub(set.servers[index].state.in_flight());
            let place = if keeps_to_one && !set.lets(prefix, free) { None } else { set.acquire(index, prefix) };
            match place {
                Some(lease) => return Picked::Place(index, lease),
                None if keeps_to_one => return Picked::Busy(Some(index)),
                None => {}
            }
        }
    }
}

/// Whether a request that a server may have seen may go to another.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Elsewhere {
    Once,
    NoMore,
}

enum Picked {
    Place(usize, Lease),
    /// There is no room: on this server, or on any.
    Busy(Option<usize>),
    /// Nobody who may be asked.
    Nobody,
}

impl<B: Forwarded> Member<B> {
    /// One exchange with this server. A failure gives the request back only if it may go to
    /// another server.
    async fn exchange(
        self: &Arc<Self>,
        mut request: Request<B>,
        head: &mut Head,
        lease: Lease,
        elsewhere: &mut Elsewhere,
    ) -> Result<Exchanged<B>, Failed<B>> {
        let (server, timeouts) = (self.server(), &self.set.settings.timeouts);
        let name = &server.state.name;
        let mut after = None;
        loop {
            let Taken { mut connection, number, reused } = match self.connection(after).await {
                Ok(taken) => taken,
                Err(error) => return Err(self.failed(error.into(), Some(request))),
            };
            head.fit(&mut request, self, connection.is_http2());
            let here = reused && after.is_none();
            let spare = if here || *elsewhere == Elsewhere::Once { spare(&request) } else { None };
            server.state.requests.fetch_add(1, Relaxed);
            let (failure, unsent) = match ask(&mut connection, request, timeouts.response).await {
                Ok((response, broke)) => {
                    let good = self.judge(response.status());
                    let held = Held { member: self.clone(), connection, lease, broke, good };
                    let response = response.map(|incoming| ResponseBody::new(incoming, timeouts.idle, held));
                    return Ok(Exchanged { response, server: name.clone() });
                }
                Err(unanswered) => unanswered,
            };
            if matches!(failure, Failure::TimedOut(_) | Failure::RequestLate(_)) {
                connection.retire();
            }
            // Once: it is then on a newer connection, or another server's affair.
            let spare = spare.filter(|_| failure.may_be_stale());
            let again = match (unsent, spare) {
                (Some(unsent), _) if after.is_none() => unsent,
                (None, Some(spare)) if here => spare,
                (None, Some(spare)) => {
                    *elsewhere = Elsewhere::NoMore;
                    return Err(self.failed(failure, Some(spare)));
                }
                (unsent, _) => return Err(self.failed(failure, unsent)),
            };
            debug!(server = %name, %failure, "once more on a newer connection");
            request = again;
            after = Some(number);
        }
    }

    fn failed(&self, failure: Failure<B::Error>, request: Option<Request<B>>) -> Failed<B> {
        if failure.speaks_for_the_server() {
            self.set.failed(self.index, &failure);
        }
        Failed { failure, request, server: Some(self.server().state.name.clone()) }
    }

    /// Whether an answer speaks for the server: any but those that the configuration counts as failures.
    fn judge(&self, status: StatusCode) -> bool {
        let failures = self.set.settings.ejection.and_then(|ejection| ejection.status);
        let bad = failures.is_some_and(|[first, last]| (first..=last).contains(&status.as_u16()));
        if bad {
            self.set.failed(self.index, &format_args!("it answered {status}"));
        }
        !bad
    }
}

/// The same request once more, if that does no harm.
fn spare<B: Forwarded>(request: &Request<B>) -> Option<Request<B>> {
    let body = if request.method().is_idempotent() { request.body().again()? } else { return None };
    let mut spare = Request::new(body);
    *spare.method_mut() = request.method().clone();
    *spare.uri_mut() = request.uri().clone();
    *spare.version_mut() = request.version();
    *spare.headers_mut() = request.headers().clone();
    *spare.extensions_mut() = request.extensions().clone();
    Some(spare)
}

type Unanswered<B> = (Failure<<B as http_body::Body>::Error>, Option<Request<B>>);

/// Sends a request. Without a response it gives the request back if no octet of it was sent.
async fn ask<B: Forwarded>(
    connection: &mut Connection<B>,
    request: Request<B>,
    limit: Duration,
) -> Result<(Response<Incoming>, Broke<B::Error>), Unanswered<B>> {
    let sent = request.body().progress();
    let mut seen = sent();
    let (head, body) = request.into_parts();
    let (body, broke) = Outgoing::new(body);
    let request = Request::from_parts(head, body);
    let mut answered = pin!(match connection {
        Connection::Http1(sender) => Either::Left(sender.try_send_request(request)),
        Connection::Http2(sender, _) => Either::Right(sender.try_send_request(request)),
    });
    let mut looks = 0;
    loop {
        match timeout(limit / LOOKS, &mut answered).await {
            Ok(Ok(response)) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                return Err((Failure::Switched, None));
            }
            Ok(Ok(response)) if is_coded(&response) => return Err((Failure::Coded, None)),
            Ok(Ok(response)) if fields_size(&response) > FIELDS_MAX as usize => return Err((Failure::TooLarge, None)),
            Ok(Ok(response)) => return Ok((response, broke)),
            Ok(Err(mut error)) => {
                let unsent = error.take_message().map(|request| request.map(|outgoing| outgoing.body));
                let failure = broke.take().map_or_else(|| Failure::Broken(error.into_error()), Failure::Request);
                return Err((failure, unsent));
            }
            Err(_elapsed) if sent() > seen => (seen, looks) = (sent(), 0),
            Err(_elapsed) => {
                looks += 1;
                if looks == LOOKS {
                    let client = broke.waits_for_the_client();
                    return Err((if client { Failure::RequestLate(limit) } else { Failure::TimedOut(limit) }, None));
                }
            }
        }
    }
}

/// Whether the content is in a coding that is between two neighbours, and would be taken for the
/// content itself behind us.
fn is_coded(response: &Response<Incoming>) -> bool {
    let codings = response.headers().get_all(header::TRANSFER_ENCODING);
    codings.iter().any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
}

/// Octets of a response's field section. hyper's own limit over HTTP/1.1 is of what has come while the
/// head is not whole: one that comes in a single read may be larger.
fn fields_size(response: &Response<Incoming>) -> usize {
    response.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum()
}
