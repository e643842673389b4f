//! What a service manager is told (sd_notify(3)): that the agent is ready, reloads, stops, lives,
//! and which process it is. Without one nothing is said.

use std::{
    cell::Cell,
    env,
    time::{Duration, Instant},
};

use sd_notify::NotifyState;

/// The service manager that has started this generation, or one before it.
pub(super) struct ServiceManager {
    watchdog: Option<Duration>,
    told: Cell<Option<Instant>>,
}

impl ServiceManager {
    /// The one that the environment names, if it means this process.
    pub(super) fn of_environment() -> Self {
        let is_meant = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        if is_meant { Self::inherited() } else { Self { watchdog: None, told: Cell::default() } }
    }

    /// The one that the environment names, which is that of the generation before.
    pub(super) fn inherited() -> Self {
        Self { watchdog: number("WATCHDOG_USEC").map(Duration::from_micros), told: Cell::default() }
    }

    /// The agent serves: also after a reload, and after a takeover.
    pub(super) fn ready(&self, status: &str) {
        // The process is said each time: a generation that has taken over is not the one that was started.
        say(&[NotifyState::Ready, NotifyState::MainPid(std::process::id()), NotifyState::Status(status)]);
    }

    /// The configuration is read again; [`ready`](Self::ready) has to follow.
    pub(super) fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => say(&[NotifyState::Reloading, now]),
            Err(e) => tracing::debug!("service manager: {e}"),
        }
    }

    /// The agent is about to end.
    pub(super) fn stopping(&self) {
        say(&[NotifyState::Stopping]);
    }

    /// The agent lives. To be called often; said as often as was asked for.
    pub(super) fn alive(&self) {
        let Some(watchdog) = self.watchdog else { return };
        if self.told.get().is_none_or(|told| told.elapsed() >= watchdog / 3) {
            self.told.set(Some(Instant::now()));
            say(&[NotifyState::Watchdog]);
        }
    }
}

/// The number in a variable of the environment.
fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

fn say(states: &[NotifyState<'_>]) {
    if let Err(e) = sd_notify::notify(false, states) {
        tracing::debug!("service manager: {e}");
    }
}
