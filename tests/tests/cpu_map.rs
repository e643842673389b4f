//! Does XDP move packets to their worker's CPU (`cpu_map`) where receive queues are few, leave them where they are
//! enough, and do they reach their worker either way?

use anyhow::{Context, Result, ensure};
use router_tests::lab::{Lab, Running, run};
use router_userspace::agent::api::{SlotCounters, XdpMode};

/// As many queues as CPUs with workers: nothing is moved, also of connections whose clients go to
/// other queues.
#[test]
fn packets_stay_where_queues_are_enough() -> Result<()> {
    let lab = Lab::new().engine("xdp").start()?;
    let hops = served(&lab, 0)?;
    ensure!(hops.xdp_stayed > 100 && hops.xdp_redirected == 0, "{hops:?}");
    Ok(())
}

/// One queue for workers on several CPUs: it would have all of the kernel's work. By itself the router moves
/// nothing that comes by a veth, whose other end may leave checksums out.
#[test]
fn packets_are_moved_where_queues_are_few() -> Result<()> {
    let lab = Lab::new().engine("xdp").queues(1).start()?;
    let hops = served(&lab, 0)?;
    ensure!(hops.xdp_stayed > 0 && hops.xdp_redirected == 0, "{hops:?}");
    drop(lab);
    let lab = Lab::new().engine("xdp").queues(1).set("cpu_map", "\"always\"").start()?;
    let hops = served(&lab, 1)?;
    ensure!(hops.xdp_stayed == 0 && hops.xdp_redirected > 100, "{hops:?}");
    Ok(())
}

/// Where the driver refuses XDP, packets stay whatever is configured, and `status` says so: the kernel
/// would lose them.
#[test]
fn generic_xdp_moves_no_packet() -> Result<()> {
    let mut lab = Lab::new().engine("xdp").set("cpu_map", "\"always\"").build()?;
    // Fewer queues than the other end sends on: veth then refuses.
    let interface = lab.wire().router_interface();
    run(lab.network().router().command("ethtool").args(["-L", &interface, "rx", "1"]))?;
    lab.start_agent()?;
    let one = lab.control().status()?.interfaces.remove(0);
    ensure!(one.mode == Some(XdpMode::Generic), "{one:?}");
    ensure!(one.why.as_ref().is_some_and(|why| why.contains(OVERRULED)), "{one:?}");
    let hops = served(&lab, 0)?;
    ensure!(hops.xdp_stayed > 0 && hops.xdp_redirected == 0, "{hops:?}");
    lab.reload(|config| config.set_router("cpu_map", "\"never\""))?;
    let one = lab.control().status()?.interfaces.remove(0);
    ensure!(one.why.as_ref().is_none_or(|why| !why.contains(OVERRULED)), "{one:?}");
    Ok(())
}

/// The operator decides, while connections go on.
#[test]
fn a_reload_changes_cpu_map() -> Result<()> {
    let mut lab = Lab::new().engine("xdp").set("cpu_map", "\"always\"").start()?;
    let streams = lab.quic_go().echo(20_000).connections(40).requests(100).pausing(PAUSE).rebinding_at(400_000);
    let streams = streams.start()?;
    lab.await_accepted(&streams, 40)?;
    for (wanted, expected) in [("never", 0), ("always", 1), ("auto", 0)] {
        let changed = lab.reload(|config| config.set_router("cpu_map", &format!("\"{wanted}\"")))?;
        ensure!(changed == ["cpu_map has changed"], "{changed:?}");
        ensure!(redirects(&lab)? == [expected; 4], "{wanted}: {:?}", redirects(&lab)?);
    }
    streams.succeed()?;
    lab.expect_no_packet_astray()?;
    let hops = hops(&lab)?;
    ensure!(hops.xdp_stayed > 0 && hops.xdp_redirected > 0, "{hops:?}");
    Ok(())
}

/// How packets went of clients that move, all of them served, where each slot says so of redirects.
fn served(lab: &Running, expected: u64) -> Result<SlotCounters> {
    ensure!(redirects(lab)? == [expected; 4], "{:?}", redirects(lab)?);
    lab.quic_go().get("/bytes/100000").connections(100).rebinding_at(50_000).succeed()?;
    lab.expect_no_packet_astray()?;
    hops(lab)
}

/// What the map says of the taken slots.
fn redirects(lab: &Running) -> Result<Vec<u64>> {
    let taken = lab.taken_slots()?;
    taken.iter().map(|slot| slot["redirects"].as_u64().context("no field `redirects`")).collect()
}

/// Of all slots together.
fn hops(lab: &Running) -> Result<SlotCounters> {
    let slots = lab.control().counters()?.slots;
    let sum = |mut sum: SlotCounters, one: &SlotCounters| {
        sum.xdp_stayed += one.xdp_stayed;
        sum.xdp_redirected += one.xdp_redirected;
        sum
    };
    let (first, others) = slots.split_first().context("no slots")?;
    Ok(others.iter().fold(*first, sum))
}

const OVERRULED: &str = "cpu_map = \"always\" is not followed";
/// Between two requests of a stream.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(20);
