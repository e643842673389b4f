use super::*;
use crate::agent::api::{
    CertificateSource, FlowTable, GenerationState, Health, ListenerState, RunningEngine, Totals, XdpMode,
};

fn generation(generation: u64, state: GenerationState, connections: u64, seconds_left: Option<u64>) -> api::Generation {
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
        announced: None,
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
    let ill = api::Status { healthy: false, problems, totals, interfaces: Vec::new(), flow_table: None, ..sample() };
    let text = text(&ill);
    assert!(text.starts_with("NOT HEALTHY\n  worker 2 has ended: its connections are lost\nnode 7,"), "{text}");
    assert!(text.contains("5  dropped by the kernel: receive buffer full\n"), "{text}");
    assert!(!text.contains("interfaces") && !text.contains("flow table"), "{text}");
}
