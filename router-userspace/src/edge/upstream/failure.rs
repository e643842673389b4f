//! Why there is no response, and what the client is told of it.

use std::{error::Error as _, time::Duration};

use http::StatusCode;

use super::{
    connect::{ConnectError, NoPlace},
    http1,
    pool::FIELDS_MAX,
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
    /// 101 without a question.
    #[error("the server switched protocols, unasked")]
    Switched,
    /// RFC 9112 section 7: nobody said that we understand it.
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
    Http1(#[from] http1::Error),
    #[error("{}", with_source(.0))]
    Http2(#[from] hyper::Error),
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

    /// The connection may have been closed before the server saw the request.
    pub(super) fn may_be_stale(&self) -> bool {
        match self {
            Self::Broken(ExchangeError::Http1(error)) => matches!(error, http1::Error::Io(_) | http1::Error::Closed),
            Self::Broken(ExchangeError::Http2(error)) => !error.is_parse(),
            _ => false,
        }
    }
}

pub(super) fn with_source(error: &hyper::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
