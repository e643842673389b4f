//! A request on its way to a server, and the server's response on its way back, both bodies
//! streamed: each side is read only as fast as the other takes it.
//!
//! Until the response's head is there, whatever goes wrong is answered (502, 503, 504); after that
//! a response that breaks off is never a short but clean one.

use std::sync::Arc;

use http::{HeaderMap, Request, Response, StatusCode};
use tracing::debug;

use super::{
    answer::Asked,
    body::RequestBody,
    entry::Entry,
    headers,
    response::{self, ResponseBody, Unanswered},
    upstream::{Exchanged, Failed, Upstream},
};
use crate::telemetry::Outcome;

/// Where nothing better is known.
const NO_ANSWER: (StatusCode, &str) = (StatusCode::BAD_GATEWAY, "the server behind this one gave no answer");

/// Sends `request` to a server of `upstream`, and gives what that answers.
pub(super) async fn forward(
    upstream: &Arc<Upstream>,
    mut request: Request<RequestBody>,
    asked: &Asked,
    entry: &mut Entry,
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
            Ok(headers::from_upstream(head).map(|()| body.into()))
        }
        Err(Failed { failure, server, .. }) => {
            entry.server = server;
            debug!(%failure, "no response from upstream");
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
