//! The file as it is written: raw values that remember where each stands. The structs of its tables
//! come from the definitions of their keys, in `keys`.
//!
//! Only the shape is judged here (TOML syntax, known keys, types); what the values mean is
//! `check`'s. Every key is optional to the reader, so that `check` can name all that is missing.

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{self, IntoDeserializer as _, MapAccess, Visitor, value::MapAccessDeserializer},
};
use toml::{Spanned, de::DeTable};

use super::{
    error::{ConfigError, Findings, Place},
    keys::{
        self, RawAccessLog, RawAdmin, RawAfXdp, RawConnectionId, RawLimits, RawListener, RawQlog, RawRoute, RawRouter,
        RawTransport, RawUpstream, RawWeighted,
    },
};

/// Reads `text`; all unknown keys and the first value of a wrong type are noted at once.
pub(super) fn read(text: &str, findings: &mut Findings<'_>) -> Result<RawConfig, ConfigError> {
    let mut table = match DeTable::parse(text) {
        Ok(table) => table,
        Err(error) => {
            findings.problem(Findings::place_of(error.span()), "not TOML", error.message());
            return Err(findings.take_error());
        }
    };
    keys::remove_unknown(table.get_mut(), &keys::ROOT, "", findings);
    let names = table.get_ref().clone();
    let raw = RawConfig::deserialize(toml::de::Deserializer::from(table));
    if let Err(error) = &raw {
        let what = error.span().and_then(|span| keys::path_at(&names, span.start)).unwrap_or_default();
        findings.problem(Findings::place_of(error.span()), &what, in_words(error.message()));
        if ["listener", "route"].contains(&what.as_str()) {
            findings.hint(format!("there can be several, so it takes two brackets: [[{what}]]"));
        }
    }
    // A key that is misspelled would be called missing too: look no further before it is mended.
    raw.ok().filter(|_| findings.count() == 0).ok_or_else(|| findings.take_error())
}

/// Serde's words for a type, in the operator's.
fn in_words(message: &str) -> String {
    for (theirs, ours) in [
        ("i64", "a whole number"),
        ("f64", "a number"),
        ("a sequence", "an array"),
        ("a map", "a table"),
        ("a boolean", "true or false"),
    ] {
        if let Some(rest) = message.strip_suffix(theirs) {
            return format!("{rest}{ours}");
        }
    }
    message.to_owned()
}

/// A value and where it came from.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) place: Place,
    pub(super) value: T,
}

/// The values of an array, none if there is no array.
pub(super) fn each<T>(raw: &Option<At<Vec<T>>>) -> &[T] {
    raw.as_ref().map(|at| &at.value[..]).unwrap_or_default()
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<T>::deserialize(deserializer)?;
        Ok(Self { place: Place::Offset(spanned.span().start), value: spanned.into_inner() })
    }
}

/// The whole file: a field for each table.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(super) struct RawConfig {
    pub(super) router: RawRouter,
    pub(super) connection_id: RawConnectionId,
    pub(super) limits: RawLimits,
    pub(super) transport: RawTransport,
    pub(super) af_xdp: RawAfXdp,
    pub(super) admin: Option<At<RawAdmin>>,
    pub(super) access_log: Option<At<RawAccessLog>>,
    pub(super) qlog: Option<At<RawQlog>>,
    pub(super) listener: Vec<At<RawListener>>,
    pub(super) route: Vec<At<RawRoute>>,
    pub(super) upstream: BTreeMap<String, At<RawUpstream>>,
}

/// One of an upstream's `servers`.
#[derive(Clone, Debug)]
pub(super) enum RawServer {
    Url(String),
    Weighted(RawWeighted),
}

/// A value, or whether there is one: `false` switches off, `true` takes what is usual.
#[derive(Clone, Debug)]
pub(super) enum RawSwitched<T> {
    Switch(bool),
    Value(T),
}

/// A status of HTTP, or a range of them.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "expected a status or a range of them in quotes: \"204\" or \"200-399\"")]
pub(super) enum RawStatus {
    Number(i64),
    Text(String),
}

/// A number, or `false`.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "expected a whole number, or false")]
pub(super) enum RawNumber {
    Switch(bool),
    Number(i64),
}

/// A number, or a word for one.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "expected a whole number or \"auto\"")]
pub(super) enum RawCount {
    Number(i64),
    Word(String),
}

/// A duration as text: a type of its own for the sake of its error.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "expected a duration in quotes: \"500ms\", \"30s\", \"2m\" or \"1h\"")]
pub(super) enum RawDuration {
    Text(String),
}

// The two below are read by hand: what serde derives for "one of these" forgets where values stand
// and what was wrong with them.

impl<'de> Deserialize<'de> for RawServer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Forms;

        impl<'de> Visitor<'de> for Forms {
            type Value = RawServer;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a URL in quotes, or { url = \"URL\", weight = 2 }")
            }

            fn visit_str<E>(self, url: &str) -> Result<RawServer, E> {
                Ok(RawServer::Url(url.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<RawServer, A::Error> {
                RawWeighted::deserialize(MapAccessDeserializer::new(table)).map(RawServer::Weighted)
            }
        }

        deserializer.deserialize_any(Forms)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for RawSwitched<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Forms<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Forms<T> {
            type Value = RawSwitched<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value, or true or false")
            }

            fn visit_bool<E>(self, on: bool) -> Result<Self::Value, E> {
                Ok(RawSwitched::Switch(on))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
                T::deserialize(number.into_deserializer()).map(RawSwitched::Value)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                T::deserialize(text.into_deserializer()).map(RawSwitched::Value)
            }

            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(table)).map(RawSwitched::Value)
            }
        }

        deserializer.deserialize_any(Forms(PhantomData))
    }
}
