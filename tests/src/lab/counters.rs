//! Which counters moved, exactly.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use router_userspace::agent::api::Counters;

use super::{awaiting::until, control::Control};

/// Counters that moved, by `STAGE.COUNTER`, such as `xdp.received` or `select.flow`.
pub type Moved = BTreeMap<String, u64>;

/// The counters at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    control: Control,
    values: Moved,
}

impl Snapshot {
    /// The counters now.
    pub fn take(control: &Control) -> Result<Self> {
        Ok(Self { control: control.clone(), values: flat(&control.counters()?) })
    }

    /// Which counters have moved since.
    pub fn moved(&self) -> Result<Moved> {
        let mut now = flat(&self.control.counters()?);
        for (name, before) in &self.values {
            if let Some(value) = now.get_mut(name) {
                *value -= before;
            }
        }
        now.retain(|_, moved| *moved > 0);
        Ok(now)
    }

    /// Waits until `stage` has counted exactly so many packets of these reasons, each also
    /// as received, and none of any other.
    pub fn expect(&self, stage: &str, expected: &[(&str, u64)]) -> Result<()> {
        let received = ("received", expected.iter().map(|(_, by)| by).sum());
        let all = expected.iter().copied().chain([received]).filter(|&(_, by)| by > 0);
        let expected: Moved = all.map(|(name, by)| (format!("{stage}.{name}"), by)).collect();
        let of_stage = || {
            let mut moved = self.moved()?;
            moved.retain(|name, _| name.split('.').next() == Some(stage));
            Ok(moved)
        };
        until(of_stage, |moved| *moved == expected).with_context(|| format!("expected {expected:?}")).map(drop)
    }
}

/// Whether every stage's sum closes, and why not: its name with what it received.
pub fn open_sums(counters: &Counters) -> Vec<String> {
    let sum = |reasons: &BTreeMap<String, u64>| reasons.values().sum::<u64>();
    let open = |stage: &&router_userspace::agent::api::Stage| {
        let fates = [&stage.passed, &stage.dropped, &stage.delivered, &stage.answered, &stage.forwarded];
        stage.received != fates.into_iter().map(sum).sum::<u64>() || !stage.closes
    };
    counters.stages.iter().filter(open).map(|stage| format!("{stage:?}")).collect()
}

/// All counters, by `STAGE.COUNTER`.
pub(super) fn flat(counters: &Counters) -> Moved {
    let mut values = Moved::new();
    for stage in &counters.stages {
        values.insert(format!("{}.received", stage.name), stage.received);
        let fates = [&stage.passed, &stage.dropped, &stage.delivered, &stage.answered, &stage.forwarded];
        for (reason, &count) in fates.into_iter().flatten() {
            values.insert(format!("{}.{reason}", stage.name), count);
        }
    }
    values
}
