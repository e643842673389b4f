//! Asks the agent behind a control socket: one connection a request.

use std::{io, path::Path};

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{net::UnixStream, task::spawn_local};

use super::protocol::Request;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    /// The request cannot be written as JSON: a path that is not UTF-8.
    #[error("the request: {0}")]
    Request(serde_json::Error),
    /// Nothing listens on the socket, or it may not be opened.
    #[error(transparent)]
    Connect(io::Error),
    /// What answers does not speak HTTP/1.1, or ends too early.
    #[error(transparent)]
    Http(hyper::Error),
}

/// Asks `request` of the agent at `socket`, and waits for its answer as long as it takes; to be called in a
/// [`LocalSet`](tokio::task::LocalSet).
///
/// # Errors
///
/// There is no answer. What the agent refuses is an answer.
pub(crate) async fn exchange(socket: &Path, request: &Request) -> Result<(StatusCode, Bytes), ExchangeError> {
    let request = request.to_http().map_err(ExchangeError::Request)?;
    let stream = UnixStream::connect(socket).await.map_err(ExchangeError::Connect)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(ExchangeError::Http)?;
    // Ends with the runtime's next turn after `sender` is dropped; its errors reach `sender`.
    spawn_local(connection);
    let (head, body) = sender.send_request(request.map(Full::new)).await.map_err(ExchangeError::Http)?.into_parts();
    let body = body.collect().await.map_err(ExchangeError::Http)?;
    Ok((head.status, body.to_bytes()))
}
