//! Requests and responses, whatever version of HTTP they come by.

pub(super) mod body;
pub(super) mod gather;
pub(super) mod handler;
pub(super) mod headers;
pub(super) mod interim;
pub(super) mod names;
pub(super) mod page;
pub(super) mod proxy;
pub(super) mod read_meter;
pub(super) mod request;
pub(super) mod request_context;
pub(super) mod response;
