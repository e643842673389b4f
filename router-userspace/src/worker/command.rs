//! What the agent tells a worker, and the channels it comes by.

use std::{convert::Infallible, io, sync::mpsc as std_mpsc, time::Duration};

use router_common::{
    admission::Prefix,
    identifiers::{InterfaceQueue, ListenerId},
};
use tokio::sync::{mpsc, oneshot};

use super::{
    af_xdp::ReceiveQueue,
    error::WorkerError,
    plan::{ListenerConfig, ListenerSocket},
};
use crate::edge::Instructions;

/// What the agent tells a worker.
pub(super) enum Command {
    Drain {
        grace: Duration,
    },
    Undrain,
    Leave {
        grace: Duration,
    },
    Stop {
        grace: Duration,
    },
    /// Close the connections of clients in a prefix that the block list drops; answered with how many.
    CloseBlocked {
        prefix: Prefix,
        closed: oneshot::Sender<u64>,
    },
    #[cfg(debug_assertions)]
    Panic,
    Reconfigure(Instructions),
    Listen {
        listening: ListenerSocket,
        done: std_mpsc::SyncSender<io::Result<()>>,
    },
    Receive {
        id: InterfaceQueue,
        queue: Box<dyn ReceiveQueue>,
        done: std_mpsc::SyncSender<io::Result<()>>,
    },
    Release {
        id: InterfaceQueue,
    },
    Serve {
        listener: ListenerId,
        terms: ListenerConfig,
    },
    Close {
        listener: ListenerId,
        grace: Duration,
        closed: mpsc::Sender<Infallible>,
    },
}

/// The ends that the thread holds: commands come in by one, and by the other it says whether it serves.
pub(super) struct Channels {
    pub(super) commands: mpsc::UnboundedReceiver<Command>,
    pub(super) ready: std_mpsc::SyncSender<Result<(), WorkerError>>,
}
