//! A request stream's receiving half (RFC 9114 section 4.1): octets in whatever pieces they come, and a request's
//! head, content and trailers out.
//!
//! Work is in proportion to octets. A field section that comes in one piece is decoded where it is; one in several is
//! put together first, up to the caller's limit, and decoded once.

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, Method};

use crate::{
    code::{Code, Violation},
    fields::{MessageLimits, SectionError},
    frame::{self, FrameHeader, FrameHeaderReader},
    head::{self, RequestHead},
    work,
};

/// How far a request was read.
#[derive(Debug)]
pub struct RequestStream {
    limits: MessageLimits,
    header: FrameHeaderReader,
    state: State,
    phase: Phase,
    /// Octets still to come by Content-Length.
    content_left: Option<u64>,
    /// Octets that further frames of unknown types may have.
    ignored_left: u64,
}

/// The next that a request stream had to say.
#[derive(Debug)]
pub enum RequestEvent {
    /// First, and once.
    Head(Box<RequestHead>),
    /// In place of the head: it is beyond the caller's limits, and can be answered with 431. The rest of the stream
    /// says nothing that would be understood.
    HeadTooLarge,
    /// Some content; never none.
    Data(Bytes),
    /// Behind all content.
    Trailers(HeaderMap),
    /// In their place: they are beyond the caller's limits.
    TrailersTooLarge,
}

/// What the client did wrong. Nothing more is to be read from the stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RequestError {
    /// It ends the connection.
    Connection(Violation),
    /// It ends the request alone.
    Stream(Violation),
}

#[derive(Debug)]
enum State {
    Header,
    Data(u64),
    Section {
        left: u64,
        read: BytesMut,
    },
    /// Of a frame that is of a type that is not known, or too large.
    Skip(u64),
}

/// What may come (section 4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Head,
    Content,
    /// Behind a CONNECT: DATA alone (section 4.4).
    Tunnel,
    /// Nothing.
    End,
}

impl RequestStream {
    /// A stream of which nothing was read.
    #[must_use]
    pub fn new(limits: MessageLimits) -> Self {
        Self {
            limits,
            header: FrameHeaderReader::default(),
            state: State::Header,
            phase: Phase::Head,
            content_left: None,
            ignored_left: limits.max_ignored,
        }
    }

    /// Takes octets off the front of `octets` up to the next event. None: all were taken, and there is none yet.
    ///
    /// # Errors
    /// What the client did wrong.
    pub fn receive(&mut self, octets: &mut Bytes) -> Result<Option<RequestEvent>, RequestError> {
        while !octets.is_empty() {
            work::count(1);
            let event = match &mut self.state {
                State::Header => match self.header.read(octets) {
                    Some(header) => self.begin(header)?,
                    None => None,
                },
                State::Data(left) => {
                    let here = octets.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= here as u64;
                    if *left == 0 {
                        self.state = State::Header;
                    }
                    Some(RequestEvent::Data(octets.split_to(here)))
                }
                State::Skip(left) => {
                    let here = octets.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    octets.advance(here);
                    *left -= here as u64;
                    if *left == 0 {
                        self.state = State::Header;
                    }
                    None
                }
                State::Section { left, read } => {
                    let here = octets.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= here as u64;
                    let is_whole = *left == 0;
                    let piece = octets.split_to(here);
                    if !is_whole || !read.is_empty() {
                        work::count(here);
                        read.extend_from_slice(&piece);
                    }
                    if is_whole {
                        let read = std::mem::take(read);
                        self.state = State::Header;
                        Some(self.section(if read.is_empty() { &piece } else { &read })?)
                    } else {
                        None
                    }
                }
            };
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    /// The client has ended the stream.
    ///
    /// # Errors
    /// The request is not whole.
    pub fn finish(&mut self) -> Result<(), RequestError> {
        if self.header.is_partial() || !matches!(self.state, State::Header) {
            let cut = Violation::new(Code::H3_FRAME_ERROR, "RFC 9114 section 7.1", "the stream ends within a frame");
            return Err(RequestError::Connection(cut));
        }
        if self.phase == Phase::Head {
            let what = "the stream ends without a request";
            let incomplete = Violation::new(Code::H3_REQUEST_INCOMPLETE, "RFC 9114 section 4.1", what);
            return Err(RequestError::Stream(incomplete));
        }
        self.content_is_whole()
    }

    /// Octets of content still to come, if Content-Length says.
    #[must_use]
    pub fn content_left(&self) -> Option<u64> {
        let of_frame = if let State::Data(left) = self.state { left } else { 0 };
        self.content_left.map(|left| left + of_frame)
    }

    fn begin(&mut self, FrameHeader { kind, length }: FrameHeader) -> Result<Option<RequestEvent>, RequestError> {
        let unexpected = |section, what| Err(RequestError::Connection(frame::unexpected(section, what)));
        match (kind, self.phase) {
            (frame::DATA, Phase::Content | Phase::Tunnel) => {
                if let Some(left) = &mut self.content_left {
                    *left = left.checked_sub(length).ok_or(wrong_length())?;
                }
                self.state = if length > 0 { State::Data(length) } else { State::Header };
            }
            (frame::HEADERS, Phase::Head | Phase::Content) => return self.begin_section(length),
            (frame::DATA, Phase::Head) => return unexpected("RFC 9114 section 4.1", "DATA before HEADERS"),
            (frame::DATA | frame::HEADERS, Phase::End) => {
                return unexpected("RFC 9114 section 4.1", "a frame behind the trailers");
            }
            (frame::HEADERS, Phase::Tunnel) => return unexpected("RFC 9114 section 4.4", "HEADERS behind CONNECT"),
            (frame::PUSH_PROMISE, _) => {
                return unexpected("RFC 9114 section 7.2.5", "PUSH_PROMISE of a client");
            }
            (
                frame::CANCEL_PUSH
                | frame::SETTINGS
                | frame::GOAWAY
                | frame::MAX_PUSH_ID
                | frame::PRIORITY_UPDATE_REQUEST
                | frame::PRIORITY_UPDATE_PUSH,
                _,
            ) => return unexpected("RFC 9114 section 7.2", "a frame of the control stream on a request stream"),
            (kind, _) if frame::OF_HTTP2.contains(&kind) => {
                return unexpected("RFC 9114 section 7.2.8", "a frame that only HTTP/2 has");
            }
            // Section 9: what is not known is ignored.
            (_, _) => {
                self.ignored_left = self.ignored_left.checked_sub(length).ok_or(TOO_MUCH_IGNORED)?;
                self.state = if length > 0 { State::Skip(length) } else { State::Header };
            }
        }
        Ok(None)
    }

    fn begin_section(&mut self, length: u64) -> Result<Option<RequestEvent>, RequestError> {
        // No encoder makes a section longer than its fields are: the limit holds for both.
        if length > self.limits.max_field_section_size {
            self.state = State::Skip(length);
            return Ok(Some(self.too_large()));
        }
        if length == 0 {
            return self.section(&[]).map(Some);
        }
        self.state = State::Section { left: length, read: BytesMut::new() };
        Ok(None)
    }

    fn section(&mut self, section: &[u8]) -> Result<RequestEvent, RequestError> {
        let event = if self.phase == Phase::Head {
            head::request_head(section, &self.limits).map(|head| {
                self.phase = if head.method == Method::CONNECT { Phase::Tunnel } else { Phase::Content };
                self.content_left = head.content_length.filter(|_| head.method != Method::CONNECT);
                RequestEvent::Head(Box::new(head))
            })
        } else {
            self.content_is_whole()?;
            head::trailers(section, &self.limits).map(|trailers| {
                self.phase = Phase::End;
                RequestEvent::Trailers(trailers)
            })
        };
        match event {
            Ok(event) => Ok(event),
            Err(SectionError::TooLarge) => Ok(self.too_large()),
            Err(SectionError::Undecodable(violation)) => Err(RequestError::Connection(violation)),
            Err(SectionError::Malformed(violation)) => Err(RequestError::Stream(violation)),
        }
    }

    fn too_large(&mut self) -> RequestEvent {
        let is_head = self.phase == Phase::Head;
        self.phase = Phase::End;
        self.content_left = None;
        if is_head { RequestEvent::HeadTooLarge } else { RequestEvent::TrailersTooLarge }
    }

    fn content_is_whole(&self) -> Result<(), RequestError> {
        if self.content_left.is_some_and(|left| left > 0) { Err(wrong_length()) } else { Ok(()) }
    }
}

const TOO_MUCH_IGNORED: RequestError = RequestError::Stream(Violation::new(
    Code::H3_EXCESSIVE_LOAD,
    "RFC 9114 section 10.5",
    "too much in frames of unknown types",
));

/// RFC 9114 section 4.1.2.
fn wrong_length() -> RequestError {
    let what = "the content is not as long as Content-Length says";
    RequestError::Stream(Violation::malformed("RFC 9114 section 4.1.2", what))
}
