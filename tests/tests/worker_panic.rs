//! Does a worker that panics end only its own connections, are their clients told, and does another take its place at
//! once?

use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;
use router_tests::lab::{Lab, until};
use router_userspace::agent::api::WorkerState;

#[test]
fn a_panic_under_load_ends_the_workers_own_connections_only() -> Result<()> {
    // The successor may not wait for the names in a backtrace.
    let lab = Lab::new().config(|config| config.debug_build = true).environment("RUST_BACKTRACE", "1").start()?;
    // Those that stay, each of which says something now and then; and those that come and go.
    let long = lab.quic_go().echo(1_000).connections(60).until_told().pausing(SHORT * 2).keeping_alive(SHORT * 5);
    let long = long.start()?;
    lab.await_busy(&long, 60)?;
    let dying = lab.worker(2)?;
    let had = dying.totals.connections_now;
    assert!(had > 5, "{had} connections");
    let short = lab.quic_go().get("/bytes/20000").connections(600).at_once(6).pausing(SHORT).start()?;
    lab.await_accepted(&short, 100)?;

    lab.control().panic(2)?;
    until(|| lab.workers(), |workers| workers.iter().any(|worker| worker.slot == 4))?;
    let slots: Vec<_> = lab.workers()?.into_iter().map(|one| (one.slot, one.cpu, one.state)).collect();
    let expected = [0, 1, 3, 4].map(|slot| (slot, u32::from(slot) % 2, WorkerState::Active));
    let expected = expected.map(|(slot, cpu, state)| (slot, if slot == 4 { dying.cpu } else { cpu }, state));
    assert_eq!(slots, expected);
    // Served anew: by the successor too.
    lab.quic_go().get("/bytes/1000").connections(60).succeed()?;
    assert!(lab.worker(4)?.totals.accepted > 5);

    let (short, long) = (short.finish()?, long.finish()?);
    assert_eq!(long.errors, BTreeMap::from([("received a stateless reset".to_owned(), had)]));
    assert_eq!((long.connections_ok, long.connections_failed), (60, 0));
    // Of those that were about to begin or had just begun, a few.
    assert!(short.requests_failed < 6 && short.requests_ok > 590, "{short:?}");
    for words in ["thread 'worker-2' panicked at ", "worker 2 has died", "worker 4 has taken the place of worker 2"] {
        lab.await_log(words)?;
    }
    assert!(lab.control().status()?.healthy);
    Ok(())
}

const SHORT: Duration = Duration::from_millis(20);
