//! Sizes of memory.

use std::ops::RangeInclusive;

use super::{Auto, Kind, Reads, Wrong};
use crate::config::values;

/// Octets of a range, at least a KiB.
pub(in crate::config) struct Size {
    pub(in crate::config) range: RangeInclusive<u64>,
}

impl Kind for Size {
    type Raw = String;
    type Default = u64;

    #[cfg(test)]
    fn written(&self, default: &u64) -> String {
        format!("\"{}\"", text(*default))
    }

    #[cfg(test)]
    fn takes(&self) -> String {
        from_to(&self.range)
    }
}

impl Reads for Size {
    type Value = u64;

    fn usual(default: &u64) -> u64 {
        *default
    }

    fn read(&self, raw: &String) -> Result<Option<u64>, Wrong> {
        within(&self.range, raw, values::size(raw).map_err(Wrong::new)?).map(Some)
    }
}

/// Octets of a range, or `"auto"`: none.
pub(in crate::config) struct SizeOrAuto {
    pub(in crate::config) range: RangeInclusive<u64>,
}

impl Kind for SizeOrAuto {
    type Raw = String;
    type Default = Auto;

    #[cfg(test)]
    fn written(&self, _: &Auto) -> String {
        "\"auto\"".to_owned()
    }

    #[cfg(test)]
    fn takes(&self) -> String {
        format!("`\"auto\"`, {}", from_to(&self.range))
    }
}

impl Reads for SizeOrAuto {
    type Value = Option<u64>;

    fn usual(_: &Auto) -> Option<u64> {
        None
    }

    fn read(&self, raw: &String) -> Result<Option<Option<u64>>, Wrong> {
        match values::size(raw) {
            _ if raw == "auto" => Ok(Some(None)),
            Ok(octets) => within(&self.range, raw, octets).map(|octets| Some(Some(octets))),
            Err(why) => Err(Wrong::new(format!("{why}, or \"auto\""))),
        }
    }
}

fn within(range: &RangeInclusive<u64>, said: &str, octets: u64) -> Result<u64, Wrong> {
    if range.contains(&octets) {
        return Ok(octets);
    }
    Err(Wrong::new(format!("\"{said}\" is out of range, {}", from_to(range))))
}

fn from_to(range: &RangeInclusive<u64>) -> String {
    format!("{} to {}", text(*range.start()), text(*range.end()))
}

/// As the file would write it.
fn text(octets: u64) -> String {
    let unit = [("GiB", 30), ("MiB", 20)].into_iter().find(|(_, bits)| octets.trailing_zeros() >= *bits);
    let (unit, bits) = unit.unwrap_or(("KiB", 10));
    format!("{} {unit}", octets >> bits)
}
