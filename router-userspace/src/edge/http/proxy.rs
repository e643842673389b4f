//! A request on its way to a server, and the server's response on its way back, both bodies
//! streamed: each side is read only as fast as the other takes it.
//!
//! Until the response's head is there, whatever goes wrong is answered (502, 503, 504); after that
//! a response that breaks off is never a short but clean one.

use std::sync::Arc;

use http::{HeaderMap, Request, Response, StatusCode};
use tracing::debug;

use super::{
    body::{BodyError, RequestBody},
    gather::gather,
    handler::RequestContext,
    headers,
    response::{self, ResponseBody, Unanswered},
};
use crate::{
    edge::{
        access::RequestRecord,
        upstream::{Exchanged, Failed, Upstream},
    },
    telemetry::Outcome,
};

/// Where nothing better is known.
const NO_ANSWER: (StatusCode, &str) = (StatusCode::BAD_GATEWAY, "the server behind this one gave no answer");

/// Where the client did not send all of its request.
const BODY_LATE: &str = "the request's body did not come in time";

/// Sends `request` to a server of `upstream`, and gives what that answers.
pub(in crate::edge) async fn forward(
    upstream: &Arc<Upstream>,
    mut request: Request<RequestBody>,
    asked: &RequestContext,
    entry: &mut RequestRecord,
) -> Result<Response<ResponseBody>, Unanswered> {
    let method = request.method().clone();
    request.body_mut().peek(&method).await?;
    if let Some(interim) = &asked.interim {
        // The server's own word would come too late: its connection sends bodies unasked.
        if headers::expects_continue(request.headers()) {
            interim.send(StatusCode::CONTINUE, HeaderMap::new());
        }
    }
    let mut request = headers::to_upstream(request, &asked.client);
    entry.trace.apply(request.headers_mut());
    match upstream.send(request, asked.client.address, asked.interim.as_ref()).await {
        Ok(Exchanged { response, server }) => {
            entry.server = Some(server);
            let (head, body) = response.into_parts();
            let body = match gather(body, &asked.memory).await {
                Ok(gathered) => gathered.into(),
                Err(body) => body.into(),
            };
            Ok(headers::from_upstream(head).map(|()| body))
        }
        Err(Failed { failure, server, .. }) => {
            entry.server = server;
            debug!(%failure, "no response from upstream");
            if let Some(BodyError::Late) = failure.request_broke() {
                entry.ends(Outcome::TimedOut);
                return Ok(response::sentence(StatusCode::REQUEST_TIMEOUT, BODY_LATE));
            }
            if let Some(error) = failure.request_broke() {
                return Err(Unanswered::because_of(error));
            }
            let (status, sentence) = failure.answer().unwrap_or(NO_ANSWER);
            let timed_out = status == StatusCode::GATEWAY_TIMEOUT;
            entry.ends(if timed_out { Outcome::TimedOut } else { Outcome::UpstreamBroke });
            Ok(response::sentence(status, sentence))
        }
    }
}
