//! HTTP/1.1 towards servers, in the request's own task: no task and no channel per connection. What the octets mean is
//! [`router_http1`]'s; here they are moved.
//!
//! `exchange` writes a request and reads the head of its response, `upload` is the request's content on its way,
//! `content` the response's. Both directions go on at once: a server may answer before it has the request, and its
//! answer counts even if it takes no more.

mod connection;
mod content;
mod exchange;
mod upload;

use std::io;

use router_http1::{EncodeError, Violation};

pub(super) use self::{
    connection::Connection,
    content::{Content, ContentError, Kept},
    exchange::{Asked, Left, Unanswered},
};

/// What broke an exchange.
#[derive(Debug, thiserror::Error)]
pub(in crate::edge) enum Error {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the server closed the connection before its response")]
    Closed,
    #[error("the response is malformed: {0}")]
    Malformed(#[from] Violation),
    #[error("the request's content is not as long as its Content-Length")]
    Length(EncodeError),
}
