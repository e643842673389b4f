//! Why there is no response, what the client is told of it, and what is left of the request.

use std::{error::Error as _, io, time::Duration};

use http::StatusCode;
use router_http1::{EncodeError, Violation};

use super::{
    connect::{ConnectError, NoPlace},
    limits::FIELDS_MAX,
};
use crate::edge::http::body::BodyError;

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub(in crate::edge) enum Failure<E = BodyError> {
    /// No server took it.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The server, or the way to it.
    #[error("the exchange broke off: {0}")]
    Broken(ExchangeError),
    /// `timeouts.response`
    #[error("no response came in {0:?}")]
    TimedOut(Duration),
    /// `timeouts.response`, while nothing more came of the request's body.
    #[error("nothing of the request's body came in {0:?}")]
    RequestLate(Duration),
    /// 101 without a request to do so.
    #[error("the server switched protocols, unasked")]
    Switched,
    /// RFC 9112 section 7: no request of ours said that we understand it.
    #[error("the response has a transfer coding other than chunked")]
    Coded,
    /// More than any client here is made to take.
    #[error("the response's header fields are larger than {FIELDS_MAX} octets")]
    TooLarge,
    /// The client's own part broke off.
    #[error("the request's body broke off")]
    Request(E),
}

/// What broke an exchange, by what was spoken.
#[derive(Debug, thiserror::Error)]
pub(in crate::edge) enum ExchangeError {
    #[error(transparent)]
    Http1(#[from] Http1Error),
    #[error("{}", with_source(.0))]
    Http2(#[from] hyper::Error),
}

/// What broke an exchange over HTTP/1.1.
#[derive(Debug, thiserror::Error)]
pub(in crate::edge) enum Http1Error {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the server closed the connection before its response")]
    Closed,
    #[error("the response is malformed: {0}")]
    Malformed(#[from] Violation),
    #[error("the request's content is not as long as its Content-Length")]
    Length(EncodeError),
}

/// No response, and what is left of the request.
pub(super) struct Unanswered<B, E> {
    pub(super) failure: Failure<E>,
    pub(super) left: Left<B>,
}

/// What is left of a request that was not answered, with its body where it may be sent again.
pub(super) enum Left<B> {
    /// No octet of it was sent.
    Unsent(B),
    /// The server may have seen it, and said nothing. There is no content.
    Unheard(B),
    /// It must not be sent again: some of its content is used up, or the server has begun to answer.
    Nothing,
}

impl<B> Left<B> {
    /// The body, where there is one to be sent again.
    pub(super) fn into_body(self) -> Option<B> {
        match self {
            Self::Unsent(body) | Self::Unheard(body) => Some(body),
            Self::Nothing => None,
        }
    }
}

impl<E> Failure<E> {
    /// What the client is told; nothing if its own request broke off.
    pub(in crate::edge) fn answer(&self) -> Option<(StatusCode, &'static str)> {
        Some(match self {
            Self::Request(_) => return None,
            Self::RequestLate(_) => (StatusCode::REQUEST_TIMEOUT, "the request's body did not come in time"),
            Self::TimedOut(_) | Self::Connect(ConnectError::TimedOut { .. }) => {
                (StatusCode::GATEWAY_TIMEOUT, "the server behind this one did not answer in time")
            }
            Self::Connect(ConnectError::NoPlace(NoPlace::AllDown)) => {
                (StatusCode::SERVICE_UNAVAILABLE, "the servers behind this one are down")
            }
            Self::Connect(
                ConnectError::NoPlace(NoPlace::QueueFull | NoPlace::QueueTimedOut(_)) | ConnectError::Shortage { .. },
            ) => (StatusCode::SERVICE_UNAVAILABLE, "the servers behind this one are busy"),
            Self::Connect(ConnectError::Failed { .. } | ConnectError::Unresolved { .. } | ConnectError::Tls { .. }) => {
                (StatusCode::BAD_GATEWAY, "the server behind this one cannot be reached")
            }
            Self::Broken(_) | Self::Switched | Self::Coded | Self::TooLarge => {
                (StatusCode::BAD_GATEWAY, "the server behind this one gave no proper answer")
            }
        })
    }

    /// The client's part in an exchange that broke off.
    pub(in crate::edge) fn request_broke(&self) -> Option<&E> {
        match self {
            Self::Request(error) => Some(error),
            Self::Connect(_)
            | Self::Broken(_)
            | Self::TimedOut(_)
            | Self::RequestLate(_)
            | Self::Switched
            | Self::Coded
            | Self::TooLarge => None,
        }
    }

    /// Whether it says something about the server.
    pub(super) fn speaks_for_the_server(&self) -> bool {
        match self {
            Self::Request(_) | Self::RequestLate(_) => false,
            Self::Connect(error) => !error.is_shortage(),
            Self::Broken(_) | Self::TimedOut(_) | Self::Switched | Self::Coded | Self::TooLarge => true,
        }
    }

    /// Whether the connection broke, so that it may have been closed before the server saw the request.
    pub(super) fn is_broken_connection(&self) -> bool {
        match self {
            Self::Broken(ExchangeError::Http1(error)) => matches!(error, Http1Error::Io(_) | Http1Error::Closed),
            Self::Broken(ExchangeError::Http2(error)) => !error.is_parse(),
            Self::Connect(_)
            | Self::TimedOut(_)
            | Self::RequestLate(_)
            | Self::Switched
            | Self::Coded
            | Self::TooLarge
            | Self::Request(_) => false,
        }
    }

    /// Whether the exchange stood still for too long.
    pub(super) fn is_late(&self) -> bool {
        matches!(self, Self::TimedOut(_) | Self::RequestLate(_))
    }
}

/// An error with what caused it, which hyper leaves out.
pub(super) fn with_source(error: &hyper::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
