//! What the checks of one upstream share.

use crate::config::{
    error::{Findings, Place},
    keys::{Key, kinds::Reads},
    raw::At,
};

/// What routes may lead to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config::check) enum Kind {
    Http,
    Streams,
    /// Unix sockets alone; or nothing is known, because that has been called wrong already.
    Either,
}

/// What one upstream is checked with.
pub(super) struct Checker<'c, 't> {
    pub(super) name: &'c str,
    pub(super) place: Place,
    pub(super) findings: &'c mut Findings<'t>,
}

impl Checker<'_, '_> {
    /// The dotted name of one of its keys.
    pub(super) fn key(&self, key: &str) -> String {
        format!("upstream.{}.{key}", self.name)
    }

    /// The value of one of its keys.
    pub(super) fn read<K: Reads>(&mut self, key: &Key<K>, raw: &Option<At<K::Raw>>) -> K::Value {
        key.read_as(&key.name().replace("NAME", self.name), raw, self.findings)
    }
}
