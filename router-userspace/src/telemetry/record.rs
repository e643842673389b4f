//! What is written down of a request or a raw stream when it has ended.

use std::time::{Duration, SystemTime};

use super::trace::TraceId;
use crate::address::Validated;

/// A request, or a stream of a raw connection, from its beginning to its end.
///
/// It is made when that has ended, and borrows what the request held.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// When it began.
    pub when: SystemTime,
    /// From the first octet of the request to the last of the response, or until it broke off.
    pub duration: Duration,
    /// From its beginning until the response's head was sent; none if there was none.
    pub first_byte: Option<Duration>,
    /// What it came by.
    pub protocol: Protocol,
    /// Where the client was.
    pub peer: Validated,
    /// As the client wrote it; none for a stream.
    pub method: Option<&'a str>,
    /// Host and port that were asked for.
    pub host: Option<&'a str>,
    /// Path and query; none for a stream.
    pub path: Option<&'a str>,
    /// The route's name; none if no route matched.
    pub route: Option<&'a str>,
    /// The upstream's name; none if it went to none.
    pub upstream: Option<&'a str>,
    /// The server that answered, as the configuration writes it.
    pub server: Option<&'a str>,
    /// None if the client went before there was one, and for a stream.
    pub status: Option<u16>,
    /// Octets of the request's content, or from the client.
    pub received: u64,
    /// Octets of the response's content, or to the client.
    pub sent: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// The field of that name.
    pub user_agent: Option<&'a [u8]>,
    /// The field of that name.
    pub referer: Option<&'a [u8]>,
    /// The trace it belongs to.
    pub trace: Option<TraceId>,
    /// What TLS says of the client; none of plain HTTP.
    pub tls: Tls<'a>,
}

/// What TLS says of a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tls<'a> {
    /// The name it asked for (RFC 6066 section 3).
    pub sni: Option<&'a str>,
    /// The request came in 0-RTT and was served before the handshake was complete.
    pub early_data: bool,
    /// The subject of the certificate it has shown.
    pub client_certificate: Option<&'a [u8]>,
}

impl Record<'_> {
    /// One of which nothing is known but how it came.
    pub fn new(when: SystemTime, protocol: Protocol, peer: Validated) -> Self {
        Self {
            when,
            duration: Duration::ZERO,
            first_byte: None,
            protocol,
            peer,
            method: None,
            host: None,
            path: None,
            route: None,
            upstream: None,
            server: None,
            status: None,
            received: 0,
            sent: 0,
            outcome: Outcome::Complete,
            user_agent: None,
            referer: None,
            trace: None,
            tls: Tls::default(),
        }
    }
}

/// What a request or stream came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// RFC 9114
    Http3,
    /// RFC 9113
    Http2,
    /// RFC 9112; also HTTP/1.0.
    Http11,
    /// A stream of a QUIC connection.
    Raw,
}

impl Protocol {
    /// Each of them.
    pub const ALL: [Self; 4] = [Self::Http3, Self::Http2, Self::Http11, Self::Raw];

    /// In logs and as a label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http3 => "HTTP/3",
            Self::Http2 => "HTTP/2",
            Self::Http11 => "HTTP/1.1",
            Self::Raw => "raw",
        }
    }
}

/// How a request or stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// The client has the whole response, or both directions of the stream came to their end.
    Complete,
    /// The client broke it off, or its connection was lost.
    Cancelled,
    /// The server broke it off, or none could be reached.
    UpstreamBroke,
    /// The client or the server took too long.
    TimedOut,
    /// It was answered here because it was not allowed, malformed, or too much.
    Refused,
}

impl Outcome {
    /// Each of them.
    pub const ALL: [Self; 5] = [Self::Complete, Self::Cancelled, Self::UpstreamBroke, Self::TimedOut, Self::Refused];

    /// In logs and as a label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Cancelled => "client_cancelled",
            Self::UpstreamBroke => "upstream_broke",
            Self::TimedOut => "timed_out",
            Self::Refused => "refused",
        }
    }
}
