//! Does a worker that panics take only its own connections with it, and are these served anew at
//! once?

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use router_tests::lab::{Lab, Running};
use router_userspace::agent::api::{Worker, WorkerState};

#[test]
fn under_load() -> Result<()> {
    // Nobody may wait for the names in a backtrace.
    let lab = Lab::new().config(|config| config.debug_build = true).environment("RUST_BACKTRACE", "1").start()?;
    // Those that stay, each of which says something now and then; and those that come and go.
    let long = lab.quic_go().echo(1_000).connections(60).until_told().pausing(SHORT * 2).keeping_alive(SHORT * 5);
    let long = long.start()?;
    lab.await_busy(&long, 60)?;
    let dying = worker(&lab, 2)?.context("worker 2")?;
    let had = dying.totals.connections_now;
    assert!(had > 5, "{had} connections");
    let short = lab.quic_go().get("/bytes/20000").connections(600).at_once(6).pausing(SHORT).start()?;
    lab.await_accepted(&short, 100)?;

    lab.control().panic(2)?;
    let asked = Instant::now();
    while lab.control().status()?.problems.is_empty() && workers(&lab)?.iter().all(|one| one.slot != 4) {
        ensure!(asked.elapsed() < Duration::from_secs(2), "nobody noticed");
    }
    while workers(&lab)?.iter().all(|one| one.slot != 4) {
        ensure!(asked.elapsed() < Duration::from_secs(2), "nobody has taken its place");
    }
    let slots: Vec<_> = workers(&lab)?.into_iter().map(|one| (one.slot, one.cpu, one.state)).collect();
    let expected = [0, 1, 3, 4].map(|slot| (slot, u32::from(slot) % 2, WorkerState::Active));
    let expected = expected.map(|(slot, cpu, state)| (slot, if slot == 4 { dying.cpu } else { cpu }, state));
    assert_eq!(slots, expected);
    // Served anew: by the successor too.
    lab.quic_go().get("/bytes/1000").connections(60).succeed()?;
    assert!(worker(&lab, 4)?.context("worker 4")?.totals.accepted > 5);

    let (short, long) = (short.finish()?, long.finish()?);
    assert_eq!(long.errors, BTreeMap::from([("received a stateless reset".to_owned(), had)]));
    assert_eq!((long.connections_ok, long.connections_failed), (60, 0));
    // Of those that were about to begin or had just begun, a few.
    assert!(short.requests_failed < 6 && short.requests_ok > 590, "{short:?}");
    let log = lab.home().log();
    assert!(log.contains("thread 'worker-2' panicked at "), "{log}");
    assert!(log.contains("worker 2 has died") && log.contains("worker 4 has taken the place of worker 2"), "{log}");
    assert!(lab.control().status()?.healthy);
    Ok(())
}

fn workers(lab: &Running) -> Result<Vec<Worker>> {
    Ok(lab.control().workers()?.workers)
}

fn worker(lab: &Running, slot: u8) -> Result<Option<Worker>> {
    Ok(workers(lab)?.into_iter().find(|worker| worker.slot == slot))
}

const SHORT: Duration = Duration::from_millis(20);
