//! `health` and `ejection` of an upstream.

use super::checker::{Checker, Kind};
use crate::config::{
    Ejection, Health, HealthProbe,
    keys::{EJECTION, HEALTH, RawEjection, RawHealth},
    raw::{At, RawSwitched},
};

impl Checker<'_, '_> {
    pub(super) fn health(&mut self, raw: &RawHealth, kind: Kind) -> Option<Health> {
        let before = self.findings.count();
        let health = Health {
            interval: self.read(&HEALTH.interval, &raw.interval),
            timeout: self.read(&HEALTH.timeout, &raw.timeout),
            rise: self.read(&HEALTH.rise, &raw.rise),
            fall: self.read(&HEALTH.fall, &raw.fall),
            probe: match &raw.path {
                Some(path) => self.http_probe(path, raw, kind),
                None => self.connect_probe(raw, kind),
            },
        };
        (self.findings.count() == before).then_some(health)
    }

    fn connect_probe(&mut self, raw: &RawHealth, kind: Kind) -> HealthProbe {
        let places =
            [("status", raw.status.as_ref().map(|at| at.place)), ("host", raw.host.as_ref().map(|at| at.place))];
        for (key, place) in places {
            let Some(place) = place else { continue };
            let why = "without path a connection is all that is tried";
            self.findings.problem(place, &self.key(&format!("health.{key}")), why);
            self.findings.hint(match kind {
                Kind::Streams => format!("leave out {key}"),
                Kind::Http | Kind::Either => "path = \"/healthz\"".to_owned(),
            });
        }
        HealthProbe::Connect
    }

    fn http_probe(&mut self, At { place, value: path }: &At<String>, raw: &RawHealth, kind: Kind) -> HealthProbe {
        let key = self.key("health.path");
        if !path.starts_with('/') {
            self.findings.problem(*place, &key, format_args!("\"{path}\" does not begin with a slash"));
        } else if path.contains('#') || path.parse::<http::uri::PathAndQuery>().is_err() {
            self.findings.problem(*place, &key, format_args!("{path:?} is not a path with or without a query"));
        } else if kind == Kind::Streams {
            let why = "tcp:// servers have no paths: a connection is all that is tried";
            self.findings.problem(*place, &key, why);
            self.findings.hint("leave out path");
        }
        let status = self.read(&HEALTH.status, &raw.status);
        let host = raw.host.as_ref().and_then(|at| self.field_host(at, "health.host"));
        HealthProbe::Http { path: path.clone(), host, status }
    }

    pub(super) fn ejection(&mut self, raw: Option<&At<RawSwitched<RawEjection>>>) -> Option<Ejection> {
        let usual = RawEjection::default();
        let raw = match raw.map(|at| &at.value) {
            Some(RawSwitched::Switch(false)) => return None,
            Some(RawSwitched::Switch(true)) | None => &usual,
            Some(RawSwitched::Value(raw)) => raw,
        };
        Some(Ejection {
            failures: self.read(&EJECTION.failures, &raw.failures),
            time: self.read(&EJECTION.time, &raw.time),
            status: self.read(&EJECTION.status, &raw.status).map(|range| [*range.start(), *range.end()]),
        })
    }
}
