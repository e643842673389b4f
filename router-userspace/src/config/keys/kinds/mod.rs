//! Kinds of values: how the file writes one, what is wrong with one, and how the document says which
//! there are.

mod numbers;
mod sizes;
mod times;
mod words;

#[cfg(test)]
mod tests;

use std::marker::PhantomData;

use crate::config::error::{Findings, Place};

pub(in crate::config) use self::{
    numbers::{Number, NumberOrAuto, NumberOrOff, OneOf, Part, Statuses},
    sizes::{Size, SizeOrAuto},
    times::{TIME, TIME_MAX, Time, TimeOrOff, seconds},
    words::{Absolute, Switch, Word, absolute, one_of},
};

/// What values a key takes.
pub(in crate::config) trait Kind: Sync + 'static {
    /// What serde reads.
    type Raw;
    /// How a definition writes the default.
    type Default: Sync + 'static;

    /// The default as the file would write it, or `-` where there is none.
    #[cfg(test)]
    fn written(&self, default: &Self::Default) -> String;

    /// The values, for the document.
    #[cfg(test)]
    fn takes(&self) -> String;
}

/// A kind that is judged by itself, without the rest of the configuration.
pub(in crate::config) trait Reads: Kind {
    /// What the configuration holds.
    type Value;

    /// The default's value.
    fn usual(default: &Self::Default) -> Self::Value;

    /// The value; none is the default, asked for by name (`true`).
    ///
    /// # Errors
    /// If it is not one of those that the key takes.
    fn read(&self, raw: &Self::Raw) -> Result<Option<Self::Value>, Wrong>;
}

/// What is wrong with a value, in a sentence.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::config) struct Wrong {
    pub(in crate::config) why: String,
    /// The way out, where known.
    pub(in crate::config) hint: Option<String>,
}

impl Wrong {
    pub(in crate::config) fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), hint: None }
    }

    pub(in crate::config) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Notes it of the value at `place`, which is `key`'s.
    pub(in crate::config) fn note(self, place: Place, key: &str, findings: &mut Findings<'_>) {
        findings.problem(place, key, self.why);
        if let Some(hint) = self.hint {
            findings.hint(hint);
        }
    }
}

/// As a default: there is none.
pub(in crate::config) struct Nothing;

/// As a default: `"auto"`.
pub(in crate::config) struct Auto;

/// A value that may be absent.
pub(in crate::config) struct Optional<K> {
    pub(in crate::config) of: K,
}

impl<K: Kind> Kind for Optional<K> {
    type Raw = K::Raw;
    type Default = Nothing;

    #[cfg(test)]
    fn written(&self, _: &Nothing) -> String {
        "-".to_owned()
    }

    #[cfg(test)]
    fn takes(&self) -> String {
        self.of.takes()
    }
}

impl<K: Reads> Reads for Optional<K> {
    type Value = Option<K::Value>;

    fn usual(_: &Nothing) -> Self::Value {
        None
    }

    fn read(&self, raw: &K::Raw) -> Result<Option<Self::Value>, Wrong> {
        self.of.read(raw).map(|value| value.map(Some))
    }
}

/// An address and port of this host's: `check/addresses.rs` judges it.
pub(in crate::config) struct Address {
    /// The port that is usual there.
    pub(in crate::config) port: u16,
    /// Addresses to show as examples.
    pub(in crate::config) examples: [&'static str; 2],
}

impl Kind for Address {
    type Raw = String;
    type Default = Nothing;

    #[cfg(test)]
    fn written(&self, _: &Nothing) -> String {
        "-".to_owned()
    }

    #[cfg(test)]
    fn takes(&self) -> String {
        "an address and port".to_owned()
    }
}

/// What only the checker of its table can judge; the default is written as the file would.
pub(in crate::config) struct Other<R: 'static> {
    #[cfg_attr(not(test), expect(dead_code, reason = "only the document's test reads it"))]
    pub(in crate::config) takes: Prose<R>,
}

/// Values in words, for the document.
pub(in crate::config) struct Prose<R> {
    #[cfg_attr(not(test), expect(dead_code, reason = "only the document's test reads it"))]
    text: &'static str,
    raw: PhantomData<fn() -> R>,
}

/// Values in words.
pub(in crate::config) const fn prose<R>(text: &'static str) -> Prose<R> {
    Prose { text, raw: PhantomData }
}

impl<R: 'static> Kind for Other<R> {
    type Raw = R;
    type Default = &'static str;

    #[cfg(test)]
    fn written(&self, default: &&'static str) -> String {
        (*default).to_owned()
    }

    #[cfg(test)]
    fn takes(&self) -> String {
        self.takes.text.to_owned()
    }
}
