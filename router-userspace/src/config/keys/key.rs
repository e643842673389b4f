//! What is known of a key, said once.
//!
//! From a definition come the reader's field, the checker's default, range and words, what a reload
//! makes of a change, and the key's row in docs/configuration.md.

use super::kinds::{Kind, Reads};
use crate::config::{Config, TakenBy, error::Findings, raw::At};

/// A key of the configuration.
pub(in crate::config) struct Key<K: Kind> {
    /// With its table's, dots between; `NAME` stands for an upstream's.
    pub(super) name: &'static str,
    pub(super) kind: K,
    pub(super) default: K::Default,
    pub(super) taken_by: TakenBy,
    pub(super) compared: Option<Compared>,
    /// What it means, in Markdown.
    #[cfg_attr(not(test), expect(dead_code, reason = "only the document's test reads it"))]
    pub(super) meaning: &'static str,
}

/// How a change of one key is found, where its table is not compared as a whole.
#[derive(Clone, Copy)]
pub(in crate::config) struct Compared {
    /// What takes the change from the first to the second; none: there is none.
    pub(super) change: fn(&Config, &Config) -> Option<TakenBy>,
    /// How a reload tells of it; none: `KEY has changed`.
    pub(super) told: Option<&'static str>,
}

impl Compared {
    /// What takes the change from `before` to `after`; none: there is none.
    pub(in crate::config) fn change(&self, before: &Config, after: &Config) -> Option<TakenBy> {
        (self.change)(before, after)
    }

    /// How a reload tells of it; none: `KEY has changed`.
    pub(in crate::config) fn told(&self) -> Option<&'static str> {
        self.told
    }
}

impl<K: Kind> Key<K> {
    /// The dotted name, `limits.idle_timeout`.
    pub(in crate::config) fn name(&self) -> &'static str {
        self.name
    }

    /// As the definition writes it.
    pub(in crate::config) const fn default(&self) -> &K::Default {
        &self.default
    }

    /// What values it takes.
    pub(in crate::config) fn kind(&self) -> &K {
        &self.kind
    }
}

impl<K: Reads> Key<K> {
    /// The value; the default where there is none, or a wrong one, which is then noted.
    pub(in crate::config) fn read(&self, raw: &Option<At<K::Raw>>, findings: &mut Findings<'_>) -> K::Value {
        self.read_as(self.name, raw, findings)
    }

    /// The same under another name: that of an upstream's key.
    pub(in crate::config) fn read_as(
        &self,
        name: &str,
        raw: &Option<At<K::Raw>>,
        findings: &mut Findings<'_>,
    ) -> K::Value {
        let given = raw.as_ref().and_then(|at| self.given_as(name, at, findings));
        given.unwrap_or_else(|| K::usual(&self.default))
    }

    /// The value that is given; none if it is wrong, which is then noted.
    pub(in crate::config) fn given(&self, at: &At<K::Raw>, findings: &mut Findings<'_>) -> Option<K::Value> {
        self.given_as(self.name, at, findings)
    }

    fn given_as(&self, name: &str, at: &At<K::Raw>, findings: &mut Findings<'_>) -> Option<K::Value> {
        match self.kind.read(&at.value) {
            Ok(value) => Some(value.unwrap_or_else(|| K::usual(&self.default))),
            Err(wrong) => {
                wrong.note(at.place, name, findings);
                None
            }
        }
    }
}

/// A key without the type of its values.
pub(in crate::config) trait Described: Sync {
    /// The dotted name.
    fn name(&self) -> &'static str;

    /// As it stands in its table.
    fn short(&self) -> &'static str {
        self.name().rsplit('.').next().unwrap_or_default()
    }

    /// How a change of it comes into force.
    fn taken_by(&self) -> TakenBy;

    /// How a change of it alone is found.
    fn compared(&self) -> Option<Compared>;

    /// The default as the file would write it, or `-` where there is none.
    #[cfg(test)]
    fn written(&self) -> String;

    /// The values it takes, for the document.
    #[cfg(test)]
    fn takes(&self) -> String;

    /// What it means, in Markdown.
    #[cfg(test)]
    fn meaning(&self) -> &'static str;
}

impl<K: Kind> Described for Key<K> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn taken_by(&self) -> TakenBy {
        self.taken_by
    }

    fn compared(&self) -> Option<Compared> {
        self.compared
    }

    #[cfg(test)]
    fn written(&self) -> String {
        self.kind.written(&self.default)
    }

    #[cfg(test)]
    fn takes(&self) -> String {
        self.kind.takes()
    }

    #[cfg(test)]
    fn meaning(&self) -> &'static str {
        self.meaning.trim_start()
    }
}
