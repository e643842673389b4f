//! The file as it is written: raw structs that remember where each value stands.
//!
//! Only the shape is judged here (TOML syntax, known keys, types); what the values mean is
//! `check`'s. Every key is optional to the reader, so that `check` can name all that is missing.

use std::{collections::BTreeMap, fmt, marker::PhantomData, path::PathBuf};

use serde::{
    Deserialize, Deserializer,
    de::{self, IntoDeserializer as _, MapAccess, Visitor, value::MapAccessDeserializer},
};
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
    pub(super) transport: RawTransport,
    pub(super) af_xdp: RawAfXdp,
    pub(super) admin: Option<At<RawAdmin>>,
    pub(super) access_log: Option<At<RawAccessLog>>,
    pub(super) qlog: Option<At<RawQlog>>,
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
    pub(super) cpu_map: Option<At<String>>,
    pub(super) interfaces: Vec<At<String>>,
    pub(super) bpf_dir: Option<At<PathBuf>>,
    pub(super) state_dir: Option<At<PathBuf>>,
    pub(super) control: Option<At<PathBuf>>,
    pub(super) drain_timeout: Option<At<RawDuration>>,
    pub(super) debug_headers: bool,
    pub(super) path_normalization: Option<At<String>>,
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
    pub(super) client_prefix4: Option<At<i64>>,
    pub(super) client_prefix6: Option<At<i64>>,
    pub(super) max_handshakes: Option<At<i64>>,
    pub(super) idle_timeout: Option<At<RawDuration>>,
    pub(super) max_header_bytes: Option<At<i64>>,
    pub(super) max_headers: Option<At<i64>>,
    pub(super) request_timeout: Option<At<RawDuration>>,
    pub(super) body_timeout: Option<At<RawDuration>>,
    pub(super) send_timeout: Option<At<RawDuration>>,
    pub(super) min_rate: Option<At<i64>>,
    pub(super) memory: Option<At<String>>,
}

/// `[transport]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table, [transport]")]
pub(super) struct RawTransport {
    pub(super) congestion: Option<At<String>>,
    pub(super) stream_window: Option<At<i64>>,
    pub(super) connection_window: Option<At<i64>>,
    pub(super) send_window: Option<At<i64>>,
    pub(super) max_streams: Option<At<i64>>,
    pub(super) keep_alive: Option<At<RawDuration>>,
    pub(super) initial_mtu: Option<At<i64>>,
    pub(super) max_mtu: Option<At<RawNumber>>,
    pub(super) gso: Option<bool>,
    pub(super) migration: Option<bool>,
}

/// `[af_xdp]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table, [af_xdp]")]
pub(super) struct RawAfXdp {
    pub(super) memory: Option<At<String>>,
    pub(super) busy_poll: bool,
    pub(super) send: Option<At<String>>,
}

/// `[admin]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table, [admin]")]
pub(super) struct RawAdmin {
    pub(super) address: Option<At<String>>,
}

/// `[access_log]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table, [access_log]")]
pub(super) struct RawAccessLog {
    pub(super) file: Option<At<PathBuf>>,
    pub(super) format: Option<At<String>>,
}

/// `[qlog]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table, [qlog]")]
pub(super) struct RawQlog {
    pub(super) dir: Option<At<PathBuf>>,
    pub(super) sample: Option<At<f64>>,
}

/// `[[listener]]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table, [[listener]]")]
pub(super) struct RawListener {
    pub(super) address: Option<At<String>>,
    pub(super) certificates: Vec<At<RawCertificate>>,
    pub(super) tcp: Option<At<bool>>,
    pub(super) redirect_from: Option<At<String>>,
    pub(super) alt_svc: Option<At<RawSwitched<RawDuration>>>,
    pub(super) early_data: Option<At<bool>>,
    pub(super) client_certificates: Option<At<RawClientCertificates>>,
    pub(super) minimum_tls: Option<At<String>>,
    pub(super) groups: Option<At<Vec<At<String>>>>,
    pub(super) preferred_address: Option<At<String>>,
}

/// A listener's `client_certificates`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table { ca = \"FILE\", required = true }")]
pub(super) struct RawClientCertificates {
    pub(super) ca: Option<PathBuf>,
    pub(super) required: Option<bool>,
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
    pub(super) name: Option<At<String>>,
    pub(super) listeners: Vec<At<String>>,
    pub(super) host: Option<At<String>>,
    pub(super) path: Option<At<String>>,
    pub(super) methods: Option<At<Vec<At<String>>>>,
    pub(super) headers: Option<At<RawHeaders>>,
    pub(super) alpn: Option<At<String>>,
    pub(super) upstream: Option<At<String>>,
    pub(super) redirect: Option<At<String>>,
    pub(super) redirect_status: Option<At<i64>>,
    pub(super) request_headers: Option<At<RawRewrite>>,
    pub(super) response_headers: Option<At<RawRewrite>>,
}

/// `headers` of a route: a value, or whether the field is there at all.
pub(super) type RawHeaders = BTreeMap<String, At<RawSwitched<String>>>;

/// A route's `request_headers` or `response_headers`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(
    deny_unknown_fields,
    default,
    expecting = "a table { set = { name = \"value\" }, add = { .. }, remove = [\"name\"] }"
)]
pub(super) struct RawRewrite {
    pub(super) set: BTreeMap<String, At<String>>,
    pub(super) add: BTreeMap<String, At<String>>,
    pub(super) remove: Vec<At<String>>,
}

/// `[upstream.NAME]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table, [upstream.NAME]")]
pub(super) struct RawUpstream {
    pub(super) servers: Vec<At<RawServer>>,
    pub(super) balance: Option<At<String>>,
    pub(super) health: Option<At<RawHealth>>,
    pub(super) ejection: Option<At<RawSwitched<RawEjection>>>,
    pub(super) slow_start: Option<At<RawDuration>>,
    pub(super) max_connections: Option<At<i64>>,
    pub(super) client_share: Option<At<f64>>,
    pub(super) queue: Option<At<i64>>,
    pub(super) queue_timeout: Option<At<RawDuration>>,
    pub(super) connect_timeout: Option<At<RawDuration>>,
    pub(super) response_timeout: Option<At<RawDuration>>,
    pub(super) idle_timeout: Option<At<RawDuration>>,
    pub(super) tls: Option<At<RawUpstreamTls>>,
    pub(super) host: Option<At<String>>,
    pub(super) proxy_protocol: Option<At<bool>>,
}

/// One of an upstream's `servers`.
#[derive(Clone, Debug)]
pub(super) enum RawServer {
    Url(String),
    Weighted(RawWeighted),
}

/// A server with its weight.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawWeighted {
    pub(super) url: Option<At<String>>,
    pub(super) weight: Option<At<i64>>,
}

/// `ejection` of an upstream.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table { failures = 5, time = \"10s\" }, or false")]
pub(super) struct RawEjection {
    pub(super) failures: Option<At<i64>>,
    pub(super) time: Option<At<RawDuration>>,
    pub(super) status: Option<At<RawStatus>>,
}

/// `tls` of an upstream.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table { ca = \"FILE\", name = \"NAME\" }")]
pub(super) struct RawUpstreamTls {
    pub(super) ca: Option<PathBuf>,
    pub(super) name: Option<At<String>>,
    pub(super) cert: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
}

/// `health` of an upstream.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table { path = \"/healthz\", interval = \"2s\" }")]
pub(super) struct RawHealth {
    pub(super) path: Option<At<String>>,
    pub(super) interval: Option<At<RawDuration>>,
    pub(super) timeout: Option<At<RawDuration>>,
    pub(super) rise: Option<At<i64>>,
    pub(super) fall: Option<At<i64>>,
    pub(super) status: Option<At<RawStatus>>,
    pub(super) host: Option<At<String>>,
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
