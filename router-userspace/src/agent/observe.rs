//! What there is, at one moment: plain data, gathered in one pass.
//!
//! The answers of the control socket ([`views`](super::views)) and the metrics page ([`metrics`](super::metrics)) are
//! pure functions of it, so that each can be tested without a node.

use std::{
    collections::HashMap,
    time::{Duration, Instant, SystemTime},
};

use router_common::{
    identifiers::{CpuId, GenerationId, SlotId},
    maps::{BlockAction, Counters, SlotCounters, SlotState, Stage},
};
use tokio::task::spawn_blocking;

use super::{
    api::{self, Totals},
    cluster,
    interfaces::{Attached, Ingress},
    kernel::Kernel,
    node::Node,
    serving_report,
    sockets::SocketInfo,
    takeover, turns,
};
use crate::{
    config::{Engine, Router},
    datapath::{DatapathError, Mode},
    worker::{Worker, udp},
};

/// All that is known of a node.
pub(super) struct Observed {
    pub(super) generation: GenerationId,
    pub(super) generations: Vec<api::Generation>,
    pub(super) node_id: u16,
    pub(super) started: SystemTime,
    pub(super) uptime_seconds: u64,
    pub(super) workers: Vec<ObservedWorker>,
    /// What the workers that have ended had counted.
    pub(super) departed: Totals,
    pub(super) sockets: Vec<SocketInfo>,
    /// Datagrams that the kernel dropped at all sockets that this agent had.
    pub(super) socket_drops: u64,
    pub(super) interfaces: Vec<api::Interface>,
    pub(super) listeners: Vec<api::Listener>,
    /// None: the engine uses no BPF.
    pub(super) kernel: Option<ObservedKernel>,
    /// Entries of the block list, by action.
    pub(super) blocks: Vec<ObservedBlocks>,
    pub(super) memory: api::Memory,
    pub(super) cluster: Option<api::Cluster>,
    /// What came to the tunnel's socket; none: there is no cluster.
    pub(super) tunnel: Option<Counters>,
    pub(super) connection_ids: Vec<api::CidConfiguration>,
    pub(super) upstreams: Vec<api::UpstreamServer>,
    pub(super) certificates: Vec<api::Certificate>,
    /// The longest turn of the agent's thread so far, in the processor's time.
    pub(super) longest_turn: Duration,
    /// What the components say is wrong, one sentence each.
    pub(super) troubles: Vec<String>,
}

/// A worker.
pub(super) struct ObservedWorker {
    pub(super) slot: SlotId,
    pub(super) cpu: CpuId,
    pub(super) is_running: bool,
    /// Whether it has been told to end.
    pub(super) is_stopping: bool,
    pub(super) slot_state: SlotState,
    /// Until its connections are closed, if it drains.
    pub(super) seconds_left: Option<u64>,
    /// With the drops that the kernel counted for its sockets.
    pub(super) totals: Totals,
}

/// Entries of the block list that have an action.
#[derive(Clone, Debug)]
pub(super) struct ObservedBlocks {
    pub(super) action: BlockAction,
    pub(super) entries: u64,
    /// Packets for which they decided, and those that are gone; none where the kernel does not say.
    pub(super) hits: Option<u64>,
}

/// What the kernel's half says.
pub(super) struct ObservedKernel {
    pub(super) flow_table: api::FlowTable,
    /// Why not, where the kernel refuses.
    pub(super) counters: Result<KernelCounters, DatapathError>,
}

/// What the kernel's programs have counted.
pub(super) struct KernelCounters {
    /// None: no program is attached to an interface.
    pub(super) xdp: Option<Counters>,
    /// None: no tunnel ends at one.
    pub(super) unwrap: Option<Counters>,
    pub(super) select: Counters,
    pub(super) slots: Vec<(SlotId, SlotCounters)>,
}

/// Looks at everything. The tables of the kernel that are long are read on another thread.
pub(super) async fn observe(node: &Node) -> Observed {
    // As long as the host has sockets.
    let drops = spawn_blocking(udp::drops).await.unwrap_or_default();
    let (config, provision) = (node.serving.config(), node.serving.provision());
    let sockets = node.serving.sockets().clone();
    let of_ours = sockets.iter().map(|socket| (socket.inode, drops.get(&socket.inode).copied().unwrap_or(0)));
    let socket_drops = node.observability.socket_drops(of_ours.collect());
    Observed {
        generation: node.generation,
        generations: takeover::describe(node),
        node_id: config.router.node_id,
        started: node.observability.started(),
        uptime_seconds: node.started.elapsed().as_secs(),
        workers: workers(node, &sockets, &drops),
        departed: node.roster.departed(),
        sockets,
        socket_drops,
        interfaces: interfaces(node, &config.router),
        listeners: serving_report::listeners(&node.serving),
        kernel: node.steering.kernel().map(|kernel| observe_kernel(kernel, &node.steering.slots())),
        blocks: node.blocks.totals().map(|(action, entries)| blocks(node, action, entries)).into(),
        memory: serving_report::memory(&provision),
        cluster: cluster::describe(node),
        tunnel: node.cluster.as_ref().map(|cluster| cluster.tunnel().counts().received),
        connection_ids: node.keys.describe(),
        upstreams: serving_report::upstream_servers(&provision),
        certificates: serving_report::certificates(&config, &provision),
        longest_turn: turns::longest(),
        troubles: troubles(node, &config.router),
    }
}

fn workers(node: &Node, sockets: &[SocketInfo], drops: &HashMap<u64, u64>) -> Vec<ObservedWorker> {
    let observe = |worker: &Worker| {
        let own = sockets.iter().filter(|socket| socket.slot == worker.slot());
        let socket_drops = own.filter_map(|socket| drops.get(&socket.inode)).sum();
        let seconds = |end: Instant| end.saturating_duration_since(Instant::now()).as_secs();
        ObservedWorker {
            slot: worker.slot(),
            cpu: worker.cpu(),
            is_running: worker.is_running(),
            is_stopping: worker.is_stopping(),
            slot_state: node.steering.tables().slot_state(worker.slot()),
            seconds_left: worker.drains_until().map(seconds),
            totals: Totals { socket_drops, ..worker.stats().totals() },
        }
    };
    node.roster.read(|workers| workers.iter().map(observe).collect())
}

fn blocks(node: &Node, action: BlockAction, entries: u64) -> ObservedBlocks {
    let hits = node.steering.block_total(action).inspect_err(|e| tracing::warn!("block list: {e}")).ok();
    ObservedBlocks { action, entries, hits }
}

fn observe_kernel(kernel: &Kernel, slots: &[SlotId]) -> ObservedKernel {
    ObservedKernel { flow_table: kernel.flow_table_report(), counters: counters(kernel, slots) }
}

fn counters(kernel: &Kernel, slots: &[SlotId]) -> Result<KernelCounters, DatapathError> {
    let mut datapath = kernel.datapath.borrow_mut();
    let is_attached = !datapath.attachments().is_empty();
    let xdp = if is_attached { Some(datapath.counters(Stage::Xdp)?) } else { None };
    let unwrap = match is_attached && datapath.ends_tunnels() {
        true => Some(datapath.counters(Stage::Unwrap)?),
        false => None,
    };
    let select = datapath.counters(Stage::Select)?;
    let of_slot = |&slot: &SlotId| datapath.slot_counters(slot).map(|counters| (slot, counters));
    Ok(KernelCounters { xdp, unwrap, select, slots: slots.iter().map(of_slot).collect::<Result<_, _>>()? })
}

/// How packets come from each interface; one row for all, called `*`, where the engine does not go by interface.
pub(super) fn interfaces(node: &Node, router: &Router) -> Vec<api::Interface> {
    let attached = node.interfaces.all();
    let mut interfaces: Vec<_> = attached.iter().map(interface).collect();
    for interface in &mut interfaces {
        node.queues.complete(interface, router.cpu_map);
    }
    if interfaces.is_empty() {
        let (engine, why) = match &node.why_userspace {
            Some(why) => (api::RunningEngine::Userspace, why.as_str()),
            None if router.engine == Engine::Reuseport => (api::RunningEngine::Reuseport, "asked for by name"),
            None => (api::RunningEngine::Reuseport, "no interfaces are configured"),
        };
        interfaces.push(by_sockets("*", engine, why));
    }
    interfaces
}

/// How packets come from one interface, for people.
pub(super) fn interface(attached: &Attached) -> api::Interface {
    match &attached.ingress {
        Ingress::Xdp { mode, program_id, why } => api::Interface {
            name: attached.name.clone(),
            engine: api::RunningEngine::Xdp,
            mode: Some(match mode {
                Mode::Native => api::XdpMode::Native,
                Mode::Generic => api::XdpMode::Generic,
            }),
            why: why.clone(),
            program_id: Some(*program_id),
            queues: Vec::new(),
        },
        Ingress::Sockets { why } => by_sockets(&attached.name, api::RunningEngine::Reuseport, why),
    }
}

fn by_sockets(name: &str, engine: api::RunningEngine, why: &str) -> api::Interface {
    let (name, why) = (name.to_owned(), Some(why.to_owned()));
    api::Interface { name, engine, mode: None, why, program_id: None, queues: Vec::new() }
}

fn troubles(node: &Node, router: &Router) -> Vec<String> {
    let mut troubles = node.roster.crashed.problems();
    troubles.extend(node.interfaces.problems(router));
    troubles.extend(node.queues.problems(router.engine));
    troubles.extend(node.keys.trouble());
    troubles.extend(cluster::waits_for(node));
    troubles.extend(cluster::why_not_ready(node));
    troubles
}
