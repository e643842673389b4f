//! Interfaces that go and come back: what was attached to them goes with them, and is attached again.

use std::{cell::RefCell, collections::BTreeMap};

use nix::net::if_::if_nametoindex;

use super::{api, engine, node::Node};

/// The interfaces that the engine goes by, as they were when they were last seen.
#[derive(Default)]
pub(super) struct Devices {
    /// By name: the kernel's number for it. None: it is not there, or nothing could be attached to it.
    known: RefCell<BTreeMap<String, Option<u32>>>,
}

impl Node {
    /// Attaches `steer` again to interfaces that were removed and are there again.
    pub(super) fn look_after_devices(&self) {
        let Some(kernel) = &self.kernel else { return };
        let names: Vec<_> =
            self.now().interfaces.iter().map(|one| one.name.clone()).filter(|name| name != "*").collect();
        self.devices.known.borrow_mut().retain(|name, _| names.contains(name));
        for name in names {
            let index = if_nametoindex(&*name).ok();
            let known = *self.devices.known.borrow_mut().entry(name.clone()).or_insert(index);
            if known == index {
                continue;
            }
            // The link to what is gone holds nothing any more.
            kernel.datapath.borrow_mut().detach(&name);
            let attached = match index {
                Some(_) => engine::attach_one(&mut kernel.datapath.borrow_mut(), &name, self.config().router.engine),
                None => Ok(engine::without_xdp(&name, "reuseport", ABSENT.to_owned())),
            };
            let interface = match attached {
                Ok(interface) => interface,
                // It may have gone again. The next look tries again.
                Err(e) => {
                    tracing::debug!("interface {name}: {e}");
                    continue;
                }
            };
            match index {
                Some(_) => tracing::info!("interface {name} is there again: engine {}", interface.engine),
                None => tracing::warn!("interface {name} is gone"),
            }
            self.devices.known.borrow_mut().insert(name, index);
            self.replace_interface(interface);
        }
    }

    /// Interfaces that are not there, one sentence each.
    pub(super) fn device_problems(&self) -> Vec<String> {
        let known = self.devices.known.borrow();
        known
            .iter()
            .filter(|(_, index)| index.is_none())
            .map(|(name, _)| format!("interface {name}: {ABSENT}"))
            .collect()
    }

    fn replace_interface(&self, interface: api::Interface) {
        self.change_now(|now| {
            now.interfaces.iter_mut().filter(|one| one.name == interface.name).for_each(|one| *one = interface.clone());
        });
        // Both hang on how the program runs there.
        if let Err(e) = self.account_where_xdp_does_not().and_then(|()| self.write_slots()) {
            tracing::error!("interface {}: {e}", interface.name);
        }
    }
}

const ABSENT: &str = "it is not there any more; when it is, packets from it are steered again";
