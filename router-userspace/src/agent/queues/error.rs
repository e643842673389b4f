//! Why a worker does not have a queue.

use std::io;

use nix::errno::Errno;

use crate::{
    agent::error::{ErrorKind, RoomError},
    datapath::{
        self,
        capabilities::{Capabilities, NET_RAW},
    },
    worker::WorkerError,
};

/// Why a queue is not had.
#[derive(Debug, thiserror::Error)]
pub(super) enum QueueError {
    /// Another socket has it, perhaps not for long.
    #[error("another socket has it")]
    Busy,
    /// What comes by AF_XDP does not meet netfilter rules that are there: their chains.
    #[error("netfilter rules would be passed by: {0}")]
    PassesNetfilter(String),
    /// A socket outside of a VRF gets nothing from its interfaces: the VRF.
    #[error("the interface belongs to the VRF {0}")]
    InVrf(String),
    /// An equal part of the memory for each of so many queues is of no use.
    #[error("af_xdp.memory is too small for {0} queues")]
    LittleMemory(u32),
    /// The socket's memory would be more than this process may lock.
    #[error(
        "the limit of locked memory (RLIMIT_MEMLOCK) has no room for a queue's; LimitMEMLOCK=infinity in the unit or \
         the capability CAP_IPC_LOCK lifts it, and less af_xdp.memory needs less"
    )]
    NoLockedMemory,
    /// The process lacks what such sockets take.
    #[error("{source}: {missing} missing")]
    NoCapability {
        /// What the kernel says.
        source: io::Error,
        /// The capability's name.
        missing: &'static str,
    },
    /// The worker that should have it is gone.
    #[error("its worker has ended")]
    WorkerEnded,
    /// Its worker does not take it.
    #[error(transparent)]
    Worker(WorkerError),
    /// The system refuses the socket.
    #[error(transparent)]
    System(io::Error),
    /// The maps do not take it.
    #[error(transparent)]
    Datapath(#[from] datapath::DatapathError),
}

impl From<io::Error> for QueueError {
    fn from(source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::ResourceBusy => Self::Busy,
            _ if source.raw_os_error() == Some(Errno::ENOBUFS as i32) => Self::NoLockedMemory,
            io::ErrorKind::PermissionDenied if !Capabilities::effective().has(&NET_RAW) => {
                Self::NoCapability { source, missing: NET_RAW.name }
            }
            _ => Self::System(source),
        }
    }
}

impl From<WorkerError> for QueueError {
    fn from(error: WorkerError) -> Self {
        match error {
            WorkerError::Socket(source) => source.into(),
            other => Self::Worker(other),
        }
    }
}

/// Why AF_XDP cannot be had where it was asked for by name.
#[derive(Debug, thiserror::Error)]
pub(in crate::agent) enum AfXdpError {
    /// Of an interface no queue can be had.
    #[error("interface {interface}: AF_XDP cannot be had: {why}")]
    NoQueue {
        /// Its name.
        interface: String,
        /// Why not the queue that was tried last.
        why: String,
    },
}

impl RoomError for AfXdpError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Kernel
    }

    fn hint(&self) -> Option<String> {
        Some("engine = \"auto\", which takes the next best; quic-router doctor says what is missing".to_owned())
    }
}
