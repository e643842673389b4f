//! What would happen to a packet: the decision, taken step by step with the live tables.

use std::collections::BTreeMap;

use router_common::{
    admission::{self, Challenge, Destination, InPlace, Limited, Listed, Outcome, TokenKeys},
    connection_id::ConnectionId,
    frame::{self, Address, Datagram, Endpoint},
    identifiers::{ConfigRotation, SlotId},
    maps::{CidConfig, LocalKind, Queue, Settings, Slot},
    quic::{self, Header, Kind},
    reason::Reason,
    steer::{self, Tables, Verdict},
};

use super::{
    addresses::socket_address,
    admission::{Level, per_second},
    api::{Explanation, SCHEMA, Step},
    blocks::{By, InForce},
    connection_ids::encoding_name,
    hex,
    node::Node,
};
use crate::{
    clock::monotonic_now,
    worker::{HostKeys, Placement, View},
};

/// Explains what becomes of an Ethernet frame.
pub(super) fn explain(node: &Node, bytes: &[u8]) -> Explanation {
    let tables = LiveTables::new(node, None);
    let mut steps = steps(bytes, &tables);
    let (verdict, _) = steer::frame(bytes, &tables);
    // The decision may know more than the steps here.
    let decided = because(verdict.reason());
    if steps.last().is_none_or(|step| step.finding != decided) {
        steps.push(Step { step: "decide".to_owned(), finding: decided });
    }
    if let Verdict::Deliver(delivery) = &verdict {
        let findings = deliver(bytes, node, delivery.number);
        steps.extend(findings.into_iter().map(|finding| Step { step: "deliver".to_owned(), finding }));
    }
    let reason = verdict.reason();
    Explanation {
        schema: SCHEMA,
        steps,
        verdict: match verdict {
            Verdict::Pass(_) => "pass".to_owned(),
            Verdict::Drop(_) => "drop".to_owned(),
            Verdict::Deliver(delivery) => format!("deliver to slot {}", delivery.number),
            Verdict::Answer(_) => "answer".to_owned(),
        },
        reason: reason.name().to_owned(),
    }
}

fn steps(bytes: &[u8], tables: &LiveTables<'_>) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut step = |name: &str, finding: String| steps.push(Step { step: name.to_owned(), finding });
    let datagram = match frame::parse(bytes) {
        Ok(datagram) => datagram,
        Err(reason) => {
            step("parse", because(reason));
            return steps;
        }
    };
    step("parse", describe_datagram(&datagram));
    let Some(listener) = tables.node.steering.tables().listener(&datagram.destination) else {
        step("parse", because(Reason::NotListener));
        return steps;
    };
    match admission::destination(&datagram.destination.address, tables) {
        Destination::Own => {}
        Destination::Many => {
            step("parse", format!("listener {} is on every address, and that one is for many hosts", listener.id()));
            step("parse", because(Reason::Broadcast));
            return steps;
        }
        Destination::Other => {
            step("parse", "that is not an address of this host".to_owned());
            step("parse", because(Reason::NotListener));
            return steps;
        }
    }
    step("parse", format!("listener {} answers there", listener.id()));
    if !datagram.source.can_be_answered() {
        step("parse", because(Reason::Unanswerable));
        return steps;
    }
    let settings = tables.node.steering.tables().settings();
    let header = match quic::classify(bytes, datagram.payload, settings.cid_length()) {
        Ok(header) => header,
        Err(reason) => {
            step("classify", because(reason));
            return steps;
        }
    };
    step("classify", describe_header(&header));
    let in_place = InPlace::of(bytes, &datagram, header.kind, tables);
    for (name, finding) in route(&header, &datagram.source, in_place, tables) {
        step(name, finding);
    }
    steps
}

/// Findings, each with the name of its step.
fn route(
    header: &Header,
    source: &Endpoint,
    in_place: InPlace,
    tables: &LiveTables<'_>,
) -> Vec<(&'static str, String)> {
    let cid = &header.destination;
    let flow = match tables.flow(cid) {
        Some(((), slot)) => format!("the flow table has it: slot {slot}"),
        None => "the flow table does not have it".to_owned(),
    };
    let mut findings = vec![("route", flow)];
    let verdict = steer::route(header, source, in_place, tables);
    if verdict.reason() != Reason::Flow {
        let rotation = cid.rotation();
        let by = tables
            .cid_config(rotation)
            .map(|config| format!("by configuration {rotation} ({})", encoding_name(config)));
        let decoded = match (by, steer::decoded(cid, tables)) {
            (Some(by), Some(slot)) => format!("it decodes, {by}, to slot {slot} of this node"),
            (Some(by), None) => format!("it does not decode, {by}, to a slot of this node"),
            (None, _) => format!("it does not decode: no configuration has rotation {rotation}"),
        };
        findings.push(("route", decoded));
    }
    if !matches!(verdict.reason(), Reason::Flow | Reason::Cid) {
        findings.extend(listed(source, tables).map(|finding| ("admission", finding)));
        if matches!(admission::listed(source, tables), Listed::No | Listed::Challenge) {
            findings.push(("admission", admitted(header.kind, source.port, tables)));
        }
    }
    let is_placed = matches!(verdict.reason(), Reason::Flow | Reason::Cid)
        || admission::judge(header.kind, source, || in_place, tables) == Outcome::Deliver;
    findings.push((if is_placed { "route" } else { "admission" }, because(verdict.reason())));
    findings
}

/// What the block list says of a packet's source, if it has an entry for it.
fn listed(source: &Endpoint, tables: &LiveTables<'_>) -> Option<String> {
    let InForce { prefix, id, entry, .. } = tables.node.blocks.find(&source.address)?;
    let why = entry.why.map(|why| format!(": {why}")).unwrap_or_default();
    let by = match entry.by {
        By::Verb => "a verb".to_owned(),
        By::File(place) => place,
    };
    let does = match admission::listed(source, tables) {
        Listed::No => "has ended",
        Listed::Allow => "lets it pass what else is asked",
        Listed::Challenge => "has its worker answer with a Retry, unless it comes with the token of one",
        Listed::Drop => "drops it",
    };
    Some(format!("entry {id} of the block list, {} of {prefix} by {by}{why}, {does}", entry.action.name()))
}

/// What is asked of a packet that no connection is known to send.
fn admitted(kind: Kind, source_port: u16, tables: &LiveTables<'_>) -> String {
    let port = match (kind.may_be_first_flight(), tables.refuses_port(source_port)) {
        (true, true) => {
            return format!("a first flight from port {source_port}, which admission.reject_source_ports has");
        }
        (true, false) => format!("a first flight from port {source_port}: admission.reject_source_ports lacks it"),
        (false, _) => String::new(),
    };
    let of = match kind {
        Kind::Initial | Kind::ZeroRtt if !tables.answers() => {
            return format!("{port}; no client is sent a Retry by XDP: admission.answer_in_xdp");
        }
        Kind::Initial | Kind::ZeroRtt => match tables.challenge() {
            Challenge::Never => return format!("{port}; no client is sent a Retry by XDP: admission.challenge"),
            Challenge::Always => return format!("{port}; each client is sent a Retry: admission.challenge"),
            Challenge::Auto => Limited::New,
        },
        Kind::UnknownVersion => Limited::VersionNegotiation,
        Kind::Handshake | Kind::OneRtt => Limited::Unknown,
    };
    let per_second = per_second(&tables.node.serving.config().admission, of);
    let room = match tables.node.steering.admission(of) {
        Ok((admission, word)) => Level { of, per_second, admission, word }.in_words(),
        Err(e) => format!("whether there is room for one more such packet cannot be read: {e}"),
    };
    if port.is_empty() { room } else { format!("{port}; {room}") }
}

/// By which socket, where workers have receive queues: it depends on the queue that the frame comes in on,
/// which the frame does not tell. On some it may be another slot's, too.
fn deliver(bytes: &[u8], node: &Node, otherwise: SlotId) -> Vec<String> {
    let queues = node.queues.entries();
    if queues.is_empty() {
        return Vec::new();
    }
    let mut by_socket = BTreeMap::<(String, SlotId), Vec<String>>::new();
    for (interface, queue) in queues {
        let tables = LiveTables::new(node, Some(queue));
        if let (Verdict::Deliver(delivery), _) = steer::frame(bytes, &tables)
            && delivery.socket.index().is_some()
        {
            by_socket.entry((interface, delivery.number)).or_default().push(queue.id().queue.to_string());
        }
    }
    let others = if by_socket.is_empty() { "whichever queue it comes in on" } else { "otherwise" };
    let others = format!("{others}: by the UDP socket of slot {otherwise}");
    let by_socket = by_socket.into_iter().map(|((interface, slot), queues)| {
        let which = if queues.len() == 1 { "queue" } else { "queues" };
        format!("on {which} {} of {interface}: by the AF_XDP socket of slot {slot}", queues.join(", "))
    });
    by_socket.chain([others]).collect()
}

fn describe_datagram(datagram: &Datagram) -> String {
    let (source, destination) = (socket_address(&datagram.source), socket_address(&datagram.destination));
    format!("UDP from {source} to {destination}, {} octets of payload", datagram.payload.length)
}

fn describe_header(header: &Header) -> String {
    let kind = match header.kind {
        Kind::Initial => "Initial",
        Kind::ZeroRtt => "0-RTT",
        Kind::Handshake => "Handshake",
        Kind::UnknownVersion => "long header of an unknown version",
        Kind::OneRtt => "short header (1-RTT)",
    };
    format!("{kind}, destination connection ID {}", hex::encode(header.destination.as_slice()))
}

/// A reason as the last word on a packet.
fn because(reason: Reason) -> String {
    format!("{}, {}: {}", reason.fate().name(), reason.name(), reason.explanation())
}

/// The node's tables with the kernel's flow table in front.
struct LiveTables<'a> {
    node: &'a Node,
    view: View<'a>,
    arrival: Option<Queue>,
    token_keys: Option<TokenKeys>,
}

impl<'a> LiveTables<'a> {
    /// For a frame that comes in on a queue which a worker has, or on any other.
    fn new(node: &'a Node, arrival: Option<Queue>) -> Self {
        let view = node.steering.tables().view(Placement::Assignment);
        Self { node, view, arrival, token_keys: node.steering.token_keys() }
    }
}

impl Tables for LiveTables<'_> {
    type Flow = ();
    type Keys = HostKeys;

    fn settings(&self) -> Option<Settings> {
        self.view.settings()
    }

    fn listens(&self, destination: &Endpoint) -> bool {
        self.view.listens(destination)
    }

    fn flow(&self, cid: &ConnectionId) -> Option<((), SlotId)> {
        let in_kernel = self.node.steering.kernel().and_then(|kernel| kernel.flows.get(cid));
        in_kernel.map(|flow| ((), flow.slot())).or_else(|| self.view.flow(cid))
    }

    fn cid_config(&self, rotation: ConfigRotation) -> Option<&CidConfig> {
        self.view.cid_config(rotation)
    }

    fn cid_keys(&self, rotation: ConfigRotation) -> Option<&HostKeys> {
        self.view.cid_keys(rotation)
    }

    fn slot(&self, slot: SlotId) -> Option<Slot> {
        self.view.slot(slot)
    }

    fn assigned(&self, hash: u64) -> Option<SlotId> {
        self.view.assigned(hash)
    }

    fn hash_seed(&self) -> Option<[u64; 2]> {
        self.view.hash_seed()
    }

    fn queue(&self) -> Option<&Queue> {
        self.arrival.as_ref()
    }

    fn is_local(&self, address: &Address) -> bool {
        self.node.local_addresses.kind(address) == Some(LocalKind::Own)
    }

    fn is_broadcast(&self, address: &Address) -> bool {
        self.node.local_addresses.kind(address) == Some(LocalKind::Broadcast)
    }

    /// It only looks.
    fn listed(&self, source: &Address) -> Listed {
        self.node.steering.tables().listed(*source)
    }

    fn refuses_port(&self, port: u16) -> bool {
        self.view.refuses_port(port)
    }

    /// It only looks.
    fn admits(&self, kind: Limited) -> bool {
        let now = monotonic_now();
        let limit = self.node.steering.admission(kind).ok();
        let limit = limit.and_then(|(admission, word)| Some((admission.rate_at(kind, now)?, word)));
        limit.is_none_or(|(rate, word)| rate.room(word, now) > 0)
    }

    fn challenge(&self) -> Challenge {
        self.view.challenge()
    }

    fn token_keys(&self) -> Option<&TokenKeys> {
        self.token_keys.as_ref()
    }

    fn unix_seconds(&self) -> u64 {
        self.view.unix_seconds()
    }

    fn answers(&self) -> bool {
        let steering = &self.node.steering;
        steering.kernel().is_some()
            && steering.admission(Limited::VersionNegotiation).is_ok_and(|(admission, _)| admission.answers())
    }
}
