//! `quic-router status`: the whole agent at a glance, its health first.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{
    Global, Json, cid,
    fail::{Exit, Fail},
    output::{
        self,
        Align::{Left, Right},
        Table, count,
    },
    watch::Watch,
};
use crate::agent::{
    api::{self, CertificateSource, FlowTable, Health, ListenerState, Totals},
    control::Request,
};

/// Show health, the engine of each interface and why, listeners, totals
///
/// Exits with 1 if the agent is not healthy.
#[derive(clap::Args, Debug)]
pub(super) struct Status {
    /// Print nothing, not even errors: the exit code is the answer, for health checks
    #[arg(long, conflicts_with_all = ["watch", "json"])]
    quiet: bool,
    #[command(flatten)]
    watch: Watch,
    #[command(flatten)]
    json: Json,
}

impl Status {
    pub(super) fn execute(&self, global: &Global) -> Result<Exit, Fail> {
        if self.quiet {
            return Ok(health_of_agent(global).unwrap_or_else(|fail| fail.exit()));
        }
        let client = global.client()?;
        self.watch.print(|| {
            let answer = client.ask(&Request::Status)?;
            let status: api::Status = answer.read()?;
            let text = if self.json.json { answer.json() + "\n" } else { text(&status) };
            Ok((text, exit(&status)))
        })
    }
}

fn health_of_agent(global: &Global) -> Result<Exit, Fail> {
    Ok(exit(&global.client()?.ask(&Request::Status)?.read()?))
}

fn exit(status: &api::Status) -> Exit {
    if status.healthy { Exit::Done } else { Exit::No }
}

fn text(status: &api::Status) -> String {
    let sections = [
        health(status),
        section("generations", &generations(&status.generations)),
        section("interfaces", &interfaces(&status.interfaces)),
        section("receive queues (AF_XDP)", &queues(&status.interfaces)),
        section("listeners", &listeners(&status.listeners)),
        section("totals of all workers", &totals(&status.totals)),
        status.flow_table.as_ref().map(|table| section("flow table", &flow_table(table))).unwrap_or_default(),
        status.memory.as_ref().map(|memory| section("memory", &memory_held(memory))).unwrap_or_default(),
        section("connection IDs", &cid::configurations(&status.connection_ids, 2)),
        section("servers", &servers(&status.upstreams)),
        section("certificates", &certificates(&status.certificates)),
    ];
    sections.into_iter().filter(|section| !section.is_empty()).collect::<Vec<_>>().join("\n")
}

fn health(status: &api::Status) -> String {
    let mut text = if status.healthy { "healthy\n".to_owned() } else { "NOT HEALTHY\n".to_owned() };
    for problem in &status.problems {
        text += &format!("  {problem}\n");
    }
    text + &format!(
        "node {}, generation {}, process {}, up {}\nquic-router {} ({})\n",
        status.node_id,
        status.generation,
        status.pid,
        output::span(Duration::from_secs(status.uptime_seconds)),
        status.version,
        status.build,
    )
}

fn section(title: &str, table: &Table) -> String {
    match table.text() {
        lines if lines.is_empty() => String::new(),
        lines => format!("{title}\n{lines}"),
    }
}

/// Where there are several: which serves, and how far the others are.
fn generations(generations: &[api::Generation]) -> Table {
    let mut table = Table::new(2, &[Right, Left, Left, Left, Right, Left, Left]);
    for one in generations.iter().filter(|_| generations.len() > 1) {
        let slots: Vec<_> = one.slots.iter().map(u8::to_string).collect();
        let left = match (one.may_be_stopped, one.seconds_left) {
            (true, _) => "may be stopped; it ends by itself".to_owned(),
            (false, Some(left)) => format!("at most {} left", output::span(Duration::from_secs(left))),
            (false, None) => String::new(),
        };
        table.row([
            one.generation.to_string(),
            one.state.to_string(),
            format!("process {}, {} old", one.pid, output::span(Duration::from_secs(one.age_seconds))),
            format!("slots {}", slots.join(" ")),
            count(one.connections),
            if one.connections == 1 { "connection" } else { "connections" }.to_owned(),
            left,
        ]);
    }
    table
}

fn interfaces(interfaces: &[api::Interface]) -> Table {
    let mut table = Table::new(2, &[Left, Left, Left, Left, Left]);
    for interface in interfaces {
        let name = if interface.name == "*" { "all" } else { &interface.name };
        table.row([
            name.to_owned(),
            interface.engine.to_string(),
            interface.mode.map(|mode| mode.to_string()).unwrap_or_default(),
            interface.program_id.map(|id| format!("program {id}")).unwrap_or_default(),
            interface.why.clone().unwrap_or_default(),
        ]);
    }
    table
}

/// Which worker has which receive queue, and how frames come from it.
fn queues(interfaces: &[api::Interface]) -> Table {
    let mut table = Table::new(2, &[Left, Left, Left, Left, Left]);
    for interface in interfaces {
        for queue in &interface.queues {
            table.row([
                interface.name.clone(),
                format!("queue {}", queue.queue),
                format!("slot {}", queue.slot),
                format!("{}{}", queue.mode, if queue.sends { ", sends too" } else { "" }),
                if queue.places { "" } else { "the assignment places its new connections" }.to_owned(),
            ]);
        }
    }
    table
}

fn listeners(listeners: &[api::Listener]) -> Table {
    let mut table = Table::new(2, &[Left, Left, Left]);
    for listener in listeners {
        let certificates = match listener.certificates {
            CertificateSource::SelfSigned => "self-signed certificate",
            CertificateSource::Files => "certificates from files",
            CertificateSource::Unknown => "certificates: unknown",
        };
        let state = if listener.state == ListenerState::Closing { "closing: its last connections may end" } else { "" };
        table.row([&listener.address.to_string(), certificates, state]);
    }
    table
}

fn servers(servers: &[api::UpstreamServer]) -> Table {
    let mut table = Table::new(2, &[Left, Left, Left, Right, Left, Right, Left]);
    for server in servers {
        let time = output::span(Duration::from_secs(server.seconds));
        let health = match server.health {
            Health::Ejected => format!("ejected, {time} left"),
            Health::Warming => format!("warming up, {time} left"),
            health => format!("{health} for {time}"),
        };
        let waiting = if server.queued > 0 { format!(", {} waiting", count(server.queued)) } else { String::new() };
        let why = server.unresolved.as_ref().or(server.why.as_ref().filter(|_| server.health != Health::Up));
        table.row([
            server.upstream.clone(),
            server.server.clone(),
            health,
            count(server.in_flight),
            format!("in flight{waiting}"),
            count(server.requests_total),
            format!(
                "requests, {} failed{}",
                count(server.failures_total),
                why.map(|why| format!(": {why}")).unwrap_or_default()
            ),
        ]);
    }
    table
}

/// Those from files, with the days they have left.
fn certificates(certificates: &[api::Certificate]) -> Table {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs() as i64);
    let mut table = Table::new(2, &[Left, Left, Left]);
    for certificate in certificates {
        let (Some(file), Some(not_after)) = (&certificate.file, certificate.not_after) else { continue };
        let left = match (not_after - now) / SECONDS_OF_A_DAY {
            _ if not_after <= now => "EXPIRED".to_owned(),
            days if days < SOON => format!("EXPIRES IN {days} DAYS"),
            days => format!("expires in {days} days"),
        };
        table.row([certificate.listener.to_string(), file.display().to_string(), left]);
    }
    table
}

const SECONDS_OF_A_DAY: i64 = 24 * 60 * 60;
/// Days before its end at which a certificate should have been renewed.
const SOON: i64 = 14;

fn totals(totals: &Totals) -> Table {
    let mut table = Table::new(2, &[Left, Right, Left]);
    let handshakes = output::plural(totals.handshakes_now, "handshake", "handshakes");
    let with_handshakes = format!("connections now, {handshakes} among them");
    for (group, number, what) in [
        ("connections", totals.connections_now, with_handshakes.as_str()),
        ("", totals.accepted, "came up"),
        ("", totals.handshakes_failed, "failed in the handshake"),
        ("", totals.tcp_connections_now, "now over TCP"),
        ("", totals.tcp_accepted, "came over TCP"),
        ("refused", totals.refused_connections, "at max_connections"),
        ("", totals.refused_per_ip, "at max_connections_per_ip"),
        ("", totals.refused_handshakes, "at max_handshakes"),
        ("", totals.retried, "sent a Retry"),
        ("datagrams", totals.datagrams_received, "received"),
        ("", totals.frames_received, "of them by AF_XDP sockets"),
        ("", totals.ring_drops, "dropped by the kernel: an AF_XDP socket had no room"),
        ("", totals.datagrams_own, "of the worker's own connections"),
        ("", totals.handed_over, "handed over to their worker"),
        ("", totals.hand_over_dropped, "lost because its inbox was full"),
        ("", totals.datagrams_dropped, "provably bad"),
        ("", totals.socket_drops, "dropped by the kernel: receive buffer full"),
        ("", totals.datagrams_sent, "sent"),
        ("", totals.frames_sent, "of them by AF_XDP sockets"),
    ] {
        let always = matches!(what, "came up" | "received" | "of the worker's own connections") || !group.is_empty();
        if always || number > 0 {
            table.row([group.to_owned(), count(number), what.to_owned()]);
        }
    }
    table.row(["bytes".to_owned(), output::bytes(totals.bytes_received), "received".to_owned()]);
    table
}

fn flow_table(flows: &FlowTable) -> Table {
    let mut table = Table::new(2, &[Right, Left]);
    let share = flows.entries as f64 / flows.capacity.max(1) as f64 * 100.0;
    let entries = if flows.entries == 1 { "entry" } else { "entries" };
    table.row([count(flows.entries), format!("{entries} of {} ({share:.1} %)", count(flows.capacity))]);
    table.row([count(flows.swept), "swept after long disuse".to_owned()]);
    if flows.full > 0 {
        table.row([count(flows.full), "not written: the table was full (those flows go by their CID)".to_owned()]);
    }
    table
}

fn memory_held(memory: &api::Memory) -> Table {
    let mut table = Table::new(2, &[Right, Left]);
    table.row([output::bytes(memory.held), format!("held for requests, of {}", output::bytes(memory.budget))]);
    if memory.refused > 0 {
        table.row([count(memory.refused), "requests refused for want of it".to_owned()]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::api::{GenerationState, RunningEngine, XdpMode};

    fn generation(
        generation: u64,
        state: GenerationState,
        connections: u64,
        seconds_left: Option<u64>,
    ) -> api::Generation {
        api::Generation {
            generation,
            pid: 4_239 + generation as u32,
            state,
            slots: vec![4, 5],
            connections,
            age_seconds: 8_040,
            seconds_left,
            may_be_stopped: state == GenerationState::Draining && connections == 0,
        }
    }

    #[test]
    fn generations_side_by_side() {
        let generations = vec![
            generation(3, GenerationState::Serving, 1_234, None),
            generation(2, GenerationState::Draining, 1, Some(75)),
            generation(1, GenerationState::Draining, 0, Some(5)),
        ];
        let text = text(&api::Status { generations, ..sample() });
        let expected = "
generations
  3  serving   process 4242, 2h 14m old  slots 4 5  1,234  connections
  2  draining  process 4241, 2h 14m old  slots 4 5      1  connection   at most 1m 15s left
  1  draining  process 4240, 2h 14m old  slots 4 5      0  connections  may be stopped; it ends by itself

interfaces
";
        assert!(text.contains(expected), "{text}");
    }

    fn sample() -> api::Status {
        api::Status {
            schema: 1,
            version: "0.1.0".to_owned(),
            build: "release (opt-level 3)".to_owned(),
            pid: 4242,
            node_id: 7,
            generation: 3,
            generations: vec![generation(3, GenerationState::Serving, 1_234, None)],
            uptime_seconds: 8_040,
            healthy: true,
            problems: Vec::new(),
            interfaces: vec![
                api::Interface {
                    name: "eth0".to_owned(),
                    engine: RunningEngine::Xdp,
                    mode: Some(XdpMode::Native),
                    why: None,
                    program_id: Some(91),
                    queues: Vec::new(),
                },
                api::Interface {
                    name: "wlan0".to_owned(),
                    engine: RunningEngine::Reuseport,
                    mode: None,
                    why: Some("XDP cannot be attached".to_owned()),
                    program_id: None,
                    queues: Vec::new(),
                },
            ],
            listeners: vec![api::Listener {
                id: 0,
                address: "192.0.2.1:443".parse().unwrap(),
                certificates: CertificateSource::Files,
                state: ListenerState::Open,
            }],
            totals: Totals {
                connections_now: 1_234,
                handshakes_now: 1,
                accepted: 20_000,
                datagrams_received: 1_000_000,
                datagrams_own: 999_990,
                datagrams_dropped: 10,
                bytes_received: 3 << 30,
                ..Totals::default()
            },
            flow_table: Some(FlowTable { entries: 12_340, capacity: 1_000_000, full: 0, swept: 99 }),
            memory: Some(api::Memory { held: 3 << 20, budget: 4 << 30, refused: 7 }),
            connection_ids: vec![api::CidConfiguration {
                rotation: 0,
                state: api::CidState::Issuing,
                encoding: "single pass".to_owned(),
                length: 17,
                server_id_length: 3,
                identity: "0007".to_owned(),
                key: "auto".to_owned(),
                age_seconds: 8_040,
                connections: 1_234,
                issued: 9_999,
                datagrams: 999_990,
                quiet_seconds: 2,
                nonces_used: Some(0.0),
            }],
            upstreams: vec![api::UpstreamServer {
                upstream: "web".to_owned(),
                server: "http://a:80".to_owned(),
                health: Health::Down,
                seconds: 61,
                why: Some("status 500".to_owned()),
                addresses: Vec::new(),
                unresolved: None,
                in_flight: 2,
                queued: 1,
                connections: 3,
                requests_total: 1_000,
                failures_total: 7,
                weight: 1,
            }],
            certificates: vec![api::Certificate {
                listener: "192.0.2.1:443".parse().unwrap(),
                file: Some("/etc/ssl/site.pem".into()),
                names: Vec::new(),
                not_after: Some(1),
            }],
        }
    }

    #[test]
    fn a_healthy_agent() {
        let expected = "\
healthy
node 7, generation 3, process 4242, up 2h 14m
quic-router 0.1.0 (release (opt-level 3))

interfaces
  eth0   xdp        native  program 91
  wlan0  reuseport                      XDP cannot be attached

listeners
  192.0.2.1:443  certificates from files

totals of all workers
  connections      1,234  connections now, 1 handshake among them
                  20,000  came up
  refused              0  at max_connections
  datagrams    1,000,000  received
                 999,990  of the worker's own connections
                      10  provably bad
  bytes          3.0 GiB  received

flow table
  12,340  entries of 1,000,000 (1.2 %)
      99  swept after long disuse

memory
  3.0 MiB  held for requests, of 4.0 GiB
        7  requests refused for want of it

connection IDs
  0  issuing  single pass, 17 octets  identity 0007  1,234 connections began under it  999,990 datagrams, the last 2.0 s ago

servers
  web  http://a:80  down for 1m 1s  2  in flight, 1 waiting  1,000  requests, 7 failed: status 500

certificates
  192.0.2.1:443  /etc/ssl/site.pem  EXPIRED
";
        assert_eq!(text(&sample()), expected);
    }

    #[test]
    fn who_has_which_queue() {
        let queue = |queue, slot, places| api::Queue { queue, slot, mode: api::QueueMode::Copy, places, sends: places };
        let mut status = sample();
        status.interfaces[0].queues = vec![queue(0, 1, true), queue(1, 12, false)];
        let expected = "
receive queues (AF_XDP)
  eth0  queue 0  slot 1   copy, sends too
  eth0  queue 1  slot 12  copy             the assignment places its new connections

listeners
";
        assert!(text(&status).contains(expected), "{}", text(&status));
    }

    #[test]
    fn problems_come_first_and_what_an_engine_lacks_is_left_out() {
        let problems = vec!["worker 2 has ended: its connections are lost".to_owned()];
        let totals = Totals { socket_drops: 5, ..Totals::default() };
        let ill =
            api::Status { healthy: false, problems, totals, interfaces: Vec::new(), flow_table: None, ..sample() };
        let text = text(&ill);
        assert!(text.starts_with("NOT HEALTHY\n  worker 2 has ended: its connections are lost\nnode 7,"), "{text}");
        assert!(text.contains("5  dropped by the kernel: receive buffer full\n"), "{text}");
        assert!(!text.contains("interfaces") && !text.contains("flow table"), "{text}");
    }
}
