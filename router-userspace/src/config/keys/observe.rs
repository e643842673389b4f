//! `[admin]`, `[access_log]`, `[qlog]`

use std::path::PathBuf;

use super::{
    kinds::{Address, Nothing, Other, Part, Word, prose},
    table::table,
};
use crate::config::AccessLogFormat;

const FORMATS: [(&str, AccessLogFormat); 2] =
    [("json", AccessLogFormat::Json), ("combined", AccessLogFormat::Combined)];

table! {
    "admin", "a table, [admin]"; ADMIN: AdminKeys, RawAdmin;
    whole(config.admin, "the admin address has changed");

    /// Required. TCP address and port, `"127.0.0.1:9180"`, that no listener has. Anyone who reaches it reads the
    /// metrics: on a public address, a notice says so.
    address: Address { port: 9180, examples: ["127.0.0.1", "[::1]"] } = Nothing, Reload;
}

table! {
    "access_log", "a table, [access_log]"; ACCESS_LOG: AccessLogKeys, RawAccessLog;
    whole(config.access_log, "the access log has changed");

    /// Required. Absolute path of a file that is appended to, and opened again at each reload (for logrotate); or
    /// `"stdout"`.
    file: Other<PathBuf> { takes: prose("an absolute path, `\"stdout\"`") } = "-", Reload;

    /// `"json"`: an object a line; `"combined"`: as Apache writes it.
    format: Word<AccessLogFormat> { words: &FORMATS } = AccessLogFormat::Json, Reload;
}

table! {
    "qlog", "a table, [qlog]"; QLOG: QlogKeys, RawQlog;
    whole(config.qlog, "qlog has changed");

    /// Required. Absolute path of a folder. It grows by some hundred kilobytes for each busy connection, and is
    /// never cleared.
    dir: Other<PathBuf> { takes: prose("an absolute path") } = "-", Reload;

    /// The part of connections that are traced.
    sample: Part {} = 1.0, Reload;
}
