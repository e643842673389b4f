//! Puts `steer` on an interface as well as it can be had, and says why not better.

use super::super::error::AgentError;
use crate::{
    config::Engine,
    datapath::{self, Datapath, DatapathError, Mode},
};

/// How packets come from one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::agent) struct Attached {
    pub(in crate::agent) name: String,
    pub(in crate::agent) ingress: Ingress,
}

/// Who sees a packet first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::agent) enum Ingress {
    /// Our XDP program.
    Xdp {
        mode: Mode,
        /// The kernel's ID of it.
        program_id: u32,
        /// Why it does not run natively, or what else is not as it should be.
        why: Option<String>,
    },
    /// The kernel's stack; `select` picks the socket.
    Sockets {
        /// Why XDP does not.
        why: String,
    },
}

impl Attached {
    /// Without an XDP program.
    pub(super) fn by_sockets(name: &str, why: impl Into<String>) -> Self {
        Self { name: name.to_owned(), ingress: Ingress::Sockets { why: why.into() } }
    }

    /// Whether `steer` is on it.
    pub(in crate::agent) fn is_steered(&self) -> bool {
        matches!(self.ingress, Ingress::Xdp { .. })
    }
}

/// Attaches `steer` to interfaces, as far as the engine wants it, and adds to `attached` how packets come from each.
///
/// # Errors
/// If an interface is not there, or if XDP was asked for by name and cannot be had.
pub(in crate::agent) fn attach_all(
    datapath: &mut Datapath,
    names: &[String],
    engine: Engine,
    attached: &mut Vec<Attached>,
) -> Result<(), AgentError> {
    for name in lower_first(names, |name| datapath::neighbours(name).below) {
        attached.push(attach(datapath, &name, engine)?);
    }
    Ok(())
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

/// Attaches `steer` to an interface, or says under `auto` why packets go by the sockets there.
pub(super) fn attach(datapath: &mut Datapath, name: &str, engine: Engine) -> Result<Attached, AgentError> {
    let vlan = datapath::vlan_beside_frames(name);
    if let (Engine::Auto, Some(vlan)) = (engine, &vlan) {
        return Ok(Attached::by_sockets(name, vlan_beside(name, vlan)));
    }
    // Where another generation's is, it is replaced.
    match datapath.take_over(name) {
        Ok(attachment) => {
            let why = attachment.why_not_native().map(str::to_owned);
            let ingress = Ingress::Xdp {
                mode: attachment.mode(),
                program_id: attachment.program_id(),
                why: why.or_else(|| vlan.map(|vlan| vlan_beside(name, &vlan))),
            };
            Ok(Attached { name: name.to_owned(), ingress })
        }
        Err(e @ DatapathError::NoInterface(_)) => Err(e.into()),
        Err(e) if engine == Engine::Auto => Ok(Attached::by_sockets(name, e.to_string())),
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
}
