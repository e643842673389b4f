//! What the kernel refuses, in words for the operator.

use std::{io, path::PathBuf};

use aya::{
    EbpfError,
    maps::{MapError, xdp::XdpMapError},
    pin::PinError,
    programs::{ProgramError, links::LinkError},
};

use router_common::maps::NODES_MAX;

use super::capabilities::Capabilities;

/// A datapath's result.
pub type Result<T> = std::result::Result<T, DatapathError>;

/// Why the datapath cannot do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum DatapathError {
    /// The pin directory is not on a bpffs.
    #[error("{0} is not on a bpffs")]
    NoBpffs(PathBuf),
    /// Another agent holds the pin directory.
    #[error("{0} belongs to another agent that is running")]
    InUse(PathBuf),
    /// The pin directory is not this agent's alone.
    #[error("{directory} is shared with others: {with}")]
    Shared {
        /// Which.
        directory: PathBuf,
        /// What shows it.
        with: String,
    },
    /// The maps that are pinned have another form.
    #[error("the maps in {directory} are of schema {found}, this program's of schema {ours}")]
    Schema {
        /// Where they are.
        directory: PathBuf,
        /// Theirs; 0 if not even that can be read.
        found: u32,
        /// Ours.
        ours: u32,
    },
    /// The maps that are pinned are another node's, or another state folder's.
    #[error("the maps in {0} belong to another node: node_id, connection_id.length or the master secret differ")]
    OtherNode(PathBuf),
    /// A file or folder could not be made, locked or removed.
    #[error("{path}: {source}")]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kernel does not let this process use BPF; the capabilities it lacks, if it is that.
    #[error("this process may not load BPF programs{}", missing(.0))]
    NotPermitted(Vec<&'static str>),
    /// No such interface.
    #[error("interface {0}: there is none of this name")]
    NoInterface(String),
    /// Another XDP program is on the interface.
    #[error("interface {interface}: another XDP program is attached: id {id}, name {name:?}")]
    OtherProgram {
        /// The interface.
        interface: String,
        /// The kernel's ID of the program.
        id: u32,
        /// Its name.
        name: String,
    },
    /// Frames of the interface do not begin with an Ethernet header.
    #[error(
        "interface {0}: its packets have no Ethernet header (tun, WireGuard and the like), which XDP programs read"
    )]
    NoEthernet(String),
    /// An interface above it has a program already.
    #[error(
        "interface {interface}: {above}, which is above it, has an XDP program, and the kernel wants the lower one first"
    )]
    Below {
        /// The interface.
        interface: String,
        /// Which is above.
        above: String,
    },
    /// The interface takes XDP neither natively nor generically.
    #[error("interface {interface}: XDP cannot be attached: {why}")]
    Attach {
        /// The interface.
        interface: String,
        /// Both refusals.
        why: String,
    },
    /// The object lacks a map of the contract.
    #[error("the eBPF object has no map {0:?}")]
    MissingMap(&'static str),
    /// The object lacks a program.
    #[error("the eBPF object has no program {0:?}")]
    MissingProgram(&'static str),
    /// The object cannot be loaded.
    #[error("loading the eBPF object: {}", chain(.0))]
    Load(#[from] EbpfError),
    /// A program was refused.
    #[error("eBPF program: {}", chain(.0))]
    Program(#[from] ProgramError),
    /// A map operation was refused.
    #[error("eBPF map: {}", chain(.0))]
    Map(#[from] MapError),
    /// A CPU-map operation was refused.
    #[error("CPU map: {}", chain(.0))]
    CpuMap(#[from] XdpMapError),
    /// The place of a queue in the maps is another interface's.
    #[error("another interface, whose index differs by a multiple of 64, has its place in the map")]
    NoPlace,
    /// The maps know as many other nodes as they have room for.
    #[error("there is room for {NODES_MAX} other nodes")]
    TooManyNodes,
    /// A pin was refused.
    #[error("pinning: {}", chain(.0))]
    Pin(#[from] PinError),
    /// A link was refused.
    #[error("XDP link: {}", chain(.0))]
    Link(#[from] LinkError),
    /// The kernel's diagnostics cannot be read.
    #[error("kernel log: {0}")]
    KernelLog(String),
}

impl DatapathError {
    /// The way out, where there is one.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoBpffs(_) => Some("mount -t bpf bpf /sys/fs/bpf".to_owned()),
            Self::Shared { directory, .. } => {
                Some(format!("a folder below it as bpf_dir: {}", directory.join("quic-router").display()))
            }
            Self::InUse(path) => Some(format!("another bpf_dir than {}, or stop that agent", path.display())),
            Self::NotPermitted(_) => Some(
                "running as root, or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON; or engine = \"userspace\"".to_owned(),
            ),
            Self::NoInterface(_) => Some("ip link show".to_owned()),
            Self::OtherProgram { interface, .. } => {
                Some(format!("`ip link set dev {interface} xdp off` if nothing needs it, or engine = \"reuseport\""))
            }
            Self::Schema { .. } | Self::OtherNode(_) => {
                Some("stop and start the agent: an upgrade in place is not possible between these versions".to_owned())
            }
            Self::NoEthernet(_) => Some("engine = \"reuseport\", or an interface below the tunnel".to_owned()),
            Self::Below { .. } => Some("stop and start the agent, which attaches to the lower one first".to_owned()),
            Self::Attach { .. } => Some("engine = \"reuseport\", which needs no XDP".to_owned()),
            _ => None,
        }
    }

    /// The same, told as a missing permission if that is what is behind it.
    pub(super) fn or_not_permitted(self) -> Self {
        let missing = Capabilities::effective().missing_for_bpf();
        // Without CAP_PERFMON it is the verifier that refuses, and its reasons are beside the point.
        let verifier = if missing.is_empty() { Verifier::HasReasons } else { Verifier::LacksPermission };
        if is_permission(&self, verifier) { Self::NotPermitted(missing) } else { self }
    }
}

fn missing(capabilities: &[&str]) -> String {
    if capabilities.is_empty() { String::new() } else { format!(": {} missing", capabilities.join(" and ")) }
}

/// Why the verifier refuses what it refuses.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verifier {
    HasReasons,
    LacksPermission,
}

fn is_permission(error: &(dyn std::error::Error + 'static), verifier: Verifier) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        // The verifier says no by the same number, and then says more.
        if let Some(ProgramError::LoadError { verifier_log, .. }) = error.downcast_ref()
            && !verifier_log.to_string().is_empty()
            && verifier == Verifier::HasReasons
        {
            return false;
        }
        if let Some(io) = error.downcast_ref::<io::Error>()
            && io.kind() == io::ErrorKind::PermissionDenied
        {
            return true;
        }
        next = error.source();
    }
    false
}

/// An error and what is behind it, in one line; a verifier's log is cut to its last words.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let source_text = source.to_string();
        if !text.contains(&source_text) {
            text.push_str(": ");
            text.push_str(&source_text);
        }
        next = source.source();
    }
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    match lines.len() {
        0..=6 => lines.join("; "),
        // The verifier ends with three lines of statistics; what it objects to stands before them.
        n => format!("{}; ...; {}", lines[0], lines[n - 5..].join("; ")),
    }
}
