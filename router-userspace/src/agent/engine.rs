//! How packets reach the workers: the best engine that works, and why not a better one.

use std::collections::BTreeSet;

use router_common::{identifiers::CpuId, maps::FLOWS_PER_CONNECTION};

use super::{error::AgentError, options::RunOptions, takeover::TakeoverError};
use crate::{
    config::{Config, CpuMap, Engine, Router},
    datapath::{self, Datapath, DatapathError, Initial, Pins, Size, ethtool},
};

/// Loads the datapath, if the configured engine has one and it works; else why not.
///
/// # Errors
/// If an engine that was asked for by name does not work, if another agent is running, or if `bpf_dir` is
/// shared with others.
pub(super) fn load(config: &Config, initial: &Initial, options: &RunOptions) -> Result<Loaded, AgentError> {
    let router = &config.router;
    if router.engine == Engine::Userspace {
        return Ok(Loaded::none("asked for by name"));
    }
    let size = size(config);
    let loaded = Pins::take(&router.bpf_dir).and_then(|(pins, stale)| {
        if !stale.is_empty() {
            tracing::warn!("{}: removed what a crashed run left: {}", router.bpf_dir.display(), stale.join(", "));
        }
        Datapath::load(pins, &size, initial, options.kernel_log.as_deref())
    });
    match loaded {
        Ok(datapath) => Ok(Loaded { datapath: Some(datapath), why_not: None }),
        Err(e @ (DatapathError::InUse(_) | DatapathError::Shared { .. })) => Err(e.into()),
        Err(e) if router.engine == Engine::Auto => Ok(Loaded::none(&e.to_string())),
        Err(e) => Err(e.into()),
    }
}

/// Loads the datapath beside that of the generation which runs.
///
/// # Errors
/// If the configured engine has none, or it does not fit the maps there are.
pub(super) fn join(config: &Config, initial: &Initial, options: &RunOptions) -> Result<Loaded, AgentError> {
    let router = &config.router;
    if router.engine == Engine::Userspace {
        return Err(TakeoverError::WouldNotSteer.into());
    }
    let pins = Pins::share(&router.bpf_dir)?;
    let datapath = Datapath::join(pins, &size(config), initial, options.kernel_log.as_deref())?;
    Ok(Loaded { datapath: Some(datapath), why_not: None })
}

fn size(config: &Config) -> Size {
    Size { flows: config.limits.max_connections.saturating_mul(FLOWS_PER_CONNECTION), cpus: datapath::possible_cpus() }
}

/// A datapath, or why there is none.
pub(super) struct Loaded {
    pub(super) datapath: Option<Datapath>,
    pub(super) why_not: Option<String>,
}

impl Loaded {
    fn none(why_not: &str) -> Self {
        Self { datapath: None, why_not: Some(why_not.to_owned()) }
    }
}

/// Whether packets are moved to the CPUs of their workers, which are `cpus`, one for each.
pub(super) fn redirects(router: &Router, cpus: &[CpuId]) -> bool {
    let queues = |name: &String| ethtool::queues(name).map_or(1, |queues| queues.receive);
    match router.cpu_map {
        CpuMap::Always => true,
        CpuMap::Never => false,
        // Of a host's own clients the kernel loses what is moved: their checksums are not computed yet.
        CpuMap::Auto => {
            !router.interfaces.iter().any(|name| datapath::is_pair(name))
                && are_few(router.interfaces.iter().map(queues), cpus)
        }
    }
}

/// Whether the fewest receive queues of an interface are fewer than the CPUs: the kernel's stack then
/// has less of the host than the workers have.
fn are_few(queues: impl Iterator<Item = u32>, cpus: &[CpuId]) -> bool {
    let cpus = cpus.iter().collect::<BTreeSet<_>>().len();
    queues.min().is_some_and(|queues| (queues as usize) < cpus)
}

/// Whether an engine steers in XDP, where it can.
pub(super) fn uses_xdp(engine: Engine) -> bool {
    match engine {
        Engine::Auto | Engine::AfXdp | Engine::Xdp => true,
        Engine::Reuseport | Engine::Userspace => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_moved_where_queues_are_few() {
        for (queues, cpus, moved) in [
            (&[1][..], &[0][..], false),
            (&[1], &[0, 1], true),
            (&[4], &[0, 1, 0, 1], false),
            (&[8, 2], &[0, 1, 2, 3], true),
            (&[], &[0, 1], false),
        ] {
            let workers: Vec<_> = cpus.iter().copied().map(CpuId::new).collect();
            assert_eq!(are_few(queues.iter().copied(), &workers), moved, "{queues:?} queues, workers on {cpus:?}");
        }
    }
}
