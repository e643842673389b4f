//! Error codes of HTTP/3, as quinn takes them.

use quinn::VarInt;
use router_http3::Code;

/// Of the same value (RFC 9114 section 8.1).
pub(super) fn varint(code: Code) -> VarInt {
    VarInt::from_u64(code.value()).unwrap_or(VarInt::MAX)
}
