//! The loaded programs, their maps and their pins: what the agent holds on to.

use std::{collections::BTreeMap, path::Path};

use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData},
    programs::{SkReuseport, Xdp},
};
use router_common::{
    identifiers::NodeId,
    maps::{Settings, names},
};

use super::{
    attach::Attachment,
    error::{DatapathError, Result},
    flows::FlowCount,
    object::{self, KernelLog},
    pins::Pins,
    plain::{self, Plain},
};

/// The loaded programs and their maps, attached and pinned for as long as this lives.
pub struct Datapath {
    pub(super) ebpf: Ebpf,
    pub(super) pins: Pins,
    pub(super) settings: Settings,
    pub(super) attachments: BTreeMap<String, Attachment>,
    pub(super) flow_count: FlowCount,
    pub(super) tunnel_port: Option<u16>,
    /// None: they have to be read.
    pub(super) node_places: Option<BTreeMap<NodeId, u32>>,
    _kernel_log: Option<KernelLog>,
}

impl Datapath {
    /// Of loaded programs: attached to nothing, and with nothing written yet.
    pub(super) fn new(ebpf: Ebpf, kernel_log: Option<KernelLog>, pins: Pins, settings: Settings) -> Self {
        let (attachments, flow_count) = (BTreeMap::new(), FlowCount::default());
        Self {
            ebpf,
            pins,
            settings,
            attachments,
            flow_count,
            tunnel_port: None,
            node_places: None,
            _kernel_log: kernel_log,
        }
    }

    /// Says whether everything is detached and unpinned when this is dropped, or another
    /// generation has it.
    pub fn set_in_charge(&mut self, yes: bool) {
        self.pins.set_ours(yes);
        // Whoever was in charge until now has written them.
        self.node_places = None;
    }

    /// Puts back pins that were removed by others: maps, links, the directory itself; their names.
    ///
    /// # Errors
    /// If one cannot be put back.
    pub fn restore_pins(&mut self) -> Result<Vec<String>> {
        self.pins.restore_directory()?;
        let mut restored = Vec::new();
        for name in names::ALL.into_iter().filter(|name| !self.pins.map(name).exists()).collect::<Vec<_>>() {
            self.pins.pin_map(&self.ebpf, name)?;
            restored.push(name.to_owned());
        }
        let gone: Vec<_> =
            self.attachments.keys().filter(|interface| !self.pins.link(interface).exists()).cloned().collect();
        for interface in gone {
            let Some(attachment) = self.attachments.remove(&interface) else { continue };
            let attachment = attachment.pin_again(&interface, &self.pins)?;
            self.attachments.insert(interface.clone(), attachment);
            restored.push(format!("link-{interface}"));
        }
        Ok(restored)
    }

    /// Whether another file system hides the pins: no other process finds them by their path then.
    pub fn is_hidden(&self) -> bool {
        self.pins.is_hidden()
    }

    /// Where the maps are pinned.
    pub fn directory(&self) -> &Path {
        self.pins.directory()
    }

    pub(super) fn map(&self, name: &'static str) -> Result<&aya::maps::Map> {
        self.ebpf.map(name).ok_or(DatapathError::MissingMap(name))
    }

    pub(super) fn array<T: plain::Contract>(&mut self, name: &'static str) -> Result<Array<&mut MapData, Plain<T>>> {
        Ok(self.ebpf.map_mut(name).ok_or(DatapathError::MissingMap(name))?.try_into()?)
    }

    pub(super) fn hash<K: plain::Contract, V: plain::Contract>(
        &mut self,
        name: &'static str,
    ) -> Result<HashMap<&mut MapData, Plain<K>, Plain<V>>> {
        Ok(self.ebpf.map_mut(name).ok_or(DatapathError::MissingMap(name))?.try_into()?)
    }

    pub(super) fn xdp(&mut self) -> Result<&mut Xdp> {
        object::xdp(&mut self.ebpf)
    }

    pub(super) fn select(&mut self) -> Result<&mut SkReuseport> {
        object::select(&mut self.ebpf)
    }
}

impl Drop for Datapath {
    /// Detaches everything; the pins go after it. What an agent set up goes when it goes.
    fn drop(&mut self) {
        for (interface, attachment) in std::mem::take(&mut self.attachments) {
            if self.pins.are_ours() {
                attachment.detach(&interface, &self.pins);
            }
        }
    }
}
