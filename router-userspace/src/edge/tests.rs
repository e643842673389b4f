//! The edge over loopback: a quinn client, the edge on a real endpoint, and upstreams made here.

mod addresses;
mod cancel;
mod http;
mod http3;
pub(super) mod lab;
mod priorities;
mod raw;
mod resumption;
mod sessions;
