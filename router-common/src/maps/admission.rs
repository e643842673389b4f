//! `source_ports`, `admission` and `buckets`: which packets are turned away, and how many of a kind are let
//! through.

use core::ops::RangeInclusive;

use crate::{
    admission::{Challenge, Limited, Rate, SourcePrefix},
    frame::Address,
};

/// Value of `admission` (one entry): how many packets of a kind are let through, for the whole node.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Admission {
    unknown: Limit,
    version_negotiation: Limit,
    new_total: Limit,
    unknown_from: u64,
    unix_offset: u64,
    answers: u32,
    challenge: u32,
    per_source: Limit,
    prefix4: u32,
    prefix6: u32,
    pressed: u32,
    reserved: u32,
    generation: u64,
}

const _: () = assert!(size_of::<Admission>() == 112);

/// How many first flights are let through from one prefix of addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PerSource {
    /// In a second, and at once.
    pub rate: Rate,
    /// Leading bits of an IPv4 address that make a prefix.
    pub prefix4: u8,
    /// The same of an IPv6 address.
    pub prefix6: u8,
}

/// Who answers what takes no connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AnsweredBy {
    /// The XDP program, by the way the packet came.
    Xdp,
    /// A worker.
    Worker,
}

/// How many of the handshakes that workers have room for are open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pressure {
    /// At one of them more than half.
    High,
    /// Less.
    Low,
}

/// A part of [`Admission`]: the rate of a kind. All zero where it is not limited.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Limit {
    interval: u64,
    tolerance: u64,
}

impl From<Option<Rate>> for Limit {
    fn from(rate: Option<Rate>) -> Self {
        rate.map_or_else(Self::default, |rate| Self { interval: rate.interval(), tolerance: rate.tolerance() })
    }
}

impl Admission {
    /// The same with these rates, each of a kind; as a generation of its own, so that all buckets begin anew.
    pub fn limiting(self, rates: impl Fn(Limited) -> Option<Rate>) -> Self {
        Self {
            unknown: rates(Limited::Unknown).into(),
            version_negotiation: rates(Limited::VersionNegotiation).into(),
            new_total: rates(Limited::New).into(),
            generation: self.generation.wrapping_add(1),
            ..self
        }
    }

    /// The same with what one prefix of addresses may send; none: anything. A generation of its own, likewise.
    pub fn limiting_sources(self, limit: Option<PerSource>) -> Self {
        Self {
            per_source: limit.map(|limit| limit.rate).into(),
            // As the addresses are mapped into IPv6.
            prefix4: limit.map_or(0, |limit| 96 + u32::from(limit.prefix4)),
            prefix6: limit.map_or(0, |limit| limit.prefix6.into()),
            generation: self.generation.wrapping_add(1),
            ..self
        }
    }

    /// How many first flights are let through from one prefix; none if they are not limited.
    #[inline(always)]
    pub fn source_rate(&self) -> Option<Rate> {
        Rate::of(self.per_source.interval, self.per_source.tolerance, self.generation)
    }

    /// The prefix by which a source is counted for that.
    #[inline(always)]
    pub fn source_prefix(&self, source: &Address) -> SourcePrefix {
        SourcePrefix::of(source, self.prefix_bits(source))
    }

    /// The bits of it that count, 0 to 128, as addresses are mapped into IPv6.
    pub fn source_prefix_bits(&self, source: &Address) -> u8 {
        self.prefix_bits(source) as u8
    }

    #[inline(always)]
    fn prefix_bits(&self, source: &Address) -> u32 {
        if source.is_ipv4() { self.prefix4 } else { self.prefix6 }
    }

    /// The same while workers have so many handshakes that are not complete that each client is to be asked, or no more.
    pub fn pressed(self, pressed: Pressure) -> Self {
        Self { pressed: (pressed == Pressure::High).into(), ..self }
    }

    /// Whether they have.
    pub fn pressure(&self) -> Pressure {
        if self.pressed == 0 { Pressure::Low } else { Pressure::High }
    }

    /// The same with [`Limited::Unknown`] not limited before `from`, in nanoseconds of CLOCK_MONOTONIC.
    pub fn limiting_unknown_from(self, from: u64) -> Self {
        Self { unknown_from: from, ..self }
    }

    /// The same where the XDP program answers what it can itself, or leaves that to workers.
    pub fn answering(self, by: AnsweredBy) -> Self {
        Self { answers: (by == AnsweredBy::Xdp).into(), ..self }
    }

    /// Whether the XDP program answers what it can itself.
    #[inline(always)]
    pub fn answers(&self) -> bool {
        self.answers != 0
    }

    /// The same where clients are asked so to show that they receive at their address.
    pub fn challenging(self, challenge: Challenge) -> Self {
        let challenge = match challenge {
            Challenge::Auto => 0,
            Challenge::Always => 1,
            Challenge::Never => 2,
        };
        Self { challenge, ..self }
    }

    /// Whether clients are asked to show that they receive at their address. While workers are under pressure, `Auto`
    /// is `Always`.
    #[inline(always)]
    pub fn challenge(&self) -> Challenge {
        match self.challenge {
            0 if self.pressed != 0 => Challenge::Always,
            0 => Challenge::Auto,
            1 => Challenge::Always,
            _ => Challenge::Never,
        }
    }

    /// The same where CLOCK_MONOTONIC was at 0 so many nanoseconds after 1970 began.
    pub fn with_unix_offset(self, offset: u64) -> Self {
        Self { unix_offset: offset, ..self }
    }

    /// The seconds from 1970 on, at `now` of CLOCK_MONOTONIC in nanoseconds.
    #[inline(always)]
    pub fn unix_seconds(&self, now: u64) -> u64 {
        self.unix_offset.wrapping_add(now) / 1_000_000_000
    }

    /// Until when [`Limited::Unknown`] is not limited.
    pub fn unknown_from(&self) -> u64 {
        self.unknown_from
    }

    /// The rate of a kind; none if it is not limited.
    #[inline(always)]
    pub fn rate(&self, of: Limited) -> Option<Rate> {
        let limit = match of {
            Limited::Unknown => &self.unknown,
            Limited::VersionNegotiation => &self.version_negotiation,
            Limited::New => &self.new_total,
        };
        Rate::of(limit.interval, limit.tolerance, self.generation)
    }

    /// The same as of `now`.
    #[inline(always)]
    pub fn rate_at(&self, of: Limited, now: u64) -> Option<Rate> {
        self.rate(of).filter(|_| of != Limited::Unknown || now >= self.unknown_from)
    }
}

/// Entries of `buckets`.
pub const BUCKETS: u32 = 4;

const _: () = assert!(Limited::ALL.len() <= BUCKETS as usize);

/// Value of `buckets`, by the number of a [`Limited`]: what was let through of a kind, for the whole node. A cache line each.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Bucket {
    word: u64,
    reserved: [u64; 7],
}

const _: () = assert!(size_of::<Bucket>() == 64);

impl Bucket {
    /// What [`Rate`] reckons with.
    #[inline(always)]
    pub fn word(&self) -> u64 {
        self.word
    }
}

/// Words of `source_ports`.
pub const SOURCE_PORT_WORDS: usize = 1_024;

/// Value of `source_ports`, by [`index`](Self::index): 64 UDP ports, a bit for each.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SourcePorts {
    refused: u64,
}

const _: () = assert!(size_of::<SourcePorts>() == 8);

impl SourcePorts {
    /// All words, with the ports of `ranges` refused.
    pub fn refusing(ranges: &[RangeInclusive<u16>]) -> [Self; SOURCE_PORT_WORDS] {
        let mut words = [Self::default(); SOURCE_PORT_WORDS];
        for port in ranges.iter().flat_map(|range| range.clone()) {
            if let Some(word) = words.get_mut(Self::index(port) as usize) {
                word.refused |= 1 << (port % 64);
            }
        }
        words
    }

    /// The index in the map of the word that has `port`.
    #[inline(always)]
    pub fn index(port: u16) -> u32 {
        u32::from(port / 64)
    }

    /// Whether `port`, which this word has, is refused.
    #[inline(always)]
    pub fn refuses(&self, port: u16) -> bool {
        self.refused >> (port % 64) & 1 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_holds_from_its_time_on_and_begins_anew_when_it_is_set() {
        let ten = |_| Rate::per_second(10);
        let (none, limited) = (Admission::default(), Admission::default().limiting_unknown_from(500).limiting(ten));
        for kind in Limited::ALL {
            assert_eq!(none.rate_at(kind, 1_000), None);
            assert_eq!(limited.rate_at(kind, 500), limited.rate(kind));
            let rate = limited.rate(kind).unwrap();
            let word = rate.take(0, 1_000).unwrap();
            assert_eq!(rate.take(word, 1_001), None);
            // The same rate, set again.
            let again = limited.limiting(ten).rate(kind).unwrap();
            let word = again.take(word, 1_002).unwrap();
            assert_eq!(again.take(word, 1_003), None);
            assert_eq!(limited.limiting(|_| None).rate(kind), None);
        }
        // Only of those whose connection ID nothing knows does a start bring more.
        assert_eq!(limited.rate_at(Limited::Unknown, 499), None);
        assert!(limited.rate_at(Limited::VersionNegotiation, 499).is_some());
    }

    /// Each kind has a rate of its own.
    #[test]
    fn a_rate_is_that_of_its_kind() {
        let rates = |of: Limited| Rate::per_second(10 + of as u32);
        let limited = Admission::default().limiting(rates);
        for kind in Limited::ALL {
            assert_eq!(limited.rate(kind).unwrap().interval(), rates(kind).unwrap().interval());
        }
    }

    #[test]
    fn just_the_ports_of_the_ranges_are_refused() {
        let ranges = [0..=0, 1..=1_023, 1_900..=1_900, 27_015..=27_015, 65_535..=65_535];
        let words = SourcePorts::refusing(&ranges);
        for port in 0..=u16::MAX {
            let refused = words[SourcePorts::index(port) as usize].refuses(port);
            assert_eq!(refused, ranges.iter().any(|range| range.contains(&port)), "{port}");
        }
        assert!(SourcePorts::refusing(&[]).iter().all(|word| *word == SourcePorts::default()));
    }
}
