//! From a configuration to a node in charge: the first one, or one that has taken over.

use std::{rc::Rc, sync::Arc, time::Instant};

use router_common::maps::{self, Settings, SlotState};
use tokio::sync::mpsc;

use super::{
    admission,
    blocks::Blocks,
    cluster::{self, Cluster, MembershipEngine},
    connection_ids::CidRotation,
    control::ControlSocket,
    engine::{self, Loaded},
    error::AgentError,
    health::NodeHealth,
    interfaces::Interfaces,
    kernel::Kernel,
    local_addresses::LocalAddresses,
    node::Node,
    observability::Observability,
    options::{ConfigSource, RunOptions},
    plan::{self, Desired, Present, Steps},
    prepare::Prepared,
    provision::Provision,
    queues::Queues,
    rescan,
    roster::Roster,
    secrets::Secrets,
    sending,
    service_manager::ServiceManager,
    serving::{Next, Serving},
    sockets,
    state_dir::State,
    steering::Steering,
    takeover::{Compatibility, Generations, Neighbour, TakeOver},
    upstream_watch::UpstreamWatch,
};
use crate::{
    config::Config,
    datapath::Initial,
    worker::{Admission, NodeTables, Shared, tcp::PortUse},
};

/// Starts a node, in place of the agent that runs if that is asked for.
///
/// # Errors
/// What cannot be had; nothing is left of what was begun then, and the agent that runs serves on.
pub(super) async fn begin(
    mut config: Config,
    source: ConfigSource,
    options: &RunOptions,
) -> Result<(Rc<Node>, Rc<ControlSocket>), AgentError> {
    let path = config.router.control.clone();
    let membership = match &config.cluster {
        Some(cluster) => Some(MembershipEngine::open(cluster, &config.router.state_dir).await?),
        None => None,
    };
    if let Some(membership) = &membership {
        config.router.node_id = membership.own().get();
    }
    let takeover = match options.takeover {
        true => TakeOver::begin(&path, Compatibility::of(&config.router, config.connection_id.length)).await?,
        false => None,
    };
    let Some(mut takeover) = takeover else {
        let control = Rc::new(ControlSocket::bind(&path)?);
        let node = start(First { config, source, membership }, options, &[])?;
        node.generations.attach_control(&control);
        node.observability.answer(&NodeHealth::of(&node));
        return Ok((node, control));
    };
    let started = ControlSocket::bind_beside(&path).map_err(AgentError::from).and_then(|control| {
        let (control, before) = (Rc::new(control), takeover.before());
        let node = start(First { config, source, membership }, options, before)?;
        if takeover.is_confirmed() {
            cluster::inherit_confirmation(&node);
        }
        node.generations.attach_control(&control);
        Ok((node, control))
    });
    match started {
        Ok((node, control)) => {
            takeover.finish(&node, &control).await?;
            Ok((node, control))
        }
        Err(e) => {
            takeover.fail(&e).await;
            Err(e)
        }
    }
}

/// What a node begins with.
struct First {
    config: Config,
    source: ConfigSource,
    membership: Option<MembershipEngine>,
}

/// Starts everything. Where generations are there `before`, all of it is beside theirs, and gets nothing yet.
fn start(first: First, options: &RunOptions, before: &[Neighbour]) -> Result<Rc<Node>, AgentError> {
    let First { config, source, membership } = first;
    let is_first = before.is_empty();
    let state = match is_first {
        true => State::take(&config.router.state_dir)?,
        false => State::share(&config.router.state_dir)?,
    };
    let secrets = secrets(&state, membership.as_ref())?;
    let steps = first_steps(&config, before)?;
    let provision = Provision::new(&config, &secrets, None)?;
    let port_use = if is_first { PortUse::Alone } else { PortUse::Shared };
    let observability = Observability::start(&config, port_use)?;
    let known: Vec<_> = before.iter().flat_map(|other| other.sockets.clone()).collect();
    let sockets = sockets::open(&steps, &known)?;
    let next = Next { config: Rc::new(config), provision: Rc::new(provision) };
    let node = Rc::new(assemble(&next, source, Parts { options, before, state, secrets, membership, observability })?);

    // Before the programs: they judge only what is for this host.
    node.local_addresses.reconcile(&node.steering);
    // Before them too: the first packet may come from a blocked prefix.
    if is_first {
        node.blocks.take_charge(&node.steering, &next.config);
    }
    if is_first {
        cluster::introduce(&node);
    }
    // Before the workers: they tell clients how long a datagram may be.
    cluster::begin(&node)?;
    // Ports are opened by the generation in charge.
    let for_workers = if is_first { Rc::clone(&next.provision) } else { Rc::new(next.provision.without_ports()) };
    let for_workers = Next { config: Rc::clone(&next.config), provision: for_workers };
    let prepared = Prepared::new(&node, for_workers, steps, sockets)?;
    node.serving.replace(&next, prepared.steps());
    if !is_first {
        prepared.hold();
        return Ok(node);
    }
    // Before the listeners: whether new connections are for others is known by then.
    cluster::reconcile(&node);
    if let Some(e) = prepared.commit().into_iter().next() {
        return Err(e);
    }
    take_charge(&node, &next.config)?;
    Ok(node)
}

/// The keys that all nodes of a cluster have, or this node's own.
fn secrets(state: &State, membership: Option<&MembershipEngine>) -> Result<Arc<Secrets>, AgentError> {
    Ok(Arc::new(match membership {
        Some(membership) => membership.secrets()?,
        None => state.secrets()?,
    }))
}

/// What the first generation does once it serves.
fn take_charge(node: &Rc<Node>, config: &Config) -> Result<(), AgentError> {
    cluster::take_charge(node);
    if let Some(context) = rescan::queue_context(node, config) {
        node.queues.begin(&context, &node.interfaces.steered())?;
    }
    // Last: its time begins when packets come.
    admission::lift_after_start(&node.steering, config)?;
    admission::keep_token_keys(&node.steering, &node.secrets);
    admission::bring_into_force(&node.steering, config);
    Ok(())
}

fn first_steps(config: &Config, before: &[Neighbour]) -> Result<Steps, AgentError> {
    let present = Present {
        cpus: plan::usable_cpus()?,
        taken: before.iter().flat_map(|other| other.places.clone()).collect(),
        others: before.iter().flat_map(|other| other.listeners.clone()).collect(),
        ..Present::default()
    };
    Ok(plan::plan(&Desired::of(config), &present)?)
}

/// What a node is made of besides its configuration.
struct Parts<'a> {
    options: &'a RunOptions,
    before: &'a [Neighbour],
    state: State,
    secrets: Arc<Secrets>,
    membership: Option<MembershipEngine>,
    observability: Observability,
}

/// A node without workers or listeners; its programs are loaded.
fn assemble(first: &Next, source: ConfigSource, parts: Parts<'_>) -> Result<Node, AgentError> {
    let Parts { options, before, state, secrets, membership, observability } = parts;
    let (config, is_first) = (&*first.config, before.is_empty());
    let members = membership.as_ref().map(MembershipEngine::state);
    let keys = CidRotation::start(config, &state, Arc::clone(&secrets), members.as_deref())?;
    let cluster = membership.map(|engine| Cluster::open(config, engine, Arc::clone(&secrets))).transpose()?;
    let blocks = Blocks::open(&state, config)?;
    let generation = state.next_generation()?;
    let settings = Settings::new(config.router.node_id, config.connection_id.length, generation);
    let initial = initial(settings, &secrets, &keys);
    let Loaded { datapath, why_not } = match is_first {
        true => engine::load(config, &initial, options)?,
        false => engine::join(config, &initial, options)?,
    };
    let tables = Arc::new(NodeTables::new(settings, Arc::clone(keys.ids()), secrets.hash_seed()));
    let (living, alive) = mpsc::channel(1);
    let admission = Admission::new(config.limits);
    let shared = Shared::new(Arc::clone(&tables), Arc::clone(&admission), config.connection_id.lifetime, living)
        .steered_by_kernel(datapath.is_some())
        .sending_frames(sending::begin(config)?)
        .with_tunnel(cluster.as_ref().map(|cluster| Arc::clone(cluster.tunnel())));
    let kernel = datapath.map(|datapath| Kernel::new(datapath, config)).transpose()?;
    let steering = Steering::new(generation, tables, kernel);
    let places = before.iter().flat_map(|other| &other.places);
    steering.know_of_others(places.map(|place| place.slot), SlotState::Draining);
    Ok(Node {
        generation,
        started: Instant::now(),
        source,
        log: options.log.clone(),
        secrets,
        admission,
        steering,
        blocks,
        cluster,
        tunnel_intake: shared.tunnel_intake(),
        roster: Roster::new(shared, alive),
        serving: Serving::new(first, UpstreamWatch::start()?),
        interfaces: Interfaces::default(),
        local_addresses: LocalAddresses::default(),
        queues: Queues::default(),
        keys,
        generations: Generations::after(before),
        service_manager: if is_first { ServiceManager::of_environment() } else { ServiceManager::inherited() },
        observability,
        why_userspace: why_not,
        _state: state,
    })
}

/// What the kernel's programs begin with. Listeners come into force with their workers.
fn initial(settings: Settings, secrets: &Secrets, keys: &CidRotation) -> Initial {
    let secrets = maps::Secrets::new(secrets.hash_seed());
    Initial { settings, secrets, cid_configs: keys.for_kernel(), listeners: Vec::new() }
}
