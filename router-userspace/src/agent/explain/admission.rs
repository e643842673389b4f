//! The step `admission`: what is asked of a packet that neither the flow table nor its connection ID places.

use router_common::{
    admission::{self, Challenge, Limited, Listed},
    frame::{Address, Endpoint},
    quic::Kind,
    steer::Tables as _,
};

use super::tables::LiveTables;
use crate::agent::{
    admission::per_second,
    blocks::{By, InForce},
    levels::Level,
};

/// What the block list says of a packet's source, if it has an entry for it.
pub(super) fn listed(source: &Endpoint, tables: &LiveTables<'_>) -> Option<String> {
    let InForce { prefix, id, entry, .. } = tables.node.blocks.find(&source.address)?;
    let why = entry.why.map(|why| format!(": {why}")).unwrap_or_default();
    let by = match entry.by {
        By::Verb => "a verb".to_owned(),
        By::File(place) => place,
    };
    let does = match admission::listed(Some(&source.address), tables) {
        Listed::No => "has ended",
        Listed::Allow => "lets it pass what else is asked",
        Listed::Challenge => "has its client asked for its address by a Retry",
        Listed::Drop => "drops it",
    };
    Some(format!("entry {id} of the block list, {} of {prefix} by {by}{why}, {does}", entry.action.name()))
}

/// What is asked of a packet that no connection is known to send.
pub(super) fn admitted(kind: Kind, source: &Endpoint, tables: &LiveTables<'_>) -> String {
    let Endpoint { address, port } = source;
    let of = match (kind.may_be_first_flight(), tables.refuses_port(*port)) {
        (true, true) => return format!("a first flight from port {port}, which admission.reject_source_ports has"),
        (true, false) => format!("a first flight from port {port}: admission.reject_source_ports lacks it; "),
        (false, _) => String::new(),
    };
    let asked = match kind {
        Kind::Initial | Kind::ZeroRtt => first_flight(address, tables),
        Kind::UnknownVersion => level(Limited::VersionNegotiation, tables),
        Kind::Handshake | Kind::OneRtt => level(Limited::Unknown, tables),
    };
    of + &asked
}

/// Whether the client of a first flight is sent a Retry, and what the limits are.
fn first_flight(address: &Address, tables: &LiveTables<'_>) -> String {
    if !tables.answers() {
        return "no client is sent a Retry by XDP: admission.answer_in_xdp".to_owned();
    }
    let source = match tables.node.steering.source_level(address) {
        Ok(Some(level)) => level.in_words(),
        Ok(None) => "first flights of a prefix are not limited: admission.new_per_source".to_owned(),
        Err(e) => format!("what its prefix has sent cannot be read: {e}"),
    };
    match (tables.node.serving.config().admission.challenge, tables.challenge()) {
        (_, Challenge::Never) => "no client is sent a Retry by XDP: admission.challenge".to_owned(),
        (Challenge::Always, _) => format!("each client is sent a Retry: admission.challenge; {source}"),
        (_, Challenge::Always) => {
            format!("each client is sent a Retry while a worker has half of limits.max_handshakes open; {source}")
        }
        (_, Challenge::Auto) => format!("{source}; {}", level(Limited::New, tables)),
    }
}

/// What room there is for packets of a kind.
fn level(of: Limited, tables: &LiveTables<'_>) -> String {
    let per_second = per_second(&tables.node.serving.config().admission, of);
    match tables.node.steering.admission(of) {
        Ok((admission, word)) => Level { of, per_second, admission, word }.in_words(),
        Err(e) => format!("whether there is room for one more such packet cannot be read: {e}"),
    }
}
