//! Keeps what kernel and workers know of the other nodes up to date.

use std::{collections::BTreeSet, rc::Rc};

use nix::net::if_::if_nametoindex;
use router_cluster::{confirmation::Standing, hello::HELLO_INTERVAL, membership::NodeState};
use router_common::{identifiers::IfIndex, maps::SlotState};
use tokio::time::{MissedTickBehavior, interval};

use super::{Cluster, NodeTable, announce::Wanted, component::Run, orders};
use crate::{
    agent::{error::AgentError, hex, node::Node, observe, takeover::Phase, turns},
    config::Encryption,
    worker::NodeList,
};

/// Does so for as long as the agent runs.
pub(in crate::agent) async fn run(node: Rc<Node>) {
    let Some(cluster) = &node.cluster else { return };
    let Some(mut control) = cluster.control() else { return };
    let (mut ways, mut members) = (cluster.watch_ways(), cluster.watch_members());
    let mut hello = interval(HELLO_INTERVAL);
    hello.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // None of their other ends goes before this.
        tokio::select! {
            Some(datagram) = control.recv() => {
                cluster.hear(&datagram);
                while let Ok(datagram) = control.try_recv() {
                    cluster.hear(&datagram);
                }
            }
            _ = hello.tick() => {
                // Also while another generation gets ready, which may take longer than the others wait for a word.
                if node.generations.serves() {
                    cluster.say_hello(takes_new_connections(&node));
                }
                if node.generations.phase() == Phase::InCharge {
                    turns::spawn("membership", tell_engine(Rc::clone(&node)));
                }
            }
            Ok(()) = ways.changed() => {}
            Ok(()) = members.changed() => {
                if node.generations.phase() == Phase::InCharge {
                    follow_keys(&node, cluster);
                }
                cluster.look_at_members();
            }
        }
        if node.generations.phase() == Phase::InCharge {
            cluster.judge();
            // Those that place new connections by hash need not wait for the next second's.
            if cluster.look_at_introduction() {
                cluster.say_hello(takes_new_connections(&node));
            }
            admit(&node, cluster);
            reconcile(&node);
            announce(&node);
        }
    }
}

/// Has a routing daemon announce the shared addresses while this node takes new connections, and knows all keys: by the
/// generation in charge.
pub(in crate::agent) fn announce(node: &Node) {
    let Some(cluster) = &node.cluster else { return };
    let is_stopping = node.roster.is_stopping();
    // What an agent has left that was killed stays: clients would notice if it went and came.
    if cluster.is_introducing() && !is_stopping {
        return;
    }
    let takes = takes_new_connections(node) && cluster.own_state() == NodeState::Up && cluster.standing().is_ready();
    let wanted = if takes { Wanted::taking } else { Wanted::taking_none };
    cluster.announcer().want(wanted(&node.serving.config()));
}

/// Takes the next step of a rotation, and tells the others of this node.
async fn tell_engine(node: Rc<Node>) {
    let config = node.serving.config();
    let (Some(cluster), Some(config)) = (&node.cluster, &config.cluster) else { return };
    let engine = observe::interfaces(&node, &node.serving.config().router).first().map(|one| one.engine.to_string());
    let followed = node.keys.followed();
    let acks = if orders::go_on(&node).await { followed } else { followed.min(cluster.acked()) };
    let own = node.serving.config();
    let run = Run {
        acks,
        engine: engine.unwrap_or_default(),
        listeners: listeners(&node),
        addresses: own.listeners.iter().map(|one| one.address).collect(),
        encrypts: !matches!(own.connection_id.encryption, Encryption::None),
    };
    cluster.publish(run, config).await;
}

/// A hash of the listeners' addresses, which has to be the same on all nodes.
fn listeners(node: &Node) -> String {
    let mut addresses: Vec<_> = node.serving.config().listeners.iter().map(|one| one.address.to_string()).collect();
    addresses.sort();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, addresses.join(" ").as_bytes());
    hex::encode(digest.as_ref().get(..8).unwrap_or_default())
}

/// Whether a worker of this node takes new connections.
fn takes_new_connections(node: &Node) -> bool {
    let takes = |cluster: &Cluster| cluster.standing().may_issue() && !cluster.sends_away();
    node.cluster.as_ref().is_none_or(takes) && !node.roster.is_stopping() && has_active_slot(node)
}

fn has_active_slot(node: &Node) -> bool {
    let tables = node.steering.tables();
    node.steering.slots().iter().any(|&slot| tables.slot_state(slot) == SlotState::Active)
}

/// Whether any worker here takes new connections, as far as it is known: before there are workers it is not.
fn is_served(node: &Node) -> bool {
    !node.roster.is_stopping() && (node.steering.slots().is_empty() || has_active_slot(node))
}

/// New connections go to other nodes from now on: this one is about to stop.
pub(in crate::agent) fn step_down(node: &Node) {
    if let (Some(cluster), Some(table)) = (&node.cluster, table_for(node, Served::ByOthers)) {
        if let Err(e) = node.steering.set_nodes(table) {
            tracing::error!("cluster: {e}");
        }
        cluster.say_hello(false);
    }
}

/// Takes new connections, or none, as this node may issue connection IDs or not.
fn admit(node: &Node, cluster: &Cluster) {
    let standing = cluster.standing();
    let is_closed = !standing.may_issue();
    if node.admission.is_closed() == is_closed {
        return;
    }
    node.admission.set_closed(is_closed);
    match (is_closed, standing) {
        // That was said.
        (_, Standing::Forgotten) => {}
        (true, _) => tracing::warn!("cluster: no new connections, as what this node knows is {standing}"),
        (false, _) => tracing::info!("cluster: new connections again, as what this node knows is {standing}"),
    }
}

/// The generation before this one has had confirmed what it knows.
pub(in crate::agent) fn inherit_confirmation(node: &Node) {
    if let Some(cluster) = &node.cluster {
        cluster.inherit_confirmation();
        admit(node, cluster);
    }
}

/// Brings into force what is known of the other nodes: by the generation in charge.
pub(in crate::agent) fn reconcile(node: &Node) {
    let Some(table) = table(node) else { return };
    if let Err(e) = node.steering.set_nodes(table) {
        tracing::error!("cluster: {e}");
    }
}

/// Has workers know of the other nodes, before they start: the kernel is told by the generation in charge.
///
/// # Errors
/// If the system gives no thread for what comes by way of other generations.
pub(in crate::agent) fn begin(node: &Node) -> Result<(), AgentError> {
    let (Some(cluster), Some(table)) = (&node.cluster, table(node)) else { return Ok(()) };
    cluster.listen_to_generations(&node.tunnel_intake)?;
    admit(node, cluster);
    node.steering.know_of_nodes(table);
    Ok(())
}

/// This node has just been started: new connections are for others until these know of it.
pub(in crate::agent) fn introduce(node: &Node) {
    if let Some(cluster) = &node.cluster {
        cluster.begin_introduction();
    }
}

/// Begins to take in what other nodes send to this one, and brings what is known of them into force.
pub(in crate::agent) fn take_charge(node: &Node) {
    let config = node.serving.config();
    let (Some(cluster), Some(config)) = (&node.cluster, &config.cluster) else { return };
    if let Err(e) = cluster.take_charge(config, &node.tunnel_intake) {
        tracing::error!("{e}");
    }
    admit(node, cluster);
    reconcile(node);
}

/// The generation in charge is another from now on.
pub(in crate::agent) fn leave(node: &Node) {
    if let Some(cluster) = &node.cluster {
        cluster.leave();
        node.steering.forget_nodes_of_kernel();
    }
}

/// What the list of nodes says has been read anew: keys first, then the nodes.
pub(in crate::agent) fn reload(node: &Node) {
    let Some(cluster) = &node.cluster else { return };
    if let Err(e) = cluster.reload() {
        return tracing::error!("reload: {e}");
    }
    follow_keys(node, cluster);
    cluster.look_at_members();
    reconcile(node);
}

fn follow_keys(node: &Node, cluster: &Cluster) {
    let mut datapath = node.steering.kernel().map(|kernel| kernel.datapath.borrow_mut());
    if let Err(e) = node.keys.follow(&cluster.view().state, datapath.as_deref_mut()) {
        tracing::error!("reload: {e}");
    }
}

/// Who takes new connections.
enum Served {
    Here,
    ByOthers,
}

fn table(node: &Node) -> Option<NodeTable> {
    table_for(node, if is_served(node) { Served::Here } else { Served::ByOthers })
}

fn table_for(node: &Node, served: Served) -> Option<NodeTable> {
    let (config, cluster) = (node.serving.config(), node.cluster.as_ref()?);
    cluster.set_served(matches!(served, Served::Here));
    let NodeTable { list, assignment } = cluster.table(config.cluster.as_ref()?, &steered(node));
    let others = node.generations.others();
    let slots = others.iter().flat_map(|other| {
        let tunnel = other.tunnel;
        other.places.iter().filter_map(move |place| Some((place.slot, tunnel?)))
    });
    Some(NodeTable { list: NodeList { generations: slots.collect(), ..list }, assignment })
}

/// The interfaces that an XDP program of ours is on.
fn steered(node: &Node) -> BTreeSet<IfIndex> {
    let index = |name: &String| if_nametoindex(name.as_str()).ok().map(IfIndex::new);
    node.interfaces.steered().iter().filter_map(index).collect()
}
