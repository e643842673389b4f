//! What is turned away, by the configuration in force: told to the kernel and to the workers.

use std::{
    num::NonZeroU32,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use router_common::{
    admission::{Limited, Rate},
    maps::{Admission, AnsweredBy, SourcePorts},
};

use super::{error::AgentError, secrets::Secrets, steering::Steering};
use crate::{
    clock::monotonic_now,
    config::{self, AnswerInXdp, Config},
    datapath,
};

/// Brings `[admission]` into force: by the generation in charge.
pub(super) fn bring_into_force(steering: &Steering, config: &Config) {
    let admission = &config.admission;
    let source_ports = SourcePorts::refusing(&admission.reject_source_ports);
    let rate = |of| per_second(admission, of).map(NonZeroU32::get).and_then(Rate::per_second);
    let told = steering.set_source_ports(&source_ports).and_then(|()| {
        steering.limit(rate, |settings| settings.answering(answered_by(config)).challenging(admission.challenge))
    });
    // Writes of entries that exist into maps that exist: the kernel has no reason to refuse.
    if let Err(e) = told {
        tracing::error!("admission: {e}");
    }
}

/// Keeps the kernel's keys of tokens, and its time of day, those of now.
pub(super) fn keep_token_keys(steering: &Steering, secrets: &Secrets) {
    let now = SystemTime::now();
    let since_1970 = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let offset = u64::try_from(since_1970.as_nanos()).unwrap_or(u64::MAX).wrapping_sub(monotonic_now());
    // As above.
    if let Err(e) = steering.set_token_keys(&secrets.kernel_token_keys().at(now), offset) {
        tracing::error!("admission: {e}");
    }
}

/// How many packets of a kind are let through in a second; none: all of them.
pub(super) fn per_second(admission: &config::Admission, of: Limited) -> Option<NonZeroU32> {
    match of {
        Limited::Unknown => admission.unknown,
        Limited::VersionNegotiation => admission.version_negotiation,
        Limited::New => admission.new_total,
    }
}

/// Where the other end of a veth has no XDP program, the kernel loses without a word what an XDP program
/// sends back there.
fn answered_by(config: &Config) -> AnsweredBy {
    let answers = match config.admission.answer_in_xdp {
        AnswerInXdp::Always => true,
        AnswerInXdp::Never => false,
        AnswerInXdp::Auto => !config.router.interfaces.iter().any(|name| datapath::is_pair(name)),
    };
    if answers { AnsweredBy::Xdp } else { AnsweredBy::Worker }
}

/// A start follows an end: clients of a run before, which may have ended without notice, are to be told by a
/// stateless reset at once. None of them waits longer than the idle timeout.
pub(super) fn lift_after_start(steering: &Steering, config: &Config) -> Result<(), AgentError> {
    steering.lift_limits_for(config.limits.idle_timeout)
}

/// What there is of a kind that is limited: `per_second` by the configuration, and the bucket's `word`.
pub(super) struct Level {
    pub(super) of: Limited,
    pub(super) per_second: Option<NonZeroU32>,
    pub(super) admission: Admission,
    pub(super) word: u64,
}

impl Level {
    /// The limit, and what room there is now.
    pub(super) fn in_words(&self) -> String {
        let (kind, key) = match self.of {
            Limited::Unknown => ("whose connection ID nothing knows", "admission.unknown"),
            Limited::VersionNegotiation => ("of unknown versions", "admission.version_negotiation"),
            Limited::New => ("that begin connections", "admission.new_total"),
        };
        let now = monotonic_now();
        let (Some(rate), Some(per_second)) = (self.admission.rate(self.of), self.per_second) else {
            return format!("packets {kind} are not limited: {key}");
        };
        let is_lifted = self.admission.rate_at(self.of, now).is_none();
        let lifted = Duration::from_nanos(self.admission.unknown_from().saturating_sub(now));
        match rate.room(self.word, now) {
            _ if is_lifted => format!(
                "connections have ended with a worker or a run before: for another {} s packets {kind} are not limited to \
                 {per_second} a second ({key})",
                lifted.as_secs() + 1
            ),
            0 => format!("of {per_second} packets a second {kind} ({key}), there is no room for one more now"),
            room => format!("of {per_second} packets a second {kind} ({key}), there is room for {room} now"),
        }
    }
}

#[cfg(test)]
mod tests {
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
