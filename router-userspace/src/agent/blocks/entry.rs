//! What is said of a prefix.

use router_common::maps::BlockAction;

/// What is said of a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::agent) struct Entry {
    pub(in crate::agent) action: BlockAction,
    /// In nanoseconds of CLOCK_MONOTONIC; 0: for ever.
    pub(in crate::agent) until: u64,
    pub(in crate::agent) why: Option<String>,
    pub(in crate::agent) by: By,
}

/// Who said it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::agent) enum By {
    /// An operator, by a verb.
    Verb,
    /// A configured file: `FILE:LINE`.
    File(String),
}

impl Entry {
    /// Whether it has ended by `now`.
    pub(super) fn is_over(&self, now: u64) -> bool {
        self.until != 0 && self.until <= now
    }
}
