//! What each request on the control socket is answered: state is read from below, here and now.

mod admission;
mod blocks;
mod decoded;
mod error;
mod flows;

use std::{rc::Rc, time::Duration};

use router_common::connection_id::ConnectionId;
use serde::Serialize;

pub(super) use self::error::ApiError;
use self::{
    blocks::{block, close_blocked, unblock},
    decoded::{configurations, decode},
    flows::{flow, flows},
};
use tokio::task::spawn_blocking;

use super::protocol::Request;
#[cfg(debug_assertions)]
use crate::agent::respawn;
use crate::{
    agent::{
        api::{self, SCHEMA},
        blocks::list,
        cluster, drain, explain, hex,
        node::Node,
        observe::observe,
        reload::reload,
        takeover::upgrade,
        views,
    },
    telemetry::LogFilter,
};

/// The JSON that answers a request.
pub(in crate::agent) async fn handle(node: &Rc<Node>, request: Request) -> Result<Vec<u8>, ApiError> {
    match request {
        Request::Status => json(&views::status(observe(node).await)),
        Request::Workers => workers(node).await,
        Request::Drain { slot, timeout } => {
            let grace = timeout.unwrap_or(node.serving.config().router.drain_timeout);
            drain::set_draining(node, slot, Some(grace))?;
            workers(node).await
        }
        Request::Undrain { slot } => {
            drain::set_draining(node, slot, None)?;
            workers(node).await
        }
        #[cfg(debug_assertions)]
        Request::Panic { slot } => {
            respawn::make_panic(node, slot);
            workers(node).await
        }
        Request::Reload => json(&api::Reloaded { schema: SCHEMA, changes: reload(node).await? }),
        Request::Upgrade(request) => json(&upgraded(node, request).await?),
        Request::Report(neighbour) => {
            node.generations.update(neighbour);
            json(&())
        }
        Request::Flows(filter) => flows(node, filter).await,
        Request::Flow(cid) => json(&flow(node, &connection_id(&cid)?)?),
        Request::Counters => json(&views::counters(&observe(node).await)?),
        Request::Explain(request) => json(&explained(node, &request)?),
        Request::DecodeCid(cid) => json(&decode(node, &connection_id(&cid)?)),
        Request::IssueCid { slot } => json(&decode(node, &node.steering.tables().connection_ids().issue(slot))),
        Request::CidConfigurations => json(&configurations(node)),
        Request::RotateCids => {
            rotate(node).await?;
            json(&configurations(node))
        }
        Request::Cluster => json(&described(node)?),
        Request::NodeOrder { number, order } => ordered(node, number, order).await,
        Request::Admission => json(&admission::status(node).await?),
        Request::AdmissionTop { limit } => long_json(admission::top(node, limit).await?).await,
        Request::Blocks => long_json(list(node).await?).await,
        Request::Block(wanted) => json(&block(node, wanted).await?),
        Request::Unblock(unwanted) => long_json(unblock(node, unwanted).await?).await,
        Request::CloseBlocked(blocked) => json(&close_blocked(node, blocked).await?),
        Request::Log => json(&log(node)),
        Request::SetLog(request) => {
            change_log(node, &request)?;
            json(&log(node))
        }
    }
}

async fn workers(node: &Node) -> Result<Vec<u8>, ApiError> {
    json(&views::workers(&observe(node).await))
}

/// Has a node of the cluster count as an operator says.
async fn ordered(node: &Node, number: u16, order: api::NodeOrder) -> Result<Vec<u8>, ApiError> {
    cluster::order(node, number, order).await?;
    json(&described(node)?)
}

/// The cluster, if this node is in one.
fn described(node: &Node) -> Result<api::Cluster, ApiError> {
    let none = || ApiError::not_found("this node is in no cluster: its configuration has no [cluster]");
    cluster::describe(node).ok_or_else(none)
}

/// Has another agent take over.
async fn upgraded(node: &Rc<Node>, request: api::UpgradeRequest) -> Result<api::Upgraded, ApiError> {
    let patience = request.timeout_ms.map_or(UPGRADE, Duration::from_millis);
    let successor = upgrade(node, request.binary, patience).await?;
    Ok(api::Upgraded {
        schema: SCHEMA,
        generation: successor.generation.get(),
        pid: successor.pid,
        unprobed: successor.unprobed,
    })
}

/// What the node would do with a frame.
fn explained(node: &Node, request: &api::ExplainRequest) -> Result<api::Explanation, ApiError> {
    let frame = hex::decode(&request.frame).ok_or_else(|| ApiError::bad_request("frame: not hex"))?;
    Ok(explain::explain(node, &frame))
}

/// Logs by another filter, until the next reload.
fn change_log(node: &Node, request: &api::LogRequest) -> Result<(), ApiError> {
    let filter = LogFilter::parse(&request.filter).map_err(|e| ApiError::bad_request(format!("filter: {e}")))?;
    node.log.change(&filter);
    tracing::info!("what is logged has changed: {filter}, until the next reload");
    Ok(())
}

/// Brings in a new configuration of connection IDs.
async fn rotate(node: &Node) -> Result<(), ApiError> {
    node.generations.require_charge()?;
    if node.keys.are_shared() {
        return Ok(cluster::rotate(node).await?);
    }
    let mut datapath = node.steering.kernel().map(|kernel| kernel.datapath.borrow_mut());
    Ok(node.keys.rotate(datapath.as_deref_mut(), |rotation| node.roster.datagrams_of(rotation))?)
}

fn json(answer: &impl Serialize) -> Result<Vec<u8>, ApiError> {
    serde_json::to_vec(answer).map_err(ApiError::unwritable)
}

/// The same of an answer that may be long, on another thread.
async fn long_json(answer: impl Serialize + Send + 'static) -> Result<Vec<u8>, ApiError> {
    spawn_blocking(move || json(&answer)).await.map_err(|e| ApiError::unwritable(serde_json::Error::io(e.into())))?
}

fn log(node: &Node) -> api::Log {
    api::Log { schema: SCHEMA, filter: node.log.filter().to_string() }
}

fn connection_id(octets: &[u8]) -> Result<ConnectionId, ApiError> {
    ConnectionId::new(octets)
        .ok_or_else(|| ApiError::bad_request(format!("{} octets: a connection ID has at most 20", octets.len())))
}

/// How long an upgrade may take, unless its request says otherwise.
const UPGRADE: Duration = Duration::from_secs(60);
