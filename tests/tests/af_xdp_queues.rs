//! Which worker has which receive queue while workers drain, die and are taken over, links go and come, and queues are
//! added, and is no connection lost by it?

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use router_tests::lab::{Lab, Running, peers::QuicGo, signal, until};
use router_userspace::agent::api::Queue;

#[test]
fn a_worker_that_drains_loses_its_queue_and_gets_one_again() -> Result<()> {
    let lab = Lab::new().engine("af_xdp").start()?;
    let clients = talkative(&lab).until_told().start()?;
    lab.await_busy(&clients, 40)?;
    lab.control().drain(2)?;
    let without = await_queues(&lab, |queues| queues.len() == 4 && queues.iter().all(|queue| queue.slot != 2))?;
    assert_eq!(without.iter().filter(|queue| queue.slot == 0).count(), 2, "{without:?}");
    lab.control().undrain(2)?;
    await_queues(&lab, |queues| slots(queues) == [0, 1, 2, 3])?;
    clients.succeed()?;
    lab.expect_all_read(&[lab.control()], 0)
}

#[test]
fn a_worker_that_dies_leaves_its_queue_to_its_successor() -> Result<()> {
    let lab = Lab::new().engine("af_xdp").config(|config| config.debug_build = true).start()?;
    lab.control().panic(1)?;
    await_queues(&lab, |queues| slots(queues) == [0, 2, 3, 4])?;
    lab.quic_go().get("/bytes/20000").connections(60).succeed()?;
    let by_socket = lab.control().counters()?.slots.iter().find(|slot| slot.slot == 4).map(|slot| slot.xdp_socket);
    ensure!(by_socket.context("slot 4")? > 20, "{by_socket:?}");
    Ok(())
}

#[test]
fn an_upgrade_takes_the_queues_over() -> Result<()> {
    let lab = Lab::new().engine("af_xdp").set("drain_timeout", "\"300s\"").start()?;
    let long = lab.quic_go().echo(50_000).connections(40).until_told().pausing(SHORT).start()?;
    lab.await_busy(&long, 40)?;
    let short = lab.quic_go().get("/bytes/20000").connections(400).at_once(10).start()?;
    lab.await_accepted(&short, 50)?;
    lab.agent()?.upgrade(None)?;
    let queues = await_queues(&lab, |queues| slots(queues) == [4, 5, 6, 7])?;
    assert!(queues.iter().all(|queue| queue.places), "{queues:?}");
    // The old generation has none any more, and its clients notice nothing.
    short.succeed()?;
    let before = sockets(&lab)?;
    lab.quic_go().get("/bytes/20000").connections(50).succeed()?;
    ensure!(sockets(&lab)? > before + 200, "the newest generation's");
    long.succeed()?;
    Ok(())
}

/// Workers that are told to leave keep their connections, not their queues.
#[test]
fn a_reload_with_another_number_of_workers_moves_the_queues() -> Result<()> {
    let mut lab = Lab::new().engine("af_xdp").set("drain_timeout", "\"300s\"").start()?;
    let clients = talkative(&lab).until_told().start()?;
    lab.await_busy(&clients, 40)?;
    for (workers, owners) in [("2", [0, 0, 1, 1]), ("4", [0, 1, 4, 5])] {
        lab.reload(|config| config.set_router("workers", workers))?;
        await_queues(&lab, |queues| slots(queues) == owners)?;
    }
    let leaving = lab.workers()?.into_iter().filter(|worker| [2, 3].contains(&worker.slot));
    ensure!(leaving.map(|worker| worker.totals.connections_now).sum::<u64>() > 0, "they had left before");
    clients.succeed()?;
    lab.expect_no_packet_lost()
}

/// The queues change hands at the flip: each packet is read by the worker that it is for.
#[test]
fn no_packet_is_lost_when_the_next_generation_takes_over() -> Result<()> {
    let lab = Lab::new().engine("af_xdp").set("drain_timeout", "\"300s\"").start()?;
    let first = lab.control().status()?.generation;
    // As long as a connection stays there, the old generation can be asked.
    let _staying = lab.quic_go().echo(1_000).requests(2).pausing(Duration::from_secs(60)).start()?;
    let old = talkative(&lab).until_told().start()?;
    lab.await_accepted(&old, 41)?;
    lab.agent()?.upgrade(None)?;
    let besides = lab.read_besides()?;
    let new = talkative(&lab).requests(100).start()?;
    await_queues(&lab, |queues| slots(queues) == [4, 5, 6, 7])?;
    new.succeed()?;
    old.succeed()?;
    lab.expect_all_read(&[lab.control(), lab.aside(first)], besides)
}

/// The same of the clients that stay when the new generation dies and the old one gets its queues back.
#[test]
fn no_packet_is_lost_when_the_last_generation_serves_again() -> Result<()> {
    let lab = Lab::new().engine("af_xdp").set("drain_timeout", "\"300s\"").start()?;
    let first = lab.control().status()?.pid;
    let clients = talkative(&lab).until_told().start()?;
    lab.await_busy(&clients, 40)?;
    let next = lab.control().upgrade(None)?;
    await_queues(&lab, |queues| slots(queues) == [4, 5, 6, 7])?;
    signal(next.pid, Signal::SIGKILL)?;
    lab.await_service_by(first)?;
    await_queues(&lab, |queues| slots(queues) == [0, 1, 2, 3])?;
    clients.succeed()?;
    lab.expect_all_read(&[lab.control()], 0)
}

#[test]
fn links_that_go_down_and_up() -> Result<()> {
    let lab = Lab::new().engine("af_xdp").start()?;
    let clients = lab.quic_go().post("/sink", 600_000).connections(40).until_told().pausing(SHORT).start()?;
    lab.await_busy(&clients, 40)?;
    for _ in 0..3 {
        let before = sockets(&lab)?;
        lab.wire().flap(lab.network().router())?;
        clients.run_until(|| Ok(sockets(&lab)? > before + 500))?;
    }
    clients.succeed()?;
    await_queues(&lab, |queues| slots(queues) == [0, 1, 2, 3])?;
    lab.expect_no_packet_astray()
}

#[test]
fn queues_that_are_added() -> Result<()> {
    let mut lab = Lab::new().engine("af_xdp").build()?;
    let router = lab.network().router();
    lab.wire().use_queues(router, [4, 2])?;
    lab.start_agent()?;
    // Fewer queues than workers: the assignment places.
    await_queues(&lab, |queues| slots(queues) == [0, 1] && queues.iter().all(|queue| !queue.places))?;
    let clients = lab.quic_go().post("/sink", 200_000).connections(60).until_told().pausing(SHORT).start()?;
    lab.await_busy(&clients, 60)?;
    lab.wire().use_queues(lab.network().router(), [2, 4])?;
    await_queues(&lab, |queues| slots(queues) == [0, 1, 2, 3] && queues.iter().all(|queue| queue.places))?;
    clients.succeed()?;
    // The kernel takes none away that has a socket.
    assert!(lab.wire().use_queues(lab.network().router(), [4, 3]).is_err());
    lab.expect_no_packet_astray()
}

#[test]
fn an_interface_that_is_taken_away_and_put_back() -> Result<()> {
    let lab = Lab::new().engine("af_xdp").start()?;
    lab.wire().remove(lab.network().router())?;
    let gone = lab.await_status(|status| !status.healthy)?;
    assert_eq!((gone.interfaces[0].engine.as_str(), gone.interfaces[0].queues.len()), ("reuseport", 0), "{gone:?}");
    lab.wire().put_back(lab.network().router(), 4)?;
    await_queues(&lab, |queues| slots(queues) == [0, 1, 2, 3])?;
    let before = sockets(&lab)?;
    lab.quic_go().get("/bytes/20000").connections(50).succeed()?;
    ensure!(sockets(&lab)? > before + 200);
    assert!(lab.control().status()?.healthy);
    lab.expect_no_packet_astray()
}

/// Twice, while all kinds of clients are in the middle of something; first it has fewer queues, then all.
#[test]
fn connections_outlive_their_interface() -> Result<()> {
    let lab = Lab::new().engine("af_xdp").start()?;
    lab.wire().lead_nowhere_else()?;
    let clients = lab.quic_go();
    let talks = clients.clone().echo(20_000).connections(30).until_told().pausing(BREATH).start()?;
    let uploads = clients.clone().post("/sink", 600_000).connections(10).until_told().pausing(SHORT).start()?;
    let mut all = vec![talks, uploads];
    for (queues, owners) in [(2, &[0, 1][..]), (4, &[0, 1, 2, 3])] {
        let accepted = lab.control().status()?.totals.accepted;
        let bulk = clients.clone().get("/bytes/10000000").connections(4).until_told().start()?;
        lab.await_accepted(&bulk, accepted.max(40) + 4)?;
        all.push(bulk);
        lab.wire().remove(lab.network().router())?;
        lab.await_status(|status| status.interfaces[0].engine == "reuseport")?;
        ensure!(all.iter().all(|clients| !clients.ends_within(Duration::ZERO)), "they ended too soon");
        lab.wire().put_back(lab.network().router(), queues)?;
        await_queues(&lab, |queues| slots(queues) == owners)?;
        let before = sockets(&lab)?;
        all[0].run_until(|| Ok(sockets(&lab)? > before + 1_000))?;
    }
    all.into_iter().try_for_each(|clients| clients.succeed().map(drop))?;
    lab.expect_no_packet_astray()
}

/// Changes are taken note of long before the next look at intervals: those come every two seconds, and each
/// change is made when the one before has been seen.
#[test]
fn addresses_that_come_and_go_are_announced() -> Result<()> {
    let lab = Lab::new().engine("af_xdp").start()?;
    let interface = lab.wire().router_interface();
    let known = || Ok(lab.dump("local_addresses")?.len());
    let before = known()?;
    let mut latencies = Vec::new();
    for _ in 0..3 {
        for address in ["10.77.0.77/32", "fd77::77/128"] {
            for (verb, there) in [("add", 1), ("del", 0)] {
                lab.network().router().ip(&format!("addr {verb} {address} dev {interface}\n"))?;
                let changed = Instant::now();
                until(known, |known| *known == before + there)?;
                latencies.push(changed.elapsed());
            }
        }
    }
    // Most of them: on a busy machine one may have to wait for the processor.
    latencies.sort_unstable();
    ensure!(latencies[latencies.len() / 2] < SOON, "{latencies:?}");
    Ok(())
}

#[test]
fn with_fewer_queues_than_workers_each_worker_gets_connections() -> Result<()> {
    let lab = Lab::new().engine("af_xdp").queues(2).start()?;
    lab.quic_go().get("/bytes/20000").connections(100).succeed()?;
    let accepted: Vec<_> = lab.workers()?.iter().map(|worker| worker.totals.accepted).collect();
    assert!(accepted.iter().all(|&accepted| accepted > 8), "{accepted:?}");
    assert!(sockets(&lab)? > 100);
    lab.expect_no_packet_lost()
}

/// All connections of one client socket come in on one queue.
#[test]
fn a_worker_with_many_more_connections_gets_no_new_ones() -> Result<()> {
    let lab = Lab::new().engine("af_xdp").start()?;
    let first =
        lab.quic_go().get("/bytes/1000").one_socket().connections(60).until_told().pausing(SHORT * 10).start()?;
    lab.await_accepted(&first, 60)?;
    let busy = await_queues(&lab, |queues| queues.iter().filter(|queue| !queue.places).count() == 1)?;
    let owner = busy.iter().find(|queue| !queue.places).context("the busy one")?.slot;
    let second = lab.quic_go().get("/bytes/1000").one_socket().holding(SHORT).connections(60).start()?;
    second.succeed()?;
    let of_owner = lab.worker(owner)?.totals.accepted;
    // Another socket, so most often another queue; if it is the same, the assignment placed them.
    assert!((60..=90).contains(&of_owner), "{of_owner} of 120 at slot {owner}");
    first.succeed()?;
    await_queues(&lab, |queues| queues.iter().all(|queue| queue.places))?;
    lab.expect_no_packet_astray()
}

/// Clients that have packets on their way all the time, but never more at once than sockets have room for.
fn talkative(lab: &Running) -> QuicGo<'_> {
    lab.quic_go().echo(4_000).connections(40).pausing(BREATH)
}

/// However few of them are open at once.
#[test]
fn a_worker_that_accepts_many_more_gets_no_new_ones() -> Result<()> {
    let lab = Lab::new().engine("af_xdp").start()?;
    lab.quic_go().get("/bytes/1000").one_socket().connections(3_000).at_once(10).succeed()?;
    let accepted: Vec<_> = lab.workers()?.iter().map(|worker| worker.totals.accepted).collect();
    // All of them come in on the queue of one worker.
    assert!(accepted.iter().all(|&accepted| accepted > 150), "{accepted:?}");
    await_queues(&lab, |queues| queues.iter().all(|queue| queue.places))?;
    lab.expect_no_packet_astray()
}

fn await_queues(lab: &Running, are_so: impl Fn(&[Queue]) -> bool) -> Result<Vec<Queue>> {
    let look = || Ok(lab.control().status()?.interfaces.into_iter().flat_map(|one| one.queues).collect::<Vec<_>>());
    until(look, |queues| are_so(queues))
}

fn slots(queues: &[Queue]) -> Vec<u8> {
    let mut slots: Vec<_> = queues.iter().map(|queue| queue.slot).collect();
    slots.sort_unstable();
    slots
}

/// Packets that went to AF_XDP sockets.
fn sockets(lab: &Running) -> Result<u64> {
    Ok(lab.control().counters()?.slots.iter().map(|slot| slot.xdp_socket).sum())
}

const SHORT: Duration = Duration::from_millis(50);
/// Less than what passes between two looks, which are two seconds.
const SOON: Duration = Duration::from_millis(1_500);
const BREATH: Duration = Duration::from_millis(10);
