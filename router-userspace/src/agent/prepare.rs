//! Steps made ready beside what runs, and brought into force.
//!
//! ```text
//! sockets ─► XDP programs ─► slots, workers │ commit: listeners, assignment, queues; what is gone may end
//!            whatever can fail, fails here  │ from here on nothing fails
//! ```
//!
//! What was made ready gets no packets: it is neither in the map of listeners nor in the assignment. Dropping it
//! without a commit takes it away again.

use std::{collections::BTreeMap, mem, net::UdpSocket, rc::Rc, sync::Arc, time::Duration};

use router_common::identifiers::{ListenerId, SlotId};
use tokio::sync::mpsc;

use super::{
    drain,
    error::{AgentError, ErrorKind, RoomError},
    interfaces::{self, Attached},
    listeners,
    node::Node,
    place::Place,
    plan::Steps,
    rescan,
    serving::Next,
    sockets::{ListenerSockets, OpenedSockets},
};
use crate::{
    edge::{Edge, Instructions, ServedBy},
    telemetry::Meter,
    worker::{FlowTable, ListenerConfig, ListenerSocket, NoFlows, Plan, WorkerError},
};

/// Steps that were made ready.
pub(super) struct Prepared<'a> {
    node: &'a Rc<Node>,
    next: Next,
    steps: Steps,
    attached: Vec<Attached>,
    /// Whether slots of the workers to start were taken.
    has_slots: bool,
    is_done: bool,
}

impl<'a> Prepared<'a> {
    /// Makes `steps` ready, with `sockets` that were opened for them.
    ///
    /// # Errors
    /// What cannot be had; nothing is left of what was begun then.
    pub(super) fn new(
        node: &'a Rc<Node>,
        next: Next,
        steps: Steps,
        sockets: OpenedSockets,
    ) -> Result<Self, AgentError> {
        let mut prepared = Self { node, next, steps, attached: Vec::new(), has_slots: false, is_done: false };
        prepared.attach()?;
        prepared.add_workers(sockets)?;
        Ok(prepared)
    }

    /// What was made ready.
    pub(super) fn steps(&self) -> &Steps {
        &self.steps
    }

    /// Brings all of it into force. What the kernel refuses although it has no reason to (entries that exist, in maps
    /// that exist) is the result.
    pub(super) fn commit(mut self) -> Vec<AgentError> {
        let (node, grace) = (self.node, self.next.config.router.drain_timeout);
        self.show_interfaces();
        if let Some(kernel) = node.steering.kernel() {
            self.steps.removed.iter().for_each(|name| kernel.datapath.borrow_mut().detach(name));
        }
        rescan::rescan_devices(node);
        for listener in &self.steps.gone {
            listeners::close(node, listener.clone(), grace);
        }
        // Also where none leaves: those that were started are assigned connections, and get queues.
        let written = [
            listeners::write(node),
            drain::send_away(node, &self.steps.leaving, grace),
            node.steering.account_where_xdp_does_not(),
        ];
        written.into_iter().filter_map(Result::err).collect()
    }

    /// Leaves it as it is: a generation that is not in charge yet. If it never is, its process ends, and all that was
    /// made ready with it.
    pub(super) fn hold(mut self) {
        self.show_interfaces();
    }

    fn show_interfaces(&mut self) {
        self.is_done = true;
        let order = &self.next.config.router.interfaces;
        self.node.interfaces.replace(mem::take(&mut self.attached), &self.steps.removed, order);
    }

    fn attach(&mut self) -> Result<(), AgentError> {
        let Some(kernel) = self.node.steering.kernel() else { return Ok(()) };
        let engine = self.next.config.router.engine;
        interfaces::attach_all(&mut kernel.datapath.borrow_mut(), &self.steps.added, engine, &mut self.attached)
    }

    /// Starts new workers, and has the others listen on new listeners.
    fn add_workers(&mut self, mut sockets: OpenedSockets) -> Result<(), AgentError> {
        let (node, steps) = (self.node, &self.steps);
        self.has_slots = true;
        node.steering.take(&steps.starting, &node.slot_context())?;
        for ListenerSockets { listener, by_slot } in &sockets {
            node.serving.note_sockets(*listener, by_slot);
            node.steering.connect(*listener, by_slot)?;
        }
        let terms = self.terms();
        let part = |listener: ListenerId, socket: UdpSocket| {
            let terms = terms.get(&listener).cloned()?;
            Some(ListenerSocket { listener, socket, terms })
        };
        for place in &steps.staying {
            for ListenerSockets { listener, by_slot } in &mut sockets {
                let part = by_slot.remove(&place.slot).and_then(|socket| part(*listener, socket));
                let listens = part.map(|part| node.roster.of_slot(place.slot, |worker| worker.listen(part)));
                if let Some(Some(Err(e))) = listens {
                    return Err(PrepareError::NotListening(e).into());
                }
            }
        }
        let instructions = instructions(node, &self.next);
        for &place in &steps.starting {
            let own = sockets.iter_mut().filter_map(|ListenerSockets { listener, by_slot }| {
                by_slot.remove(&place.slot).and_then(|socket| part(*listener, socket))
            });
            let (sockets, flows) = (own.collect(), flow_table(node, place.slot)?);
            let edge = edge(instructions.clone(), place.slot, node.observability.meters().join());
            node.roster.start(Plan { slot: place.slot, cpu: place.cpu, sockets, flows, edge })?;
        }
        Ok(())
    }

    /// How connections are begun, by the numbers of the listeners.
    fn terms(&self) -> BTreeMap<ListenerId, ListenerConfig> {
        let listeners = self.steps.listeners(&self.next.config.listeners);
        listeners.iter().map(|one| one.id).zip(self.next.provision.terms.iter().cloned()).collect()
    }
}

impl Drop for Prepared<'_> {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        let node = self.node;
        // Where another generation is in charge, these were its programs, and it puts them back.
        if let (true, Some(kernel)) = (node.is_in_charge(), node.steering.kernel()) {
            self.attached.iter().for_each(|one| kernel.datapath.borrow_mut().detach(&one.name));
        }
        if !self.has_slots {
            return;
        }
        let is_there = |place: &Place| node.roster.of_slot(place.slot, |_| ()).is_some();
        let (started, taken): (Vec<_>, Vec<_>) = self.steps.starting.iter().copied().partition(is_there);
        let freed = taken.iter().map(|place| drain::free_slot(node, place.slot));
        let undone = freed.chain([drain::send_away(node, &started, Duration::ZERO)]);
        for e in undone.filter_map(Result::err) {
            tracing::error!("taking back what was begun: {e}");
        }
        for listener in &self.steps.new {
            let (closed, _) = mpsc::channel(1);
            node.roster.read(|workers| {
                workers.iter().for_each(|worker| worker.close(listener.id, Duration::ZERO, closed.clone()));
            });
            node.serving.forget_sockets_of(listener.id);
        }
    }
}

/// What workers serve requests by.
pub(super) fn instructions(node: &Node, next: &Next) -> Instructions {
    Instructions {
        config: Arc::new(next.config.as_ref().clone()),
        origins: next.provision.origins.clone(),
        access_log: node.observability.access_log(),
    }
}

fn flow_table(node: &Node, slot: SlotId) -> Result<Box<dyn FlowTable>, AgentError> {
    match node.steering.kernel() {
        Some(kernel) => kernel.flow_table(slot),
        None => Ok(Box::new(NoFlows)),
    }
}

fn edge(instructions: Instructions, slot: SlotId, meter: Arc<Meter>) -> Box<dyn FnOnce() -> Edge + Send> {
    let node = instructions.config.router.node_id;
    let description = format!("node {node}, worker {slot}, slot {slot}, process {}", std::process::id());
    Box::new(move || Edge::new(&instructions, ServedBy { slot: slot.to_string(), description }, meter))
}

/// Why steps cannot be made ready, other than what the kernel and the rooms say that are asked.
#[derive(Debug, thiserror::Error)]
enum PrepareError {
    /// A worker that stays cannot use the socket of a new listener.
    #[error("a new listener: {0}")]
    NotListening(WorkerError),
}

impl RoomError for PrepareError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Kernel
    }

    fn hint(&self) -> Option<String> {
        None
    }
}
