//! What a node has if its engine uses BPF: the loaded programs and maps, and handles on the flow table.

use std::{
    cell::RefCell,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use router_common::identifiers::SlotId;

use super::{
    api::FlowTable,
    error::{AgentError, ErrorKind, RoomError},
    flow_sweeper::{self, Lifetimes, Sweeper},
    flows::KernelFlows,
};
use crate::{
    config::Config,
    datapath::{Datapath, FlowCount, FlowReader},
    worker,
};

/// Programs, maps, and who keeps the flow table tidy. Dropping it detaches the datapath.
pub(super) struct Kernel {
    pub(super) datapath: RefCell<Datapath>,
    pub(super) flows: FlowReader,
    pub(super) entries: FlowCount,
    capacity: u64,
    full: Arc<AtomicU64>,
    swept: Arc<AtomicU64>,
    sweeper: Sweeper,
}

impl Kernel {
    pub(super) fn new(datapath: Datapath, config: &Config) -> Result<Self, AgentError> {
        let swept = Arc::<AtomicU64>::default();
        let sweeper = flow_sweeper::start(
            datapath.flow_writer()?,
            Lifetimes { idle: config.limits.idle_timeout, cid: config.connection_id.lifetime },
            Arc::clone(&swept),
        )
        .map_err(KernelError::NoSweeper)?;
        Ok(Self {
            flows: datapath.flow_reader()?,
            entries: datapath.flow_count(),
            capacity: datapath.flow_capacity(),
            datapath: RefCell::new(datapath),
            full: Arc::default(),
            swept,
            sweeper,
        })
    }

    /// How full the flow table is, for people.
    pub(super) fn flow_table_report(&self) -> FlowTable {
        FlowTable {
            entries: self.entries.get(),
            capacity: self.capacity,
            full: self.full.load(Ordering::Relaxed),
            swept: self.swept.load(Ordering::Relaxed),
        }
    }

    /// Flows stay for connections that may be silent for `idle`, or longer if it was longer before.
    pub(super) fn keep_flows_for(&self, idle: Duration) {
        self.sweeper.at_least(idle);
    }

    /// The flow table as the worker of `slot` writes it.
    pub(super) fn flow_table(&self, slot: SlotId) -> Result<Box<dyn worker::FlowTable>, AgentError> {
        Ok(Box::new(KernelFlows {
            slot,
            writer: self.datapath.borrow().flow_writer()?,
            sweeper: self.sweeper.sender(),
            full: Arc::clone(&self.full),
        }))
    }
}

/// Why a node has no kernel half, other than what the datapath says.
#[derive(Debug, thiserror::Error)]
enum KernelError {
    /// The system gives no thread.
    #[error("the sweeper cannot be started: {0}")]
    NoSweeper(io::Error),
}

impl RoomError for KernelError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Kernel
    }

    fn hint(&self) -> Option<String> {
        None
    }
}
