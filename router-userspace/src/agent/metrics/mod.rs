//! The metrics page: everything that is counted here, below and in the kernel, read when it is asked
//! for. What is written here is all there is: docs/metrics.md's rows are made of the page, each of a metric's name, kind,
//! labels and help, and stand in its order. What a worker counts is defined in `worker/stats.rs`.
//!
//! The rule this room keeps: a label's values come from the configuration or from a list in the
//! code, never from a client.

mod cluster;
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

use self::page::{Labels, Page, Text};
use super::{
    api::{self, Health, Totals, WorkerState},
    observe::{Observed, ObservedBlocks},
    views,
};
use crate::{
    build_identity,
    telemetry::{Handshake, Outcome, Protocol, RouteSums, Sums, shortage},
    worker::{Kind, Metric},
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
    cluster: Option<api::Cluster>,
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
            generation: observed.generation.get(),
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
            cluster: observed.cluster,
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
        let what = "Always 1: what runs; kind is `production`, `test` (debug assertions, a sanitizer) or `interop`.";
        page.info("build", what, labels)?;
        let generation = [([], shown(self.generation))];
        page.gauge("generation", "Number of this run of the agent; it grows with each.", generation)?;
        let started = shown(self.started.as_secs());
        page.gauge("start_time_seconds", "When this run began, since 1970.", [([], started)])?;
        let states = WorkerState::ALL.iter().map(|&state| {
            let count = self.workers.iter().filter(|worker| worker.state == state).count();
            ([("state", Text(state.as_str()))], shown(count as u64))
        });
        let what = "Workers that are `active`, `draining`, `leaving` (they end when drained) or `ended` (they died).";
        page.gauge("workers", what, states)?;
        let longest = [([], self.longest_turn)];
        page.seconds("agent_longest_turn_seconds", LONGEST_TURN, longest)?;
        let met = [([], shortage::count())];
        let what = "Calls that failed because this process or host had no descriptors, memory or ports left; the log names them.";
        page.counter("shortages", what, met)?;
        let memory = self.memory.as_slice();
        let held = memory.iter().map(|memory| ([], shown(memory.held)));
        let what = "Octets that requests make the node hold: files and responses that clients have not taken, and a part for each \
                    open request.";
        page.gauge("held_bytes", what, held)?;
        let budget = memory.iter().map(|memory| ([], shown(memory.budget)));
        page.gauge("held_bytes_max", "Octets that requests may make the node hold: `limits.memory`.", budget)?;
        let refused = memory.iter().map(|memory| ([], memory.refused));
        page.counter("requests_without_memory", "Requests refused because `limits.memory` was used up.", refused)
    }

    fn connections(&self, page: &mut Page<'_>) -> fmt::Result {
        let Self { totals, sums, .. } = self;
        let open = labelled("protocol", Protocol::ALL.map(Protocol::name), sums.open.map(shown));
        let what = "Connections open whose protocol is agreed on: `HTTP/3`, `HTTP/2`, `HTTP/1.1`, `raw`.";
        page.gauge("connections", what, open)?;
        let opened = labelled("protocol", Protocol::ALL.map(Protocol::name), sums.opened);
        page.counter("connections_opened", "Connections that have agreed on a protocol.", opened)?;
        let quic = [("complete", totals.accepted), ("failed", totals.handshakes_failed)];
        let tcp = Handshake::ALL.map(Handshake::name).into_iter().zip(sums.handshakes);
        let of = |transport| move |(outcome, n)| ([("transport", Text(transport)), ("outcome", Text(outcome))], n);
        let handshakes = quic.into_iter().map(of("quic")).chain(tcp.map(of("tcp")));
        let what = "Handshakes over `quic` or `tcp` that were `complete`, `failed`, or (`tcp`) `timed_out`.";
        page.counter("handshakes", what, handshakes)?;
        page.counter("connections_refused", CONNECTIONS_REFUSED, self.rows_of("connections_refused"))
    }

    /// The numbers of workers that are a metric each.
    fn numbers(&self, page: &mut Page<'_>) -> fmt::Result {
        Totals::DEFINITIONS.iter().try_for_each(|definition| match definition.metric {
            Some(Metric { name, label: None }) => {
                let n = (definition.of)(&self.totals);
                match definition.kind {
                    Kind::Sum => page.counter(name, definition.meaning, [([], n)]),
                    Kind::Gauge => page.gauge(name, definition.meaning, [([], shown(n))]),
                }
            }
            Some(Metric { label: Some(_), .. }) | None => Ok(()),
        })
    }

    /// The numbers of workers that are rows of one metric.
    fn rows_of(&self, metric: &str) -> impl Iterator<Item = (Labels<'static, 1>, u64)> {
        Totals::DEFINITIONS.iter().filter_map(move |definition| {
            let Metric { name, label: Some((label, value)) } = definition.metric? else { return None };
            (name == metric).then(|| ([(label, Text(value))], (definition.of)(&self.totals)))
        })
    }

    fn datagrams(&self, page: &mut Page<'_>) -> fmt::Result {
        page.counter("datagrams", DATAGRAMS, self.rows_of("datagrams"))?;
        let totals = &self.totals;
        let ways = [
            ([("by", Text("udp"))], totals.datagrams_sent.saturating_sub(totals.frames_sent)),
            ([("by", Text("af_xdp"))], totals.frames_sent),
        ];
        let what =
            "Datagrams that the workers sent by `udp` sockets or, where `af_xdp.send` says so, by `af_xdp` sockets.";
        page.counter("datagrams_sent", what, ways)
    }

    fn kernel(&self, page: &mut Page<'_>) -> fmt::Result {
        let received = self.stages.iter().map(|stage| ([("stage", Text(&stage.name))], stage.received));
        let what = "Packets that entered `xdp`, `unwrap` (by the tunnel), `select`, `tunnel` (its socket) or `af_xdp` (the AF_XDP sockets); the engine may have some of them, or \
                    none.";
        page.counter("kernel_packets_received", what, received)?;
        let reasons = self.stages.iter().flat_map(|stage| {
            let fates = [
                ("passed", &stage.passed),
                ("dropped", &stage.dropped),
                ("delivered", &stage.delivered),
                ("answered", &stage.answered),
                ("forwarded", &stage.forwarded),
            ];
            fates.into_iter().flat_map(move |(fate, reasons)| {
                let labels =
                    move |reason| [("stage", Text(&stage.name)), ("fate", Text(fate)), ("reason", Text(reason))];
                reasons.iter().map(move |(reason, &n)| (labels(reason), n))
            })
        });
        page.counter("kernel_packets", KERNEL_PACKETS, reasons)?;
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
        page.counter("slot_packets", SLOT_PACKETS, hops)?;
        let table = self.flow_table.as_ref();
        page.gauge("flow_table_entries", "Flows in the table.", table.map(|table| ([], shown(table.entries))))?;
        page.gauge(
            "flow_table_capacity",
            "Flows that the table has room for.",
            table.map(|table| ([], shown(table.capacity))),
        )?;
        let what = "Flows not entered because the table was full: they go by their connection IDs.";
        page.counter("flow_table_full", what, table.map(|table| ([], table.full)))?;
        let swept = table.map(|table| ([], table.swept));
        page.counter("flow_table_swept", "Flows swept because they were not used for long.", swept)
    }

    fn blocks(&self, page: &mut Page<'_>) -> fmt::Result {
        let label = |blocks: &ObservedBlocks| [("action", Text(blocks.action.name()))];
        let entries = self.blocks.iter().map(|blocks| (label(blocks), shown(blocks.entries)));
        page.gauge("blocks", "Prefixes in the block list, by what becomes of what comes from there.", entries)?;
        let hits = self.blocks.iter().filter_map(|blocks| Some((label(blocks), blocks.hits?)));
        page.counter("block_hits", "Packets about which the block list has decided, in the kernel and in workers, by entries that are gone, too.", hits)
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
        page.counter("requests", REQUESTS, requests)?;
        let outcomes = |of: fn(&RouteSums) -> [u64; Outcome::ALL.len()]| {
            routes().flat_map(move |(route, sums)| {
                let outcomes = Outcome::ALL.into_iter().zip(of(sums));
                outcomes.map(move |(outcome, n)| ([route, ("outcome", Text(outcome.name()))], n))
            })
        };
        page.counter("request_outcomes", REQUEST_OUTCOMES, outcomes(|sums| sums.request_outcomes))?;
        let what = "Streams of raw connections by how they ended, likewise.";
        page.counter("streams", what, outcomes(|sums| sums.stream_outcomes))?;
        let each = |of: fn(&RouteSums) -> u64| routes().map(move |(route, sums)| ([route], of(sums)));
        let early = each(|sums| sums.early);
        page.counter("early_data_requests", "Requests that were served in 0-RTT.", early)?;
        page.counter("received_bytes", "Octets of content from clients.", each(|sums| sums.received))?;
        page.counter("sent_bytes", "Octets of content to clients.", each(|sums| sums.sent))?;
        let durations = routes().map(|(route, sums)| ([route], &sums.duration));
        page.histogram("request_duration_seconds", REQUEST_DURATION, durations)?;
        let heads = routes().map(|(route, sums)| ([route], &sums.first_byte));
        let what = "From a request's first octet to its response's head, for those that had one.";
        page.histogram("request_first_byte_seconds", what, heads)
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
        page.gauge("upstream_server_health", SERVER_HEALTH, health)?;
        let in_flight = named().map(|(labels, one)| (labels, shown(one.in_flight)));
        page.gauge("upstream_server_requests_in_flight", "Requests and streams on the server.", in_flight)?;
        let open = named().map(|(labels, one)| (labels, shown(one.connections)));
        page.gauge("upstream_server_connections", "Connections to the server.", open)?;
        let requests = named().map(|(labels, one)| (labels, one.requests_total));
        let what = "Requests and streams that the server was given; attempts count.";
        page.counter("upstream_server_requests", what, requests)?;
        let failures = named().map(|(labels, one)| (labels, one.failures_total));
        page.counter("upstream_server_failures", "Requests and streams that the server failed.", failures)?;
        let queued: BTreeMap<_, _> = self.upstreams.iter().map(|one| (&*one.upstream, one.queued)).collect();
        let queued = queued.into_iter().map(|(upstream, n)| ([("upstream", Text(upstream))], shown(n)));
        page.gauge(
            "upstream_requests_queued",
            "Requests and streams that wait for one of the upstream's servers.",
            queued,
        )
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
        page.gauge("certificate_expiry_timestamp_seconds", CERTIFICATE_EXPIRY, expiries)?;
        let dropped = self.access_log_dropped.map(|dropped| ([], dropped));
        page.counter("access_log_dropped_lines", "Lines of the access log that were not written.", dropped)
    }
}

impl Collector for Snapshot {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let page = &mut Page(encoder);
        self.process(page)?;
        self.connections(page)?;
        self.numbers(page)?;
        self.datagrams(page)?;
        self.kernel(page)?;
        self.blocks(page)?;
        cluster::write(self.cluster.as_ref(), page)?;
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

// What is longer than a line.

const LONGEST_TURN: &str = "Processor time of the longest turn of the agent's own thread since this generation began: while it \
    lasts, the control socket and the admin listener do not answer; packets and requests are other threads' work. Above 0.01 is \
    worth a report.";

const CONNECTIONS_REFUSED: &str = "Connections refused, by limit: `max_connections` and `max_connections_per_ip`, over QUIC or \
    TCP; `max_handshakes`, over QUIC: handshakes that made room for a newer one, and those that a draining listener refused.";

const DATAGRAMS: &str = "The datagrams received: the worker's `own`, `bad` (also what was not admitted, where no kernel program \
    has seen it), `handed_over` to their worker, or lost because its inbox was full (`inbox_full`).";

const KERNEL_PACKETS: &str = "Each packet that entered a stage: `passed`, `dropped`, `delivered`, `answered` or `forwarded`, and why. \
    `quic-router counters` shows the same.";

const SLOT_PACKETS: &str = "What the kernel gave each slot: `xdp_local`, `xdp_stayed`, `xdp_redirected`, `xdp_unredirected`, \
    `selected`, `unselected`, `xdp_socket`.";

const REQUESTS: &str = "Requests that have ended. The status is `none` if the client went before there was one, and a class \
    (`4xx`) where a route has had more than 32 different ones.";

const REQUEST_OUTCOMES: &str = "Requests by how they ended: `complete`, `client_cancelled`, `upstream_broke`, `timed_out`, or `refused` by \
    the router itself.";

const REQUEST_DURATION: &str = "From a request's first octet to its response's last; 16 buckets from 1 ms to 60 s.";

const SERVER_HEALTH: &str = "1 for how the server is, 0 for the others: `up`, `warming` (its share grows), `ejected` (it failed \
    requests), `down` (health checks say so).";

const CERTIFICATE_EXPIRY: &str =
    "Until when a certificate is valid, since 1970; the certificate is its file, or `self-signed`.";
