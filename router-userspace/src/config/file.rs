//! The file as it is written: raw structs that remember where each value stands.
//!
//! Only the shape is judged here (TOML syntax, known keys, types); what the values mean is
//! `check`'s. Every key is optional to the reader, so that `check` can name all that is missing.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Deserializer};
use toml::{Spanned, de::DeTable};

use super::{
    error::{ConfigError, Findings, Place},
    keys,
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
    for (theirs, ours) in
        [("i64", "a whole number"), ("a sequence", "an array"), ("a map", "a table"), ("a boolean", "true or false")]
    {
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

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<T>::deserialize(deserializer)?;
        Ok(Self { place: Place::Offset(spanned.span().start), value: spanned.into_inner() })
    }
}

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(super) struct RawConfig {
    pub(super) router: RawRouter,
    pub(super) connection_id: RawConnectionId,
    pub(super) limits: RawLimits,
    pub(super) listener: Vec<At<RawListener>>,
    pub(super) route: Vec<At<RawRoute>>,
    pub(super) upstream: BTreeMap<String, At<RawUpstream>>,
}

/// `[router]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table, [router]")]
pub(super) struct RawRouter {
    pub(super) node_id: Option<At<i64>>,
    pub(super) workers: Option<At<RawCount>>,
    pub(super) engine: Option<At<String>>,
    pub(super) interfaces: Vec<At<String>>,
    pub(super) bpf_dir: Option<At<PathBuf>>,
    pub(super) state_dir: Option<At<PathBuf>>,
    pub(super) control: Option<At<PathBuf>>,
    pub(super) drain_timeout: Option<At<RawDuration>>,
    pub(super) debug_headers: bool,
    pub(super) log: Option<At<String>>,
}

/// `[connection_id]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table, [connection_id]")]
pub(super) struct RawConnectionId {
    pub(super) encoding: Option<At<String>>,
    pub(super) length: Option<At<i64>>,
    pub(super) server_id: Option<At<String>>,
    pub(super) encryption: Option<At<String>>,
    pub(super) describe_length: Option<bool>,
    pub(super) lifetime: Option<At<RawDuration>>,
}

/// `[limits]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table, [limits]")]
pub(super) struct RawLimits {
    pub(super) max_connections: Option<At<i64>>,
    pub(super) max_connections_per_ip: Option<At<i64>>,
    pub(super) max_handshakes: Option<At<i64>>,
    pub(super) idle_timeout: Option<At<RawDuration>>,
}

/// `[[listener]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table, [[listener]]")]
pub(super) struct RawListener {
    pub(super) address: Option<At<String>>,
    #[serde(default)]
    pub(super) certificates: Vec<At<RawCertificate>>,
}

/// One of a listener's `certificates`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table { cert = \"FILE\", key = \"FILE\" }")]
pub(super) struct RawCertificate {
    pub(super) cert: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
}

/// `[[route]]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table, [[route]]")]
pub(super) struct RawRoute {
    pub(super) host: Option<At<String>>,
    pub(super) path: Option<At<String>>,
    pub(super) alpn: Option<At<String>>,
    pub(super) upstream: Option<At<String>>,
}

/// `[upstream.NAME]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table, [upstream.NAME]")]
pub(super) struct RawUpstream {
    pub(super) servers: Vec<At<String>>,
    pub(super) balance: Option<At<String>>,
    pub(super) health: Option<At<RawHealth>>,
}

/// `health` of an upstream.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table { path = \"/healthz\", interval = \"2s\" }")]
pub(super) struct RawHealth {
    pub(super) path: Option<At<String>>,
    pub(super) interval: Option<At<RawDuration>>,
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
