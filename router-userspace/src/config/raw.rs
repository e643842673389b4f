//! Values as the file writes them, of any key: each remembers where it stands.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{self, IntoDeserializer as _, MapAccess, Visitor, value::MapAccessDeserializer},
};
use toml::Spanned;

use super::error::Place;

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

/// A UDP port, or a range of them.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "expected a port, or a range of them in quotes: \"1-1023\"")]
pub(super) enum RawPorts {
    Number(i64),
    Text(String),
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

// Read by hand: what serde derives for "one of these" forgets where values stand and what was wrong
// with them.
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
