//! Why a worker does not have a queue.

use std::io;

use nix::errno::Errno;

use crate::datapath::{
    self,
    capabilities::{Capabilities, NET_RAW},
};

/// Why a queue is not had.
pub(super) enum QueueError {
    /// Another socket has it, perhaps not for long.
    Busy,
    Refused(String),
}

impl From<io::Error> for QueueError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ResourceBusy => Self::Busy,
            _ if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => Self::Refused(NO_LOCKED_MEMORY.to_owned()),
            io::ErrorKind::PermissionDenied if !Capabilities::effective().has(&NET_RAW) => {
                Self::Refused(format!("{error}: {} missing", NET_RAW.name))
            }
            _ => Self::Refused(error.to_string()),
        }
    }
}

impl From<datapath::DatapathError> for QueueError {
    fn from(error: datapath::DatapathError) -> Self {
        Self::Refused(error.to_string())
    }
}

const NO_LOCKED_MEMORY: &str = "the limit of locked memory (RLIMIT_MEMLOCK) has no room for a queue's; LimitMEMLOCK=infinity \
                                in the unit or the capability CAP_IPC_LOCK lifts it, and less af_xdp.memory needs less";
