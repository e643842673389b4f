//! The server's side of HTTP/3 (RFC 9114) with QPACK (RFC 9204), without input and output: octets of streams in,
//! events and octets out. There is no clock here, no task, and nothing that panics on what a peer sends.
//!
//! A caller gives each unidirectional stream of a client a [`UnidirectionalStream`], each request stream a
//! [`RequestStream`], and what it reads from them to `receive`, in whatever pieces it comes. Every limit is the
//! caller's and holds as octets arrive; every error has its RFC section and code ([`Violation`]). What is sent is
//! written by [`write_head`], [`data_header`], [`write_trailers`], [`write_goaway`] and
//! [`Settings::write_control_stream`].
//!
//! A request's path through the crate: `frame` (headers of frames) → `request_stream` (what may come when) →
//! `qpack::decoder` (lines of a field section) → `fields` (decoded, within limits) → `head` (which fields make a
//! request).

#![forbid(unsafe_code)]

mod code;
mod control;
mod fields;
mod frame;
mod head;
mod priority;
mod qpack;
mod request_stream;
mod response;
mod settings;
mod structured;
#[cfg(test)]
mod tests;
mod unidirectional;
mod varint;
mod work;

pub use self::{
    code::{Code, Violation},
    control::{CONTROL_FRAME_MAX, ControlEvent},
    fields::MessageLimits,
    frame::{DataHeader, data_header, write_goaway},
    head::RequestHead,
    priority::Priority,
    request_stream::{RequestError, RequestEvent, RequestStream},
    response::{encoded_head, write_head, write_trailers},
    settings::Settings,
    unidirectional::{CriticalStreams, Progress, UnidirectionalStream},
};
