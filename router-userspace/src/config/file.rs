//! The file as it is written, as raw values. The structs of its tables come from the definitions of
//! their keys, in `keys`.
//!
//! Only the shape is judged here (TOML syntax, known keys, types); what the values mean is
//! `check`'s. Every key is optional to the reader, so that `check` can name all that is missing.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::de::DeTable;

use super::{
    error::{ConfigError, Findings},
    keys::{
        self, RawAccessLog, RawAdmin, RawAdmission, RawAfXdp, RawCluster, RawConnectionId, RawLimits, RawListener,
        RawQlog, RawRoute, RawRouter, RawTransport, RawUpstream,
    },
    raw::At,
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

/// The whole file: a field for each table.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(super) struct RawConfig {
    pub(super) router: RawRouter,
    pub(super) connection_id: RawConnectionId,
    pub(super) cluster: Option<At<RawCluster>>,
    pub(super) limits: RawLimits,
    pub(super) transport: RawTransport,
    pub(super) af_xdp: RawAfXdp,
    pub(super) admission: RawAdmission,
    pub(super) admin: Option<At<RawAdmin>>,
    pub(super) access_log: Option<At<RawAccessLog>>,
    pub(super) qlog: Option<At<RawQlog>>,
    pub(super) listener: Vec<At<RawListener>>,
    pub(super) route: Vec<At<RawRoute>>,
    pub(super) upstream: BTreeMap<String, At<RawUpstream>>,
}
