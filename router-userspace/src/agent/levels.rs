//! How full the buckets of admission are.

use std::{num::NonZeroU32, time::Duration};

use router_common::{
    admission::{Limited, Prefix},
    frame::Address,
    maps::{Admission, SourceCount, SourceKey},
};

use crate::clock::monotonic_now;

/// What there is of a kind that is limited: `per_second` by the configuration, and the bucket's `word`.
pub(super) struct Level {
    pub(super) of: Limited,
    pub(super) per_second: Option<NonZeroU32>,
    pub(super) admission: Admission,
    pub(super) word: u64,
}

impl Level {
    /// The key of the configuration that says how many.
    pub(super) fn key(&self) -> &'static str {
        match self.of {
            Limited::Unknown => "admission.unknown",
            Limited::VersionNegotiation => "admission.version_negotiation",
            Limited::New => "admission.new_total",
        }
    }

    /// How many would be let through at once now; none: any number.
    pub(super) fn room(&self) -> Option<u64> {
        let now = monotonic_now();
        Some(self.admission.rate_at(self.of, now)?.room(self.word, now))
    }

    /// For how long nothing is limited yet, although something is to be.
    pub(super) fn lifted(&self) -> Option<Duration> {
        let now = monotonic_now();
        let is_lifted = self.admission.rate(self.of).is_some() && self.admission.rate_at(self.of, now).is_none();
        is_lifted.then(|| Duration::from_nanos(self.admission.unknown_from().saturating_sub(now)))
    }

    /// The limit, and what room there is now.
    pub(super) fn in_words(&self) -> String {
        let (kind, key) = match self.of {
            Limited::Unknown => ("whose connection ID nothing knows", self.key()),
            Limited::VersionNegotiation => ("of unknown versions", self.key()),
            Limited::New => ("that begin connections", self.key()),
        };
        let Some(per_second) = self.per_second else { return format!("packets {kind} are not limited: {key}") };
        match (self.lifted(), self.room()) {
            (Some(time), _) => format!(
                "connections have ended with a worker or a run before: for another {} s packets {kind} are not limited to \
                 {per_second} a second ({key})",
                time.as_secs() + 1
            ),
            (None, None) => format!("packets {kind} are not limited: {key}"),
            (None, Some(0)) => {
                format!("of {per_second} packets a second {kind} ({key}), there is no room for one more now")
            }
            (None, Some(room)) => {
                format!("of {per_second} packets a second {kind} ({key}), there is room for {room} now")
            }
        }
    }
}

/// What a prefix of addresses may send now.
pub(super) struct SourceLevel {
    pub(super) prefix: Prefix,
    /// First flights that are let through at once, whose clients are not asked for their address.
    pub(super) unasked: u64,
    /// The same of clients that have shown it.
    pub(super) validated: u64,
    /// What came of the latter so far; none: nothing, or nothing of late.
    pub(super) count: Option<SourceCount>,
}

impl SourceLevel {
    /// Of `source`, where the sketch has these words for its prefix.
    pub(super) fn new(
        admission: &Admission,
        source: &Address,
        words: impl IntoIterator<Item = u64>,
        count: Option<SourceCount>,
    ) -> Option<Self> {
        let (rate, now) = (admission.source_rate()?, monotonic_now());
        let unasked = words.into_iter().map(|word| rate.room(word, now)).max().unwrap_or(0);
        let validated = rate.room(count.map_or(0, |count| count.word()), now);
        let length = admission.source_prefix_bits(source);
        Some(Self { prefix: Prefix::around(source, length), unasked, validated, count })
    }

    /// Of a prefix whose clients have shown their address.
    pub(super) fn of_validated(admission: &Admission, key: &SourceKey, count: SourceCount) -> Option<Self> {
        Self::new(admission, &key.address(), [], Some(count))
    }

    pub(super) fn in_words(&self) -> String {
        let Self { prefix, unasked, validated, count } = self;
        let unasked = match unasked {
            0 => "clients are asked for their address".to_owned(),
            room => format!("{room} first flights are let through now whose clients are not asked for their address"),
        };
        let (admitted, refused) = count.map_or((0, 0), |count| (count.admitted(), count.refused()));
        format!(
            "from {prefix} (admission.new_per_source) {unasked}, and {validated} of those that have shown it; of them \
             {admitted} have come of late, and {refused} too many"
        )
    }
}

#[cfg(test)]
mod tests {
    use router_common::admission::Rate;

    use super::*;

    #[test]
    fn each_state_of_the_bucket_has_its_words() {
        let level = |of, admission, word, per_second| {
            Level { of, per_second: NonZeroU32::new(per_second), admission, word }.in_words()
        };
        let anew = Admission::default();
        let (limited, slow) = (anew.limiting(|_| Rate::per_second(1_000)), anew.limiting(|_| Rate::per_second(1)));
        for (of, key) in [
            (Limited::Unknown, "(admission.unknown), "),
            (Limited::VersionNegotiation, "(admission.version_negotiation), "),
            (Limited::New, "(admission.new_total), "),
        ] {
            assert!(level(of, anew, 0, 0).contains("are not limited: admission."));
            let free = level(of, limited, 0, 1_000);
            assert!(free.ends_with("there is room for 100 now") && free.contains(key), "{free}");
            let used = slow.rate(of).unwrap().take(0, monotonic_now()).unwrap();
            assert!(level(of, slow, used, 1).ends_with("no room for one more now"));
        }
        let from = limited.limiting_unknown_from(monotonic_now() + 8_500_000_000);
        let lifted = level(Limited::Unknown, from, 0, 1_000);
        assert!(lifted.contains("for another 9 s"), "{lifted}");
        assert!(level(Limited::VersionNegotiation, from, 0, 1_000).ends_with("room for 100 now"));
    }
}
