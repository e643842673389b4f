//! `servers` of an upstream

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};

use super::{
    kinds::{Number, Other, prose},
    table::table,
};

table! {
    "upstream.NAME.servers", "a table { url = \"URL\", weight = 2 }"; SERVER: ServerKeys, RawWeighted;

    /// Required. The server.
    url: Other<String> { takes: prose("a URL") } = "-", Reload;

    /// Its share beside the others' shares.
    weight: Number<u16> { range: 1..=1_000, unit: "" } = 1, Reload;
}

/// One of an upstream's `servers`.
#[derive(Clone, Debug)]
pub(in crate::config) enum RawServer {
    Url(String),
    Weighted(RawWeighted),
}

// Read by hand: what serde derives for "one of these" forgets where values stand and what was wrong
// with them.
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
