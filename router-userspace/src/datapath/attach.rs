//! Attaching `steer`: natively where the driver can, else generically, and always pinned.

use aya::programs::{
    ProgramError, Xdp, XdpMode,
    links::{FdLink, PinnedLink},
    xdp::XdpLink,
};

use super::{
    error::{DatapathError, Result},
    pins::Pins,
    xdp_links::{attached_program, is_generic},
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
    link: PinnedLink,
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

    pub(super) fn detach(self) {
        if let Err(e) = self.link.unpin() {
            tracing::warn!("XDP link cannot be unpinned: {e}");
        }
    }
}

/// Puts `program` in the place of the one on `interface`, in one step: no packet sees neither.
///
/// The link is the one that is pinned there; whoever attached it, it is this one's from now on.
pub(super) fn replace(program: &mut Xdp, interface: &str, pins: &Pins) -> Result<Attachment> {
    let program_id = program.info()?.id();
    let pinned = || Ok::<_, DatapathError>(FdLink::from(PinnedLink::from_pin(pins.link(interface))?));
    let id = program.attach_to_link(XdpLink::try_from(pinned()?)?)?;
    // The link is held by its pin; a handle that is dropped here would detach nothing.
    drop(program.take_link(id)?);
    let mode = if is_generic(interface) { Mode::Generic } else { Mode::Native };
    let why_not_native = (mode == Mode::Generic).then(|| "the driver refused native XDP".to_owned());
    let link = PinnedLink::from_pin(pins.link(interface))?;
    Ok(Attachment { mode, program_id, why_not_native, link })
}

pub(super) fn attach(program: &mut Xdp, interface: &str, pins: &Pins) -> Result<Attachment> {
    let program_id = program.info()?.id();
    let (mode, why_not_native, id) = match program.attach(interface, XdpMode::Driver) {
        Ok(id) => (Mode::Native, None, id),
        Err(ProgramError::UnknownInterface { name }) => return Err(DatapathError::NoInterface(name)),
        Err(native) => {
            refuse_if_taken(interface)?;
            let native = reason(&native);
            let id = program.attach(interface, XdpMode::Skb).map_err(|generic| DatapathError::Attach {
                interface: interface.to_owned(),
                why: format!("natively: {native}; generically: {}", reason(&generic)),
            })?;
            (Mode::Generic, Some(format!("the driver refuses native XDP: {native}")), id)
        }
    };
    let link = FdLink::try_from(program.take_link(id)?)?.pin(pins.link(interface))?;
    Ok(Attachment { mode, program_id, why_not_native, link })
}

/// Names the program that is on the interface already, if one is.
fn refuse_if_taken(interface: &str) -> Result<()> {
    match attached_program(interface) {
        Some((id, name)) => Err(DatapathError::OtherProgram { interface: interface.to_owned(), id, name }),
        None => Ok(()),
    }
}

/// The innermost cause: the kernel's own word.
fn reason(error: &ProgramError) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
