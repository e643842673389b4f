//! What is turned away, by the configuration in force: told to the kernel and to the workers.

use std::{
    num::NonZeroU32,
    time::{SystemTime, UNIX_EPOCH},
};

use router_common::{
    admission::{Challenge, Limited, Rate},
    maps::{AnsweredBy, PerSource, Pressure, SourcePorts},
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
        steering.limit(rate, |settings| {
            let settings = settings.answering(answered_by(config)).challenging(admission.challenge);
            settings.limiting_sources(per_source(admission))
        })
    });
    // Writes of entries that exist into maps that exist: the kernel has no reason to refuse.
    if let Err(e) = told {
        tracing::error!("admission: {e}");
    }
}

/// Has the XDP program ask each client for its address: a worker has half of the handshakes open that it has room for.
/// Where a worker asks, it does so by itself.
pub(super) fn press(steering: &Steering) {
    let admission = steering.tables().admission();
    if admission.answers() && admission.challenge() == Challenge::Auto {
        set_pressure(steering, Pressure::High);
        tracing::warn!("a worker has half of limits.max_handshakes open: XDP asks each client for its address");
    }
}

/// Has it no longer do so, where no worker has more than a quarter open: `most` is what one of them has.
pub(super) fn relieve(steering: &Steering, most: u64, config: &Config) {
    let is_high = steering.tables().admission().pressure() == Pressure::High;
    if is_high && most < u64::from(config.limits.max_handshakes.div_ceil(4)) {
        set_pressure(steering, Pressure::Low);
        tracing::info!("workers have room for handshakes again: clients are asked as admission.challenge says");
    }
}

fn set_pressure(steering: &Steering, pressure: Pressure) {
    // As above.
    if let Err(e) = steering.set_pressure(pressure) {
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

/// What one prefix of addresses may send; none: anything.
fn per_source(admission: &config::Admission) -> Option<PerSource> {
    let rate = Rate::with_burst(admission.new_per_source?.get(), admission.new_per_source_burst)?;
    Some(PerSource { rate, prefix4: admission.source_prefix4, prefix6: admission.source_prefix6 })
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
