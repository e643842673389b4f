//! The metrics page: everything that is counted here, below and in the kernel, read when it is asked
//! for. The names and what they mean are those of docs/metrics.md.
//!
//! The rule this room keeps: a label's values come from the configuration or from a list in the
//! code, never from a client.

mod page;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, SystemTime},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, text},
    registry::Registry,
};

use self::page::{Page, Text};
use super::{
    api::{self, Health, Totals, WorkerState},
    observe::{Observed, ObservedBlocks},
    views,
};
use crate::{
    build_identity,
    telemetry::{Handshake, Outcome, Protocol, RouteSums, Sums, shortage},
};

/// The page, in OpenMetrics' text format: what was observed, what the workers' meters say, and how many lines of the
/// access log were lost, where there is one.
///
/// # Errors
/// If it cannot be written.
pub(super) fn text(observed: Observed, sums: Sums, access_log_dropped: Option<u64>) -> Result<String, fmt::Error> {
    Snapshot::of(observed, sums, access_log_dropped).text()
}

/// All that is shown, at one moment.
#[derive(Clone, Debug, Default)]
struct Snapshot {
    build: String,
    kind: &'static str,
    generation: u64,
    /// Since 1970.
    started: Duration,
    workers: Vec<api::Worker>,
    totals: Totals,
    /// Of the kernel.
    stages: Vec<api::Stage>,
    slots: Vec<api::SlotCounters>,
    flow_table: Option<api::FlowTable>,
    blocks: Vec<ObservedBlocks>,
    memory: Option<api::Memory>,
    sums: Sums,
    upstreams: Vec<api::UpstreamServer>,
    certificates: Vec<api::Certificate>,
    access_log_dropped: Option<u64>,
    longest_turn: Duration,
}

impl Snapshot {
    /// Of what was observed, what the workers' meters say, and how many lines of the access log were lost.
    fn of(observed: Observed, sums: Sums, access_log_dropped: Option<u64>) -> Self {
        // What the kernel does not say is not shown; it is worth a look all the same.
        let counters = views::counters(&observed).inspect_err(|e| tracing::warn!("metrics: {e}")).ok();
        let (mut stages, slots) = counters.map(|counters| (counters.stages, counters.slots)).unwrap_or_default();
        // That is in the totals.
        stages.retain(|stage| stage.name != "worker");
        Self {
            build: build_identity::summary(),
            kind: build_identity::kind(),
            generation: observed.generation,
            started: observed.started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default(),
            workers: views::workers(&observed).workers,
            totals: Totals { socket_drops: observed.socket_drops, ..views::sum(&observed) },
            stages,
            slots,
            flow_table: observed.kernel.map(|kernel| kernel.flow_table),
            blocks: observed.blocks,
            memory: Some(observed.memory),
            sums,
            upstreams: observed.upstreams,
            certificates: observed.certificates,
            access_log_dropped,
            longest_turn: observed.longest_turn,
        }
    }

    /// In OpenMetrics' text format.
    fn text(self) -> Result<String, fmt::Error> {
        let mut registry = Registry::with_prefix("quic_router");
        registry.register_collector(Box::new(self));
        let mut text = String::with_capacity(PAGE);
        text::encode(&mut text, &registry)?;
        Ok(text)
    }

    fn process(&self, page: &mut Page<'_>) -> fmt::Result {
        let version = env!("CARGO_PKG_VERSION");
        let labels = [("version", Text(version)), ("build", Text(&self.build)), ("kind", Text(self.kind))];
        page.info("build", "What runs", labels)?;
        page.gauge("generation", "Number of this run of the agent", [([], shown(self.generation))])?;
        let started = shown(self.started.as_secs());
        page.gauge("start_time_seconds", "When this run began, since 1970", [([], started)])?;
        let states = WorkerState::ALL.iter().map(|&state| {
            let count = self.workers.iter().filter(|worker| worker.state == state).count();
            ([("state", Text(state.as_str()))], shown(count as u64))
        });
        page.gauge("workers", "Workers by state", states)?;
        let longest = [([], self.longest_turn)];
        page.seconds(
            "agent_longest_turn_seconds",
            "Longest time that the agent's thread was busy at a stretch",
            longest,
        )?;
        let met = [([], shortage::count())];
        page.counter("shortages", "Calls that failed for want of descriptors, memory or ports", met)?;
        let memory = self.memory.as_slice();
        let held = memory.iter().map(|memory| ([], shown(memory.held)));
        page.gauge("held_bytes", "Octets that requests make the node hold", held)?;
        let budget = memory.iter().map(|memory| ([], shown(memory.budget)));
        page.gauge("held_bytes_max", "Octets that requests may make the node hold", budget)?;
        let refused = memory.iter().map(|memory| ([], memory.refused));
        page.counter("requests_without_memory", "Requests refused because limits.memory was used up", refused)
    }

    fn connections(&self, page: &mut Page<'_>) -> fmt::Result {
        let Self { totals, sums, .. } = self;
        let open = labelled("protocol", Protocol::ALL.map(Protocol::name), sums.open.map(shown));
        page.gauge("connections", "Connections open, by the protocol agreed on", open)?;
        let opened = labelled("protocol", Protocol::ALL.map(Protocol::name), sums.opened);
        page.counter("connections_opened", "Connections that agreed on a protocol", opened)?;
        let now = [([], shown(totals.connections_now))];
        page.gauge("quic_connections", "QUIC connections open, handshakes included", now)?;
        let handshakes = [([], shown(totals.handshakes_now))];
        page.gauge("quic_handshakes_in_progress", "QUIC handshakes not yet complete", handshakes)?;
        let now = [([], shown(totals.tcp_connections_now))];
        page.gauge("tcp_connections", "TCP connections open, handshakes included", now)?;
        page.counter("tcp_connections_accepted", "TCP connections taken in", [([], totals.tcp_accepted)])?;
        let quic = [("complete", totals.accepted), ("failed", totals.handshakes_failed)];
        let tcp = Handshake::ALL.map(Handshake::name).into_iter().zip(sums.handshakes);
        let of = |transport| move |(outcome, n)| ([("transport", Text(transport)), ("outcome", Text(outcome))], n);
        let handshakes = quic.into_iter().map(of("quic")).chain(tcp.map(of("tcp")));
        page.counter("handshakes", "TLS handshakes by transport and outcome", handshakes)?;
        let refused = [
            ([("reason", Text("max_connections"))], totals.refused_connections),
            ([("reason", Text("max_connections_per_ip"))], totals.refused_per_ip),
            ([("reason", Text("max_handshakes"))], totals.refused_handshakes),
        ];
        page.counter("connections_refused", "Connections refused, by limit", refused)?;
        page.counter("retries", "Clients that were sent a Retry to prove their address", [([], totals.retried)])
    }

    fn datagrams(&self, page: &mut Page<'_>) -> fmt::Result {
        let totals = &self.totals;
        page.counter("datagrams_received", "Datagrams that the sockets received", [([], totals.datagrams_received)])?;
        page.counter("datagram_bytes_received", "Octets in them", [([], totals.bytes_received)])?;
        let fates = [
            ([("fate", Text("own"))], totals.datagrams_own),
            ([("fate", Text("bad"))], totals.datagrams_dropped),
            ([("fate", Text("handed_over"))], totals.handed_over),
            ([("fate", Text("inbox_full"))], totals.hand_over_dropped),
        ];
        page.counter("datagrams", "Datagrams received, by what became of them", fates)?;
        let taken = [([], totals.taken_over)];
        page.counter("datagrams_taken_over", "Datagrams that workers took from others", taken)?;
        let dropped = [([], totals.socket_drops)];
        page.counter("socket_drops", "Datagrams that the kernel dropped because a receive buffer was full", dropped)?;
        let dropped = [([], totals.ring_drops)];
        page.counter("af_xdp_drops", "Frames that the kernel dropped because an AF_XDP socket had no room", dropped)?;
        let ways = [
            ([("by", Text("udp"))], totals.datagrams_sent.saturating_sub(totals.frames_sent)),
            ([("by", Text("af_xdp"))], totals.frames_sent),
        ];
        page.counter("datagrams_sent", "Datagrams sent, by the kind of socket", ways)
    }

    fn kernel(&self, page: &mut Page<'_>) -> fmt::Result {
        let received = self.stages.iter().map(|stage| ([("stage", Text(&stage.name))], stage.received));
        page.counter("kernel_packets_received", "Packets that entered a stage of the kernel's programs", received)?;
        let reasons = self.stages.iter().flat_map(|stage| {
            let fates = [
                ("passed", &stage.passed),
                ("dropped", &stage.dropped),
                ("delivered", &stage.delivered),
                ("answered", &stage.answered),
            ];
            fates.into_iter().flat_map(move |(fate, reasons)| {
                let labels =
                    move |reason| [("stage", Text(&stage.name)), ("fate", Text(fate)), ("reason", Text(reason))];
                reasons.iter().map(move |(reason, &n)| (labels(reason), n))
            })
        });
        page.counter("kernel_packets", "Packets by stage, fate and reason", reasons)?;
        let slots: Vec<_> = self.slots.iter().map(|counters| (counters.slot.to_string(), counters)).collect();
        let hops = slots.iter().flat_map(|(slot, counters)| {
            let hops = [
                ("xdp_local", counters.xdp_local),
                ("xdp_stayed", counters.xdp_stayed),
                ("xdp_redirected", counters.xdp_redirected),
                ("xdp_unredirected", counters.xdp_unredirected),
                ("selected", counters.selected),
                ("unselected", counters.unselected),
                ("xdp_socket", counters.xdp_socket),
            ];
            hops.map(|(hop, n)| ([("slot", Text(slot)), ("hop", Text(hop))], n))
        });
        page.counter("slot_packets", "Packets that the kernel gave a slot, by how", hops)?;
        let table = self.flow_table.as_ref();
        page.gauge("flow_table_entries", "Flows in the table", table.map(|table| ([], shown(table.entries))))?;
        page.gauge("flow_table_capacity", "Flows that it holds", table.map(|table| ([], shown(table.capacity))))?;
        page.counter("flow_table_full", "Flows not entered: it was full", table.map(|table| ([], table.full)))?;
        page.counter("flow_table_swept", "Flows swept after long disuse", table.map(|table| ([], table.swept)))
    }

    fn blocks(&self, page: &mut Page<'_>) -> fmt::Result {
        let label = |blocks: &ObservedBlocks| [("action", Text(blocks.action.name()))];
        let entries = self.blocks.iter().map(|blocks| (label(blocks), shown(blocks.entries)));
        page.gauge("blocks", "Prefixes in the block list, by action", entries)?;
        let hits = self.blocks.iter().filter_map(|blocks| Some((label(blocks), blocks.hits?)));
        page.counter("block_hits", "Packets about which the block list has decided, by action", hits)
    }

    fn routes(&self, page: &mut Page<'_>) -> fmt::Result {
        let routes = || self.sums.routes.iter().map(|(name, sums)| (("route", Text(name)), sums));
        let requests: Vec<_> = routes()
            .flat_map(|(route, sums)| sums.requests.iter().map(move |(&key, &n)| (route, key, n)))
            .map(|(route, (protocol, status), n)| (route, protocol, status.to_string(), n))
            .collect();
        let requests = requests.iter().map(|(route, protocol, status, n)| {
            ([*route, ("protocol", Text(protocol.name())), ("status", Text(status))], *n)
        });
        page.counter("requests", "Requests by route, protocol and status", requests)?;
        let outcomes = |of: fn(&RouteSums) -> [u64; Outcome::ALL.len()]| {
            routes().flat_map(move |(route, sums)| {
                let outcomes = Outcome::ALL.into_iter().zip(of(sums));
                outcomes.map(move |(outcome, n)| ([route, ("outcome", Text(outcome.name()))], n))
            })
        };
        page.counter("request_outcomes", "Requests by how they ended", outcomes(|sums| sums.request_outcomes))?;
        page.counter("streams", "Raw streams by how they ended", outcomes(|sums| sums.stream_outcomes))?;
        let each = |of: fn(&RouteSums) -> u64| routes().map(move |(route, sums)| ([route], of(sums)));
        let early = each(|sums| sums.early);
        page.counter("early_data_requests", "Requests served in 0-RTT", early)?;
        page.counter("received_bytes", "Octets of content from clients", each(|sums| sums.received))?;
        page.counter("sent_bytes", "Octets of content to clients", each(|sums| sums.sent))?;
        let durations = routes().map(|(route, sums)| ([route], &sums.duration));
        page.histogram("request_duration_seconds", "From a request's first octet to its response's last", durations)?;
        let heads = routes().map(|(route, sums)| ([route], &sums.first_byte));
        page.histogram("request_first_byte_seconds", "From a request's first octet to its response's head", heads)
    }

    fn upstreams(&self, page: &mut Page<'_>) -> fmt::Result {
        // A server that is listed twice is one.
        let servers: BTreeMap<_, _> = self.upstreams.iter().map(|one| ((&*one.upstream, &*one.server), one)).collect();
        let labels = |one: &(&str, &str)| {
            let (upstream, server) = *one;
            (upstream.to_owned(), server.to_owned())
        };
        let servers: Vec<_> = servers.iter().map(|(name, one)| (labels(name), *one)).collect();
        let named = || {
            servers
                .iter()
                .map(|((upstream, server), one)| ([("upstream", Text(upstream)), ("server", Text(server))], *one))
        };
        let health = named().flat_map(|([upstream, server], one)| {
            let is = move |&health| {
                ([upstream, server, ("health", Text(Health::as_str(health)))], i64::from(one.health == health))
            };
            Health::ALL.iter().map(is)
        });
        page.gauge("upstream_server_health", "1 for how a server is, 0 for how it is not", health)?;
        let in_flight = named().map(|(labels, one)| (labels, shown(one.in_flight)));
        page.gauge("upstream_server_requests_in_flight", "Requests and streams on a server", in_flight)?;
        let open = named().map(|(labels, one)| (labels, shown(one.connections)));
        page.gauge("upstream_server_connections", "Connections to a server", open)?;
        let requests = named().map(|(labels, one)| (labels, one.requests_total));
        page.counter("upstream_server_requests", "Requests and streams that a server was given", requests)?;
        let failures = named().map(|(labels, one)| (labels, one.failures_total));
        page.counter("upstream_server_failures", "Those that it failed", failures)?;
        let queued: BTreeMap<_, _> = self.upstreams.iter().map(|one| (&*one.upstream, one.queued)).collect();
        let queued = queued.into_iter().map(|(upstream, n)| ([("upstream", Text(upstream))], shown(n)));
        page.gauge("upstream_requests_queued", "Requests and streams that wait for a server", queued)
    }

    fn rest(&self, page: &mut Page<'_>) -> fmt::Result {
        let expiries = self.certificates.iter().filter_map(|one| {
            let name = one.file.as_ref().map_or("self-signed".to_owned(), |file| file.display().to_string());
            Some(((one.listener.to_string(), name), one.not_after?))
        });
        let expiries: BTreeMap<_, _> = expiries.collect();
        let expiries = expiries.iter().map(|((listener, certificate), &expiry)| {
            ([("listener", Text(listener)), ("certificate", Text(certificate))], expiry)
        });
        page.gauge("certificate_expiry_timestamp_seconds", "Until when a certificate is valid, since 1970", expiries)?;
        let dropped = self.access_log_dropped.map(|dropped| ([], dropped));
        page.counter("access_log_dropped_lines", "Lines of the access log that were not written", dropped)
    }
}

impl Collector for Snapshot {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let page = &mut Page(encoder);
        self.process(page)?;
        self.connections(page)?;
        self.datagrams(page)?;
        self.kernel(page)?;
        self.blocks(page)?;
        self.routes(page)?;
        self.upstreams(page)?;
        self.rest(page)
    }
}

fn labelled<T, const N: usize>(
    name: &'static str,
    values: [&'static str; N],
    numbers: [T; N],
) -> impl Iterator<Item = ([(&'static str, Text<'static>); 1], T)> {
    values.into_iter().zip(numbers).map(move |(value, number)| ([(name, Text(value))], number))
}

/// As the gauges have it.
fn shown(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Octets, for most.
const PAGE: usize = 32 << 10;
