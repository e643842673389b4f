//! `[admin]`, `[access_log]`, `[qlog]`: a port of its own, files that can be found again.

use std::path::PathBuf;

use super::addresses::{self, Key};
use crate::config::{
    AccessLog, AccessLogFormat, Admin, Config, Destination, Qlog,
    error::Findings,
    file::{At, RawAccessLog, RawAdmin, RawQlog},
};

const FORMATS: [(&str, AccessLogFormat); 2] =
    [("json", AccessLogFormat::Json), ("combined", AccessLogFormat::Combined)];

pub(super) const ADDRESS: Key = Key { name: "admin.address", port: 9180, examples: ["127.0.0.1", "[::1]"] };

/// With the address's place, because nobody else may have its port.
pub(super) fn admin(raw: Option<At<RawAdmin>>, findings: &mut Findings<'_>) -> Option<At<Admin>> {
    let At { place, value: raw } = raw?;
    let Some(address) = raw.address else {
        findings.problem(place, ADDRESS.name, "missing");
        findings.hint("address = \"127.0.0.1:9180\"");
        return None;
    };
    let At { place, value: address } = addresses::read(&ADDRESS, &address, findings)?;
    if !Config::is_private(address.ip()) {
        findings.notice(place, format_args!("admin.address: anyone who reaches {address} reads the metrics"));
    }
    Some(At { place, value: Admin { address } })
}

pub(super) fn access_log(raw: Option<At<RawAccessLog>>, findings: &mut Findings<'_>) -> Option<AccessLog> {
    let At { place, value: raw } = raw?;
    let format = raw.format.and_then(|at| super::one_of(&at, "access_log.format", &FORMATS, findings));
    let to = match raw.file {
        None => {
            findings.problem(place, "access_log.file", "missing");
            findings.hint("file = \"/var/log/quic-router/access.log\", or file = \"stdout\"");
            return None;
        }
        Some(at) if at.value.as_os_str() == "stdout" => Destination::Stdout,
        Some(at) => Destination::File(absolute(at, "access_log.file", findings)?),
    };
    Some(AccessLog { to, format: format.unwrap_or(AccessLogFormat::Json) })
}

pub(super) fn qlog(raw: Option<At<RawQlog>>, findings: &mut Findings<'_>) -> Option<Qlog> {
    let At { place, value: raw } = raw?;
    let sample = raw.sample.map_or(1.0, |At { place, value }| {
        // Written so that not-a-number fails too.
        if !(value > 0.0 && value <= 1.0) {
            findings.problem(place, "qlog.sample", format_args!("{value} is no part: above 0, at most 1"));
        }
        value
    });
    let Some(dir) = raw.dir else {
        findings.problem(place, "qlog.dir", "missing");
        findings.hint("dir = \"/var/log/quic-router/qlog\"");
        return None;
    };
    Some(Qlog { dir: absolute(dir, "qlog.dir", findings)?, sample })
}

fn absolute(At { place, value: path }: At<PathBuf>, key: &str, findings: &mut Findings<'_>) -> Option<PathBuf> {
    if path.is_absolute() {
        return Some(path);
    }
    findings.problem(place, key, format_args!("\"{}\" is not an absolute path", path.display()));
    findings.hint("begin it with a slash: the agent may start in any folder");
    None
}
