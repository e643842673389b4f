//! Error codes, and what a violation of the protocol says of itself.

use std::fmt;

/// An error code of HTTP/3 (RFC 9114 section 8.1), QPACK (RFC 9204 section 6) or HTTP Datagrams
/// (RFC 9297 section 5.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Code(u64);

/// What a peer did against the protocol: the code that it is told, where the rule stands, and what it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Violation {
    /// For CONNECTION_CLOSE, RESET_STREAM or STOP_SENDING.
    pub code: Code,
    /// The RFC and its section.
    pub section: &'static str,
    /// For logs, and for the reason phrase of CONNECTION_CLOSE.
    pub what: &'static str,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $value:literal;)*) => {
        impl Code {
            $($(#[$doc])* pub const $name: Self = Self($value);)*

            /// Its name in the RFCs, if it has one.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

codes! {
    /// No error; the connection or stream is just not needed any more.
    H3_NO_ERROR = 0x100;
    /// A violation for which there is no other code.
    H3_GENERAL_PROTOCOL_ERROR = 0x101;
    /// An error of the endpoint's own.
    H3_INTERNAL_ERROR = 0x102;
    /// A stream that is not accepted.
    H3_STREAM_CREATION_ERROR = 0x103;
    /// A stream was closed that the connection needs.
    H3_CLOSED_CRITICAL_STREAM = 0x104;
    /// A frame that has no place where it is.
    H3_FRAME_UNEXPECTED = 0x105;
    /// A frame of the wrong length or layout.
    H3_FRAME_ERROR = 0x106;
    /// Behavior that may be meant to exhaust the endpoint.
    H3_EXCESSIVE_LOAD = 0x107;
    /// A stream or push ID that may not stand there.
    H3_ID_ERROR = 0x108;
    /// An error in the payload of SETTINGS.
    H3_SETTINGS_ERROR = 0x109;
    /// The control stream does not begin with SETTINGS.
    H3_MISSING_SETTINGS = 0x10a;
    /// A request that was rejected before any of it was processed.
    H3_REQUEST_REJECTED = 0x10b;
    /// A request or its response that is cancelled.
    H3_REQUEST_CANCELLED = 0x10c;
    /// A request stream that ended before the request was whole.
    H3_REQUEST_INCOMPLETE = 0x10d;
    /// A malformed message.
    H3_MESSAGE_ERROR = 0x10e;
    /// A tunnel whose TCP connection was reset or closed abnormally.
    H3_CONNECT_ERROR = 0x10f;
    /// The request can only be served over another version of HTTP.
    H3_VERSION_FALLBACK = 0x110;
    /// An HTTP Datagram that cannot be parsed.
    H3_DATAGRAM_ERROR = 0x33;
    /// A field section that cannot be interpreted.
    QPACK_DECOMPRESSION_FAILED = 0x200;
    /// An instruction on the encoder stream that cannot be interpreted.
    QPACK_ENCODER_STREAM_ERROR = 0x201;
    /// An instruction on the decoder stream that cannot be interpreted.
    QPACK_DECODER_STREAM_ERROR = 0x202;
}

impl Code {
    /// Any code, as it came from a peer.
    #[must_use]
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// The number.
    #[must_use]
    pub const fn value(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{:#x}", self.0),
        }
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, section, what } = self;
        write!(f, "{what} ({code}, {section})")
    }
}

impl std::error::Error for Violation {}

impl Violation {
    pub(crate) const fn new(code: Code, section: &'static str, what: &'static str) -> Self {
        Self { code, section, what }
    }

    /// A malformed message (RFC 9114 section 4.1.2).
    pub(crate) const fn malformed(section: &'static str, what: &'static str) -> Self {
        Self::new(Code::H3_MESSAGE_ERROR, section, what)
    }
}
