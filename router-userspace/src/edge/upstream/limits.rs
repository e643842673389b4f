//! Limits that hold whichever version of HTTP a server speaks.

/// Octets of a response's field section, as RFC 9113 section 6.5.2 counts them. They are what is limited, not the
/// number of fields (hyper#3283).
pub(super) const FIELDS_MAX: u32 = 64 * 1024;

/// How many times in `response_timeout` a request's progress is looked at: it is exact to that part of it.
pub(super) const PROGRESS_CHECKS: u32 = 4;
