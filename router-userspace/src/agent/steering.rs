//! Which slots are taken, what state each is in, and which of them gets new connections: the one writer of it, who
//! tells the kernel and the workers alike.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    os::fd::AsFd as _,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use router_common::{
    admission::{Limited, Prefix, Rate, TokenKeys},
    frame::Address,
    identifiers::{CpuId, GenerationId, IfIndex, ListenerId, NodeId, SlotId},
    maps::{
        Admission, AssignedNode, Block, BlockAction, Listener, ListenerKey, LocalKind, Node, NodeCounters, Pressure,
        SOURCE_PORT_WORDS, Slot, SlotState, SourcePorts, Stage,
    },
    reason::Reason,
};

use super::{
    assignment::{WeightedSlot, maglev},
    blocks,
    cluster::NodeTable,
    engine,
    error::AgentError,
    kernel::Kernel,
    levels::SourceLevel,
    place::Place,
    sockets::SocketsBySlot,
};
use crate::{
    clock::monotonic_now,
    config::Config,
    datapath::Datapath,
    worker::{BlockTable, NodeList, NodeTables, udp},
};

/// The kernel's view of slots, listeners and the assignment, and the workers'.
pub(super) struct Steering {
    generation: GenerationId,
    tables: Arc<NodeTables>,
    /// None: the engine uses no BPF.
    kernel: Option<Kernel>,
    /// The CPU of each slot that this generation has taken.
    places: RefCell<BTreeMap<SlotId, CpuId>>,
    /// What this generation has told the kernel of other nodes; none: nothing, or another one may have since.
    nodes: RefCell<Option<NodeTable>>,
}

/// What else decides how slots are written.
pub(super) struct SlotContext {
    pub(super) config: Rc<Config>,
    /// Slots of other generations.
    pub(super) others: Vec<Place>,
}

impl Steering {
    /// No slot is taken yet, and no listener is there.
    pub(super) fn new(generation: GenerationId, tables: Arc<NodeTables>, kernel: Option<Kernel>) -> Self {
        Self { generation, tables, kernel, places: RefCell::default(), nodes: RefCell::default() }
    }

    /// What workers see.
    pub(super) fn tables(&self) -> &Arc<NodeTables> {
        &self.tables
    }

    pub(super) fn kernel(&self) -> Option<&Kernel> {
        self.kernel.as_ref()
    }

    /// The slots that this generation has taken, in order.
    pub(super) fn places(&self) -> Vec<Place> {
        self.places.borrow().iter().map(|(&slot, &cpu)| Place { slot, cpu }).collect()
    }

    /// The same without the CPUs.
    pub(super) fn slots(&self) -> Vec<SlotId> {
        self.places.borrow().keys().copied().collect()
    }

    /// Takes slots for workers that are about to start.
    pub(super) fn take(&self, places: &[Place], context: &SlotContext) -> Result<(), AgentError> {
        self.places.borrow_mut().extend(places.iter().map(|place| (place.slot, place.cpu)));
        for &Place { slot, cpu } in places {
            self.tables.set_slot_state(slot, SlotState::Active);
            if let Some(kernel) = &self.kernel {
                kernel.datapath.borrow_mut().open_cpu(cpu)?;
            }
        }
        self.write_slots(context)
    }

    /// Gives a slot back whose worker has ended.
    pub(super) fn free(&self, slot: SlotId, context: &SlotContext) -> Result<(), AgentError> {
        self.places.borrow_mut().remove(&slot);
        self.clear(slot)?;
        self.lift_limits_for(context.config.limits.idle_timeout)?;
        self.write_slots(context)
    }

    /// Frees slots of another generation, which has ended.
    pub(super) fn free_of_others(&self, slots: &[SlotId], context: &SlotContext) -> Result<(), AgentError> {
        slots.iter().try_for_each(|&slot| self.clear(slot))?;
        self.lift_limits_for(context.config.limits.idle_timeout)?;
        self.remove_flows_of(slots.to_vec());
        self.write_slots(context)
    }

    /// Has these slots of our own be in that state.
    pub(super) fn set_state(
        &self,
        slots: impl IntoIterator<Item = SlotId>,
        state: SlotState,
        context: &SlotContext,
    ) -> Result<(), AgentError> {
        slots.into_iter().for_each(|slot| self.tables.set_slot_state(slot, state));
        self.write_slots(context)
    }

    /// Has workers know in what state another generation's slots are: that writes the kernel's entries itself.
    pub(super) fn know_of_others(&self, slots: impl IntoIterator<Item = SlotId>, state: SlotState) {
        slots.into_iter().for_each(|slot| self.tables.set_slot_state(slot, state));
    }

    /// Tells the kernel what is in our slots: also which of them share a CPU now, and whether packets are moved to it.
    pub(super) fn write_slots(&self, context: &SlotContext) -> Result<(), AgentError> {
        let Some(kernel) = &self.kernel else { return Ok(()) };
        let places = self.places.borrow();
        let all: Vec<_> = places.values().copied().chain(context.others.iter().map(|other| other.cpu)).collect();
        let redirects =
            engine::redirects(&context.config.router, &all) && !kernel.datapath.borrow().is_generic_somewhere();
        for (&slot, &cpu) in &*places {
            let shared = if redirects { all.iter().filter(|&&other| other == cpu).count() > 1 } else { all.len() > 1 };
            let entry = Slot::new(self.tables.slot_state(slot), cpu, self.generation)
                .with_shares_cpu(shared)
                .with_redirects(redirects);
            kernel.datapath.borrow_mut().set_slot(slot, entry)?;
        }
        Ok(())
    }

    /// Spreads new connections over these slots: one write, in kernel and userspace alike.
    pub(super) fn assign(&self, active: &[SlotId]) -> Result<(), AgentError> {
        let weighted: Vec<_> = active.iter().map(|&slot| WeightedSlot { slot, weight: 1 }).collect();
        let assignment = maglev(&weighted);
        self.tables.assign(&assignment);
        if let Some(kernel) = &self.kernel {
            kernel.datapath.borrow_mut().assign(&assignment)?;
        }
        Ok(())
    }

    /// Makes these the sockets of a listener, by slot, and puts `select` in charge of their group.
    pub(super) fn connect(&self, listener: ListenerId, sockets: &SocketsBySlot) -> Result<(), AgentError> {
        let Some(kernel) = &self.kernel else { return Ok(()) };
        let mut datapath = kernel.datapath.borrow_mut();
        for (&slot, socket) in sockets {
            datapath.set_socket(&Listener::new(listener), slot, socket)?;
        }
        match sockets.values().next() {
            Some(socket) => Ok(datapath.select_for(socket.as_fd())?),
            None => Ok(()),
        }
    }

    /// Puts `select` in charge of the group of the socket of ours that has this inode.
    pub(super) fn select_for(&self, inode: u64) -> Result<(), AgentError> {
        // A worker that has ended has taken it along.
        let (Some(kernel), Some(socket)) = (&self.kernel, udp::own_socket(inode)) else { return Ok(()) };
        Ok(kernel.datapath.borrow_mut().select_for(socket.as_fd())?)
    }

    /// Brings listeners into force.
    pub(super) fn set_listeners(&self, entries: Vec<(ListenerKey, Listener)>) -> Result<(), AgentError> {
        if let Some(kernel) = &self.kernel {
            kernel.datapath.borrow_mut().set_listeners(&entries)?;
        }
        self.tables.set_listeners(entries);
        Ok(())
    }

    /// Makes these the host's addresses, and the broadcast addresses of its subnets.
    pub(super) fn set_local_addresses(&self, addresses: &BTreeMap<[u8; 16], LocalKind>) -> Result<(), AgentError> {
        let broadcast = addresses.iter().filter(|&(_, &kind)| kind == LocalKind::Broadcast);
        self.tables.set_broadcast(broadcast.map(|(octets, _)| Address::new(*octets)).collect());
        match &self.kernel {
            Some(kernel) => Ok(kernel.datapath.borrow_mut().set_local_addresses(addresses)?),
            None => Ok(()),
        }
    }

    /// Says from which ports first flights are refused.
    pub(super) fn set_source_ports(&self, ports: &[SourcePorts; SOURCE_PORT_WORDS]) -> Result<(), AgentError> {
        self.tables.set_source_ports(ports.to_vec());
        match &self.kernel {
            Some(kernel) => Ok(kernel.datapath.borrow_mut().set_source_ports(ports)?),
            None => Ok(()),
        }
    }

    /// The entries of the block list that are in the kernel, whichever generation wrote them.
    pub(super) fn blocks(&self) -> Result<Vec<(Prefix, Block)>, AgentError> {
        match &self.kernel {
            Some(kernel) => Ok(kernel.datapath.borrow_mut().blocks()?),
            None => Ok(Vec::new()),
        }
    }

    /// Tells the kernel how many entries the block list has.
    pub(super) fn set_block_count(&self, count: u32) -> Result<(), AgentError> {
        match &self.kernel {
            Some(kernel) => Ok(kernel.datapath.borrow_mut().set_block_count(count)?),
            None => Ok(()),
        }
    }

    /// Writes one of them there.
    pub(super) fn write_block(&self, write: &blocks::Write) -> Result<(), AgentError> {
        let Some(kernel) = &self.kernel else { return Ok(()) };
        let mut datapath = kernel.datapath.borrow_mut();
        match write {
            blocks::Write::Set { prefix, block, instead_of } => {
                datapath.set_block(prefix, *block)?;
                Ok(instead_of.map_or(Ok(()), |id| datapath.forget_block_hits(id))?)
            }
            blocks::Write::Remove { prefix, id } => Ok(datapath.remove_block(prefix, *id)?),
        }
    }

    /// Makes this the block list that workers see.
    pub(super) fn set_block_table(&self, table: BlockTable) {
        self.tables.set_blocks(table);
    }

    /// Packets for which entries of the block list with an action have decided, in the kernel and here.
    pub(super) fn block_total(&self, action: BlockAction) -> Result<u64, AgentError> {
        let in_kernel = match &self.kernel {
            Some(kernel) => kernel.datapath.borrow().block_total(action)?,
            None => 0,
        };
        Ok(in_kernel + self.tables.block_total(action))
    }

    /// Says how many packets of each kind are let through, and as `change` says: all buckets begin anew.
    pub(super) fn limit(
        &self,
        rates: impl Fn(Limited) -> Option<Rate>,
        change: impl FnOnce(Admission) -> Admission,
    ) -> Result<(), AgentError> {
        self.change_admission(|admission| change(admission.limiting(rates)))
    }

    /// Tells the kernel by which keys tokens are issued and honoured, and what time it is: CLOCK_MONOTONIC was at 0
    /// so many nanoseconds after 1970 began.
    pub(super) fn set_token_keys(&self, keys: &TokenKeys, unix_offset: u64) -> Result<(), AgentError> {
        if let Some(kernel) = &self.kernel {
            kernel.datapath.borrow_mut().set_token_keys(keys)?;
        }
        self.change_admission(|admission| admission.with_unix_offset(unix_offset))
    }

    /// By which keys the kernel issues tokens and honours them.
    pub(super) fn token_keys(&self) -> Option<TokenKeys> {
        self.kernel.as_ref().and_then(|kernel| kernel.datapath.borrow_mut().token_keys().ok())
    }

    /// Says whether workers have so many handshakes open that each client is to be asked for its address.
    pub(super) fn set_pressure(&self, pressure: Pressure) -> Result<(), AgentError> {
        self.change_admission(|admission| admission.pressed(pressure))
    }

    /// Lifts the limit of packets whose connection ID nothing knows for `time`: connections may have ended without notice,
    /// and their clients are told by a stateless reset, as soon as they ask.
    pub(super) fn lift_limits_for(&self, time: Duration) -> Result<(), AgentError> {
        let from = monotonic_now().saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        self.change_admission(|admission| admission.limiting_unknown_from(from))
    }

    /// What is limited, and what was let through of a kind.
    pub(super) fn admission(&self, of: Limited) -> Result<(Admission, u64), AgentError> {
        match &self.kernel {
            Some(kernel) => {
                let mut datapath = kernel.datapath.borrow_mut();
                Ok((datapath.admission()?, datapath.bucket(of as u32)?.word()))
            }
            None => Ok((self.tables.admission(), self.tables.bucket(of))),
        }
    }

    /// What the prefix of a source may send now; none if that is not limited, or no kernel program counts it.
    pub(super) fn source_level(&self, source: &Address) -> Result<Option<SourceLevel>, AgentError> {
        let Some(kernel) = &self.kernel else { return Ok(None) };
        let mut datapath = kernel.datapath.borrow_mut();
        let admission = datapath.admission()?;
        let prefix = admission.source_prefix(source);
        let cells = prefix.cells(self.tables.hash_seed()).map(|cell| datapath.sketch_cell(cell));
        let words = cells.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().map(|cell| cell.word());
        let count = datapath.source(prefix.into())?;
        Ok(SourceLevel::new(&admission, source, words, count))
    }

    /// The kernel's is the generations' common one: each changes what is there.
    fn change_admission(&self, change: impl FnOnce(Admission) -> Admission) -> Result<(), AgentError> {
        match &self.kernel {
            Some(kernel) => {
                let mut datapath = kernel.datapath.borrow_mut();
                let changed = change(datapath.admission()?);
                self.tables.set_admission(changed);
                Ok(datapath.set_admission(changed)?)
            }
            None => {
                self.tables.set_admission(change(self.tables.admission()));
                Ok(())
            }
        }
    }

    /// Makes these the other nodes of the cluster, and what is between them and this one.
    pub(super) fn set_nodes(&self, table: NodeTable) -> Result<(), AgentError> {
        self.know_of_nodes(table.clone());
        let Some(kernel) = &self.kernel else { return Ok(()) };
        let before = self.nodes.take();
        let mut writing = NodeWriting { datapath: &mut kernel.datapath.borrow_mut(), before: before.as_ref() };
        writing.write(&table)?;
        *self.nodes.borrow_mut() = Some(table);
        Ok(())
    }

    /// Has workers know of them.
    pub(super) fn know_of_nodes(&self, NodeTable { list, assignment }: NodeTable) {
        let attached = |kernel: &Kernel| !kernel.datapath.borrow().attachments().is_empty();
        let is_behind_xdp = self.kernel.as_ref().is_some_and(attached);
        // What an XDP program lets through is this node's.
        let assignment = assignment.filter(|_| !is_behind_xdp);
        let list = NodeList { assignment, is_behind_xdp, ..list };
        if **self.tables.nodes() != list {
            self.tables.set_nodes(list);
        }
    }

    /// Another generation tells the kernel from now on.
    pub(super) fn forget_nodes_of_kernel(&self) {
        self.nodes.take();
    }

    /// The other node that gets new connections with this hash where an XDP program places them.
    pub(super) fn assigned_node(&self, hash: u64) -> Option<NodeId> {
        let nodes = self.nodes.borrow();
        nodes.as_ref()?.assignment.as_ref()?.get(AssignedNode::index(0, hash) as usize)?.node()
    }

    /// Packets to the tunnel's port that a kernel program has dropped because nothing vouches for them.
    pub(super) fn tunnel_forged(&self) -> u64 {
        let Some(kernel) = &self.kernel else { return 0 };
        kernel.datapath.borrow_mut().counters(Stage::Unwrap).map_or(0, |counters| counters.get(Reason::TunnelForged))
    }

    /// What the kernel's programs counted between this node and another.
    pub(super) fn node_counters(&self, node: NodeId) -> Result<NodeCounters, AgentError> {
        match &self.kernel {
            Some(kernel) => Ok(kernel.datapath.borrow_mut().counters_of_node(node)?.unwrap_or_default()),
            None => Ok(NodeCounters::default()),
        }
    }

    /// Has `select` keep the flow entries where no XDP program does.
    pub(super) fn account_where_xdp_does_not(&self) -> Result<(), AgentError> {
        let Some(kernel) = &self.kernel else { return Ok(()) };
        let mut datapath = kernel.datapath.borrow_mut();
        let nowhere = datapath.attachments().is_empty();
        Ok(datapath.set_select_accounts(nowhere)?)
    }

    fn clear(&self, slot: SlotId) -> Result<(), AgentError> {
        self.tables.set_slot_state(slot, SlotState::Free);
        match &self.kernel {
            Some(kernel) => Ok(kernel.datapath.borrow_mut().set_slot(slot, Slot::default())?),
            None => Ok(()),
        }
    }

    /// Removes the flows of slots that are free. It walks the whole table, on a thread of its own.
    fn remove_flows_of(&self, slots: Vec<SlotId>) {
        let Some(kernel) = &self.kernel else { return };
        let handles = kernel.datapath.borrow().flow_reader().and_then(|reader| {
            let writer = kernel.datapath.borrow().flow_writer()?;
            Ok((reader, writer))
        });
        let removed = handles.map_err(std::io::Error::other).and_then(|(reader, mut writer)| {
            std::thread::Builder::new().name("clear flows".to_owned()).spawn(move || {
                let theirs: Vec<_> = reader.iter().filter(|(_, flow)| slots.contains(&flow.slot())).collect();
                theirs.into_iter().for_each(|(cid, _)| writer.remove(&cid));
            })
        });
        if let Err(e) = removed {
            tracing::warn!("flows of slots that are free stay until they are swept: {e}");
        }
    }
}

/// What the kernel is told of other nodes, as far as it differs from what it was told before.
struct NodeWriting<'a> {
    datapath: &'a mut Datapath,
    before: Option<&'a NodeTable>,
}

impl NodeWriting<'_> {
    fn write(&mut self, table: &NodeTable) -> Result<(), AgentError> {
        let (list, before) = (&table.list, self.before.map(|before| &before.list));
        // The keys first: what is taken or forwarded from now on is vouched for by them.
        if before.is_none_or(|before| before.keys != list.keys) {
            self.datapath.set_tunnel_keys(&list.keys)?;
        }
        self.write_nodes(list)?;
        if before.is_none_or(|before| before.nodes.len() != list.nodes.len()) {
            self.datapath.set_node_count(list.nodes.len() as u32)?;
        }
        if self.before.is_none_or(|before| before.assignment != table.assignment) {
            self.datapath.assign_nodes(table.assignment.as_deref())?;
        }
        if before.is_none_or(|before| before.tunnel != list.tunnel) {
            self.datapath.set_tunnel_port(list.tunnel.map(|tunnel| tunnel.port))?;
        }
        Ok(())
    }

    fn write_nodes(&mut self, list: &NodeList) -> Result<(), AgentError> {
        let nothing = BTreeMap::new();
        let before = self.before.map_or(&nothing, |before| &before.list.nodes);
        let devices = |nodes: &BTreeMap<NodeId, Node>| nodes.values().filter_map(Node::interface).collect();
        let (had, has): (BTreeSet<IfIndex>, BTreeSet<IfIndex>) = (devices(before), devices(&list.nodes));
        for &interface in has.difference(&had) {
            self.datapath.open_device(interface)?;
        }
        for (&number, &node) in list.nodes.iter().filter(|(number, node)| before.get(number) != Some(node)) {
            self.datapath.set_node(number, node)?;
        }
        for &number in before.keys().filter(|number| !list.nodes.contains_key(number)) {
            self.datapath.remove_node(number)?;
        }
        for &interface in had.difference(&has) {
            self.datapath.close_device(interface)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    fn context() -> SlotContext {
        let config = Config::parse("[[listener]]\naddress = \"127.0.0.1:4433\"\n", "test").unwrap();
        SlotContext { config: Rc::new(config), others: Vec::new() }
    }

    fn steering() -> Steering {
        Steering::new(GenerationId::new(1), Arc::new(NodeTables::for_tests()), None)
    }

    fn place(slot: u8, cpu: u32) -> Place {
        Place { slot: SlotId::new(slot), cpu: CpuId::new(cpu) }
    }

    fn states(steering: &Steering, slots: [u8; 3]) -> [SlotState; 3] {
        slots.map(|slot| steering.tables().slot_state(SlotId::new(slot)))
    }

    #[test]
    fn a_slot_is_taken_drained_and_freed() {
        use SlotState::{Active, Draining, Free};
        let (steering, context) = (steering(), context());
        steering.take(&[place(7, 1), place(5, 0)], &context).unwrap();
        assert_eq!(steering.places(), [place(5, 0), place(7, 1)]);
        assert_eq!(states(&steering, [5, 6, 7]), [Active, Free, Active]);
        steering.set_state([SlotId::new(5)], Draining, &context).unwrap();
        assert_eq!(states(&steering, [5, 6, 7]), [Draining, Free, Active]);
        steering.free(SlotId::new(5), &context).unwrap();
        assert_eq!((steering.places(), states(&steering, [5, 6, 7])), (vec![place(7, 1)], [Free, Free, Active]));
    }

    /// They are never among our own, whatever state they are in.
    #[test]
    fn slots_of_other_generations_are_known_and_freed() {
        let (steering, context) = (steering(), context());
        steering.take(&[place(7, 1)], &context).unwrap();
        let (eight, nine) = (SlotId::new(8), SlotId::new(9));
        steering.know_of_others([eight, nine], SlotState::Draining);
        assert_eq!((steering.places(), steering.tables().slot_state(nine)), (vec![place(7, 1)], SlotState::Draining));
        steering.free_of_others(&[eight, nine], &context).unwrap();
        assert_eq!((steering.places(), steering.tables().slot_state(nine)), (vec![place(7, 1)], SlotState::Free));
    }
}
