//! A request on its way to a server, and the server's response on its way back, both bodies
//! streamed: each side is read only as fast as the other takes it.
//!
//! Until the response's head is there, whatever goes wrong is answered (502, 503, 504); after that
//! a response that breaks off is never a short but clean one.

use std::{mem, sync::Arc};

use http::{HeaderMap, Request, Response, StatusCode};
use tracing::debug;

use super::{
    body::{BodyError, RequestBody},
    gather::{gather, may_gain},
    headers,
    request_context::RequestContext,
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
    request: &mut Request<RequestBody>,
    asked: &RequestContext<'_>,
    entry: &mut RequestRecord,
) -> Result<Response<ResponseBody>, Unanswered> {
    let method = request.method().clone();
    request.body_mut().peek(&method).await?;
    // The server's own word would come too late: its connection sends bodies unasked.
    if let Some(interim) = asked.interim
        && headers::expects_continue(request.headers())
    {
        interim.send(StatusCode::CONTINUE, HeaderMap::new());
    }
    headers::prepare_for_upstream(request, asked.client);
    entry.trace.apply(request.headers_mut());
    let request = mem::replace(request, Request::new(RequestBody::nothing(Arc::clone(request.body().meter()))));
    let Exchanged { response, server } = match upstream.send(request, asked.client.address, asked.interim).await {
        Ok(exchanged) => exchanged,
        Err(failed) => return failed_answer(failed, entry),
    };
    entry.server = Some(server);
    let (head, mut body) = response.into_parts();
    let body = match body.take_whole() {
        // As short responses are.
        Some(whole) => whole.into(),
        // In a box: it waits, and then there is time.
        None if may_gain(&body) => match Box::pin(gather(body, &asked.serving.memory)).await {
            Ok(gathered) => gathered.into(),
            Err(body) => body.into(),
        },
        None => body.into(),
    };
    Ok(headers::from_upstream(head).map(|()| body))
}

/// What the client is told where there is no response.
fn failed_answer(failed: Failed, entry: &mut RequestRecord) -> Result<Response<ResponseBody>, Unanswered> {
    let Failed { failure, server, .. } = failed;
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
