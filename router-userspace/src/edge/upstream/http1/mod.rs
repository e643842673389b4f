//! HTTP/1.1 towards servers, in the request's own task: no task and no channel per connection. What the octets mean is
//! [`router_http1`]'s; here they are moved.
//!
//! `exchange` writes a request and reads the head of its response, `upload` is the request's content on its way,
//! `content` the response's. Both directions go on at once: a server may answer before it has the request, and its
//! answer counts even if it takes no more.

pub(super) mod connection;
pub(super) mod content;
pub(super) mod exchange;
mod upload;
