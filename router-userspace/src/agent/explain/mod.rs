//! What would happen to a packet: the decision, taken step by step with the live tables.

mod admission;
mod cluster;
mod tables;

use std::collections::BTreeMap;

use router_common::{
    admission::{Destination, InPlace, Listed, Outcome, destination, judge, listed},
    connection_id::Owner,
    frame::{self, Datagram, Endpoint},
    identifiers::SlotId,
    quic::{self, Header, Kind},
    reason::Reason,
    steer::{self, Tables, Verdict},
};

use self::tables::LiveTables;
use super::{
    addresses::socket_address,
    api::{Explanation, SCHEMA, Step},
    connection_ids::encoding_name,
    hex,
    node::Node,
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
    if let Verdict::Forward(forward) = &verdict {
        let findings = cluster::forwarded(bytes, forward.node, &tables);
        steps.extend(findings.into_iter().map(|finding| Step { step: "forward".to_owned(), finding }));
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
            Verdict::Forward(forward) => format!("forward to node {}", forward.node),
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
        let tunnel = cluster::unwrapped(bytes, &datagram, tables);
        step("parse", tunnel.unwrap_or_else(|| because(Reason::NotListener)));
        return steps;
    };
    match destination(&datagram.destination.address, tables) {
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
        let decoded = match (by, steer::owner(cid, tables)) {
            (Some(by), Some(Owner::Slot(slot))) => format!("it decodes, {by}, to slot {slot} of this node"),
            (Some(by), Some(Owner::Node(node))) if tables.node(node).is_some() => {
                format!("it decodes, {by}, to node {node}")
            }
            (Some(by), Some(Owner::Node(_)) | None) => format!("it does not decode, {by}, to a slot of this node"),
            (None, _) => format!("it does not decode: no configuration has rotation {rotation}"),
        };
        findings.push(("route", decoded));
    }
    if !matches!(verdict.reason(), Reason::Flow | Reason::Cid | Reason::Forwarded) {
        findings.extend(admission::listed(source, tables).map(|finding| ("admission", finding)));
        if matches!(listed(Some(&source.address), tables), Listed::No | Listed::Challenge) {
            findings.push(("admission", admission::admitted(header.kind, source, tables)));
        }
    }
    let is_placed = matches!(verdict.reason(), Reason::Flow | Reason::Cid | Reason::Forwarded)
        || judge(header.kind, source, || in_place, tables) == Outcome::Deliver;
    findings.push((if is_placed { "route" } else { "admission" }, because(verdict.reason())));
    findings
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
