//! What others publish about errors of HTTP/3 clients, gone through case by case and made anew. Each case has its
//! outcome here: the exact code, and whether it ends the request or the connection.
//!
//! | list | what of it is here |
//! |---|---|
//! | h3spec, `HTTP3Error.hs` | all 16 cases, the one that is commented out there among them ([`h3spec`]) |
//! | nghttp3, `nghttp3_conn_test`, `nghttp3_http_test`, `nghttp3_qpack_test` | what a server receives ([`nghttp3`]) |
//! | quiche, tests of `h3` (`mod`, `stream`, `frame`, `qpack`) | what a server receives ([`quiche`]) |
//! | RFC 9114 section 8.1, RFC 9204 section 6, RFC 9218 section 7, RFC 9220, RFC 9297 | `errors`, every code that a client's octets can bring about |
//!
//! Left out is what has no octets of a client in it (their own interfaces, what a client or a server sends, flow
//! control), and what needs a dynamic table, which is not offered: any reference to one is an error.
//!
//! Where the outcome is another than theirs, on purpose:
//!
//! | case | theirs | here | why |
//! |---|---|---|---|
//! | a unidirectional stream ends within its type | nghttp3: H3_GENERAL_PROTOCOL_ERROR | nothing | RFC 9114 section 6.2: it has to be tolerated |
//! | MAX_PUSH_ID falls | nghttp3: H3_FRAME_ERROR | H3_ID_ERROR | RFC 9114 section 7.2.7 |
//! | CANCEL_PUSH of a push that was not promised | nghttp3: H3_FRAME_UNEXPECTED, quiche: none | H3_ID_ERROR | RFC 9114 section 7.2.3 |
//! | HEADERS without octets | nghttp3: a malformed message as a head, nothing as trailers | QPACK_DECOMPRESSION_FAILED | RFC 9204 section 4.5.1: a section begins with two integers |
//! | instructions on QPACK streams | quiche: not looked at | the codes of RFC 9204 section 6 | they cannot refer to a table of capacity 0 |
//! | a priority that cannot be parsed, in PRIORITY_UPDATE | nghttp3: H3_GENERAL_PROTOCOL_ERROR | the default priority | a hint is not worth a connection |
//! | an urgency out of range | quiche: 7 | as if absent | RFC 9218 section 4 |
//! | PRIORITY_UPDATE for a stream beyond the limit | nghttp3: H3_ID_ERROR | for the caller to see, which makes no use of the frame | RFC 9218 section 7.2 says SHOULD; nothing is kept for the stream |
//! | PRIORITY_UPDATE of 512 octets | quiche: H3_EXCESSIVE_LOAD | read; beyond [`CONTROL_FRAME_MAX`] H3_EXCESSIVE_LOAD | a limit is all that is needed, and an honest client may say more |
//! | frames and streams of unknown types, the same GOAWAY or MAX_PUSH_ID, without end | nghttp3: H3_EXCESSIVE_LOAD after some thousand | read | nothing of them is kept, they cost no more than their octets, and clients keep connections alive by them |
//! | a field name or value with characters that have no place there | nghttp3: the field is left out | H3_MESSAGE_ERROR | RFC 9114 section 10.3: malformed, and what is left out may matter to the server |
//! | `:path` is `*`, and the method is not OPTIONS | nghttp3: malformed | a request, which the caller answers with 400 | RFC 9114 section 4.1.2 allows an answer |
//! | connection-specific fields, `TE` other than `trailers`, several or no proper Content-Length, several Host | nghttp3: malformed | a request with a fault, which the caller answers with 400 | likewise |
//! | a head beyond the limits | quiche: H3_EXCESSIVE_LOAD | "too large", which the caller answers with 431 | RFC 9114 section 4.2.2 |
//! | a scheme of more than 64 characters | nghttp3: allowed | H3_MESSAGE_ERROR | none is known, and the `http` crate takes no longer one |
//! | an extended CONNECT whose authority is in Host alone | nghttp3: malformed | a request | RFC 9114 section 4.3.1 has Host stand for `:authority`; and it is not offered |
//! | H3_DATAGRAM of 1 without the transport parameter | quiche: H3_SETTINGS_ERROR | nothing | datagrams are not offered, so that the client's word is of no use |

mod h3spec;
mod nghttp3;
mod quiche;

use super::{LIMITS, USUAL, data, frame, headers, outcome, request, section};
use crate::{
    CONTROL_FRAME_MAX, Code, CriticalStreams, MessageLimits, RequestError, UnidirectionalStream, Violation,
    frame::HEADERS,
};

/// What comes of a request stream with these octets and its end: its events, or its error.
fn of_request(octets: &[u8]) -> String {
    let (lines, end) = outcome(LIMITS, [octets]);
    match end {
        Ok(()) => lines.join(", "),
        Err(RequestError::Stream(violation)) => format!("stream {}", violation.code),
        Err(RequestError::Connection(violation)) => format!("connection {}", violation.code),
    }
}

/// What comes of unidirectional streams with these octets on one connection.
fn of_own<'s>(streams: impl IntoIterator<Item = &'s [u8]>) -> String {
    let (mut critical, mut events) = (CriticalStreams::default(), Vec::new());
    for stream in streams {
        let mut protocol = UnidirectionalStream::default();
        if let Err(Violation { code, .. }) =
            protocol.receive(&mut critical, stream, |event| events.push(format!("{event:?}")))
        {
            return format!("connection {code}");
        }
    }
    events.join(", ")
}

/// What comes of a control stream with these frames behind empty SETTINGS; what those say is left out.
fn of_control(frames: &[u8]) -> String {
    let outcome = of_own([&[&[0][..], &frame(4, &[]), frames].concat()[..]]);
    match outcome.split_once("})") {
        Some((_settings, events)) => events.trim_start_matches(", ").to_owned(),
        None => outcome,
    }
}

/// What comes of SETTINGS with this payload.
fn of_settings(payload: &[u8]) -> String {
    of_own([&[&[0][..], &frame(4, payload)].concat()[..]])
}

/// A field section of lines by the static table (RFC 9204 appendix A) and of others.
fn by_index(lines: &[&[u8]]) -> Vec<u8> {
    frame(HEADERS, &[&[0, 0][..], &lines.concat()].concat())
}

/// `:path: /`, `:method: GET`, `:scheme: https` by index.
const PATH: &[u8] = &[0xc0 | 1];
const GET: &[u8] = &[0xc0 | 17];
const HTTPS: &[u8] = &[0xc0 | 23];
/// `:authority: a` by reference to its name.
const AUTHORITY: &[u8] = &[0x50, 1, b'a'];

const MESSAGE: &str = "stream H3_MESSAGE_ERROR";
const UNEXPECTED: &str = "connection H3_FRAME_UNEXPECTED";
const FRAME: &str = "connection H3_FRAME_ERROR";
const ID: &str = "connection H3_ID_ERROR";
const SETTINGS: &str = "connection H3_SETTINGS_ERROR";
const CREATION: &str = "connection H3_STREAM_CREATION_ERROR";
const MISSING: &str = "connection H3_MISSING_SETTINGS";
const LOAD: &str = "connection H3_EXCESSIVE_LOAD";
const SECTION: &str = "connection QPACK_DECOMPRESSION_FAILED";
const ENCODER: &str = "connection QPACK_ENCODER_STREAM_ERROR";
const DECODER: &str = "connection QPACK_DECODER_STREAM_ERROR";
