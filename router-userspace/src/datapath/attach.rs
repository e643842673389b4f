//! Attaching `steer`: natively where the driver can, else generically, and always pinned.

use std::io;

use aya::programs::{
    ProgramError, Xdp, XdpMode,
    links::{FdLink, PinnedLink},
    xdp::XdpLink,
};

use netlink_packet_route::link::LinkLayerType;

use super::{
    error::{DatapathError, Result},
    pins::Pins,
    xdp_links::{attached_program, is_generic, link_type, neighbours},
};

/// Where the XDP program runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// In the driver.
    Native,
    /// In the stack, on socket buffers: correct, slower.
    Generic,
}

/// `steer` on an interface.
#[derive(Debug)]
pub struct Attachment {
    mode: Mode,
    program_id: u32,
    why_not_native: Option<String>,
    link: FdLink,
}

impl Attachment {
    /// Where it runs.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The kernel's ID of the program.
    pub fn program_id(&self) -> u32 {
        self.program_id
    }

    /// Why it does not run natively.
    pub fn why_not_native(&self) -> Option<&str> {
        self.why_not_native.as_deref()
    }

    /// Detaches it: the link ends with its last reference.
    pub(super) fn detach(self, interface: &str, pins: &Pins) {
        match std::fs::remove_file(pins.link(interface)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                tracing::warn!("XDP link of {interface} cannot be unpinned: {e}");
            }
            _ => {}
        }
    }

    /// Pins the link again.
    pub(super) fn pin_again(self, interface: &str, pins: &Pins) -> Result<Self> {
        let link = FdLink::from(self.link.pin(pins.link(interface))?);
        Ok(Self { link, ..self })
    }
}

/// Puts `program` in the place of the one on `interface`, in one step: no packet sees neither.
///
/// The link is the one that is pinned there; whichever program attached it, it is this one's from now on.
pub(super) fn replace(program: &mut Xdp, interface: &str, pins: &Pins) -> Result<Attachment> {
    let program_id = program.info()?.id();
    let pinned = || Ok::<_, DatapathError>(FdLink::from(PinnedLink::from_pin(pins.link(interface))?));
    let id = program.attach_to_link(XdpLink::try_from(pinned()?)?)?;
    // The link is held by its pin; a handle that is dropped here would detach nothing.
    drop(program.take_link(id)?);
    let mode = if is_generic(interface) { Mode::Generic } else { Mode::Native };
    let why_not_native = (mode == Mode::Generic).then(|| "the driver refused native XDP".to_owned());
    let link = pinned()?;
    Ok(Attachment { mode, program_id, why_not_native, link })
}

pub(super) fn attach(program: &mut Xdp, interface: &str, pins: &Pins) -> Result<Attachment> {
    let program_id = program.info()?.id();
    require_ethernet(interface)?;
    let (mode, why_not_native, id) = match program.attach(interface, XdpMode::Driver) {
        Ok(id) => (Mode::Native, None, id),
        Err(ProgramError::UnknownInterface { name }) => return Err(DatapathError::NoInterface(name)),
        Err(native) => {
            refuse_if_taken(interface)?;
            refuse_if_below(interface, &native)?;
            let native = reason(&native);
            let id = program.attach(interface, XdpMode::Skb).map_err(|generic| DatapathError::Attach {
                interface: interface.to_owned(),
                why: format!("natively: {native}; generically: {}", reason(&generic)),
            })?;
            (Mode::Generic, Some(format!("the driver refuses native XDP: {native}")), id)
        }
    };
    let link = FdLink::try_from(program.take_link(id)?)?.pin(pins.link(interface))?.into();
    Ok(Attachment { mode, program_id, why_not_native, link })
}

/// Names the program that is on the interface already, if one is.
fn refuse_if_taken(interface: &str) -> Result<()> {
    match attached_program(interface) {
        Some((id, name)) => Err(DatapathError::OtherProgram { interface: interface.to_owned(), id, name }),
        None => Ok(()),
    }
}

/// Tunnels that carry IP without a link layer (tun, wg) have frames that begin with the IP header: the
/// program would misread every one.
fn require_ethernet(interface: &str) -> Result<()> {
    match link_type(interface) {
        None | Some(LinkLayerType::Ether | LinkLayerType::Loopback) => Ok(()),
        Some(_) => Err(DatapathError::NoEthernet(interface.to_owned())),
    }
}

/// The kernel attaches nothing below an interface that has a program: to that one packets come first.
fn refuse_if_below(interface: &str, error: &ProgramError) -> Result<()> {
    let exists = os_error(error) == Some(libc::EEXIST);
    match neighbours(interface).above.into_iter().find(|above| exists && attached_program(above).is_some()) {
        Some(above) => Err(DatapathError::Below { interface: interface.to_owned(), above }),
        None => Ok(()),
    }
}

fn os_error(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return io.raw_os_error();
        }
        next = error.source();
    }
    None
}

/// The innermost cause: the kernel's own word.
fn reason(error: &ProgramError) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
