//! What each request on the control socket is answered: state is read from below, here and now.

mod counters;
mod decoded;
mod flows;
mod status;
mod workers;

use std::{rc::Rc, time::Duration};

use http::{Method, StatusCode, request::Parts};
use router_common::connection_id::ConnectionId;
use serde::Serialize;

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
pub(in crate::agent) async fn handle(node: &Rc<Node>, head: &Parts, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let path: Vec<&str> = head.uri.path().split('/').skip(1).collect();
    let query = Query(head.uri.query().unwrap_or(""));
    match (&head.method, &path[..]) {
        (&Method::GET, ["v1", "status"]) => json(&status(node)),
        (&Method::GET, ["v1", "workers"]) => json(&workers(node)),
        (&Method::POST, ["v1", "workers", slot, verb @ ("drain" | "undrain")]) => {
            let timeout = query.get("timeout_ms").map(|ms| parse(ms, "milliseconds").map(Duration::from_millis));
            let grace = timeout.transpose()?.unwrap_or(node.config().router.drain_timeout);
            node.set_draining(parse(slot, "a slot, 0 to 255")?, (*verb == "drain").then_some(grace))?;
            json(&workers(node))
        }
        #[cfg(debug_assertions)]
        (&Method::POST, ["v1", "workers", slot, "panic"]) => {
            node.make_panic(parse(slot, "a slot, 0 to 255")?);
            json(&workers(node))
        }
        (&Method::POST, ["v1", "reload"]) => json(&api::Reloaded { schema: SCHEMA, changes: node.reload()? }),
        (&Method::POST, ["v1", "upgrade"]) => {
            let request: api::UpgradeRequest =
                serde_json::from_slice(body).map_err(|e| ApiError::bad_request(format!("body: {e}")))?;
            let patience = Duration::from_millis(request.timeout_ms.unwrap_or(UPGRADE_MS));
            let successor = upgrade(node, request.binary, patience).await?;
            json(&api::Upgraded {
                schema: SCHEMA,
                generation: successor.generation,
                pid: successor.pid,
                unprobed: successor.unprobed,
            })
        }
        (&Method::POST, ["v1", "generations"]) => {
            node.hear_of(serde_json::from_slice(body).map_err(|e| ApiError::bad_request(format!("body: {e}")))?);
            json(&())
        }
        (&Method::GET, ["v1", "flows"]) => json(&flows(node, &query).await?),
        (&Method::GET, ["v1", "flows", cid]) => json(&flow(node, cid)?),
        (&Method::GET, ["v1", "counters"]) => json(&counters(node)?),
        (&Method::POST, ["v1", "explain"]) => {
            let request: api::ExplainRequest =
                serde_json::from_slice(body).map_err(|e| ApiError::bad_request(format!("body: {e}")))?;
            let frame = hex::decode(&request.frame).ok_or_else(|| ApiError::bad_request("frame: not hex"))?;
            json(&explain::explain(node, &frame))
        }
        (&Method::GET, ["v1", "connection-id", cid]) => json(&decode(node, &connection_id(cid)?)),
        (&Method::POST, ["v1", "connection-id"]) => {
            let slot = query.get("slot").map_or(Ok(0), |slot| parse(slot, "a slot, 0 to 255"))?;
            json(&decode(node, &node.tables.connection_ids().issue(slot)))
        }
        (&Method::GET, ["v1", "log"]) => json(&log(node)),
        (&Method::PUT, ["v1", "log"]) => {
            let request: api::LogRequest =
                serde_json::from_slice(body).map_err(|e| ApiError::bad_request(format!("body: {e}")))?;
            let filter =
                LogFilter::parse(&request.filter).map_err(|e| ApiError::bad_request(format!("filter: {e}")))?;
            node.log.change(&filter);
            tracing::info!("what is logged has changed: {filter}, until the next reload");
            json(&log(node))
        }
        (&Method::GET, ["v1", "connection-id-configurations"]) => json(&configurations(node)),
        (&Method::POST, ["v1", "connection-id-configurations"]) => {
            node.require_charge()?;
            node.rotate_connection_ids()?;
            json(&configurations(node))
        }
        (method, _) => Err(ApiError::not_found(format!("{method} {}: there is no such request", head.uri.path()))),
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

fn connection_id(text: &str) -> Result<ConnectionId, ApiError> {
    let octets = hex::decode(text).ok_or_else(|| ApiError::bad_request(format!("{text:?}: not hex")))?;
    ConnectionId::new(&octets)
        .ok_or_else(|| ApiError::bad_request(format!("{} octets: a connection ID has at most 20", octets.len())))
}

fn parse<T: std::str::FromStr>(text: &str, wanted: &str) -> Result<T, ApiError> {
    text.parse().map_err(|_| ApiError::bad_request(format!("{text:?} is not {wanted}")))
}

/// The part of a request behind the question mark. No value needs escaping.
struct Query<'a>(&'a str);

impl Query<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.split('&').find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name)).map(|(_, value)| value)
    }
}

/// How long an upgrade may take, unless its request says otherwise.
const UPGRADE_MS: u64 = 60_000;
