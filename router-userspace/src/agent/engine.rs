//! How packets reach the workers: the best engine that works, and why not a better one.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::UdpSocket,
    os::fd::AsFd as _,
};

use router_common::maps::{FLOWS_PER_CONNECTION, Listener};

use super::{RunOptions, api, error::StartError};
use crate::{
    config::{Config, CpuMap, Engine, Router},
    datapath::{self, Datapath, DatapathError, Initial, Mode, Pins, Size, ethtool},
    worker::udp,
};

/// Loads the datapath, if the configured engine has one and it works; else why not.
///
/// # Errors
/// If an engine that was asked for by name does not work, if another agent is running, or if `bpf_dir` is
/// shared with others.
pub(super) fn load(config: &Config, initial: &Initial, options: &RunOptions) -> Result<Loaded, StartError> {
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
pub(super) fn join(config: &Config, initial: &Initial, options: &RunOptions) -> Result<Loaded, StartError> {
    let router = &config.router;
    if router.engine == Engine::Userspace {
        return Err(StartError::refused("takeover: router.engine is userspace: nothing steers between two processes")
            .with_hint("stop and start the agent"));
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

/// The sockets of one listener, by slot.
pub(super) type SocketsBySlot = BTreeMap<u8, UdpSocket>;

/// Puts the sockets of a listener into the maps, and `select` in charge of its group.
pub(super) fn connect(datapath: &mut Datapath, listener: &Listener, sockets: &SocketsBySlot) -> Result<(), StartError> {
    for (&slot, socket) in sockets {
        datapath.set_socket(listener, slot, socket)?;
    }
    if let Some(socket) = sockets.values().next() {
        datapath.select_for(socket.as_fd())?;
    }
    Ok(())
}

/// Puts `select` in charge of the group of the socket of ours that has this inode.
pub(super) fn select_for(datapath: &mut Datapath, inode: u64) -> Result<(), StartError> {
    // A worker that has ended has taken it along.
    let Some(socket) = udp::own_socket(inode) else { return Ok(()) };
    Ok(datapath.select_for(socket.as_fd())?)
}

/// Attaches `steer` to the interfaces, as far as the engine wants it; how packets come from each.
///
/// # Errors
/// If an interface is not there, or if XDP was asked for by name and cannot be had.
pub(super) fn attach(datapath: &mut Datapath, router: &Router) -> Result<Vec<api::Interface>, StartError> {
    let mut interfaces = Vec::new();
    if goes_by_interface(router.engine) {
        for name in lower_first(&router.interfaces, |name| datapath::neighbours(name).below) {
            interfaces.push(attach_one(datapath, &name, router.engine)?);
        }
        let place = |interface: &api::Interface| router.interfaces.iter().position(|name| *name == interface.name);
        interfaces.sort_by_key(place);
    }
    if interfaces.is_empty() {
        interfaces.push(without_interfaces(router));
    }
    Ok(interfaces)
}

/// The same names, each behind those that are below it: the kernel attaches nothing below an interface
/// that has a program.
fn lower_first(names: &[String], below: impl Fn(&str) -> Vec<String>) -> Vec<String> {
    let mut rest: Vec<_> = names.iter().map(|name| (name, below(name))).collect();
    let mut ordered = Vec::new();
    while !rest.is_empty() {
        let is_free = |(_, below): &(&String, Vec<String>)| !rest.iter().any(|(other, _)| below.contains(other));
        let next = rest.iter().position(is_free).unwrap_or(0);
        ordered.push(rest.remove(next).0.clone());
    }
    ordered
}

/// Whether packets are moved to the CPUs of their workers, which are `cpus`, one for each.
pub(super) fn redirects(router: &Router, cpus: &[u32]) -> bool {
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
fn are_few(queues: impl Iterator<Item = u32>, cpus: &[u32]) -> bool {
    let cpus = cpus.iter().collect::<BTreeSet<_>>().len();
    queues.min().is_some_and(|queues| (queues as usize) < cpus)
}

/// How packets come where no interface is steered on.
pub(super) fn without_interfaces(router: &Router) -> api::Interface {
    let why = if router.engine == Engine::Reuseport { "asked for by name" } else { "no interfaces are configured" };
    without_xdp("*", api::RunningEngine::Reuseport, why.to_owned())
}

/// Whether an engine steers in XDP, where it can.
pub(super) fn goes_by_interface(engine: Engine) -> bool {
    match engine {
        Engine::Auto | Engine::AfXdp | Engine::Xdp => true,
        Engine::Reuseport | Engine::Userspace => false,
    }
}

/// Whether XDP was asked for, and nothing else will do.
pub(super) fn wants_xdp_by_name(engine: Engine) -> bool {
    match engine {
        Engine::AfXdp | Engine::Xdp => true,
        Engine::Auto | Engine::Reuseport | Engine::Userspace => false,
    }
}

/// Attaches `steer` to an interface, or says under `auto` why packets go by the sockets there.
pub(super) fn attach_one(datapath: &mut Datapath, name: &str, engine: Engine) -> Result<api::Interface, StartError> {
    let vlan = datapath::vlan_beside_frames(name);
    if let (Engine::Auto, Some(vlan)) = (engine, &vlan) {
        return Ok(without_xdp(name, api::RunningEngine::Reuseport, vlan_beside(name, vlan)));
    }
    // Where another generation's is, it is replaced.
    match datapath.take_over(name) {
        Ok(attachment) => Ok(api::Interface {
            name: name.to_owned(),
            engine: api::RunningEngine::Xdp,
            mode: Some(match attachment.mode() {
                Mode::Native => api::XdpMode::Native,
                Mode::Generic => api::XdpMode::Generic,
            }),
            why: match (attachment.why_not_native(), vlan) {
                (Some(why), _) => Some(why.to_owned()),
                (None, vlan) => vlan.map(|vlan| vlan_beside(name, &vlan)),
            },
            program_id: Some(attachment.program_id()),
            queues: Vec::new(),
        }),
        Err(e @ DatapathError::NoInterface(_)) => Err(e.into()),
        Err(e) if engine == Engine::Auto => Ok(without_xdp(name, api::RunningEngine::Reuseport, e.to_string())),
        Err(e) => Err(e.into()),
    }
}

/// What an XDP program takes for an untagged frame may be another network's.
fn vlan_beside(name: &str, vlan: &str) -> String {
    format!(
        "the device takes VLAN tags off before XDP sees a frame, so that those of {vlan} look untagged; \
         `ethtool -K {name} rxvlan off` leaves them on"
    )
}

/// How packets come without an XDP program.
pub(super) fn without_xdp(name: &str, engine: api::RunningEngine, why: String) -> api::Interface {
    api::Interface { name: name.to_owned(), engine, mode: None, why: Some(why), program_id: None, queues: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_below_comes_first() {
        let below = |name: &str| match name {
            "bridge" => vec!["eth0".to_owned(), "eth1".to_owned()],
            "macvlan" => vec!["bridge".to_owned()],
            _ => Vec::new(),
        };
        let order = |names: &[&str]| lower_first(&names.iter().map(|name| name.to_string()).collect::<Vec<_>>(), below);
        assert_eq!(order(&["macvlan", "bridge", "lo", "eth1"]), ["lo", "eth1", "bridge", "macvlan"]);
        assert_eq!(order(&["eth0", "lo"]), ["eth0", "lo"]);
        // What is above each other in a circle, no kernel has; but it ends.
        assert_eq!(lower_first(&["a".to_owned()], |_| vec!["a".to_owned()]), ["a"]);
    }

    #[test]
    fn packets_are_moved_where_queues_are_few() {
        for (queues, cpus, moved) in [
            (&[1][..], &[0][..], false),
            (&[1], &[0, 1], true),
            (&[4], &[0, 1, 0, 1], false),
            (&[8, 2], &[0, 1, 2, 3], true),
            (&[], &[0, 1], false),
        ] {
            assert_eq!(are_few(queues.iter().copied(), cpus), moved, "{queues:?} queues, workers on {cpus:?}");
        }
    }
}
