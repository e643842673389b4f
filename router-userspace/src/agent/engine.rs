//! How packets reach the workers: the best engine that works, and why not a better one.

use std::{collections::BTreeMap, net::UdpSocket};

use router_common::maps::{FLOWS_PER_CONNECTION, Listener};

use super::{RunOptions, api, error::StartError};
use crate::{
    config::{Config, Engine, Router},
    datapath::{self, Datapath, DatapathError, Initial, Mode, Pins, Size},
};

/// Loads the datapath, if the configured engine has one and it works; else why not.
///
/// # Errors
/// If an engine that was asked for by name does not work, or if another agent is running.
pub(super) fn load(config: &Config, initial: &Initial, options: &RunOptions) -> Result<Loaded, StartError> {
    let router = &config.router;
    if router.engine == Engine::Userspace {
        return Ok(Loaded::none("asked for by name"));
    }
    let size = Size {
        flows: config.limits.max_connections.saturating_mul(FLOWS_PER_CONNECTION),
        cpus: datapath::possible_cpus(),
    };
    let loaded = Pins::take(&router.bpf_dir).and_then(|(pins, stale)| {
        if !stale.is_empty() {
            tracing::warn!("{}: removed what a crashed run left: {}", router.bpf_dir.display(), stale.join(", "));
        }
        Datapath::load(pins, &size, initial, options.kernel_log.as_deref())
    });
    match loaded {
        Ok(datapath) => Ok(Loaded { datapath: Some(datapath), why_not: None }),
        Err(e @ DatapathError::InUse(_)) => Err(e.into()),
        Err(e) if router.engine == Engine::Auto => Ok(Loaded::none(&e.to_string())),
        Err(e) => Err(e.into()),
    }
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
        datapath.select_for(std::os::fd::AsFd::as_fd(socket))?;
    }
    Ok(())
}

/// Attaches `steer` to the interfaces, as far as the engine wants it; how packets come from each.
///
/// # Errors
/// If an interface is not there, or if XDP was asked for by name and cannot be had.
pub(super) fn attach(datapath: &mut Datapath, router: &Router) -> Result<Vec<api::Interface>, StartError> {
    let mut interfaces = Vec::new();
    if goes_by_interface(router.engine) {
        for name in &router.interfaces {
            interfaces.push(attach_one(datapath, name, router.engine)?);
        }
    }
    if interfaces.is_empty() {
        interfaces.push(without_interfaces(router));
    }
    Ok(interfaces)
}

/// How packets come where no interface is steered on.
pub(super) fn without_interfaces(router: &Router) -> api::Interface {
    let why = if router.engine == Engine::Reuseport { "asked for by name" } else { "no interfaces are configured" };
    without_xdp("*", "reuseport", why.to_owned())
}

/// Whether an engine steers in XDP, where it can.
pub(super) fn goes_by_interface(engine: Engine) -> bool {
    match engine {
        Engine::Auto | Engine::AfXdp | Engine::Xdp => true,
        Engine::Reuseport | Engine::Userspace => false,
    }
}

pub(super) fn attach_one(datapath: &mut Datapath, name: &str, engine: Engine) -> Result<api::Interface, StartError> {
    match datapath.attach(name) {
        Ok(attachment) => Ok(api::Interface {
            name: name.to_owned(),
            engine: "xdp".to_owned(),
            mode: Some(
                match attachment.mode() {
                    Mode::Native => "native",
                    Mode::Generic => "generic",
                }
                .to_owned(),
            ),
            why: attachment.why_not_native().map(str::to_owned),
            program_id: Some(attachment.program_id()),
        }),
        Err(e @ DatapathError::NoInterface(_)) => Err(e.into()),
        Err(e) if engine == Engine::Auto => Ok(without_xdp(name, "reuseport", e.to_string())),
        Err(e) => Err(e.into()),
    }
}

/// How packets come without an XDP program.
pub(super) fn without_xdp(name: &str, engine: &str, why: String) -> api::Interface {
    api::Interface { name: name.to_owned(), engine: engine.to_owned(), mode: None, why: Some(why), program_id: None }
}
