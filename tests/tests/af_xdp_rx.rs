//! Do packets come by the AF_XDP socket of their worker where they are received on its queue, and by its CPU and UDP
//! socket where they are received on another worker's?

use anyhow::{Result, ensure};
use router_tests::lab::{Lab, Running, until};

#[test]
fn packets_on_their_workers_queue_come_by_its_af_xdp_socket() -> Result<()> {
    let lab = Lab::new().engine("af_xdp").start()?;
    let queues = &lab.control().status()?.interfaces[0].queues;
    assert!(queues.iter().all(|queue| queue.mode == "copy" && queue.places), "{queues:?}");
    assert_eq!(queues.iter().map(|queue| queue.slot).collect::<Vec<_>>(), [0, 1, 2, 3], "{queues:?}");
    // A few at a time: a worker that is ahead of the others by a CPU's turn would be taken for a busy one.
    lab.quic_go().get("/bytes/100000").connections(100).at_once(8).succeed()?;
    lab.quic_go().post("/sink", 300_000).connections(20).at_once(8).succeed()?;
    lab.expect_no_packet_astray()?;
    let ways = Ways::of(&lab)?;
    // A client whose first packet came in on a queue comes there with every packet.
    assert_eq!((ways.by_cpu, ways.sockets > 3_000), (0, true), "{ways:?}");
    Ok(())
}

#[test]
fn packets_on_another_queue_come_to_their_worker_by_its_cpu() -> Result<()> {
    let lab = Lab::new().engine("af_xdp").start()?;
    let clients = lab.quic_go().post("/sink", BODY).connections(100).rebinding_at(BODY / 2).start()?;
    lab.await_accepted(&clients, 100)?;
    clients.succeed()?;
    // Right octets, and no worker got another's: what took either way came to the same worker.
    lab.expect_no_packet_astray()?;
    let ways = Ways::of(&lab)?;
    // Of those that moved, three in four came to another queue than their worker's.
    assert!(ways.by_cpu > 1_000 && ways.sockets > ways.by_cpu, "{ways:?}");
    Ok(())
}

/// How packets went to workers, once what XDP delivered has been read.
#[derive(Debug)]
struct Ways {
    sockets: u64,
    by_cpu: u64,
}

impl Ways {
    fn of(lab: &Running) -> Result<Self> {
        let counters = until(
            || lab.control().counters(),
            |counters| {
                let given: u64 = counters.slots.iter().map(|slot| slot.xdp_socket).sum();
                let stage = counters.stages.iter().find(|stage| stage.name == "af_xdp");
                stage.is_some_and(|stage| stage.received == given && stage.closes)
            },
        )?;
        let dropped: u64 = counters
            .stages
            .iter()
            .filter(|stage| stage.name == "af_xdp")
            .flat_map(|stage| stage.dropped.values())
            .sum();
        ensure!(dropped == 0, "sound frames were dropped: {counters:?}");
        let by_cpu = |slot: &router_userspace::agent::api::SlotCounters| slot.xdp_local + slot.xdp_redirected;
        Ok(Self {
            sockets: counters.slots.iter().map(|slot| slot.xdp_socket).sum(),
            by_cpu: counters.slots.iter().map(by_cpu).sum(),
        })
    }
}

const BODY: u64 = 400_000;
