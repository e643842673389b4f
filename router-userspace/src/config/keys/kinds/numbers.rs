//! Numbers, parts of a whole, and statuses of HTTP.

use std::{fmt, ops::RangeInclusive};

use super::{Auto, Kind, Reads, Wrong};
use crate::config::raw::{RawCount, RawNumber, RawStatus};

/// Final statuses (RFC 9110 section 15).
const STATUSES: RangeInclusive<u16> = 200..=599;

/// Whole numbers of a range.
pub(in crate::config) struct Number<N> {
    pub(in crate::config) range: RangeInclusive<N>,
    /// What is counted, for the document; empty where the name says it.
    #[cfg_attr(not(test), expect(dead_code, reason = "only the document's test reads it"))]
    pub(in crate::config) unit: &'static str,
}

/// What a [`Number`] is kept in.
pub(in crate::config) trait Whole:
    Copy + PartialOrd + fmt::Display + TryFrom<i64> + Into<i64> + Sync + 'static
{
}

impl<N: Copy + PartialOrd + fmt::Display + TryFrom<i64> + Into<i64> + Sync + 'static> Whole for N {}

impl<N: Whole> Kind for Number<N> {
    type Raw = i64;
    type Default = N;

    #[cfg(test)]
    fn written(&self, default: &N) -> String {
        grouped(*default, '_')
    }

    #[cfg(test)]
    fn takes(&self) -> String {
        let blank = if self.unit.is_empty() { "" } else { " " };
        format!("{}{blank}{}", from_to(&self.range), self.unit)
    }
}

impl<N: Whole> Reads for Number<N> {
    type Value = N;

    fn usual(default: &N) -> N {
        *default
    }

    fn read(&self, raw: &i64) -> Result<Option<N>, Wrong> {
        within(&self.range, *raw).map(Some).map_err(Wrong::new)
    }
}

/// A number of a range, or `"auto"`: none.
pub(in crate::config) struct NumberOrAuto<N> {
    pub(in crate::config) range: RangeInclusive<N>,
}

impl<N: Whole> Kind for NumberOrAuto<N> {
    type Raw = RawCount;
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

impl<N: Whole> Reads for NumberOrAuto<N> {
    type Value = Option<N>;

    fn usual(_: &Auto) -> Option<N> {
        None
    }

    fn read(&self, raw: &RawCount) -> Result<Option<Option<N>>, Wrong> {
        let said = match raw {
            RawCount::Word(word) if word == "auto" => return Ok(Some(None)),
            RawCount::Word(word) => format!("\"{word}\""),
            RawCount::Number(number) => match within(&self.range, *number) {
                Ok(number) => return Ok(Some(Some(number))),
                Err(_) => number.to_string(),
            },
        };
        let (first, last) = (self.range.start(), self.range.end());
        Err(Wrong::new(format!("{said} is not \"auto\" or a number from {first} to {last}")))
    }
}

/// A number of a range, or `false`: none. `true` is the default.
pub(in crate::config) struct NumberOrOff<N> {
    pub(in crate::config) range: RangeInclusive<N>,
    /// As in [`Number`].
    #[cfg_attr(not(test), expect(dead_code, reason = "only the document's test reads it"))]
    pub(in crate::config) unit: &'static str,
}

impl<N: Whole> Kind for NumberOrOff<N> {
    type Raw = RawNumber;
    type Default = N;

    #[cfg(test)]
    fn written(&self, default: &N) -> String {
        grouped(*default, '_')
    }

    #[cfg(test)]
    fn takes(&self) -> String {
        format!("{} {}, `false`", from_to(&self.range), self.unit)
    }
}

impl<N: Whole> Reads for NumberOrOff<N> {
    type Value = Option<N>;

    fn usual(default: &N) -> Option<N> {
        Some(*default)
    }

    fn read(&self, raw: &RawNumber) -> Result<Option<Option<N>>, Wrong> {
        match raw {
            RawNumber::Switch(true) => Ok(None),
            RawNumber::Switch(false) => Ok(Some(None)),
            RawNumber::Number(number) => match within(&self.range, *number) {
                Ok(number) => Ok(Some(Some(number))),
                Err(why) => Err(Wrong::new(format!("{why}, or false"))),
            },
        }
    }
}

/// One of a few numbers.
pub(in crate::config) struct OneOf {
    pub(in crate::config) of: &'static [u16],
}

impl OneOf {
    fn all(&self) -> String {
        self.of.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
    }
}

impl Kind for OneOf {
    type Raw = i64;
    type Default = u16;

    #[cfg(test)]
    fn written(&self, default: &u16) -> String {
        default.to_string()
    }

    #[cfg(test)]
    fn takes(&self) -> String {
        self.all()
    }
}

impl Reads for OneOf {
    type Value = u16;

    fn usual(default: &u16) -> u16 {
        *default
    }

    fn read(&self, raw: &i64) -> Result<Option<u16>, Wrong> {
        let found = self.of.iter().find(|one| i64::from(**one) == *raw);
        found.map(|one| Some(*one)).ok_or_else(|| Wrong::new(format!("{raw} is none of {}", self.all())))
    }
}

/// A part of a whole: above 0, at most 1.
pub(in crate::config) struct Part {}

impl Kind for Part {
    type Raw = f64;
    type Default = f64;

    #[cfg(test)]
    fn written(&self, default: &f64) -> String {
        format!("{default:?}")
    }

    #[cfg(test)]
    fn takes(&self) -> String {
        "above 0, at most 1".to_owned()
    }
}

impl Reads for Part {
    type Value = f64;

    fn usual(default: &f64) -> f64 {
        *default
    }

    fn read(&self, raw: &f64) -> Result<Option<f64>, Wrong> {
        // Written so that not-a-number fails too.
        if *raw > 0.0 && *raw <= 1.0 {
            return Ok(Some(*raw));
        }
        Err(Wrong::new(format!("{raw} is no part: above 0, at most 1")))
    }
}

/// A range of statuses, or one.
pub(in crate::config) struct Statuses {
    /// A range and one, to show.
    pub(in crate::config) examples: [&'static str; 2],
}

impl Kind for Statuses {
    type Raw = RawStatus;
    type Default = RangeInclusive<u16>;

    #[cfg(test)]
    fn written(&self, default: &RangeInclusive<u16>) -> String {
        format!("\"{}-{}\"", default.start(), default.end())
    }

    #[cfg(test)]
    fn takes(&self) -> String {
        format!("{}, one or a range", from_to(&STATUSES))
    }
}

impl Reads for Statuses {
    type Value = RangeInclusive<u16>;

    fn usual(default: &RangeInclusive<u16>) -> RangeInclusive<u16> {
        default.clone()
    }

    fn read(&self, raw: &RawStatus) -> Result<Option<RangeInclusive<u16>>, Wrong> {
        let text = match raw {
            RawStatus::Number(number) => number.to_string(),
            RawStatus::Text(text) => text.clone(),
        };
        let (first, last) = text.split_once('-').unwrap_or((&text, &text));
        if let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>())
            && first <= last
            && STATUSES.contains(&first)
            && STATUSES.contains(&last)
        {
            return Ok(Some(first..=last));
        }
        let [range, one] = self.examples;
        let (lowest, highest) = (STATUSES.start(), STATUSES.end());
        Err(Wrong::new(format!("\"{text}\" is no status from {lowest} to {highest}, or range of them"))
            .hint(format!("status = \"{range}\" or status = \"{one}\"")))
    }
}

/// The number, if it is in the range; else what is wrong.
fn within<N: Whole>(range: &RangeInclusive<N>, raw: i64) -> Result<N, String> {
    let found = N::try_from(raw).ok().filter(|number| range.contains(number));
    found.ok_or_else(|| format!("{raw} is out of range, {} to {}", range.start(), range.end()))
}

#[cfg(test)]
fn from_to<N: Whole>(range: &RangeInclusive<N>) -> String {
    format!("{} to {}", grouped(*range.start(), ','), grouped(*range.end(), ','))
}

/// With `between` before every third digit from the end.
#[cfg(test)]
fn grouped<N: Whole>(number: N, between: char) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(between);
        }
        text.push(digit);
    }
    text
}
