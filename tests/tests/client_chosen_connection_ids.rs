//! Is a client served whose first connection ID, which it chooses itself, looks like one that the router has issued?

use anyhow::{Context, Result};
use router_tests::{
    content::{hex, unhex},
    lab::{Lab, Running},
};

/// By chance it names a slot that is active, draining or free.
#[test]
fn initials_whose_connection_id_decodes_to_a_slot_are_served() -> Result<()> {
    for engine in ["xdp", "reuseport", "userspace"] {
        // Longer than three connections take on a busy machine: what a draining slot still has at the end is closed.
        let lab = Lab::new().engine(engine).set("drain_timeout", "\"60s\"").start()?;
        lab.control().drain(1)?;
        for (slot, state) in [(2, "active"), (1, "draining"), (9, "free")] {
            let chosen = unhex(&lab.control().generate(slot)?.cid);
            let decoded = lab.control().decode(&hex(&chosen))?;
            assert_eq!((decoded.slot, decoded.routable), (Some(slot), state != "free"), "{decoded:?}");
            serve(&lab, &chosen).with_context(|| format!("{engine}, {state} slot"))?;
        }
    }
    Ok(())
}

/// It names no slot: too short, of another length, of an unknown configuration, of another node.
#[test]
fn initials_whose_connection_id_decodes_to_no_slot_are_served() -> Result<()> {
    let lab = Lab::new().start()?;
    let ours = unhex(&lab.control().generate(2)?.cid);
    let with_first = |first: u8| [&[first], &ours[1..]].concat();
    for chosen in [ours[..8].to_vec(), [&ours[..], b"abc"].concat(), with_first(3 << 5), with_first(0xff)] {
        assert_eq!(lab.control().decode(&hex(&chosen))?.slot, None);
        serve(&lab, &chosen)?;
    }
    lab.expect_no_packet_lost()
}

/// It is the very connection ID that a living connection was issued. Its owner must not suffer;
/// the newcomer, which any endpoint would take for a part of that connection, may fail.
#[test]
fn an_initial_with_another_clients_connection_id_does_not_harm_it() -> Result<()> {
    let lab = Lab::new().start()?;
    let pause = std::time::Duration::from_millis(300);
    let owner = lab.quic_go().get("/bytes/1000").requests(10).pausing(pause).start()?;
    let issued = loop {
        let flows = lab.control().flows()?.flows;
        if let Some(flow) = flows.into_iter().find(|flow| flow.origin == "issued" && flow.packets > 0) {
            break unhex(&flow.cid);
        }
        assert!(!owner.ends_within(std::time::Duration::from_millis(5)), "the owner ended too soon");
    };
    let url = "/bytes/1000";
    let newcomer = lab.aioquic(url).requests(1).option("--timeout").option("1").beginning_with(&issued).start()?;
    owner.succeed()?;
    drop(newcomer);
    Ok(())
}

/// A whole connection of a client that begins with `chosen`, also from a new port.
fn serve(lab: &Running, chosen: &[u8]) -> Result<()> {
    let before = lab.control().status()?.totals.accepted;
    lab.aioquic("/bytes/20000").requests(2).rebinding_at(10_000).beginning_with(chosen).succeed()?;
    assert_eq!(lab.control().status()?.totals.accepted, before + 1);
    Ok(())
}
