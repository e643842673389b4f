//! The flow table.

use router_common::{
    connection_id::ConnectionId,
    maps::{Flow, Origin},
};
use tokio::task::{JoinError, spawn_blocking};

use crate::{
    agent::{
        addresses::socket_address,
        api::{self, SCHEMA},
        error::{ErrorKind, RoomError},
        hex,
        kernel::Kernel,
        node::Node,
    },
    clock::monotonic_now,
    datapath::FlowReader,
};

use super::{super::protocol::FlowFilter, error::ApiError};

/// The JSON that answers. Walked and written on another thread: a million entries take seconds, and nothing else should
/// wait for that.
pub(super) async fn flows(node: &Node, filter: FlowFilter) -> Result<Vec<u8>, ApiError> {
    let kernel = kernel(node)?;
    let reader = kernel.datapath.borrow().flow_reader()?;
    let written = spawn_blocking(move || serde_json::to_vec(&walk(&reader, &filter))).await;
    let written = written.map_err(FlowsError::NotWalked)?;
    written.map_err(ApiError::unwritable)
}

fn walk(reader: &FlowReader, FlowFilter { slot, peer, limit }: &FlowFilter) -> api::Flows {
    let now = monotonic_now();
    let (mut entries, mut matching) = (0, Vec::new());
    for (cid, flow) in reader.iter() {
        entries += 1;
        let row = row(&cid, &flow, now);
        let wanted = slot.is_none_or(|slot| slot.get() == row.slot)
            && peer.is_none_or(|peer| row.peer.is_some_and(|of_row| of_row.ip() == peer));
        if wanted && matching.len() < *limit {
            matching.push(row);
        }
    }
    api::Flows { schema: SCHEMA, entries, flows: matching }
}

pub(super) fn flow(node: &Node, cid: &ConnectionId) -> Result<api::Flows, ApiError> {
    let kernel = kernel(node)?;
    let flow = kernel.flows.get(cid).ok_or_else(|| ApiError {
        hint: Some("quic-router cid decode shows where its packets go all the same".to_owned()),
        ..ApiError::not_found("the flow table has no such connection ID")
    })?;
    Ok(api::Flows { schema: SCHEMA, entries: kernel.entries.get(), flows: vec![row(cid, &flow, monotonic_now())] })
}

fn kernel(node: &Node) -> Result<&Kernel, ApiError> {
    node.steering.kernel().ok_or_else(|| ApiError {
        hint: Some("quic-router status says which engine runs, and why".to_owned()),
        ..ApiError::not_found("the userspace engine has no flow table")
    })
}

fn row(cid: &ConnectionId, flow: &Flow, now: u64) -> api::Flow {
    let since = |then: u64| now.saturating_sub(then) / 1_000_000;
    api::Flow {
        cid: hex::encode(cid.as_slice()),
        slot: flow.slot().get(),
        origin: match flow.origin() {
            Origin::Issued => api::FlowOrigin::Issued,
            Origin::Chosen => api::FlowOrigin::Chosen,
        },
        packets: flow.packets(),
        bytes: flow.bytes(),
        peer: flow.peer().map(|peer| socket_address(&peer)),
        peer_changes: flow.peer_changes(),
        age_ms: since(flow.created()),
        idle_ms: (flow.packets() > 0).then(|| since(flow.last_seen())),
    }
}

/// Why the flow table is not shown.
#[derive(Debug, thiserror::Error)]
enum FlowsError {
    /// The thread that walked it has not come to the end.
    #[error("the flow table: {0}")]
    NotWalked(JoinError),
}

impl RoomError for FlowsError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Kernel
    }

    fn hint(&self) -> Option<String> {
        None
    }
}
