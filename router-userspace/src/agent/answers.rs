//! What each request on the control socket is answered: state is read from below, here and now.

use std::{
    collections::BTreeMap,
    rc::Rc,
    time::{Duration, Instant},
};

use http::{Method, StatusCode, request::Parts};
use router_common::{
    connection_id::{ConnectionId, UNROUTABLE},
    maps::{Counters, Flow, Hop, Origin, SlotState, Stage},
    reason::{Fate, Reason},
};
use serde::Serialize;

use super::{
    api::{self, Certificate, SCHEMA, Totals, UpstreamServer},
    behind,
    connection_ids::encoding_name,
    error::StartError,
    explain,
    generations::upgrade,
    node::{Kernel, Node},
    plan::Numbered,
    socket_address,
    totals::add,
};
use crate::{
    build_identity,
    datapath::{DatapathError, monotonic_now},
    telemetry::LogFilter,
    worker::{Worker, udp},
};

/// Why a request is not answered.
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) error: String,
    pub(super) hint: Option<String>,
}

impl Refusal {
    pub(super) fn bad_request(error: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, error: error.into(), hint: None }
    }

    fn not_found(error: impl Into<String>) -> Self {
        Self { status: StatusCode::NOT_FOUND, error: error.into(), hint: None }
    }
}

impl From<StartError> for Refusal {
    fn from(error: StartError) -> Self {
        Self { status: StatusCode::CONFLICT, error: error.to_string(), hint: error.hint().map(str::to_owned) }
    }
}

impl From<DatapathError> for Refusal {
    fn from(error: DatapathError) -> Self {
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, error: error.to_string(), hint: error.hint() }
    }
}

/// How long an upgrade may take, unless its request says otherwise.
const UPGRADE_MS: u64 = 60_000;

/// The JSON that answers a request.
pub(super) async fn answer(node: &Rc<Node>, head: &Parts, body: &[u8]) -> Result<Vec<u8>, Refusal> {
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
                serde_json::from_slice(body).map_err(|e| Refusal::bad_request(format!("body: {e}")))?;
            let patience = Duration::from_millis(request.timeout_ms.unwrap_or(UPGRADE_MS));
            let successor = upgrade(node, request.binary, patience).await?;
            json(&api::Upgraded { schema: SCHEMA, generation: successor.generation, pid: successor.pid })
        }
        (&Method::POST, ["v1", "generations"]) => {
            node.hear_of(serde_json::from_slice(body).map_err(|e| Refusal::bad_request(format!("body: {e}")))?);
            json(&())
        }
        (&Method::GET, ["v1", "flows"]) => json(&flows(node, &query)?),
        (&Method::GET, ["v1", "flows", cid]) => json(&flow(node, cid)?),
        (&Method::GET, ["v1", "counters"]) => json(&counters(node)?),
        (&Method::POST, ["v1", "explain"]) => {
            let request: api::ExplainRequest =
                serde_json::from_slice(body).map_err(|e| Refusal::bad_request(format!("body: {e}")))?;
            let frame = hex::decode(&request.frame).ok_or_else(|| Refusal::bad_request("frame: not hex"))?;
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
                serde_json::from_slice(body).map_err(|e| Refusal::bad_request(format!("body: {e}")))?;
            let filter = LogFilter::parse(&request.filter).map_err(|e| Refusal::bad_request(format!("filter: {e}")))?;
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
        (method, _) => Err(Refusal::not_found(format!("{method} {}: there is no such request", head.uri.path()))),
    }
}

fn json(answer: &impl Serialize) -> Result<Vec<u8>, Refusal> {
    serde_json::to_vec(answer).map_err(|e| Refusal {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        error: format!("the answer cannot be written: {e}"),
        hint: None,
    })
}

fn status(node: &Node) -> api::Status {
    let (upstreams, certificates) = (node.upstream_servers(), node.presented_certificates());
    let problems = problems(node, &upstreams, &certificates);
    api::Status {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        build: build_identity::summary(),
        pid: std::process::id(),
        node_id: node.config().router.node_id,
        generation: node.generation,
        generations: node.describe_generations(),
        uptime_seconds: node.started.elapsed().as_secs(),
        healthy: problems.is_empty(),
        problems,
        interfaces: node.interfaces(),
        listeners: listeners(node),
        totals: sum(node),
        flow_table: node.kernel.as_ref().map(flow_table),
        connection_ids: node.connection_ids.describe(),
        upstreams,
        certificates,
    }
}

fn problems(node: &Node, upstreams: &[UpstreamServer], certificates: &[Certificate]) -> Vec<String> {
    let mut problems: Vec<String> = node.with_workers(|workers| {
        let dead = workers.iter().filter(|worker| !worker.is_running() && !worker.is_stopping());
        dead.map(|worker| format!("worker {} has ended: its connections are lost", worker.slot())).collect()
    });
    problems.extend(node.replacements.problems());
    problems.extend(node.device_problems());
    problems.extend(node.queue_problems());
    problems.extend(node.connection_ids.trouble());
    problems.extend(behind::problems(upstreams, certificates));
    for info in &node.now().sockets {
        // The kernel reports twice what it was asked for.
        if info.receive_buffer < 2 * udp::RECEIVE_BUFFER as u64 {
            problems.push(format!(
                "slot {}: receive buffer is {} bytes, not {}: raise net.core.rmem_max or grant CAP_NET_ADMIN",
                info.slot,
                info.receive_buffer / 2,
                udp::RECEIVE_BUFFER
            ));
        }
    }
    problems
}

fn listeners(node: &Node) -> Vec<api::Listener> {
    let listener = |Numbered { id, listener }: &Numbered, state: &str| api::Listener {
        id: *id,
        address: listener.address,
        certificates: match listener.certificates {
            crate::config::Certificates::Files(_) => "files".to_owned(),
            crate::config::Certificates::SelfSigned => "self-signed".to_owned(),
        },
        state: state.to_owned(),
    };
    let now = node.now();
    let open = now.listeners.iter().map(|one| listener(one, "open"));
    open.chain(now.closing.iter().map(|one| listener(one, "closing"))).collect()
}

pub(super) fn flow_table(kernel: &Kernel) -> api::FlowTable {
    use std::sync::atomic::Ordering::Relaxed;
    api::FlowTable {
        entries: kernel.flows.count(),
        capacity: kernel.capacity,
        full: kernel.full.load(Relaxed),
        swept: kernel.swept.load(Relaxed),
    }
}

pub(super) fn workers(node: &Node) -> api::Workers {
    let (totals, now) = (totals(node), node.now());
    let worker = |worker: &Worker| api::Worker {
        slot: worker.slot(),
        cpu: worker.cpu(),
        state: match (worker.is_running(), node.tables.slot_state(worker.slot())) {
            (false, _) => "ended".to_owned(),
            (true, _) if worker.is_stopping() => "leaving".to_owned(),
            (true, SlotState::Draining) => "draining".to_owned(),
            (true, SlotState::Active | SlotState::Free) => "active".to_owned(),
        },
        seconds_left: worker.drains_until().map(|end| end.saturating_duration_since(Instant::now()).as_secs()),
        receive_buffer: now.sockets.iter().find(|info| info.slot == worker.slot()).map_or(0, |i| i.receive_buffer / 2),
        totals: totals.iter().find(|(slot, _)| *slot == worker.slot()).map(|(_, totals)| *totals).unwrap_or_default(),
    };
    api::Workers { schema: SCHEMA, workers: node.with_workers(|workers| workers.iter().map(worker).collect()) }
}

/// Each worker's totals, with the drops that the kernel counted for its sockets.
fn totals(node: &Node) -> Vec<(u8, Totals)> {
    let (drops, now) = (udp::drops(), node.now());
    let of = |worker: &Worker| {
        let own = now.sockets.iter().filter(|info| info.slot == worker.slot());
        let socket_drops = own.filter_map(|info| drops.get(&info.inode)).sum();
        (worker.slot(), Totals { socket_drops, ..worker.stats().totals().into() })
    };
    node.with_workers(|workers| workers.iter().map(of).collect())
}

/// All workers', also those that have ended.
pub(super) fn sum(node: &Node) -> Totals {
    totals(node).into_iter().fold(node.departed.borrow().totals(), |sum, (_, totals)| add(sum, totals))
}

fn flows(node: &Node, query: &Query<'_>) -> Result<api::Flows, Refusal> {
    let kernel = kernel(node)?;
    let slot: Option<u8> = query.get("slot").map(|slot| parse(slot, "a slot, 0 to 255")).transpose()?;
    let peer: Option<std::net::IpAddr> = query.get("peer").map(|peer| parse(peer, "an IP address")).transpose()?;
    let limit: usize = query.get("limit").map_or(Ok(1_000), |limit| parse(limit, "a number"))?;
    let now = monotonic_now();
    let (mut entries, mut matching) = (0, Vec::new());
    for (cid, flow) in kernel.flows.iter() {
        entries += 1;
        let row = row(&cid, &flow, now);
        let wanted = slot.is_none_or(|slot| slot == row.slot)
            && peer.is_none_or(|peer| row.peer.is_some_and(|of_row| of_row.ip() == peer));
        if wanted && matching.len() < limit {
            matching.push(row);
        }
    }
    Ok(api::Flows { schema: SCHEMA, entries, flows: matching })
}

fn flow(node: &Node, cid: &str) -> Result<api::Flows, Refusal> {
    let kernel = kernel(node)?;
    let cid = connection_id(cid)?;
    let flow = kernel.flows.get(&cid).ok_or_else(|| Refusal {
        hint: Some("quic-router cid decode shows where its packets go all the same".to_owned()),
        ..Refusal::not_found("the flow table has no such connection ID")
    })?;
    Ok(api::Flows { schema: SCHEMA, entries: kernel.flows.count(), flows: vec![row(&cid, &flow, monotonic_now())] })
}

fn kernel(node: &Node) -> Result<&Kernel, Refusal> {
    node.kernel.as_ref().ok_or_else(|| Refusal {
        hint: Some("quic-router status says which engine runs, and why".to_owned()),
        ..Refusal::not_found("the userspace engine has no flow table")
    })
}

fn row(cid: &ConnectionId, flow: &Flow, now: u64) -> api::Flow {
    let since = |then: u64| now.saturating_sub(then) / 1_000_000;
    api::Flow {
        cid: hex::encode(cid.as_slice()),
        slot: flow.slot(),
        origin: match flow.origin() {
            Origin::Issued => "issued".to_owned(),
            Origin::Chosen => "chosen".to_owned(),
        },
        packets: flow.packets(),
        bytes: flow.bytes(),
        peer: flow.peer().map(|peer| socket_address(&peer)),
        peer_changes: flow.peer_changes(),
        age_ms: since(flow.created()),
        idle_ms: (flow.packets() > 0).then(|| since(flow.last_seen())),
    }
}

pub(super) fn counters(node: &Node) -> Result<api::Counters, Refusal> {
    let (mut stages, mut slots) = (Vec::new(), Vec::new());
    if let Some(kernel) = &node.kernel {
        let mut datapath = kernel.datapath.borrow_mut();
        if !datapath.attachments().is_empty() {
            stages.push(stage("xdp", &datapath.counters(Stage::Xdp)?));
        }
        stages.push(stage("select", &datapath.counters(Stage::Select)?));
        for slot in node.with_workers(|workers| workers.iter().map(Worker::slot).collect::<Vec<_>>()) {
            let counters = datapath.slot_counters(slot)?;
            slots.push(api::SlotCounters {
                slot,
                xdp_local: counters.get(Hop::Local),
                xdp_stayed: counters.get(Hop::Stayed),
                xdp_redirected: counters.get(Hop::Redirected),
                xdp_unredirected: counters.get(Hop::Unredirected),
                selected: counters.get(Hop::Selected),
                unselected: counters.get(Hop::Unselected),
                xdp_socket: counters.get(Hop::Socket),
            });
        }
    }
    stages.extend(socket_stage(node));
    stages.push(worker_stage(node));
    Ok(api::Counters { schema: SCHEMA, stages, slots })
}

fn stage(name: &str, counters: &Counters) -> api::Stage {
    let of = |fate: Fate| {
        let reasons = Reason::ALL.iter().filter(|reason| reason.fate() == fate);
        reasons.map(|&reason| (reason.name().to_owned(), counters.get(reason))).collect()
    };
    api::Stage {
        name: name.to_owned(),
        received: counters.received(),
        passed: of(Fate::Passed),
        dropped: of(Fate::Dropped),
        delivered: of(Fate::Delivered),
        closes: counters.closes(),
    }
}

/// The AF_XDP sockets, where there are such, or were.
fn socket_stage(node: &Node) -> Option<api::Stage> {
    let sum = sum(node);
    if sum.frames_received == 0 && node.interfaces().iter().all(|interface| interface.queues.is_empty()) {
        return None;
    }
    let dropped = [
        ("ip_checksum", sum.frames_ip_checksum),
        ("udp_checksum", sum.frames_udp_checksum),
        ("unreadable", sum.frames_unreadable),
        ("no_listener", sum.frames_without_listener),
        ("not_held", sum.frames_not_held),
    ];
    let reasons = dropped.iter().map(|(_, n)| n).sum::<u64>() + sum.frames_delivered;
    Some(api::Stage {
        name: "af_xdp".to_owned(),
        received: sum.frames_received,
        passed: named(&[]),
        dropped: named(&dropped),
        delivered: named(&[("listener", sum.frames_delivered)]),
        closes: sum.frames_received == reasons,
    })
}

fn named(pairs: &[(&str, u64)]) -> BTreeMap<String, u64> {
    pairs.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect()
}

fn worker_stage(node: &Node) -> api::Stage {
    let sum = sum(node);
    let reasons = sum.datagrams_own + sum.datagrams_dropped + sum.handed_over + sum.hand_over_dropped;
    api::Stage {
        name: "worker".to_owned(),
        received: sum.datagrams_received,
        passed: named(&[]),
        dropped: named(&[("bad", sum.datagrams_dropped), ("inbox_full", sum.hand_over_dropped)]),
        delivered: named(&[("own", sum.datagrams_own), ("handed_over", sum.handed_over)]),
        closes: sum.datagrams_received == reasons,
    }
}

fn log(node: &Node) -> api::Log {
    api::Log { schema: SCHEMA, filter: node.log.filter().to_string() }
}

fn configurations(node: &Node) -> api::CidConfigurations {
    api::CidConfigurations { schema: SCHEMA, configurations: node.connection_ids.describe() }
}

fn decode(node: &Node, cid: &ConnectionId) -> api::DecodedCid {
    let set = node.tables.connection_ids().now();
    let configuration = set.get(cid.rotation());
    let opened = configuration.and_then(|configuration| Some((configuration.config(), configuration.open(cid)?)));
    let octets = cid.as_slice();
    let mut decoded = api::DecodedCid {
        schema: SCHEMA,
        cid: hex::encode(octets),
        length: octets.len() as u8,
        rotation: cid.rotation(),
        length_bits: cid.length_bits(),
        encoding: configuration.map(|configuration| encoding_name(configuration.config()).to_owned()),
        server_id: None,
        node: None,
        slot: None,
        nonce: None,
        routable: false,
        why_not: None,
    };
    let why_not = match &opened {
        Some((config, opened)) => {
            decoded.server_id = Some(hex::encode(opened.server_id()));
            decoded.node = config.node_in(opened.server_id());
            decoded.slot = Some(opened.slot());
            decoded.nonce = Some(hex::encode(opened.nonce()));
            let theirs = match decoded.node {
                Some(other) => format!("it belongs to node {other}, this is node {}", node.config().router.node_id),
                None => format!("its server ID is another's: ours is {}", hex::encode(config.identity())),
            };
            let is_free = node.tables.slot_state(opened.slot()) == SlotState::Free;
            let free = || is_free.then(|| format!("slot {} is free", opened.slot()));
            if opened.is_of(config) { free() } else { Some(theirs) }
        }
        None => Some(match configuration {
            Some(configuration) => {
                format!("it has {} octets, ours have {}", cid.len(), configuration.config().length())
            }
            None if cid.len() == 0 => "it is empty".to_owned(),
            None if cid.rotation() == UNROUTABLE => {
                "rotation 7 says that it was issued without a configuration".to_owned()
            }
            None => format!("no configuration has rotation {}", cid.rotation()),
        }),
    };
    api::DecodedCid { routable: why_not.is_none(), why_not, ..decoded }
}

fn connection_id(text: &str) -> Result<ConnectionId, Refusal> {
    let octets = hex::decode(text).ok_or_else(|| Refusal::bad_request(format!("{text:?}: not hex")))?;
    ConnectionId::new(&octets)
        .ok_or_else(|| Refusal::bad_request(format!("{} octets: a connection ID has at most 20", octets.len())))
}

fn parse<T: std::str::FromStr>(text: &str, wanted: &str) -> Result<T, Refusal> {
    text.parse().map_err(|_| Refusal::bad_request(format!("{text:?} is not {wanted}")))
}

/// The part of a request behind the question mark. No value needs escaping.
struct Query<'a>(&'a str);

impl Query<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.split('&').find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name)).map(|(_, value)| value)
    }
}

/// Hexadecimal, as `bpftool` and the captures of other tools write it.
pub(super) mod hex {
    use std::fmt::Write as _;

    pub(in crate::agent) fn encode(octets: &[u8]) -> String {
        octets.iter().fold(String::new(), |mut text, octet| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{octet:02x}");
            text
        })
    }

    pub(in crate::agent) fn decode(text: &str) -> Option<Vec<u8>> {
        let digits = text.as_bytes();
        if !digits.len().is_multiple_of(2) || !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
    }
}
