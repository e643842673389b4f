//! A request to one of the servers and the head of its response.
//!
//! Whether a request that is not answered is sent again, and where to, `retry` decides.

use std::sync::Arc;

use http::{Request, Response, request};
use tracing::debug;

use super::{
    clients::Upstream,
    connect::ConnectError,
    failure::{Failure, Left, Unanswered},
    head::root,
    http1::exchange::RequestHead,
    http2,
    pool::{Connection, Taken},
    pooled_server::PooledServer,
    queue::RequestPermit,
    request_body::{Forwarded, Outgoing},
    response_body::{Held, Incoming, ResponseBody},
    retry::{self, Attempt, Retry},
};
use crate::{
    address::Validated,
    edge::http::{body::RequestBody, interim::Interim},
};

/// A response whose body is still to come, and the server (as the configuration writes it) that
/// it comes from.
pub(in crate::edge) struct Exchanged<B: Forwarded = RequestBody> {
    pub(in crate::edge) response: Response<ResponseBody<B>>,
    pub(in crate::edge) server: Arc<str>,
}

/// No response; the request's body if it was not used up; the last server that was tried.
pub(in crate::edge) struct Failed<B: Forwarded = RequestBody> {
    pub(in crate::edge) failure: Failure<B::Error>,
    pub(in crate::edge) body: Option<B>,
    pub(in crate::edge) server: Option<Arc<str>>,
}

/// A request but for its body, on its way to one server after another.
struct Outbound<'r> {
    head: &'r request::Parts,
    /// Where interim responses go, if anywhere.
    interim: Option<&'r Interim>,
    /// It has left a server that may have seen it.
    has_left_in_doubt: bool,
}

impl<B: Forwarded> Upstream<B> {
    /// Sends `request` of the client at `client` to a server, to the next if that can't be
    /// reached, and gives the response when its head is there. What an HTTP/1.1 server says
    /// before it goes to `interim`.
    ///
    /// The head is as an HTTP/1.1 server expects it: a path for a target, `Host` as the client
    /// said it, no fields that are about a connection but `Connection: te`. It is written as
    /// the server's protocol and the upstream's `host` want it.
    ///
    /// # Errors
    ///
    /// There is no response, and the request may not be sent again, or there is no other server to send it to.
    pub(in crate::edge) async fn send(
        self: &Arc<Self>,
        request: Request<B>,
        client: Validated,
        interim: Option<&Interim>,
    ) -> Result<Exchanged<B>, Failed<B>> {
        let (head, mut body) = request.into_parts();
        let mut outbound = Outbound { head: &head, interim, has_left_in_doubt: false };
        let mut tried = Vec::new();
        let mut last = None;
        loop {
            let (index, permit) = match self.place(client, &tried).await {
                Ok(place) => place,
                Err(none) => {
                    let (failure, server) = last.unwrap_or((ConnectError::NoPlace(none).into(), None));
                    return Err(Failed { failure, body: Some(body), server });
                }
            };
            match self.pooled(index).exchange(&mut outbound, body, permit).await {
                Ok(exchanged) => return Ok(exchanged),
                Err(Failed { failure, body: Some(again), server }) => {
                    debug!(%failure, "a server did not take a request");
                    body = again;
                    last = Some((failure, server));
                    tried.push(index);
                }
                Err(failed) => return Err(failed),
            }
        }
    }
}

impl<B: Forwarded> PooledServer<B> {
    /// One exchange with this server. A failure gives the body back only if the request may go to
    /// another server.
    async fn exchange(
        self: &Arc<Self>,
        request: &mut Outbound<'_>,
        mut body: B,
        permit: RequestPermit,
    ) -> Result<Exchanged<B>, Failed<B>> {
        let mut newer_than = None;
        loop {
            let (age, number, unanswered) = match self.connection(newer_than).await {
                Ok(Taken { connection, number, age }) => {
                    self.server().count_request();
                    match self.ask(connection, request, body).await {
                        Ok(response) => return Ok(self.exchanged(response, permit)),
                        Err(unanswered) => (Some(age), Some(number), unanswered),
                    }
                }
                Err(error) => (None, None, Unanswered { failure: error.into(), left: Left::Unsent(body) }),
            };
            let attempt = Attempt {
                is_idempotent: request.head.method.is_idempotent(),
                connection: age,
                is_first: newer_than.is_none(),
                has_left_in_doubt: request.has_left_in_doubt,
            };
            let next = retry::next(&attempt, &unanswered);
            let Unanswered { failure, left } = unanswered;
            match (next, left.into_body()) {
                (Retry::SameServer, Some(again)) => {
                    debug!(server = %self.server().name(), %failure, "once more on a newer connection");
                    (body, newer_than) = (again, number);
                }
                (Retry::OtherServer { in_doubt }, Some(again)) => {
                    request.has_left_in_doubt |= in_doubt;
                    return Err(self.failed(failure, Some(again)));
                }
                (Retry::SameServer | Retry::OtherServer { .. }, None) | (Retry::Never, _) => {
                    return Err(self.failed(failure, None));
                }
            }
        }
    }

    /// Sends the request on a connection.
    async fn ask(
        &self,
        connection: Connection<B>,
        request: &Outbound<'_>,
        body: B,
    ) -> Result<Response<Incoming<B>>, Unanswered<B, B::Error>> {
        let (head, limit) = (request.head, self.settings().timeouts.response);
        match connection {
            Connection::Http1(connection) => {
                let root = root();
                let line = self.line(head, &root);
                let asked = RequestHead { line, fields: &head.headers, interim: request.interim, limit };
                Ok(connection.ask(&asked, body).await?.map(Incoming::Http1))
            }
            Connection::Http2(mut sender, in_use) => {
                let (body, broke) = Outgoing::new(body);
                // In a box, as it is twice what a request by HTTP/1.1 takes.
                let answered = http2::ask(&mut sender, self.http2_request(head, body), &broke, limit);
                let answered = Box::pin(answered).await;
                let connection = Connection::Http2(sender, in_use);
                match answered {
                    Ok(response) => {
                        let incoming = |body| Incoming::Http2 { body, connection: Some(connection), broke };
                        Ok(response.map(incoming))
                    }
                    Err(unanswered) => {
                        if unanswered.failure.is_late() {
                            connection.retire();
                        }
                        Err(unanswered)
                    }
                }
            }
        }
    }

    fn exchanged(self: &Arc<Self>, response: Response<Incoming<B>>, permit: RequestPermit) -> Exchanged<B> {
        let good = self.server().judge(response.status());
        let held = Held { pooled: self.clone(), permit, good };
        let idle = self.settings().timeouts.idle;
        let response = response.map(|incoming| ResponseBody::new(incoming, idle, held));
        Exchanged { response, server: self.server().name().clone() }
    }

    fn failed(&self, failure: Failure<B::Error>, body: Option<B>) -> Failed<B> {
        if failure.speaks_for_the_server() {
            self.server().failed(&failure);
        }
        Failed { failure, body, server: Some(self.server().name().clone()) }
    }
}
