//! How many packets of a kind are let through in a second: GCRA, the generic cell rate algorithm (ITU-T
//! I.371), in one word.
//!
//! The word is the time at which the packets let through so far would have come at the allowed rate, one
//! behind the other. A packet is let through if that is not too far ahead of now, and moves it on by one
//! interval. So nothing has to refill a bucket, and a packet that is refused writes nothing.
//!
//! The low 56 bits of the word are that time, in nanoseconds modulo 2^56 (2.3 years), the high 8 bits the
//! generation of the rate that it was reckoned by. A word of another generation, or one that is further ahead
//! than its rate could have brought it (the past, modulo 2^56), is that of a bucket nothing was taken from.
//!
//! CPUs share a word without locking it. Where two take from it in the same moment, one of the two may not be
//! counted: then a packet more is let through, and never one less. The limit itself cannot be lost.

/// A rate, with the burst that may come at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// Nanoseconds from one packet to the next; not 0.
    interval: u64,
    /// How many nanoseconds the word may be ahead of now for a packet to be let through.
    tolerance: u64,
    /// Of the configuration that it comes from.
    generation: u8,
}

impl Rate {
    /// `packets` a second, and a tenth of them, at least one, at once; none for 0.
    pub fn per_second(packets: u32) -> Option<Self> {
        let packets = u64::from(packets);
        let interval = SECOND.checked_div(packets)?.max(1);
        let burst = (packets / 10).max(1);
        Some(Self { interval, tolerance: (burst - 1) * interval, generation: 0 })
    }

    /// `packets` a second, and `burst` of them, at least one, at once; none for 0.
    pub fn with_burst(packets: u32, burst: u32) -> Option<Self> {
        let rate = Self::per_second(packets)?;
        Some(Self { tolerance: u64::from(burst.saturating_sub(1)) * rate.interval, ..rate })
    }

    /// As the map `admission` has it; none if `interval` is 0.
    #[inline(always)]
    pub(crate) fn of(interval: u64, tolerance: u64, generation: u64) -> Option<Self> {
        (interval != 0).then_some(Self { interval, tolerance, generation: generation as u8 })
    }

    /// Nanoseconds from one packet to the next.
    pub fn interval(&self) -> u64 {
        self.interval
    }

    /// How many nanoseconds the word may be ahead of now for a packet to be let through.
    pub fn tolerance(&self) -> u64 {
        self.tolerance
    }

    /// How far ahead of `now` a word is.
    #[inline(always)]
    fn ahead(&self, word: u64, now: u64) -> u64 {
        let ahead = word.wrapping_sub(now) & TIME;
        let is_reachable = ahead <= self.tolerance + self.interval;
        if is_reachable && word >> TIME_BITS == u64::from(self.generation) { ahead } else { 0 }
    }

    /// Lets a packet through at `now`, in nanoseconds of any clock that never goes back: the word after it.
    /// `None` if there is no room for it; the word is as it was then.
    #[inline(always)]
    pub fn take(&self, word: u64, now: u64) -> Option<u64> {
        let ahead = self.ahead(word, now);
        if ahead > self.tolerance {
            return None;
        }
        let time = now.wrapping_add(ahead + self.interval) & TIME;
        Some(u64::from(self.generation) << TIME_BITS | time)
    }

    /// How many packets would be let through at `now` at once.
    pub fn room(&self, word: u64, now: u64) -> u64 {
        match self.tolerance.checked_sub(self.ahead(word, now)) {
            Some(rest) => rest / self.interval + 1,
            None => 0,
        }
    }
}

const SECOND: u64 = 1_000_000_000;
const TIME_BITS: u32 = 56;
const TIME: u64 = (1 << TIME_BITS) - 1;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MILLISECOND: u64 = 1_000_000;
    const A_WHILE: u64 = 86_400 * SECOND;

    fn rate(packets: u32) -> Rate {
        Rate::per_second(packets).unwrap()
    }

    /// How many of those that come at `times` are let through.
    fn taken(rate: &Rate, word: &mut u64, times: impl IntoIterator<Item = u64>) -> u64 {
        let mut take = |now| rate.take(*word, now).inspect(|next| *word = *next).is_some();
        times.into_iter().filter(|&now| take(now)).count() as u64
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let (rate, mut word) = (rate(1_000), 0);
        assert_eq!(rate.room(word, A_WHILE), 100);
        assert_eq!(taken(&rate, &mut word, [A_WHILE; 1_000]), 100);
        assert_eq!(rate.room(word, A_WHILE), 0);
        // A second of ten packets each millisecond, one of which has room.
        let second = (1..=10_000).map(|n| A_WHILE + n * MILLISECOND / 10);
        assert_eq!(taken(&rate, &mut word, second), 1_000);
        // A second of silence is worth no more than a burst.
        assert_eq!(taken(&rate, &mut word, [A_WHILE + 2 * SECOND; 1_000]), 100);
    }

    #[test]
    fn a_burst_of_its_own() {
        let (rate, mut word) = (Rate::with_burst(10, 25).unwrap(), 0);
        assert_eq!(taken(&rate, &mut word, [A_WHILE; 100]), 25);
        assert_eq!(taken(&rate, &mut word, [A_WHILE + SECOND; 100]), 10);
        assert_eq!(Rate::with_burst(10, 0), Rate::with_burst(10, 1));
        assert_eq!(Rate::with_burst(0, 5), None);
    }

    #[test]
    fn the_slowest_and_the_fastest() {
        let mut word = 0;
        assert_eq!(taken(&rate(1), &mut word, (0..100).map(|n| A_WHILE + n * SECOND / 10)), 10);
        assert_eq!(Rate::per_second(0), None);
        assert_eq!(rate(u32::MAX).interval(), 1);
    }

    /// No less than what it says, and never a packet more than burst and rate allow.
    #[test]
    fn what_has_room_is_taken() {
        let (rate, mut word) = (rate(500), 7);
        for now in [A_WHILE, A_WHILE + 3 * MILLISECOND, A_WHILE + 50 * MILLISECOND] {
            let room = rate.room(word, now);
            assert_eq!(taken(&rate, &mut word, [now; 100]), room);
        }
    }

    /// Buckets had kept the word of the old rate, and let nothing through for minutes.
    #[test]
    fn another_generation_begins_anew() {
        let (slow, mut word) = (rate(1), 0);
        assert_eq!(taken(&slow, &mut word, [A_WHILE; 3]), 1);
        let next = Rate { generation: 1, ..rate(1_000) };
        assert_eq!(next.room(word, A_WHILE), 100);
        assert_eq!(taken(&next, &mut word, [A_WHILE; 300]), 100);
        // The same generation knows its own word.
        assert_eq!(next.room(word, A_WHILE), 0);
    }

    /// A bucket that was idle for longer than half of what the word can tell.
    #[test]
    fn an_old_word_is_an_empty_bucket() {
        let rate = rate(10);
        let mut word = 0;
        assert_eq!(taken(&rate, &mut word, [5]), 1);
        for later in [1 << 54, 1 << 55, (1 << 55) + (1 << 54), TIME - SECOND, 1 << 56, 1 << 60] {
            assert_eq!(rate.room(word, later), 1, "{later}");
        }
    }

    /// Over the wrap of the word's time, too.
    #[test]
    fn the_end_of_the_clock_changes_nothing() {
        let (rate, end) = (rate(1_000), TIME - 50 * MILLISECOND);
        let mut word = rate.take(0, A_WHILE).unwrap();
        assert_eq!(taken(&rate, &mut word, [end; 1_000]), 100);
        assert_eq!(taken(&rate, &mut word, (1..=1_000).map(|n| end + n * MILLISECOND / 10)), 100);
    }

    proptest! {
        /// In any time, however the packets come: at most a burst and what the rate gives.
        #[test]
        fn never_more_than_burst_and_rate(
            packets in 1_u32..1_000_000,
            word: u64,
            steps in proptest::collection::vec(0_u64..20_000_000, 1..500),
        ) {
            let rate = rate(packets);
            let (mut now, mut word, mut count) = (A_WHILE, word, 0);
            for step in steps {
                now += step;
                count += taken(&rate, &mut word, [now; 3]);
            }
            let burst = rate.tolerance() / rate.interval() + 1;
            prop_assert!(count <= burst + (now - A_WHILE) / rate.interval() + 1);
        }
    }
}
