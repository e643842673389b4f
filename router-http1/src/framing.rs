//! How long a response is (RFC 9112 section 6.3): one answer, and none where there could be two.

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use crate::head::{HeadError, ResponseHead, malformed};

/// How long a message's content is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// So many octets.
    Exact(u64),
    /// Chunks say.
    Chunked,
    /// To the end of the connection.
    UntilClose,
}

/// Where a response ends, and what comes behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framing {
    /// Of its content.
    pub length: BodyLength,
    /// Another response may come on the connection.
    pub is_reusable: bool,
}

impl ResponseHead {
    /// Another head follows: this is no answer yet (RFC 9110 section 15.2). 101 is the last that is HTTP/1.1.
    pub fn is_interim(&self) -> bool {
        self.status.is_informational() && self.status != StatusCode::SWITCHING_PROTOCOLS
    }

    /// How long the response to a request by `method` is. Its Content-Length is one number then, or gone where it does
    /// not count.
    pub fn framing(&mut self, method: &Method) -> Result<Framing, HeadError> {
        let is_chunked = self.is_chunked()?;
        let length = content_length(&self.fields)?;
        match length {
            Some(_) if is_chunked => drop(self.fields.remove(header::CONTENT_LENGTH)),
            Some(length) => drop(self.fields.insert(header::CONTENT_LENGTH, HeaderValue::from(length))),
            None => {}
        }
        let has_no_content = *method == Method::HEAD
            || self.status == StatusCode::NO_CONTENT
            || self.status == StatusCode::NOT_MODIFIED
            || self.status.is_informational();
        let body = match length {
            _ if has_no_content => BodyLength::Exact(0),
            _ if is_chunked => BodyLength::Chunked,
            Some(length) => BodyLength::Exact(length),
            None => BodyLength::UntilClose,
        };
        // A response that says both may be of two servers that disagree: nothing behind it is believed.
        let is_clear = !(is_chunked && length.is_some()) && body != BodyLength::UntilClose;
        Ok(Framing { length: body, is_reusable: is_clear && self.persists() })
    }

    /// RFC 9112 sections 6.1 and 7.1.
    fn is_chunked(&self) -> Result<bool, HeadError> {
        let mut codings = self.fields.get_all(header::TRANSFER_ENCODING).iter();
        let Some(coding) = codings.next() else { return Ok(false) };
        if self.is_http10 {
            return Err(malformed("RFC 9112 section 6.1", "Transfer-Encoding in HTTP/1.0"));
        }
        match codings.next() {
            None if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(true),
            None | Some(_) => Err(HeadError::Coded),
        }
    }

    /// RFC 9112 section 9.3.
    fn persists(&self) -> bool {
        let says = |wanted: &str| {
            let values = self.fields.get_all(header::CONNECTION).iter();
            let mut options = values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
            options.any(|option| option.trim().eq_ignore_ascii_case(wanted))
        };
        !says("close") && (!self.is_http10 || says("keep-alive"))
    }
}

/// One number, however often it is said.
pub(crate) fn content_length(fields: &HeaderMap) -> Result<Option<u64>, HeadError> {
    let mut length = None;
    for value in fields.get_all(header::CONTENT_LENGTH) {
        for number in value.as_bytes().split(|&octet| octet == b',') {
            let number = decimal(number.trim_ascii());
            let number = number.ok_or(malformed("RFC 9112 section 6.3", "Content-Length is not a number"))?;
            if length.is_some_and(|length| length != number) {
                return Err(malformed("RFC 9112 section 6.3", "Content-Length is more than one number"));
            }
            length = Some(number);
        }
    }
    Ok(length)
}

/// Digits and nothing else.
fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| match digit {
        b'0'..=b'9' => number.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}
