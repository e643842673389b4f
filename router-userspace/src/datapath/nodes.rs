//! The maps about the other nodes of a cluster.

use std::collections::{BTreeMap, BTreeSet};

use aya::maps::{Array, DevMapHash, MapData, MapError, PerCpuArray, PerCpuValues};
use router_common::{
    identifiers::{IfIndex, NodeId},
    maps::{AssignedNode, NODE_ASSIGNMENT_SIZE, NODES_MAX, NewConnections, Node, NodeCounters, NodePlace, Port, names},
    tunnel::TunnelKeys,
};

use super::{
    error::{DatapathError, Result},
    handle::Datapath,
    plain::Plain,
    size::possible_cpus,
};

impl Datapath {
    /// Tells the kernel of another node: its packets are forwarded and taken from now on, as its state says, and counted
    /// from 0 if it was not known.
    ///
    /// # Errors
    /// If there is no place for it, or the kernel refuses.
    pub fn set_node(&mut self, number: NodeId, node: Node) -> Result<()> {
        let places = self.node_places()?;
        let known = places.get(&number).copied();
        let taken: BTreeSet<_> = places.values().copied().collect();
        let free = || (0..NODES_MAX).find(|place| !taken.contains(place));
        let place = known.or_else(free).ok_or(DatapathError::TooManyNodes)?;
        if known.is_none() {
            self.clear_node_counters(place)?;
        }
        self.array(names::NODES)?.set(place, Plain(node.at(number, place)), 0)?;
        self.array(names::NODE_PLACES)?.set(number.into(), Plain(NodePlace::new(place)), 0)?;
        self.node_places()?.insert(number, place);
        Ok(())
    }

    /// Forgets a node, and what was counted of it.
    pub fn remove_node(&mut self, number: NodeId) -> Result<()> {
        let Some(place) = self.node_places()?.remove(&number) else { return Ok(()) };
        self.array(names::NODE_PLACES)?.set(number.into(), Plain(NodePlace::NONE), 0)?;
        Ok(self.array(names::NODES)?.set(place, Plain(Node::NONE), 0)?)
    }

    /// The other nodes that the kernel has, as this generation or the one before has written them.
    pub fn nodes(&mut self) -> Result<BTreeMap<NodeId, Node>> {
        let nodes: Array<_, Plain<Node>> = self.array(names::NODES)?;
        let all = (0..NODES_MAX).map(|place| Ok(nodes.get(&place, 0)?.0)).collect::<Result<Vec<_>>>()?;
        Ok(all.into_iter().filter_map(|node| Some((node.number()?, node))).collect())
    }

    /// Says how many other nodes there are; 0: no connection ID is another node's.
    pub fn set_node_count(&mut self, nodes: u32) -> Result<()> {
        self.put_settings(self.settings.with_nodes(nodes))
    }

    /// What was counted between this node and another, all CPUs added up; nothing of one that is not known.
    pub fn counters_of_node(&mut self, number: NodeId) -> Result<Option<NodeCounters>> {
        let Some(place) = self.node_places()?.get(&number).copied() else { return Ok(None) };
        let map: PerCpuArray<_, Plain<NodeCounters>> = self.map(names::NODE_COUNTERS)?.try_into()?;
        let mut sum = NodeCounters::default();
        for counters in map.get(&place, 0)?.iter() {
            sum.add(&counters.0);
        }
        Ok(Some(sum))
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

    fn clear_node_counters(&mut self, place: u32) -> Result<()> {
        let none = vec![Plain(NodeCounters::default()); possible_cpus() as usize];
        let none = PerCpuValues::try_from(none).map_err(MapError::from)?;
        let map = self.ebpf.map_mut(names::NODE_COUNTERS).ok_or(DatapathError::MissingMap(names::NODE_COUNTERS))?;
        Ok(PerCpuArray::try_from(map)?.set(place, none, 0)?)
    }

    /// The place of each node. They are read when they are first asked for: the generation before may have given them.
    fn node_places(&mut self) -> Result<&mut BTreeMap<NodeId, u32>> {
        if self.node_places.is_none() {
            let places = self.nodes()?.into_iter().map(|(number, node)| (number, node.place()));
            self.node_places = Some(places.collect());
        }
        Ok(self.node_places.get_or_insert_default())
    }

    fn devices(&mut self) -> Result<DevMapHash<&mut MapData>> {
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
