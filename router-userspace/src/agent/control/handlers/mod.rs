//! What each request on the control socket is answered: state is read from below, here and now.

mod counters;
mod decoded;
mod flows;
mod status;
mod workers;

use std::{rc::Rc, time::Duration};

use http::StatusCode;
use router_common::connection_id::ConnectionId;
use serde::Serialize;

use super::protocol::{ParseError, Request};
use crate::{
    agent::{
        api::{self, SCHEMA},
        error::{ErrorKind, StartError},
        explain, hex,
        node::Node,
        takeover::upgrade,
    },
    datapath::DatapathError,
    telemetry::LogFilter,
};

pub(in crate::agent) use self::{
    counters::counters,
    status::flow_table,
    workers::{sum, workers},
};
use self::{
    decoded::{configurations, decode},
    flows::{flow, flows},
    status::status,
};

/// Why a request is not answered.
pub(in crate::agent) struct ApiError {
    pub(in crate::agent) status: StatusCode,
    pub(in crate::agent) error: String,
    pub(in crate::agent) hint: Option<String>,
}

impl ApiError {
    pub(in crate::agent) fn bad_request(error: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, error: error.into(), hint: None }
    }

    fn not_found(error: impl Into<String>) -> Self {
        Self { status: StatusCode::NOT_FOUND, error: error.into(), hint: None }
    }
}

impl From<ParseError> for ApiError {
    fn from(error: ParseError) -> Self {
        match error {
            ParseError::Unknown(why) => Self::not_found(why),
            ParseError::Malformed(why) => Self::bad_request(why),
        }
    }
}

impl From<StartError> for ApiError {
    fn from(error: StartError) -> Self {
        let status = match error.kind() {
            ErrorKind::Refused => StatusCode::CONFLICT,
            ErrorKind::Kernel => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self { status, error: error.to_string(), hint: error.hint().map(str::to_owned) }
    }
}

impl From<DatapathError> for ApiError {
    fn from(error: DatapathError) -> Self {
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, error: error.to_string(), hint: error.hint() }
    }
}

/// The JSON that answers a request.
pub(in crate::agent) async fn handle(node: &Rc<Node>, request: Request) -> Result<Vec<u8>, ApiError> {
    match request {
        Request::Status => json(&status(node)),
        Request::Workers => json(&workers(node)),
        Request::Drain { slot, timeout } => {
            node.set_draining(slot, Some(timeout.unwrap_or(node.config().router.drain_timeout)))?;
            json(&workers(node))
        }
        Request::Undrain { slot } => {
            node.set_draining(slot, None)?;
            json(&workers(node))
        }
        #[cfg(debug_assertions)]
        Request::Panic { slot } => {
            node.make_panic(slot);
            json(&workers(node))
        }
        Request::Reload => json(&api::Reloaded { schema: SCHEMA, changes: node.reload()? }),
        Request::Upgrade(api::UpgradeRequest { binary, timeout_ms }) => {
            let patience = timeout_ms.map_or(UPGRADE, Duration::from_millis);
            let successor = upgrade(node, binary, patience).await?;
            json(&api::Upgraded {
                schema: SCHEMA,
                generation: successor.generation,
                pid: successor.pid,
                unprobed: successor.unprobed,
            })
        }
        Request::Report(neighbour) => {
            node.hear_of(neighbour);
            json(&())
        }
        Request::Flows(filter) => json(&flows(node, filter).await?),
        Request::Flow(cid) => json(&flow(node, &connection_id(&cid)?)?),
        Request::Counters => json(&counters(node)?),
        Request::Explain(api::ExplainRequest { frame }) => {
            let frame = hex::decode(&frame).ok_or_else(|| ApiError::bad_request("frame: not hex"))?;
            json(&explain::explain(node, &frame))
        }
        Request::DecodeCid(cid) => json(&decode(node, &connection_id(&cid)?)),
        Request::IssueCid { slot } => json(&decode(node, &node.steering.tables().connection_ids().issue(slot))),
        Request::CidConfigurations => json(&configurations(node)),
        Request::RotateCids => {
            node.require_charge()?;
            node.rotate_connection_ids()?;
            json(&configurations(node))
        }
        Request::Log => json(&log(node)),
        Request::SetLog(api::LogRequest { filter }) => {
            let filter = LogFilter::parse(&filter).map_err(|e| ApiError::bad_request(format!("filter: {e}")))?;
            node.log.change(&filter);
            tracing::info!("what is logged has changed: {filter}, until the next reload");
            json(&log(node))
        }
    }
}

fn json(answer: &impl Serialize) -> Result<Vec<u8>, ApiError> {
    serde_json::to_vec(answer).map_err(|e| ApiError {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        error: format!("the answer cannot be written: {e}"),
        hint: None,
    })
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
