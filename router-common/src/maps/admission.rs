//! `source_ports`, `admission` and `buckets`: which packets are turned away, and how many of a kind are let
//! through.

use core::ops::RangeInclusive;

use crate::admission::Rate;

/// Value of `admission` (one entry): how many packets of a kind are let through, for the whole node.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Admission {
    unknown_interval: u64,
    unknown_tolerance: u64,
    unknown_from: u64,
    generation: u64,
}

const _: () = assert!(size_of::<Admission>() == 32);

impl Admission {
    /// The same with this rate for packets whose connection ID nothing knows, or none; as a generation of its
    /// own, so that all buckets begin anew.
    pub fn limiting_unknown(self, rate: Option<Rate>) -> Self {
        Self {
            unknown_interval: rate.map_or(0, |rate| rate.interval()),
            unknown_tolerance: rate.map_or(0, |rate| rate.tolerance()),
            generation: self.generation.wrapping_add(1),
            ..self
        }
    }

    /// The same with nothing limited before `from`, in nanoseconds of CLOCK_MONOTONIC.
    pub fn limiting_from(self, from: u64) -> Self {
        Self { unknown_from: from, ..self }
    }

    /// Until when nothing is limited.
    pub fn unknown_from(&self) -> u64 {
        self.unknown_from
    }

    /// The rate of packets whose connection ID nothing knows; none if they are not limited.
    #[inline(always)]
    pub fn unknown(&self) -> Option<Rate> {
        Rate::of(self.unknown_interval, self.unknown_tolerance, self.generation)
    }

    /// The same as of `now`.
    #[inline(always)]
    pub fn unknown_at(&self, now: u64) -> Option<Rate> {
        self.unknown().filter(|_| now >= self.unknown_from)
    }
}

/// Entries of `buckets`.
pub const BUCKETS: u32 = 4;

/// Value of `buckets`: what was let through of a kind, for the whole node. A cache line each.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Bucket {
    word: u64,
    reserved: [u64; 7],
}

const _: () = assert!(size_of::<Bucket>() == 64);

impl Bucket {
    /// The index of that of packets whose connection ID nothing knows.
    pub const UNKNOWN: u32 = 0;

    /// What [`Rate`] reckons with.
    #[inline(always)]
    pub fn word(&self) -> u64 {
        self.word
    }

    /// Lets a packet through, if there is room for it; whether there was.
    ///
    /// Plain loads and stores: [`bucket`](crate::admission) says what CPUs may lose to each other.
    #[inline(always)]
    pub fn take(&mut self, rate: &Rate, now: u64) -> bool {
        match rate.take(self.word, now) {
            Some(word) => {
                self.word = word;
                true
            }
            None => false,
        }
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
        let rate = Rate::per_second(10);
        let (none, limited) = (Admission::default(), Admission::default().limiting_from(500).limiting_unknown(rate));
        assert_eq!(none.unknown_at(1_000), None);
        assert_eq!((limited.unknown_at(499), limited.unknown_at(500)), (None, limited.unknown()));
        let rate = limited.unknown().unwrap();
        let mut bucket = Bucket::default();
        assert!(bucket.take(&rate, 1_000) && !bucket.take(&rate, 1_001));
        // The same rate, set again.
        let again = limited.limiting_unknown(Some(rate)).unknown().unwrap();
        assert!(bucket.take(&again, 1_002) && !bucket.take(&again, 1_003));
        assert_eq!(limited.limiting_unknown(None).unknown(), None);
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
