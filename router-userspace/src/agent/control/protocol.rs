//! What can be asked on the control socket, and how it is written: both directions side by side. The answers'
//! shapes are in [`api`](crate::agent::api), with a table of all of them.

use std::{net::IpAddr, time::Duration};

use bytes::Bytes;
use http::{Method, Uri, header};
use router_common::identifiers::SlotId;
use serde::de::DeserializeOwned;

use crate::agent::{
    api::{BlockRequest, BlockedPrefix, ExplainRequest, LogRequest, NodeOrder, UnblockRequest, UpgradeRequest},
    hex,
    takeover::Neighbour,
};

/// A request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Request {
    Status,
    Workers,
    /// Gives a slot no new connections; those it has may take so long, or as long as the configuration says.
    Drain {
        slot: SlotId,
        timeout: Option<Duration>,
    },
    Undrain {
        slot: SlotId,
    },
    /// Has the worker of a slot panic, for tests.
    #[cfg(debug_assertions)]
    Panic {
        slot: SlotId,
    },
    Reload,
    Upgrade(UpgradeRequest),
    /// How far another generation's drain is.
    Report(Neighbour),
    Flows(FlowFilter),
    /// One entry of the flow table; the octets of its connection ID.
    Flow(Vec<u8>),
    Counters,
    Explain(ExplainRequest),
    /// What the octets of a connection ID say.
    DecodeCid(Vec<u8>),
    /// Issues a connection ID for a slot.
    IssueCid {
        slot: SlotId,
    },
    CidConfigurations,
    RotateCids,
    Cluster,
    /// Says something of a node of the cluster.
    NodeOrder {
        number: u16,
        order: NodeOrder,
    },
    Admission,
    /// The busiest prefixes, at most so many.
    AdmissionTop {
        limit: usize,
    },
    Blocks,
    Block(BlockRequest),
    Unblock(UnblockRequest),
    /// The generation in charge has blocked a prefix: this one, that drains, is to close what it has from there.
    CloseBlocked(BlockedPrefix),
    Log,
    SetLog(LogRequest),
}

/// Which entries of the flow table are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FlowFilter {
    pub(crate) slot: Option<SlotId>,
    /// Whose last packet came from there.
    pub(crate) peer: Option<IpAddr>,
    /// At most so many.
    pub(crate) limit: usize,
}

/// Why HTTP is no [`Request`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ParseError {
    /// There is no such request.
    Unknown(String),
    /// There is, but a part of it is wrong.
    Malformed(String),
}

impl Request {
    /// As HTTP.
    ///
    /// # Errors
    /// Its body cannot be written as JSON.
    pub(super) fn to_http(&self) -> serde_json::Result<http::Request<Bytes>> {
        let (method, target) = self.head();
        let body = match self {
            Self::Upgrade(upgrade) => serde_json::to_vec(upgrade)?,
            Self::Report(neighbour) => serde_json::to_vec(neighbour)?,
            Self::Explain(explain) => serde_json::to_vec(explain)?,
            Self::Block(block) => serde_json::to_vec(block)?,
            Self::Unblock(unblock) => serde_json::to_vec(unblock)?,
            Self::CloseBlocked(blocked) => serde_json::to_vec(blocked)?,
            Self::SetLog(log) => serde_json::to_vec(log)?,
            _ => Vec::new(),
        };
        let mut request = http::Request::new(Bytes::from(body));
        *request.method_mut() = method;
        // Numbers, addresses and hexadecimal digits: nothing that a target may not have.
        *request.uri_mut() = Uri::try_from(target).map_err(serde::ser::Error::custom)?;
        let fields = [(header::HOST, "localhost"), (header::CONTENT_TYPE, "application/json")];
        request.headers_mut().extend(fields.map(|(name, value)| (name, header::HeaderValue::from_static(value))));
        Ok(request)
    }

    fn head(&self) -> (Method, String) {
        let get = |target: &str| (Method::GET, format!("/v1/{target}"));
        let post = |target: &str| (Method::POST, format!("/v1/{target}"));
        match self {
            Self::Status => get("status"),
            Self::Workers => get("workers"),
            Self::Drain { slot, timeout: None } => post(&format!("workers/{slot}/drain")),
            Self::Drain { slot, timeout: Some(timeout) } => {
                post(&format!("workers/{slot}/drain?timeout_ms={}", timeout.as_millis()))
            }
            Self::Undrain { slot } => post(&format!("workers/{slot}/undrain")),
            #[cfg(debug_assertions)]
            Self::Panic { slot } => post(&format!("workers/{slot}/panic")),
            Self::Reload => post("reload"),
            Self::Upgrade(_) => post("upgrade"),
            Self::Report(_) => post("generations"),
            Self::Flows(FlowFilter { slot, peer, limit }) => {
                let slot = slot.map(|slot| format!("&slot={slot}")).unwrap_or_default();
                let peer = peer.map(|peer| format!("&peer={peer}")).unwrap_or_default();
                get(&format!("flows?limit={limit}{slot}{peer}"))
            }
            Self::Flow(cid) => get(&format!("flows/{}", hex::encode(cid))),
            Self::Counters => get("counters"),
            Self::Explain(_) => post("explain"),
            Self::DecodeCid(cid) => get(&format!("connection-id/{}", hex::encode(cid))),
            Self::IssueCid { slot } => post(&format!("connection-id?slot={slot}")),
            Self::CidConfigurations => get("connection-id-configurations"),
            Self::RotateCids => post("connection-id-configurations"),
            Self::Cluster => get("cluster"),
            Self::NodeOrder { number, order } => post(&format!("cluster/nodes/{number}/{order}")),
            Self::Admission => get("admission"),
            Self::AdmissionTop { limit } => get(&format!("admission/top?limit={limit}")),
            Self::Blocks => get("blocks"),
            Self::Block(_) => post("blocks"),
            Self::Unblock(_) => post("blocks/remove"),
            Self::CloseBlocked(_) => post("blocks/close"),
            Self::Log => get("log"),
            Self::SetLog(_) => (Method::PUT, "/v1/log".to_owned()),
        }
    }

    /// The request that HTTP stands for.
    pub(super) fn from_http(method: &Method, uri: &Uri, body: &[u8]) -> Result<Self, ParseError> {
        let path: Vec<&str> = uri.path().split('/').skip(1).collect();
        let query = Query(uri.query().unwrap_or(""));
        Ok(match (method.as_str(), &path[..]) {
            ("GET", ["v1", "status"]) => Self::Status,
            ("GET", ["v1", "workers"]) => Self::Workers,
            ("POST", ["v1", "workers", slot, "drain"]) => {
                let timeout = query.get("timeout_ms", "milliseconds")?.map(Duration::from_millis);
                Self::Drain { slot: parse(slot, SLOT)?, timeout }
            }
            ("POST", ["v1", "workers", slot, "undrain"]) => Self::Undrain { slot: parse(slot, SLOT)? },
            #[cfg(debug_assertions)]
            ("POST", ["v1", "workers", slot, "panic"]) => Self::Panic { slot: parse(slot, SLOT)? },
            ("POST", ["v1", "reload"]) => Self::Reload,
            ("POST", ["v1", "upgrade"]) => Self::Upgrade(json(body)?),
            ("POST", ["v1", "generations"]) => Self::Report(json(body)?),
            ("GET", ["v1", "flows"]) => Self::Flows(FlowFilter {
                slot: query.get("slot", SLOT)?,
                peer: query.get("peer", "an IP address")?,
                limit: query.get("limit", "a number")?.unwrap_or(FLOWS),
            }),
            ("GET", ["v1", "flows", cid]) => Self::Flow(octets(cid)?),
            ("GET", ["v1", "counters"]) => Self::Counters,
            ("POST", ["v1", "explain"]) => Self::Explain(json(body)?),
            ("GET", ["v1", "connection-id", cid]) => Self::DecodeCid(octets(cid)?),
            ("POST", ["v1", "connection-id"]) => {
                Self::IssueCid { slot: query.get("slot", SLOT)?.unwrap_or(SlotId::new(0)) }
            }
            ("GET", ["v1", "connection-id-configurations"]) => Self::CidConfigurations,
            ("POST", ["v1", "connection-id-configurations"]) => Self::RotateCids,
            ("GET", ["v1", "cluster"]) => Self::Cluster,
            ("POST", ["v1", "cluster", "nodes", number, order]) => node_order(number, order)?,
            ("GET", ["v1", "admission"]) => Self::Admission,
            ("GET", ["v1", "admission", "top"]) => {
                Self::AdmissionTop { limit: query.get("limit", "a number")?.unwrap_or(TOP) }
            }
            ("GET", ["v1", "blocks"]) => Self::Blocks,
            ("POST", ["v1", "blocks"]) => Self::Block(json(body)?),
            ("POST", ["v1", "blocks", "remove"]) => Self::Unblock(json(body)?),
            ("POST", ["v1", "blocks", "close"]) => Self::CloseBlocked(json(body)?),
            ("GET", ["v1", "log"]) => Self::Log,
            ("PUT", ["v1", "log"]) => Self::SetLog(json(body)?),
            (method, _) => {
                return Err(ParseError::Unknown(format!("{method} {}: there is no such request", uri.path())));
            }
        })
    }
}

fn node_order(number: &str, order: &str) -> Result<Request, ParseError> {
    let known = NodeOrder::ALL.iter().find(|word| word.as_str() == order);
    let order = known.ok_or_else(|| ParseError::Malformed(format!("{order}: drain, undrain or forget")))?;
    Ok(Request::NodeOrder { number: parse(number, "a node's number, 1 to 65535")?, order: *order })
}

fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, ParseError> {
    serde_json::from_slice(body).map_err(|e| ParseError::Malformed(format!("body: {e}")))
}

fn octets(text: &str) -> Result<Vec<u8>, ParseError> {
    hex::decode(text).ok_or_else(|| ParseError::Malformed(format!("{text:?}: not hex")))
}

fn parse<T: std::str::FromStr>(text: &str, wanted: &str) -> Result<T, ParseError> {
    text.parse().map_err(|_| ParseError::Malformed(format!("{text:?} is not {wanted}")))
}

/// The part of a target behind the question mark. No value needs escaping.
struct Query<'a>(&'a str);

impl Query<'_> {
    /// The value of `name`, if it is there.
    fn get<T: std::str::FromStr>(&self, name: &str, wanted: &str) -> Result<Option<T>, ParseError> {
        let mut pairs = self.0.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| parse(value, wanted)).transpose()
    }
}

const SLOT: &str = "a slot, 0 to 255";
/// At most so many prefixes, unless the request says otherwise.
const TOP: usize = 20;
/// At most so many entries of the flow table, unless the request says otherwise.
const FLOWS: usize = 1_000;

#[cfg(test)]
mod tests {
    use router_common::identifiers::GenerationId;

    use super::*;
    use crate::agent::api::BlockAction;

    fn neighbour() -> Neighbour {
        Neighbour {
            generation: GenerationId::new(2),
            pid: 7,
            places: vec![(3, 1).into()],
            sockets: vec![9],
            listeners: Vec::new(),
            connections: 4,
            seconds_left: Some(5),
            age_seconds: 6,
            unprobed: Vec::new(),
            tunnel: Some(([127, 0, 0, 1], 4_000).into()),
            announce_table: Some(100),
        }
    }

    #[test]
    fn what_is_written_is_read_as_the_same() {
        let peer = Some("2001:db8::1".parse().unwrap());
        let all = [
            Request::Status,
            Request::Workers,
            Request::Drain { slot: SlotId::new(3), timeout: None },
            Request::Drain { slot: SlotId::new(255), timeout: Some(Duration::from_millis(1_500)) },
            Request::Undrain { slot: SlotId::new(0) },
            #[cfg(debug_assertions)]
            Request::Panic { slot: SlotId::new(1) },
            Request::Reload,
            Request::Upgrade(UpgradeRequest { binary: Some("/opt/quic router".into()), timeout_ms: Some(1) }),
            Request::Report(neighbour()),
            Request::Flows(FlowFilter { slot: None, peer: None, limit: 1 }),
            Request::Flows(FlowFilter { slot: Some(SlotId::new(3)), peer, limit: 5 }),
            Request::Flow(vec![0, 255]),
            Request::Counters,
            Request::Explain(ExplainRequest { frame: "00ff".to_owned() }),
            Request::DecodeCid(vec![0x10; 20]),
            Request::IssueCid { slot: SlotId::new(9) },
            Request::CidConfigurations,
            Request::RotateCids,
            Request::Cluster,
            Request::NodeOrder { number: 7, order: NodeOrder::Drain },
            Request::NodeOrder { number: 65_535, order: NodeOrder::Forget },
            Request::Blocks,
            Request::Block(BlockRequest {
                prefix: "2001:db8::/32".to_owned(),
                action: BlockAction::Challenge,
                for_ms: Some(5),
                why: Some("a \"scan\"".to_owned()),
            }),
            Request::Unblock(UnblockRequest { prefix: "192.0.2.0/24".to_owned(), allowed: true }),
            Request::Admission,
            Request::AdmissionTop { limit: 7 },
            Request::CloseBlocked(BlockedPrefix { prefix: "192.0.2.0/24".to_owned() }),
            Request::Log,
            Request::SetLog(LogRequest { filter: "info,quinn=debug".to_owned() }),
        ];
        for request in all {
            let http = request.to_http().unwrap();
            assert_eq!(Request::from_http(http.method(), http.uri(), http.body()), Ok(request));
        }
    }

    #[test]
    fn targets_are_those_of_the_documented_table() {
        let target = |request: Request| request.to_http().unwrap().uri().to_string();
        let flows = FlowFilter { slot: Some(SlotId::new(3)), peer: Some("2001:db8::1".parse().unwrap()), limit: 5 };
        assert_eq!(target(Request::Flows(flows)), "/v1/flows?limit=5&slot=3&peer=2001:db8::1");
        let drain = Request::Drain { slot: SlotId::new(3), timeout: Some(Duration::from_secs(2)) };
        assert_eq!(target(drain), "/v1/workers/3/drain?timeout_ms=2000");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let read = |method: Method, target: &'static str, body: &[u8]| {
            Request::from_http(&method, &Uri::from_static(target), body).unwrap_err()
        };
        let malformed = |why: &str| ParseError::Malformed(why.to_owned());
        assert_eq!(
            read(Method::DELETE, "/v1/status", b""),
            ParseError::Unknown("DELETE /v1/status: there is no such request".to_owned())
        );
        assert_eq!(read(Method::POST, "/v1/workers/256/drain", b""), malformed("\"256\" is not a slot, 0 to 255"));
        assert_eq!(read(Method::GET, "/v1/flows?peer=here", b""), malformed("\"here\" is not an IP address"));
        assert_eq!(read(Method::GET, "/v1/flows/0", b""), malformed("\"0\": not hex"));
        let ParseError::Malformed(why) = read(Method::PUT, "/v1/log", b"{}") else { panic!("it is there") };
        assert!(why.starts_with("body: missing field `filter`"), "{why}");
    }
}
