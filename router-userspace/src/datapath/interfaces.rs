//! On which interfaces `steer` is, of this generation or of another.

use std::collections::BTreeMap;

use super::{
    attach::{self, Attachment, Mode},
    error::Result,
    handle::Datapath,
    object,
};

impl Datapath {
    /// Attaches `steer` to an interface, natively if the driver can, else generically, and
    /// pins the link.
    ///
    /// # Errors
    /// If the interface is not there, or if another XDP program is on it (named).
    pub fn attach(&mut self, interface: &str) -> Result<&Attachment> {
        let Self { ebpf, pins, .. } = self;
        let attachment = attach::attach(object::xdp(ebpf)?, interface, pins)?;
        Ok(self.attachments.entry(interface.to_owned()).or_insert(attachment))
    }

    /// Detaches `steer` from an interface.
    pub fn detach(&mut self, interface: &str) {
        if let Some(attachment) = self.attachments.remove(interface) {
            attachment.detach(interface, &self.pins);
        }
    }

    /// Interfaces to which some generation has attached `steer`.
    pub fn attached_interfaces(&self) -> Vec<String> {
        self.pins.links()
    }

    /// Puts `steer` in the place of another generation's on `interface`, in one step; or attaches
    /// it where there is none.
    pub fn take_over(&mut self, interface: &str) -> Result<&Attachment> {
        let Self { ebpf, pins, .. } = self;
        if !pins.link(interface).exists() {
            return self.attach(interface);
        }
        let attachment = attach::replace(object::xdp(ebpf)?, interface, pins)?;
        Ok(self.attachments.entry(interface.to_owned()).or_insert(attachment))
    }

    /// Detaches another generation's `steer` from an interface that is not ours.
    pub fn detach_other(&mut self, interface: &str) {
        // It goes with its last reference, and that is the other generation's until it ends.
        if let Err(e) = std::fs::remove_file(self.pins.link(interface)) {
            tracing::warn!("XDP link of {interface} cannot be unpinned: {e}");
        }
    }

    /// Where `steer` is attached, by interface.
    pub fn attachments(&self) -> &BTreeMap<String, Attachment> {
        &self.attachments
    }

    /// Whether `steer` is attached generically to an interface: from there the kernel loses what is
    /// redirected through the CPU map.
    pub fn is_generic_somewhere(&self) -> bool {
        self.attachments.values().any(|attachment| attachment.mode() == Mode::Generic)
    }
}
