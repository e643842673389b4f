//! HTTP/2 towards servers: a request and the head of its response, by hyper.

use std::{pin::pin, time::Duration};

use http::{Request, Response, StatusCode, header};
use hyper::{body::Incoming, client::conn::http2::SendRequest};
use tokio::time::timeout;

use super::{
    failure::{ExchangeError, Failure, Left, Unanswered},
    limits::{FIELDS_MAX, PROGRESS_CHECKS},
    request_body::{Broke, Forwarded, Outgoing},
};

/// Sends a request on a connection, and waits for the head of its response. `broke` is of the request's body; for
/// `limit` nothing may come of the response and nothing go of the request.
pub(super) async fn ask<B: Forwarded>(
    sender: &mut SendRequest<Outgoing<B>>,
    request: Request<Outgoing<B>>,
    broke: &Broke<B::Error>,
    limit: Duration,
) -> Result<Response<Incoming>, Unanswered<B, B::Error>> {
    let (sent, spare) = (request.body().body.progress(), request.body().body.again());
    let mut seen = sent();
    let mut answered = pin!(sender.try_send_request(request));
    let mut looks = 0;
    loop {
        let failure = match timeout(limit / PROGRESS_CHECKS, &mut answered).await {
            Ok(Ok(response)) => match objection(&response) {
                None => return Ok(response),
                Some(failure) => failure,
            },
            Ok(Err(mut error)) => {
                let unsent = error.take_message().map(|request| request.into_body().body);
                let why = |error| Failure::Broken(ExchangeError::Http2(error));
                let failure = broke.take().map_or_else(|| why(error.into_error()), Failure::Request);
                let left = unsent.map(Left::Unsent).or_else(|| spare.map(Left::Unheard));
                return Err(Unanswered { failure, left: left.unwrap_or(Left::Nothing) });
            }
            Err(_elapsed) if sent() > seen => {
                (seen, looks) = (sent(), 0);
                continue;
            }
            Err(_elapsed) if looks + 1 < PROGRESS_CHECKS => {
                looks += 1;
                continue;
            }
            Err(_elapsed) if broke.waits_for_the_client() => Failure::RequestLate(limit),
            Err(_elapsed) => Failure::TimedOut(limit),
        };
        return Err(Unanswered { failure, left: Left::Nothing });
    }
}

/// Why a response is none that may be passed on.
fn objection<E>(response: &Response<Incoming>) -> Option<Failure<E>> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        Some(Failure::Switched)
    } else if response.headers().contains_key(header::TRANSFER_ENCODING) {
        Some(Failure::Coded)
    } else if fields_size(response) > FIELDS_MAX as usize {
        Some(Failure::TooLarge)
    } else {
        None
    }
}

/// Octets of a response's field section, as RFC 9113 section 6.5.2 counts them.
fn fields_size(response: &Response<Incoming>) -> usize {
    response.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum()
}
