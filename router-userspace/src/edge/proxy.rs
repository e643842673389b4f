//! A request to an HTTP/1.1 server and its response back, both bodies streamed: each side is read
//! only as fast as the other takes it.
//!
//! Until the response's head is there, whatever goes wrong is answered (502, 504); after that a
//! response that breaks off is a reset stream, never a short but clean one.

use std::{error::Error as _, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use h3::error::Code;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::timeout;
use tracing::debug;

use super::{
    body::{BodyError, RequestBody},
    headers,
    pool::{self, HttpConnection},
    reply::{Reply, ReplyError},
    upstream::{ConnectError, Lease, Upstream},
};

/// How long a server may take to begin its response, counted from the last octet of the request.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a connection may take to be ready for another request after its response. It takes
/// long only if the server answered without reading the request.
const READY_TIMEOUT: Duration = Duration::from_secs(1);

/// Sends `request` to a server of `upstream`, and what it answers to the client at `peer`.
pub(super) async fn forward(
    upstream: &Arc<Upstream>,
    mut request: Request<RequestBody>,
    mut reply: Reply,
    peer: SocketAddr,
) -> Result<(), ReplyError> {
    let method = request.method().clone();
    if let Err(error) = request.body_mut().peek(&method).await {
        reply.abort(error.code());
        return Err(error.into());
    }
    if headers::expects_continue(request.headers()) {
        let mut interim = Response::new(());
        *interim.status_mut() = StatusCode::CONTINUE;
        reply.head(interim).await?;
    }
    match exchange(upstream, headers::to_upstream(request, peer)).await {
        Ok(exchanged) => relay(exchanged, reply).await,
        Err(Failed { failure, request }) => {
            debug!(%failure, "no response from upstream");
            let Some((status, sentence)) = failure.answer() else {
                reply.abort(failure.code());
                return Ok(());
            };
            reply.text(status, sentence).await?;
            if let Some(request) = request {
                request.into_body().discard().await;
            }
            Ok(())
        }
    }
}

/// A response whose body is still to come, the connection it comes on, and that it counts.
struct Exchanged {
    response: Response<Incoming>,
    connection: HttpConnection,
    lease: Lease,
}

/// No response, and the request if it was not used up.
struct Failed {
    failure: Failure,
    request: Option<Request<RequestBody>>,
}

/// Sends the request to the chosen server, to the next ones if that can't be reached. What an
/// idle connection did not take or broke off before the response is sent once more on a new one,
/// if nothing can be done twice by that: the server may have closed it just as we wrote.
async fn exchange(upstream: &Arc<Upstream>, mut request: Request<RequestBody>) -> Result<Exchanged, Failed> {
    let mut unreachable = None;
    for lease in upstream.choose() {
        if let Some(mut connection) = lease.idle.take() {
            let (head, body) = request.into_parts();
            let spare = head.method.is_idempotent().then(|| body.again()).flatten();
            let spare = spare.map(|body| Request::from_parts(head.clone(), body));
            match send(&mut connection, Request::from_parts(head, body)).await {
                Ok(response) => return Ok(Exchanged { response, connection, lease }),
                Err(failed) if !failed.failure.may_be_stale() => return Err(failed),
                Err(failed) => match failed.request.or(spare) {
                    Some(again) => request = again,
                    None => return Err(Failed { failure: failed.failure, request: None }),
                },
            }
        }
        let stream = match lease.connect().await {
            Ok(stream) => stream,
            Err(error) => {
                unreachable = Some(error);
                continue;
            }
        };
        let mut connection = match pool::open(stream).await {
            Ok(connection) => connection,
            Err(error) => return Err(Failed { failure: Failure::Broken(error), request: Some(request) }),
        };
        let response = send(&mut connection, request).await?;
        return Ok(Exchanged { response, connection, lease });
    }
    let error = unreachable.expect("an upstream of a Config has a server");
    Err(Failed { failure: error.into(), request: Some(request) })
}

async fn send(connection: &mut HttpConnection, request: Request<RequestBody>) -> Result<Response<Incoming>, Failed> {
    let sent = request.body().progress();
    let mut seen = sent();
    let mut answered = pin!(connection.try_send_request(request));
    loop {
        match timeout(RESPONSE_TIMEOUT, &mut answered).await {
            Ok(Ok(response)) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                return Err(Failed { failure: Failure::Switched, request: None });
            }
            Ok(Ok(response)) => return Ok(response),
            Ok(Err(mut error)) => {
                let request = error.take_message();
                return Err(Failed { failure: Failure::Broken(error.into_error()), request });
            }
            Err(_elapsed) if sent() > seen => seen = sent(),
            Err(_elapsed) => return Err(Failed { failure: Failure::TimedOut, request: None }),
        }
    }
}

async fn relay(exchanged: Exchanged, mut reply: Reply) -> Result<(), ReplyError> {
    let Exchanged { response, mut connection, lease } = exchanged;
    let (head, mut body) = response.into_parts();
    reply.head(headers::from_upstream(head)).await?;
    while let Some(frame) = body.frame().await {
        match frame.map_err(ReplyError::Upstream)?.into_data() {
            Ok(data) => reply.data(data).await?,
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    reply.trailers(trailers).await?;
                }
            }
        }
    }
    reply.finish().await?;
    if let Ok(Ok(())) = timeout(READY_TIMEOUT, connection.ready()).await {
        lease.idle.put(connection);
    }
    Ok(())
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("the exchange broke off: {}", with_source(.0))]
    Broken(hyper::Error),
    #[error("nothing came in {} s", RESPONSE_TIMEOUT.as_secs())]
    TimedOut,
    #[error("the server switched protocols, unasked")]
    Switched,
}

impl Failure {
    /// What the client is told; nothing if its own request broke off.
    fn answer(&self) -> Option<(StatusCode, &'static str)> {
        match self {
            Self::TimedOut | Self::Connect(ConnectError::TimedOut { .. }) => {
                Some((StatusCode::GATEWAY_TIMEOUT, "the server behind this one did not answer in time"))
            }
            Self::Connect(ConnectError::Failed { .. }) => {
                Some((StatusCode::BAD_GATEWAY, "the server behind this one cannot be reached"))
            }
            Self::Broken(error) if request_broke(error).is_some() => None,
            Self::Broken(_) | Self::Switched => {
                Some((StatusCode::BAD_GATEWAY, "the server behind this one gave no proper answer"))
            }
        }
    }

    /// The code of the reset where there is no answer.
    fn code(&self) -> Code {
        match self {
            Self::Broken(error) => request_broke(error).map_or(Code::H3_INTERNAL_ERROR, BodyError::code),
            Self::Connect(_) | Self::TimedOut | Self::Switched => Code::H3_INTERNAL_ERROR,
        }
    }

    /// The connection may have been closed before the server saw the request.
    fn may_be_stale(&self) -> bool {
        matches!(self, Self::Broken(error) if !error.is_parse() && request_broke(error).is_none())
    }
}

/// The client's part in an exchange that broke off.
fn request_broke(error: &hyper::Error) -> Option<&BodyError> {
    error.source().and_then(|source| source.downcast_ref())
}

fn with_source(error: &hyper::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
