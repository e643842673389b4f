//! `health` and `ejection` of an upstream.

use std::ops::RangeInclusive;

use super::{Checker, Kind};
use crate::config::{
    Ejection, Health, HealthProbe, check,
    file::{At, RawEjection, RawHealth, RawStatus, RawSwitched},
};

const STREAK: RangeInclusive<i64> = 1..=1_000;
/// Final ones (RFC 9110 section 15).
const STATUSES: RangeInclusive<u16> = 200..=599;
const GOOD: RangeInclusive<u16> = 200..=399;

impl Checker<'_, '_> {
    pub(super) fn health(&mut self, raw: &RawHealth, kind: Kind) -> Option<Health> {
        let before = self.findings.count();
        let health = Health {
            interval: self.duration(raw.interval.as_ref(), "health.interval", 2),
            timeout: self.duration(raw.timeout.as_ref(), "health.timeout", 1),
            rise: self.streak(raw.rise.as_ref(), "health.rise", 2),
            fall: self.streak(raw.fall.as_ref(), "health.fall", 3),
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
        let status =
            raw.status.as_ref().and_then(|at| self.statuses(at, "health.status", ["200-399", "204"])).unwrap_or(GOOD);
        let host = raw.host.as_ref().and_then(|at| self.field_host(at, "health.host"));
        HealthProbe::Http { path: path.clone(), host, status }
    }

    /// A range of statuses, or one; none if it is neither.
    fn statuses(
        &mut self,
        At { place, value }: &At<RawStatus>,
        key: &str,
        [range, one]: [&str; 2],
    ) -> Option<RangeInclusive<u16>> {
        let text = match value {
            RawStatus::Number(number) => number.to_string(),
            RawStatus::Text(text) => text.clone(),
        };
        let (first, last) = text.split_once('-').unwrap_or((&text, &text));
        if let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>())
            && first <= last
            && STATUSES.contains(&first)
            && STATUSES.contains(&last)
        {
            return Some(first..=last);
        }
        let why = format!("\"{text}\" is no status from 200 to 599, or range of them");
        self.findings.problem(*place, &self.key(key), why);
        self.findings.hint(format!("status = \"{range}\" or status = \"{one}\""));
        None
    }

    pub(super) fn ejection(&mut self, raw: Option<&At<RawSwitched<RawEjection>>>) -> Option<Ejection> {
        let usual = RawEjection::default();
        let raw = match raw.map(|at| &at.value) {
            Some(RawSwitched::Switch(false)) => return None,
            Some(RawSwitched::Switch(true)) | None => &usual,
            Some(RawSwitched::Value(raw)) => raw,
        };
        Some(Ejection {
            failures: self.streak(raw.failures.as_ref(), "ejection.failures", 5),
            time: self.duration(raw.time.as_ref(), "ejection.time", 10),
            status: raw
                .status
                .as_ref()
                .and_then(|at| self.statuses(at, "ejection.status", ["502-504", "503"]))
                .map(|range| [*range.start(), *range.end()]),
        })
    }

    /// How many in a row.
    fn streak(&mut self, raw: Option<&At<i64>>, key: &str, default: u32) -> u32 {
        check::number(raw, (&self.key(key), default), STREAK, self.findings)
    }
}
