//! What stands on the page, and whether the document knows it.

use std::{collections::BTreeSet, sync::Arc};

use router_common::maps::BlockAction;

use super::*;
use crate::{
    address::Validated,
    blessed,
    telemetry::{Meters, Record},
};

fn reasons(pairs: &[(&str, u64)]) -> BTreeMap<String, u64> {
    pairs.iter().map(|(name, packets)| ((*name).to_owned(), *packets)).collect()
}

fn server(name: &str, health: Health) -> api::UpstreamServer {
    api::UpstreamServer {
        upstream: "api".to_owned(),
        server: name.to_owned(),
        health,
        seconds: 1,
        why: None,
        addresses: Vec::new(),
        unresolved: None,
        in_flight: 2,
        queued: 3,
        connections: 4,
        requests_total: 50,
        failures_total: 6,
        weight: 1,
    }
}

fn node(number: u16) -> api::ClusterNode {
    api::ClusterNode {
        number,
        this: number == 1,
        address: "10.0.0.1:6080".to_owned(),
        state: api::NodeState::Silent,
        why: String::new(),
        takes_new_connections: true,
        weight: 100,
        by: None,
        mtu: None,
        longest_heard: [0; 2],
        heard_ms_ago: None,
        hears_us: true,
        does_not_hear: Vec::new(),
        same_listeners: None,
        lacks_listeners: Vec::new(),
        has_other_listeners: Vec::new(),
        round_trip_us: Some(500),
        clock_ahead_ms: None,
        forwarded_packets: 8,
        forwarded_octets: 9,
        unwrapped_packets: 10,
        unwrapped_octets: 11,
        forged: 12,
        too_long: 13,
    }
}

fn sample() -> Snapshot {
    let meters = Meters::default();
    let meter = meters.join();
    let request = Record {
        duration: Duration::from_millis(30),
        first_byte: Some(Duration::from_millis(1)),
        status: Some(200),
        received: 5,
        sent: 1_000,
        ..Record::new(SystemTime::UNIX_EPOCH, Protocol::Http3, Validated::assumed("127.0.0.1:1"))
    };
    meter.route(&Arc::from("a \"b\"\\\n")).count(&request);
    let stream = Record { protocol: Protocol::Raw, outcome: Outcome::Cancelled, ..request };
    meter.route(&Arc::from("echo")).count(&stream);
    meter.handshake(Handshake::TimedOut);
    let _open = meter.connection(Protocol::Http2);
    let worker = api::Worker {
        slot: 3,
        cpu: 0,
        state: WorkerState::Active,
        seconds_left: None,
        receive_buffer: 0,
        totals: Totals::default(),
    };
    Snapshot {
        kind: "production",
        build: "release".to_owned(),
        generation: 7,
        started: Duration::from_millis(1_700_000_000_900),
        workers: vec![worker],
        totals: Totals {
            connections_now: 12,
            accepted: 40,
            socket_drops: 9,
            datagrams_sent: 30,
            frames_sent: 21,
            ..Totals::default()
        },
        stages: vec![api::Stage {
            name: "xdp".to_owned(),
            received: 10,
            passed: reasons(&[("not_ip", 1)]),
            dropped: reasons(&[("truncated", 2)]),
            delivered: reasons(&[("flow", 7)]),
            answered: reasons(&[("negotiated", 3)]),
            forwarded: reasons(&[("forwarded_new", 2)]),
            closes: true,
        }],
        slots: vec![api::SlotCounters {
            slot: 3,
            xdp_local: 1,
            xdp_stayed: 6,
            xdp_redirected: 2,
            xdp_unredirected: 3,
            selected: 4,
            unselected: 5,
            xdp_socket: 6,
        }],
        flow_table: Some(api::FlowTable { entries: 10, capacity: 100, full: 1, swept: 2 }),
        blocks: vec![ObservedBlocks { action: BlockAction::Drop, entries: 3, hits: Some(14) }],
        memory: Some(api::Memory { held: 7, budget: 8, refused: 9 }),
        sums: meters.sums(),
        upstreams: vec![server("http://127.0.0.1:1", Health::Up), server("http://127.0.0.1:1", Health::Up)],
        certificates: vec![api::Certificate {
            listener: ([127, 0, 0, 1], 443).into(),
            file: Some("/etc/site.pem".into()),
            names: Vec::new(),
            not_after: Some(1_927_843_200),
        }],
        cluster: Some(api::Cluster {
            rotation_waits_for: vec![2],
            synced_age_seconds: Some(5),
            forged: 6,
            nodes: vec![node(1), node(7)],
            ..api::Cluster::default()
        }),
        access_log_dropped: Some(4),
        longest_turn: Duration::from_micros(1_500),
    }
}

#[test]
fn each_number_stands_where_it_is_looked_for() {
    let text = sample().text().unwrap();
    let version = env!("CARGO_PKG_VERSION");
    let lines = [
        &*format!(r#"build_info{{version="{version}",build="release",kind="production"}} 1"#),
        "agent_longest_turn_seconds 0.0015",
        "generation 7",
        "start_time_seconds 1700000000",
        r#"workers{state="active"} 1"#,
        r#"workers{state="draining"} 0"#,
        r#"connections{protocol="HTTP/2"} 1"#,
        r#"connections{protocol="HTTP/3"} 0"#,
        r#"connections_opened_total{protocol="HTTP/2"} 1"#,
        "quic_connections 12",
        r#"handshakes_total{transport="quic",outcome="complete"} 40"#,
        r#"handshakes_total{transport="tcp",outcome="timed_out"} 1"#,
        r#"connections_refused_total{reason="max_handshakes"} 0"#,
        "socket_drops_total 9",
        r#"datagrams_sent_total{by="udp"} 9"#,
        r#"datagrams_sent_total{by="af_xdp"} 21"#,
        r#"kernel_packets_received_total{stage="xdp"} 10"#,
        r#"kernel_packets_total{stage="xdp",fate="passed",reason="not_ip"} 1"#,
        r#"kernel_packets_total{stage="xdp",fate="dropped",reason="truncated"} 2"#,
        r#"kernel_packets_total{stage="xdp",fate="delivered",reason="flow"} 7"#,
        r#"kernel_packets_total{stage="xdp",fate="answered",reason="negotiated"} 3"#,
        r#"kernel_packets_total{stage="xdp",fate="forwarded",reason="forwarded_new"} 2"#,
        r#"slot_packets_total{slot="3",hop="unselected"} 5"#,
        r#"slot_packets_total{slot="3",hop="xdp_socket"} 6"#,
        r#"cluster_nodes{state="silent"} 1"#,
        r#"cluster_nodes{state="up"} 0"#,
        "cluster_synced_age_seconds 5",
        r#"cluster_rotation_blocked{node="2"} 1"#,
        r#"node_forwarded_packets_total{node="7"} 8"#,
        r#"node_unwrapped_packets_total{node="7"} 10"#,
        r#"node_too_long_packets_total{node="7"} 13"#,
        r#"cluster_hello_seconds{node="7"} 0.0005"#,
        "tunnel_forged_total 6",
        r#"blocks{action="drop"} 3"#,
        r#"block_hits_total{action="drop"} 14"#,
        "flow_table_entries 10",
        "flow_table_swept_total 2",
        r#"requests_total{route="a \"b\"\\\n",protocol="HTTP/3",status="200"} 1"#,
        r#"request_outcomes_total{route="a \"b\"\\\n",outcome="complete"} 1"#,
        r#"streams_total{route="echo",outcome="client_cancelled"} 1"#,
        r#"sent_bytes_total{route="echo"} 1000"#,
        r#"request_duration_seconds_sum{route="a \"b\"\\\n"} 0.03"#,
        r#"request_duration_seconds_count{route="a \"b\"\\\n"} 1"#,
        r#"request_duration_seconds_bucket{le="0.02",route="a \"b\"\\\n"} 0"#,
        r#"request_duration_seconds_bucket{le="0.05",route="a \"b\"\\\n"} 1"#,
        r#"request_duration_seconds_bucket{le="+Inf",route="a \"b\"\\\n"} 1"#,
        r#"request_first_byte_seconds_bucket{le="0.001",route="a \"b\"\\\n"} 1"#,
        r#"upstream_server_health{upstream="api",server="http://127.0.0.1:1",health="up"} 1"#,
        r#"upstream_server_health{upstream="api",server="http://127.0.0.1:1",health="down"} 0"#,
        r#"upstream_server_failures_total{upstream="api",server="http://127.0.0.1:1"} 6"#,
        r#"upstream_requests_queued{upstream="api"} 3"#,
        r#"certificate_expiry_timestamp_seconds{listener="127.0.0.1:443",certificate="/etc/site.pem"} 1927843200"#,
        "access_log_dropped_lines_total 4",
    ];
    for line in lines {
        assert!(text.contains(&format!("\nquic_router_{line}\n")), "{line:?} is not in:\n{text}");
    }
    assert!(text.ends_with("\n# EOF\n"));
}

/// Prometheus refuses a page on which a series stands twice.
#[test]
fn each_series_stands_once() {
    let text = sample().text().unwrap();
    let mut seen = BTreeSet::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        assert!(seen.insert(series), "{series} stands twice");
        value.parse::<f64>().unwrap();
    }
    assert!(seen.len() > 100, "{}", seen.len());
}

/// A node without a kernel stage, a route or a server has no rows, but a page all the same.
#[test]
fn nothing_is_no_error() {
    let text = Snapshot::default().text().unwrap();
    assert!(!text.contains("\nquic_router_flow_table_entries "), "there is no such table");
    assert!(text.contains("\nquic_router_generation 0\n"));
}

/// A number that workers count and that is a row of a metric stands on the page, as soon as it is in the list.
#[test]
fn what_workers_count_is_shown() {
    let text = sample().text().unwrap();
    for definition in Totals::DEFINITIONS {
        let Some(Metric { name, label }) = definition.metric else { continue };
        let suffix = if definition.kind == Kind::Sum { "_total" } else { "" };
        let labels = label.map_or(String::new(), |(label, value)| format!("{{{label}=\"{value}\"}}"));
        let row = format!("\nquic_router_{name}{suffix}{labels} ");
        assert!(text.contains(&row), "{row:?} is not in:\n{text}");
    }
}

/// The text format wants escapes in a help that has these.
#[test]
fn a_help_needs_no_escapes() {
    for metric in shown() {
        assert!(!metric.help.contains(['"', '\\']) && metric.help.ends_with('.'), "{metric:?}");
    }
}

/// Each metric has a row, in the order of the page: below the heading where its row stands already, or else below that of
/// the metric before it.
#[test]
fn the_document_is_made_of_the_page() {
    blessed::document("metrics.md", |document| {
        let mut written = Vec::new();
        blessed::with_rows(document, "| metric |", |heading, rows| {
            written.extend(rows.iter().filter_map(|row| Some((row.split('`').nth(1)?.to_owned(), heading.to_owned()))));
            Vec::new()
        });
        let mut above = written.first().expect("a table of metrics").1.clone();
        let mut made = BTreeMap::<String, Vec<String>>::new();
        for metric in shown() {
            above = written.iter().find(|(name, _)| *name == metric.name).map_or(above, |(_, heading)| heading.clone());
            made.entry(above.clone()).or_default().push(metric.row());
        }
        blessed::with_rows(document, "| metric |", |heading, _| made.remove(heading).unwrap_or_default())
    });
}

/// A metric as the page has it.
#[derive(Debug)]
struct Shown {
    /// As its rows have it.
    name: String,
    kind: String,
    labels: String,
    help: String,
}

impl Shown {
    /// In the document.
    fn row(&self) -> String {
        let Self { name, kind, labels, help } = self;
        let labels = if labels.is_empty() { String::new() } else { format!("{labels} ") };
        format!("| `{name}` | {kind} | {labels}| {help} |")
    }
}

/// Those of the sample, which lacks none.
fn shown() -> Vec<Shown> {
    let page = sample().text().unwrap();
    let helps = page.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split_once(' '));
    let kinds = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let both = helps.zip(kinds);
    both.map(|((name, help), (_, kind))| {
        let suffix = match kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        let sample = if kind == "histogram" { format!("{name}_count") } else { format!("{name}{suffix}") };
        let begins = [format!("{sample} "), format!("{sample}{{")];
        let row = page.lines().find(|line| begins.iter().any(|begin| line.starts_with(begin)));
        let row = row.unwrap_or_else(|| panic!("{name} has no row in the sample"));
        let labels = row.split_once('{').map_or("", |(_, rest)| rest.split_once('}').unwrap().0);
        let labels: Vec<_> = labels.split("\",").filter_map(|label| Some(label.split_once('=')?.0)).collect();
        let [kind, help] = [kind, help].map(str::to_owned);
        Shown { name: format!("{name}{suffix}"), kind, labels: labels.join(", "), help }
    })
    .collect()
}
