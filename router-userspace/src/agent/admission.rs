//! What is turned away, by the configuration in force: told to the kernel and to the workers.

use std::{num::NonZeroU32, time::Duration};

use router_common::{
    admission::Rate,
    maps::{Admission, SourcePorts},
};

use super::{error::AgentError, steering::Steering};
use crate::{clock::monotonic_now, config::Config};

/// Brings `[admission]` into force: by the generation in charge.
pub(super) fn bring_into_force(steering: &Steering, config: &Config) {
    let admission = &config.admission;
    let source_ports = SourcePorts::refusing(&admission.reject_source_ports);
    let unknown = admission.unknown.map(NonZeroU32::get).and_then(Rate::per_second);
    let told = steering.set_source_ports(&source_ports).and_then(|()| steering.limit_unknown(unknown));
    // Writes of entries that exist into maps that exist: the kernel has no reason to refuse.
    if let Err(e) = told {
        tracing::error!("admission: {e}");
    }
}

/// A start follows an end: clients of a run before, which may have ended without notice, are to be told by a
/// stateless reset at once. None of them waits longer than the idle timeout.
pub(super) fn lift_after_start(steering: &Steering, config: &Config) -> Result<(), AgentError> {
    steering.lift_limits_for(config.limits.idle_timeout)
}

/// What the limit of packets whose connection ID nothing knows, `per_second`, says now, by the `word` of their
/// bucket.
pub(super) fn unknown_in_words((admission, word): (&Admission, u64), per_second: Option<NonZeroU32>) -> String {
    let now = monotonic_now();
    let (Some(rate), Some(per_second)) = (admission.unknown(), per_second) else {
        return "packets whose connection ID nothing knows are not limited: admission.unknown".to_owned();
    };
    let lifted = Duration::from_nanos(admission.unknown_from().saturating_sub(now));
    match rate.room(word, now) {
        _ if !lifted.is_zero() => format!(
            "connections have ended with a worker or a run before: for another {} s packets whose connection ID \
             nothing knows are not limited to {per_second} a second (admission.unknown)",
            lifted.as_secs() + 1
        ),
        0 => format!(
            "of {per_second} packets a second whose connection ID nothing knows (admission.unknown), there is no room \
             for one more now"
        ),
        room => format!(
            "of {per_second} packets a second whose connection ID nothing knows (admission.unknown), there is room for \
             {room} now"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_of_the_bucket_has_its_words() {
        let (thousand, anew) = (NonZeroU32::new(1_000), Admission::default());
        let limited = anew.limiting_unknown(Rate::per_second(1_000));
        assert!(unknown_in_words((&anew, 0), None).contains("not limited: admission.unknown"));
        assert!(unknown_in_words((&limited, 0), thousand).ends_with("there is room for 100 now"));
        let slow = anew.limiting_unknown(Rate::per_second(1));
        let used = slow.unknown().unwrap().take(0, monotonic_now()).unwrap();
        assert!(unknown_in_words((&slow, used), NonZeroU32::new(1)).ends_with("no room for one more now"));
        let lifted = unknown_in_words((&limited.limiting_from(monotonic_now() + 8_500_000_000), 0), thousand);
        assert!(lifted.contains("for another 9 s"), "{lifted}");
    }
}
