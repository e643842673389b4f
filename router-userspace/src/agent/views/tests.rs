//! What is told of a node that was made up.

use std::time::{Duration, SystemTime};

use router_common::{
    identifiers::{CpuId, GenerationId, ListenerId, SlotId},
    maps::SlotState,
};

use super::{problems::problems, *};
use crate::{
    agent::{
        api::{self, Health, Totals, WorkerState},
        observe::{Observed, ObservedWorker},
        sockets::SocketInfo,
    },
    worker::udp,
};

fn worker(slot: u8, slot_state: SlotState) -> ObservedWorker {
    ObservedWorker {
        slot: SlotId::new(slot),
        cpu: CpuId::new(0),
        is_running: true,
        is_stopping: false,
        slot_state,
        seconds_left: None,
        totals: Totals { accepted: 1 + u64::from(slot), ..Totals::default() },
    }
}

/// Nothing is wrong with it.
fn sound() -> Observed {
    let receive_buffer = 2 * udp::RECEIVE_BUFFER as u64;
    Observed {
        generation: GenerationId::new(3),
        generations: Vec::new(),
        node_id: 7,
        started: SystemTime::UNIX_EPOCH,
        uptime_seconds: 60,
        workers: vec![worker(0, SlotState::Active), worker(1, SlotState::Active)],
        departed: Totals { accepted: 100, ..Totals::default() },
        sockets: vec![SocketInfo { listener: ListenerId::new(0), slot: SlotId::new(1), inode: 5, receive_buffer }],
        socket_drops: 0,
        interfaces: Vec::new(),
        listeners: Vec::new(),
        kernel: None,
        memory: api::Memory { held: 0, budget: 1, refused: 0 },
        blocks: Vec::new(),
        cluster: None,
        tunnel: None,
        connection_ids: Vec::new(),
        upstreams: Vec::new(),
        certificates: Vec::new(),
        longest_turn: Duration::ZERO,
        troubles: Vec::new(),
    }
}

fn server(upstream: &str, health: Health) -> api::UpstreamServer {
    api::UpstreamServer {
        upstream: upstream.to_owned(),
        server: "http://a".to_owned(),
        health,
        seconds: 1,
        why: Some("refused".to_owned()),
        addresses: Vec::new(),
        unresolved: None,
        in_flight: 0,
        queued: 0,
        connections: 0,
        requests_total: 0,
        failures_total: 0,
        weight: 1,
    }
}

fn certificate(not_after: i64) -> api::Certificate {
    api::Certificate {
        listener: "127.0.0.1:443".parse().expect("an address"),
        file: Some("/site.pem".into()),
        names: Vec::new(),
        not_after: Some(not_after),
    }
}

#[test]
fn each_problem_has_its_sentence() {
    type Break = fn(&mut Observed);
    let cases: [(Break, &[&str]); 7] = [
        (|_| {}, &[]),
        (|node| node.workers[1].is_running = false, &["worker 1 has ended: its connections are lost"]),
        (
            |node| {
                node.workers[1].is_running = false;
                node.workers[1].is_stopping = true;
            },
            &[],
        ),
        (|node| node.troubles.push("a pin is gone".to_owned()), &["a pin is gone"]),
        (
            |node| {
                let (down, ejected) = (Health::Down, Health::Ejected);
                node.upstreams = vec![server("a", down), server("a", down), server("b", down), server("b", ejected)];
            },
            &["upstream a: every server is down: refused"],
        ),
        (
            |node| node.certificates = vec![certificate(1), certificate(i64::MAX)],
            &["listener 127.0.0.1:443: certificate /site.pem has expired"],
        ),
        (
            |node| node.sockets[0].receive_buffer = 2 * 4_096,
            &["slot 1: receive buffer is 4096 bytes, not 8388608: raise net.core.rmem_max or grant CAP_NET_ADMIN"],
        ),
    ];
    for (number, (break_it, expected)) in cases.into_iter().enumerate() {
        let mut observed = sound();
        break_it(&mut observed);
        assert_eq!(problems(&observed), expected, "case {number}");
        let status = status(observed);
        assert_eq!((status.healthy, &*status.problems), (expected.is_empty(), &*problems_of(expected)));
    }
}

fn problems_of(sentences: &[&str]) -> Vec<String> {
    sentences.iter().map(|&sentence| sentence.to_owned()).collect()
}

#[test]
fn a_worker_is_in_one_state() {
    let states = |break_it: fn(&mut ObservedWorker)| {
        let mut observed = sound();
        break_it(&mut observed.workers[0]);
        workers(&observed).workers[0].state
    };
    assert_eq!(states(|_| {}), WorkerState::Active);
    assert_eq!(states(|worker| worker.slot_state = SlotState::Draining), WorkerState::Draining);
    assert_eq!(states(|worker| worker.is_stopping = true), WorkerState::Leaving);
    assert_eq!(states(|worker| worker.is_running = false), WorkerState::Ended);
}

/// Those that have ended are in the sum.
#[test]
fn sums_go_on_when_workers_end() {
    assert_eq!(sum(&sound()).accepted, 103);
}

#[test]
fn without_a_kernel_there_is_the_workers_stage() {
    let mut observed = sound();
    observed.workers[0].totals.datagrams_received = 5;
    observed.workers[0].totals.datagrams_own = 4;
    let counters = counters(&observed).expect("no kernel, no error");
    assert_eq!(counters.stages.iter().map(|stage| &*stage.name).collect::<Vec<_>>(), ["worker"]);
    assert!(!counters.stages[0].closes);
    observed.workers[0].totals.datagrams_dropped = 1;
    assert!(super::counters(&observed).expect("no kernel, no error").stages[0].closes);
}
