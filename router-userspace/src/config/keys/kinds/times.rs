//! Durations.

use std::{ops::RangeInclusive, time::Duration};

use super::{Kind, Reads, Wrong};
use crate::config::{
    raw::{RawDuration, RawSwitched},
    values,
};

/// Longest duration that any key takes.
pub(in crate::config) const TIME_MAX: Duration = values::DURATION_MAX;

/// All durations that can be written.
pub(in crate::config) const TIME: RangeInclusive<Duration> = Duration::from_millis(1)..=TIME_MAX;

/// For definitions.
pub(in crate::config) const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A duration of a range.
pub(in crate::config) struct Time {
    pub(in crate::config) range: RangeInclusive<Duration>,
}

impl Kind for Time {
    type Raw = RawDuration;
    type Default = Duration;

    #[cfg(test)]
    fn written(&self, default: &Duration) -> String {
        format!("\"{}\"", text(*default))
    }

    #[cfg(test)]
    fn takes(&self) -> String {
        from_to(&self.range)
    }
}

impl Reads for Time {
    type Value = Duration;

    fn usual(default: &Duration) -> Duration {
        *default
    }

    fn read(&self, raw: &RawDuration) -> Result<Option<Duration>, Wrong> {
        within(&self.range, raw).map(Some)
    }
}

/// A duration of a range, or `false`: none. `true` is the default.
pub(in crate::config) struct TimeOrOff {
    pub(in crate::config) range: RangeInclusive<Duration>,
}

impl Kind for TimeOrOff {
    type Raw = RawSwitched<RawDuration>;
    type Default = Duration;

    #[cfg(test)]
    fn written(&self, default: &Duration) -> String {
        format!("\"{}\"", text(*default))
    }

    #[cfg(test)]
    fn takes(&self) -> String {
        format!("{}, `false`", from_to(&self.range))
    }
}

impl Reads for TimeOrOff {
    type Value = Option<Duration>;

    fn usual(default: &Duration) -> Option<Duration> {
        Some(*default)
    }

    fn read(&self, raw: &RawSwitched<RawDuration>) -> Result<Option<Option<Duration>>, Wrong> {
        match raw {
            RawSwitched::Switch(true) => Ok(None),
            RawSwitched::Switch(false) => Ok(Some(None)),
            RawSwitched::Value(raw) => within(&self.range, raw).map(|duration| Some(Some(duration))),
        }
    }
}

fn within(range: &RangeInclusive<Duration>, RawDuration::Text(said): &RawDuration) -> Result<Duration, Wrong> {
    let duration = values::duration(said).map_err(Wrong::new)?;
    let (shortest, longest) = (text(*range.start()), text(*range.end()));
    if range.contains(&duration) {
        Ok(duration)
    } else if *range.end() == TIME_MAX {
        Err(Wrong::new(format!("\"{said}\" is too short: at least {shortest}")))
    } else {
        Err(Wrong::new(format!("\"{said}\" is out of range, {shortest} to {longest}")))
    }
}

#[cfg(test)]
fn from_to(range: &RangeInclusive<Duration>) -> String {
    format!("{} to {}", text(*range.start()), text(*range.end()))
}

/// As the file would write it: in hours, seconds or milliseconds, whichever is a whole number.
fn text(duration: Duration) -> String {
    match duration.as_millis() {
        milliseconds if milliseconds % 3_600_000 == 0 => format!("{}h", milliseconds / 3_600_000),
        milliseconds if milliseconds % 1_000 == 0 => format!("{}s", milliseconds / 1_000),
        milliseconds => format!("{milliseconds}ms"),
    }
}
