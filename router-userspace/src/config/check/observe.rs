//! `[admin]`, `[access_log]`, `[qlog]`: a port of its own, files that can be found again.

use std::path::PathBuf;

use super::addresses;
use crate::config::{
    AccessLog, Admin, Config, Destination, Qlog,
    error::Findings,
    keys::{ACCESS_LOG, ADMIN, QLOG, RawAccessLog, RawAdmin, RawQlog, kinds::absolute},
    raw::At,
};

/// With the address's place, because no listener may have its port.
pub(super) fn admin(raw: Option<At<RawAdmin>>, findings: &mut Findings<'_>) -> Option<At<Admin>> {
    let At { place, value: raw } = raw?;
    let Some(address) = raw.address else {
        findings.problem(place, ADMIN.address.name(), "missing");
        findings.hint("address = \"127.0.0.1:9180\"");
        return None;
    };
    let At { place, value: address } = addresses::read(&ADMIN.address, &address, findings)?;
    if !Config::is_private(address.ip()) {
        findings.notice(place, format_args!("admin.address: anyone who reaches {address} reads the metrics"));
    }
    Some(At { place, value: Admin { address } })
}

pub(super) fn access_log(raw: Option<At<RawAccessLog>>, findings: &mut Findings<'_>) -> Option<AccessLog> {
    let At { place, value: raw } = raw?;
    let format = ACCESS_LOG.format.read(&raw.format, findings);
    let key = ACCESS_LOG.file.name();
    let to = match raw.file {
        None => {
            findings.problem(place, key, "missing");
            findings.hint("file = \"/var/log/quic-router/access.log\", or file = \"stdout\"");
            return None;
        }
        Some(at) if at.value.as_os_str() == "stdout" => Destination::Stdout,
        Some(at) => Destination::File(path(at, key, findings)?),
    };
    Some(AccessLog { to, format })
}

pub(super) fn qlog(raw: Option<At<RawQlog>>, findings: &mut Findings<'_>) -> Option<Qlog> {
    let At { place, value: raw } = raw?;
    let sample = QLOG.sample.read(&raw.sample, findings);
    let Some(dir) = raw.dir else {
        findings.problem(place, QLOG.dir.name(), "missing");
        findings.hint("dir = \"/var/log/quic-router/qlog\"");
        return None;
    };
    Some(Qlog { dir: path(dir, QLOG.dir.name(), findings)?, sample })
}

fn path(At { place, value: path }: At<PathBuf>, key: &str, findings: &mut Findings<'_>) -> Option<PathBuf> {
    match absolute(&path) {
        Ok(()) => Some(path),
        Err(wrong) => {
            wrong.note(place, key, findings);
            None
        }
    }
}
