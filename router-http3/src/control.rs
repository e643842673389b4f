//! The client's control stream (RFC 9114 section 6.2.1).

use bytes::Buf;

use crate::{
    Priority, Settings,
    code::{Code, Violation},
    frame::{self, FrameHeader, FrameHeaderReader},
    varint, work,
};

/// What a client says about its connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ControlEvent {
    /// The first, and only once.
    Settings(Settings),
    /// It takes no pushed response with this ID or a greater one (RFC 9114 section 5.2). A server that pushes
    /// nothing learns from it that the client is leaving.
    Goaway {
        /// A push ID.
        push_id: u64,
    },
    /// It takes pushes up to this ID (section 7.2.7).
    MaxPushId(u64),
    /// The response on a request stream has this priority from now on (RFC 9218 section 7). The stream may not be
    /// open yet, or be beyond the limit of streams, which is for the caller to see.
    PriorityUpdate {
        /// A client-initiated bidirectional stream.
        stream: u64,
        /// What it says.
        priority: Priority,
    },
}

/// The longest payload that is kept until it is whole, octets. SETTINGS and PRIORITY_UPDATE take some ten to some
/// hundred; a client that sends more has something else in mind.
pub const CONTROL_FRAME_MAX: u64 = 16 * 1024;

/// How far a control stream was read.
#[derive(Debug, Default)]
pub(crate) struct ControlStream {
    header: FrameHeaderReader,
    state: State,
    settings_seen: bool,
    max_push_id: Option<u64>,
    goaway: Option<u64>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Header,
    Payload {
        kind: u64,
        left: u64,
        read: Vec<u8>,
    },
    /// Of a frame whose type is not known (section 9).
    Skip(u64),
}

impl ControlStream {
    /// The next octets.
    pub(crate) fn receive(
        &mut self,
        octets: &mut &[u8],
        events: &mut impl FnMut(ControlEvent),
    ) -> Result<(), Violation> {
        while !octets.is_empty() {
            work::count(1);
            match &mut self.state {
                State::Header => {
                    if let Some(header) = self.header.read(octets) {
                        self.begin(header)?;
                    }
                }
                State::Skip(left) => {
                    let here = octets.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    octets.advance(here);
                    *left -= here as u64;
                    if *left == 0 {
                        self.state = State::Header;
                    }
                }
                State::Payload { left, read, .. } => {
                    let here = octets.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    let (piece, rest) = octets.split_at(here);
                    work::count(here);
                    read.extend_from_slice(piece);
                    *octets = rest;
                    *left -= here as u64;
                }
            }
            self.end(events)?;
        }
        Ok(())
    }

    fn begin(&mut self, FrameHeader { kind, length }: FrameHeader) -> Result<(), Violation> {
        if !self.settings_seen && kind != frame::SETTINGS {
            let section = "RFC 9114 section 6.2.1";
            return Err(Violation::new(
                Code::H3_MISSING_SETTINGS,
                section,
                "the control stream begins without SETTINGS",
            ));
        }
        match kind {
            frame::SETTINGS if self.settings_seen => {
                return Err(frame::unexpected("RFC 9114 section 7.2.4", "a second SETTINGS frame"));
            }
            frame::DATA | frame::HEADERS | frame::PUSH_PROMISE => {
                return Err(frame::unexpected("RFC 9114 section 7.2", "a frame of requests on the control stream"));
            }
            kind if frame::OF_HTTP2.contains(&kind) => {
                return Err(frame::unexpected("RFC 9114 section 7.2.8", "a frame that only HTTP/2 has"));
            }
            frame::SETTINGS
            | frame::GOAWAY
            | frame::MAX_PUSH_ID
            | frame::CANCEL_PUSH
            | frame::PRIORITY_UPDATE_REQUEST
            | frame::PRIORITY_UPDATE_PUSH => {
                if length > CONTROL_FRAME_MAX {
                    let section = "RFC 9114 section 10.5";
                    return Err(Violation::new(
                        Code::H3_EXCESSIVE_LOAD,
                        section,
                        "a frame on the control stream is too long",
                    ));
                }
                self.settings_seen = true;
                self.state = State::Payload { kind, left: length, read: Vec::new() };
            }
            _ => self.state = if length > 0 { State::Skip(length) } else { State::Header },
        }
        Ok(())
    }

    /// Of a frame that may be whole now.
    fn end(&mut self, events: &mut impl FnMut(ControlEvent)) -> Result<(), Violation> {
        let State::Payload { kind, left: 0, read } = &self.state else { return Ok(()) };
        let payload = read.as_slice();
        let event = match *kind {
            frame::SETTINGS => Some(ControlEvent::Settings(Settings::read(payload)?)),
            frame::GOAWAY => {
                let push_id = only(payload)?;
                if self.goaway.is_some_and(|before| push_id > before) {
                    return Err(id_error("RFC 9114 section 5.2", "a GOAWAY with a greater ID than the one before"));
                }
                self.goaway = Some(push_id);
                Some(ControlEvent::Goaway { push_id })
            }
            frame::MAX_PUSH_ID => {
                let id = only(payload)?;
                if self.max_push_id.is_some_and(|before| id < before) {
                    return Err(id_error("RFC 9114 section 7.2.7", "MAX_PUSH_ID falls"));
                }
                self.max_push_id = Some(id);
                Some(ControlEvent::MaxPushId(id))
            }
            frame::CANCEL_PUSH => {
                only(payload)?;
                return Err(id_error("RFC 9114 section 7.2.3", "CANCEL_PUSH for a push that was not promised"));
            }
            frame::PRIORITY_UPDATE_PUSH => {
                return Err(id_error("RFC 9218 section 7.2", "PRIORITY_UPDATE for a push that was not promised"));
            }
            frame::PRIORITY_UPDATE_REQUEST => {
                let mut field = payload;
                let stream = varint::whole(&mut field).ok_or(CUT)?;
                if stream % 4 != 0 {
                    return Err(id_error("RFC 9218 section 7.2", "PRIORITY_UPDATE for a stream that is no request's"));
                }
                Some(ControlEvent::PriorityUpdate { stream, priority: Priority::parse(field) })
            }
            _ => None,
        };
        self.state = State::Header;
        event.into_iter().for_each(events);
        Ok(())
    }
}

/// The one integer that is all of a payload.
fn only(mut payload: &[u8]) -> Result<u64, Violation> {
    let value = varint::whole(&mut payload).ok_or(CUT)?;
    if payload.is_empty() { Ok(value) } else { Err(CUT) }
}

const CUT: Violation =
    Violation::new(Code::H3_FRAME_ERROR, "RFC 9114 section 7.1", "a payload is not as long as its fields");

fn id_error(section: &'static str, what: &'static str) -> Violation {
    Violation::new(Code::H3_ID_ERROR, section, what)
}
