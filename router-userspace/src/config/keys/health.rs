//! `health` and `ejection` of an upstream.

use std::ops::RangeInclusive;

use super::{
    kinds::{Nothing, Number, Optional, Other, Statuses, TIME, Time, prose, seconds},
    table::table,
};

/// How many in a row.
const STREAK: RangeInclusive<u32> = 1..=1_000;

table! {
    "upstream.NAME.health", "a table { path = \"/healthz\", interval = \"2s\" }"; HEALTH: HealthKeys, RawHealth;

    /// Path to GET. None: a connection is all that is tried; `tcp://` servers have no other way.
    path: Other<String> { takes: prose("a path") } = "-", Reload;

    /// Time between two checks of a server.
    interval: Time { range: TIME } = seconds(2), Reload;

    /// How long an answer may take.
    timeout: Time { range: TIME } = seconds(1), Reload;

    /// Good answers in a row until a server that was down is up.
    rise: Number<u32> { range: STREAK, unit: "" } = 2, Reload;

    /// Bad ones until one that was up is down.
    fall: Number<u32> { range: STREAK, unit: "" } = 3, Reload;

    /// Good statuses: a range, or one, `"204"`. Only with `path`.
    status: Statuses { examples: ["200-399", "204"] } = 200..=399, Reload;

    /// `Host` of the request, only with `path`. None: host and port of the server's URL.
    host: Other<String> { takes: prose("a host") } = "-", Reload;
}

table! {
    "upstream.NAME.ejection", "a table { failures = 5, time = \"10s\" }, or false";
    EJECTION: EjectionKeys, RawEjection;

    /// Failures in a row until a server is left alone.
    failures: Number<u32> { range: STREAK, unit: "" } = 5, Reload;

    /// For how long; each time it is ejected again without a good answer between, once more of it, up to ten times as
    /// long.
    time: Time { range: TIME } = seconds(10), Reload;

    /// Statuses that count as a failure: a range such as `"502-504"`, or one. None by default: a client that finds a
    /// path which a server answers with 503 on purpose could otherwise eject it.
    status: Optional<Statuses> { of: Statuses { examples: ["502-504", "503"] } } = Nothing, Reload;
}
