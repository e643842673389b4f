//! Header fields of what is served.

use http::{HeaderValue, header};

/// A field's value that was printed from numbers, dates and names made here.
pub(super) fn printed(value: String) -> HeaderValue {
    HeaderValue::try_from(value).expect("visible ASCII")
}

/// A name and a value.
pub(super) type Field = (header::HeaderName, HeaderValue);

/// On every representation, compressed or not, for a sibling may appear at any time.
pub(super) const VARY: Field = (header::VARY, HeaderValue::from_static("accept-encoding"));
pub(super) const ACCEPT_RANGES: Field = (header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
pub(super) const NO_SNIFFING: Field = (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
