//! The maps about the other nodes of a cluster.

use aya::maps::{DevMapHash, MapError, PerCpuHashMap};
use router_common::{
    identifiers::{IfIndex, NodeId},
    maps::{AssignedNode, NODE_ASSIGNMENT_SIZE, NewConnections, Node, NodeCounters, Port, names},
    tunnel::TunnelKeys,
};

use super::{
    error::{DatapathError, Result},
    handle::Datapath,
    plain::Plain,
};

impl Datapath {
    /// Tells the kernel of another node: its packets are forwarded and taken from now on, as its state says, and counted
    /// from 0 if it was not known.
    pub fn set_node(&mut self, number: NodeId, node: Node) -> Result<()> {
        let number = u32::from(number);
        if self.node_counters(number)?.is_none() {
            let none = vec![Plain(NodeCounters::default()); super::size::possible_cpus() as usize];
            let none = aya::maps::PerCpuValues::try_from(none).map_err(MapError::from)?;
            self.counters_of_nodes()?.insert(number, none, 0)?;
        }
        Ok(self.nodes()?.insert(number, Plain(node), 0)?)
    }

    /// Forgets a node, and what was counted of it.
    pub fn remove_node(&mut self, number: NodeId) -> Result<()> {
        absent_is_fine(self.nodes()?.remove(&number.into()))?;
        absent_is_fine(self.counters_of_nodes()?.remove(&number.into()))
    }

    /// Says how many other nodes there are; 0: no connection ID is another node's.
    pub fn set_node_count(&mut self, nodes: u32) -> Result<()> {
        self.put_settings(self.settings.with_nodes(nodes))
    }

    /// What was counted between this node and another, all CPUs added up; nothing of one that is not known.
    pub fn counters_of_node(&mut self, number: NodeId) -> Result<Option<NodeCounters>> {
        self.node_counters(number.into())
    }

    /// Brings an assignment of new connections to nodes into force: into the half not in use, then one write flips.
    /// `None`: this node keeps what it gets.
    ///
    /// `nodes` has [`NODE_ASSIGNMENT_SIZE`] entries.
    pub fn assign_nodes(&mut self, nodes: Option<&[AssignedNode]>) -> Result<()> {
        let Some(nodes) = nodes else {
            return self.put_settings(self.settings.with_new_connections(NewConnections::Local));
        };
        let half = match self.settings.new_connections() {
            NewConnections::ByHash { half } => 1 - half,
            NewConnections::Local => 0,
        };
        let base = half * NODE_ASSIGNMENT_SIZE;
        for (index, &assigned) in (base..base + NODE_ASSIGNMENT_SIZE).zip(nodes) {
            self.array(names::NODE_ASSIGNMENT)?.set(index, Plain(assigned), 0)?;
        }
        self.put_settings(self.settings.with_new_connections(NewConnections::ByHash { half }))
    }

    /// Says what vouches for packets that nodes send on to each other; secret.
    pub fn set_tunnel_keys(&mut self, keys: &TunnelKeys) -> Result<()> {
        Ok(self.array(names::TUNNEL_KEYS)?.set(0, Plain(*keys), 0)?)
    }

    /// Makes this the UDP port at which tunnels from other nodes end, and no other; `None`: none end here.
    pub fn set_tunnel_port(&mut self, port: Option<u16>) -> Result<()> {
        let before = std::mem::replace(&mut self.tunnel_port, port);
        for (port, is_tunnel) in before.map(|port| (port, false)).into_iter().chain(port.map(|port| (port, true))) {
            let there: Plain<Port> = self.array(names::PORTS)?.get(&port.into(), 0)?;
            self.array(names::PORTS)?.set(port.into(), Plain(there.0.with_tunnel(is_tunnel)), 0)?;
        }
        Ok(())
    }

    /// Whether tunnels from other nodes end here.
    pub fn ends_tunnels(&self) -> bool {
        self.tunnel_port.is_some()
    }

    /// Lets packets for other nodes be sent by an interface other than the one they came in by.
    pub fn open_device(&mut self, interface: IfIndex) -> Result<()> {
        Ok(self.devices()?.insert(interface.get(), interface.get(), None, 0)?)
    }

    /// No longer.
    pub fn close_device(&mut self, interface: IfIndex) -> Result<()> {
        absent_is_fine(self.devices()?.remove(interface.get()))
    }

    fn node_counters(&mut self, number: u32) -> Result<Option<NodeCounters>> {
        match self.counters_of_nodes()?.get(&number, 0) {
            Ok(each) => Ok(Some(each.iter().fold(NodeCounters::default(), |mut sum, counters| {
                sum.add(&counters.0);
                sum
            }))),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    fn nodes(&mut self) -> Result<aya::maps::HashMap<&mut aya::maps::MapData, u32, Plain<Node>>> {
        Ok(self.ebpf.map_mut(names::NODES).ok_or(DatapathError::MissingMap(names::NODES))?.try_into()?)
    }

    fn counters_of_nodes(&mut self) -> Result<PerCpuHashMap<&mut aya::maps::MapData, u32, Plain<NodeCounters>>> {
        let map = self.ebpf.map_mut(names::NODE_COUNTERS).ok_or(DatapathError::MissingMap(names::NODE_COUNTERS))?;
        Ok(map.try_into()?)
    }

    fn devices(&mut self) -> Result<DevMapHash<&mut aya::maps::MapData>> {
        Ok(self.ebpf.map_mut(names::DEVICES).ok_or(DatapathError::MissingMap(names::DEVICES))?.try_into()?)
    }
}

/// What is not there need not be removed.
fn absent_is_fine(result: std::result::Result<(), MapError>) -> Result<()> {
    match result {
        Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(e)) if e.io_error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        Err(e) => Err(e.into()),
    }
}
