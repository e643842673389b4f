//! A table of keys, and the macro that one is written with.

use super::Described;
use crate::config::Config;

/// One kind of table.
pub(in crate::config) struct Table {
    /// As the file writes its header, without brackets; empty for the file itself.
    pub(in crate::config) name: &'static str,
    pub(in crate::config) keys: &'static [&'static dyn Described],
    /// How a change of it, and of what is below it, is found and told; none: each key says it for itself.
    pub(in crate::config) whole: Option<Whole>,
    /// Tables below it, by key; `*` stands for any name.
    pub(super) below: &'static [(&'static str, &'static Table)],
}

/// A table that a reload compares as one.
pub(in crate::config) struct Whole {
    pub(in crate::config) differs: fn(&Config, &Config) -> bool,
    /// How a reload tells of it.
    pub(in crate::config) told: &'static str,
}

impl Table {
    /// This table and all below it.
    pub(in crate::config) fn all(&'static self) -> Vec<&'static Self> {
        let mut tables = vec![self];
        tables.extend(self.below.iter().flat_map(|(_, table)| table.all()));
        tables
    }

    /// The words that may stand in this table; none if any may.
    pub(super) fn words(&self) -> Option<Vec<&'static str>> {
        let mut words: Vec<_> = self.keys.iter().map(|key| key.short()).collect();
        let tables = self.below.iter().map(|(word, _)| *word).filter(|word| !words.contains(word)).collect::<Vec<_>>();
        words.extend(tables);
        (!words.contains(&"*")).then_some(words)
    }

    pub(super) fn child(&self, key: &str) -> Option<&'static Self> {
        self.below.iter().find(|(word, _)| *word == key || *word == "*").map(|(_, table)| *table)
    }
}

/// Defines a table: the struct of its keys, with the one value of it, and the struct of raw values that
/// serde reads.
///
/// ```text
/// table! {
///     "limits", "what serde expects"; LIMITS: LimitsKeys, RawLimits;
///     whole(config.limits, "limits have changed");
///
///     /// What the key means: its row in docs/configuration.md.
///     key: Kind { which values it takes } = default, TakenBy(how a change is found);
/// }
/// ```
///
/// A reload compares the table as one by `whole`: by that value of a [`Config`], or `by` a function.
/// Without `whole`, each key says how its change is found: `(config.router.log)`, or `(by function)`. A
/// reload tells of it as `log has changed`, or in the words that follow: `(config.router.log, "...")`.
///
/// `lists(given);` after `whole` adds a method of that name to the raw values, which lists those that
/// are there: for tables in which some keys exclude others.
///
/// Serde's `default` is left out, though all is optional: what it generates reads each value, and a key
/// that the checker forgets would no longer be a field that is never read.
macro_rules! table {
    (
        $table:literal, $expecting:tt; $KEYS:ident: $Keys:ident, $Raw:ident;
        $(whole($($whole:tt)+);)?
        $(lists($given:ident);)?
        $(
            $(#[doc = $meaning:literal])+
            $key:ident: $kind:ident $(<$of:ty>)? { $($takes:tt)* } = $default:expr,
                $taken_by:ident $(($($compared:tt)+))?;
        )+
    ) => {
        pub(in crate::config) struct $Keys {
            $(pub(in crate::config) $key: super::Key<$kind $(<$of>)?>,)+
        }

        pub(in crate::config) static $KEYS: $Keys = $Keys {
            $($key: super::Key {
                name: concat!($table, ".", stringify!($key)),
                kind: $kind $(::<$of>)? { $($takes)* },
                default: $default,
                taken_by: crate::config::TakenBy::$taken_by,
                compared: table!(@compared $taken_by $($($compared)+)?),
                meaning: concat!($($meaning),+),
            },)+
        };

        impl $Keys {
            pub(super) const TABLE: super::Table = super::Table {
                name: $table,
                keys: &[$(&$KEYS.$key),+],
                whole: table!(@whole $($($whole)+)?),
                below: &[],
            };
        }

        #[derive(Clone, Debug, Default, serde::Deserialize)]
        #[serde(deny_unknown_fields, expecting = $expecting)]
        pub(in crate::config) struct $Raw {
            $(pub(in crate::config) $key: Option<crate::config::raw::At<
                <$kind $(<$of>)? as super::kinds::Kind>::Raw
            >>,)+
        }

        table!(@given $($given)? $Raw, $KEYS, $($key),+);
    };
    // Only where it is asked for: it reads each value, and so hides from the compiler that nothing else does.
    (@given $Raw:ident, $KEYS:ident, $($key:ident),+) => {};
    (@given $given:ident $Raw:ident, $KEYS:ident, $($key:ident),+) => {
        impl $Raw {
            /// The keys that have a value, each with its place.
            pub(in crate::config) fn $given(
                &self,
            ) -> Vec<(&'static dyn super::Described, crate::config::error::Place)> {
                let mut given = Vec::<(&'static dyn super::Described, crate::config::error::Place)>::new();
                $(given.extend(self.$key.as_ref().map(|at| (&$KEYS.$key as _, at.place)));)+
                given
            }
        }
    };
    (@whole) => { None };
    (@whole by $differs:path, $told:literal) => { Some(super::Whole { differs: $differs, told: $told }) };
    (@whole config.$field:ident, $told:literal) => {
        Some(super::Whole { differs: |before, after| before.$field != after.$field, told: $told })
    };
    (@compared $taken_by:ident) => { None };
    (@compared $taken_by:ident by $change:path) => { Some(super::Compared { change: $change, told: None }) };
    (@compared $taken_by:ident config.$($field:ident).+ $(, $told:literal)?) => {
        Some(super::Compared {
            change: |before, after| {
                (before.$($field).+ != after.$($field).+).then_some(crate::config::TakenBy::$taken_by)
            },
            told: table!(@told $($told)?),
        })
    };
    (@told) => { None };
    (@told $told:literal) => { Some($told) };
}

pub(super) use table;
