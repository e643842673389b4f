//! Can only the router read the connection IDs it issues, and is none issued twice?

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use router_tests::{
    content::{hex, unhex},
    lab::{Lab, Running},
};

/// Ten thousand connections in ten crowds: every connection ID that any of them got.
#[test]
fn encrypted_connection_ids_look_random_and_are_unique() -> Result<()> {
    let lab = Lab::new().limit("max_connections_per_ip", "20_000").limit("max_handshakes", "20_000").start()?;
    let mut issued = Issued::default();
    for _ in 0..10 {
        let clients = lab.quic_go().get("/bytes/10").connections(1_000).at_once(250).start()?;
        // Unused ones are in the table for ten seconds, and a busy machine may take longer for all.
        while !clients.ends_within(BETWEEN_LOOKS) {
            issued.look(&lab)?;
        }
        clients.succeed()?;
        issued.look(&lab)?;
    }
    let configurations = lab.control().cid_configurations()?;
    assert_eq!(configurations.len(), 1);
    assert!(issued.all.len() >= 20_000, "only {} connection IDs", issued.all.len());
    issued.expect_all(&lab)?;
    for cid in issued.all.keys() {
        assert_eq!((cid.len(), cid[0]), (17, 16), "length, rotation and length bits: {cid:02x?}");
    }
    for slot in 0..4 {
        let octets = issued.of(slot);
        for (place, column) in columns(&octets).into_iter().enumerate().skip(1) {
            let statistic = chi_squared(&column);
            assert!(statistic < SUSPICIOUS, "octet {place} of slot {slot}: {statistic} from {} octets", column.len());
        }
    }
    lab.expect_no_packet_astray()
}

/// The other case, so that the test above is known to find something where there is something.
#[test]
fn clear_connection_ids_show_node_and_slot() -> Result<()> {
    let lab = Lab::new().connection_id("encryption", "\"none\"").start()?;
    lab.quic_go().get("/bytes/10").connections(500).at_once(250).succeed()?;
    let mut issued = Issued::default();
    issued.look(&lab)?;
    let readable: Vec<_> = columns(&issued.of(2))
        .iter()
        .enumerate()
        .filter(|(_, column)| chi_squared(column) > SUSPICIOUS)
        .map(|(place, _)| place)
        .collect();
    assert_eq!(readable, [0, 1, 2, 3]);
    Ok(())
}

/// The first octet's low bits say nothing if they are not to say the length.
#[test]
fn the_first_octet_is_random_unless_it_has_the_length() -> Result<()> {
    let lab = Lab::new().connection_id("describe_length", "false").start()?;
    lab.quic_go().get("/bytes/10").connections(200).rebinding_at(5).succeed()?;
    let mut issued = Issued::default();
    issued.look(&lab)?;
    let seen: BTreeSet<u8> = issued.all.keys().map(|cid| cid[0]).collect();
    assert_eq!(seen, (0..32).collect());
    lab.expect_no_packet_astray()
}

/// Whatever a run has used, also one that was killed, no later one uses again.
#[test]
fn no_nonce_is_used_twice_over_restarts() -> Result<()> {
    let mut lab = Lab::new().workers(2).build()?;
    let mut nonces = BTreeSet::new();
    let mut all = 0;
    for round in 0..4 {
        lab.start_agent()?;
        lab.quic_go().get("/bytes/10").connections(100).succeed()?;
        let mut issued = Issued::default();
        issued.look(&lab)?;
        all += issued.all.len();
        for (cid, slot) in &issued.all {
            let decoded = lab.control().decode(&hex(cid))?;
            ensure!((decoded.node, decoded.slot) == (Some(1), Some(*slot)), "{decoded:?}");
            nonces.insert((*slot, decoded.nonce.context("ours have one")?));
        }
        let agent = lab.take_agent()?;
        if round % 2 == 0 { agent.kill()? } else { agent.terminate().map(drop)? }
    }
    assert!(all >= 800, "only {all}");
    assert_eq!(nonces.len(), all);
    Ok(())
}

/// Issued connection IDs that the flow table has shown, with their slots.
#[derive(Default)]
struct Issued {
    all: BTreeMap<Vec<u8>, u8>,
}

impl Issued {
    fn look(&mut self, lab: &Running) -> Result<()> {
        for flow in lab.control().flows()?.flows {
            if flow.origin == "issued" {
                self.all.insert(unhex(&flow.cid), flow.slot);
            }
        }
        Ok(())
    }

    /// Makes sure that those that were issued have been seen: equal ones would be one entry of the flow table,
    /// and one here. The first of each connection goes from there with its connection, and so do some of the others,
    /// with a packet that comes after that: one in a hundred connections' at most. Workers whose connection IDs are the
    /// same would miss half of all. An entry that comes or goes while the table is read may be seen the next time only;
    /// unused ones stay for ten seconds.
    fn expect_all(&mut self, lab: &Running) -> Result<()> {
        let deadline = Instant::now() + SETTLING;
        loop {
            self.look(lab)?;
            let issued = lab.control().cid_configurations()?.iter().map(|one| one.issued).sum::<u64>();
            let ended = lab.control().status()?.totals.accepted;
            let seen = self.all.len() as u64;
            if seen + ended + ended / 100 >= issued && seen <= issued {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{issued} were issued, {seen} were seen, {ended} connections");
        }
    }

    fn of(&self, slot: u8) -> Vec<&[u8]> {
        self.all.iter().filter(|(_, of)| **of == slot).map(|(cid, _)| &cid[..]).collect()
    }
}

/// What stands in each place of the connection IDs.
fn columns(cids: &[&[u8]]) -> Vec<Vec<u8>> {
    (0..17).map(|place| cids.iter().map(|cid| cid[place]).collect()).collect()
}

/// Pearson's statistic for "all 256 values are equally likely".
fn chi_squared(octets: &[u8]) -> f64 {
    let expected = octets.len() as f64 / 256.0;
    let mut counts = [0_u32; 256];
    for &octet in octets {
        counts[usize::from(octet)] += 1;
    }
    counts.iter().map(|&count| (f64::from(count) - expected).powi(2) / expected).sum()
}

/// Between two looks at the flow table.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
/// How long an entry may take to be seen.
const SETTLING: Duration = Duration::from_secs(30);

/// With 255 degrees of freedom mean 255, standard deviation 22.6: honest octets are beyond this
/// once in some ten billion columns.
const SUSPICIOUS: f64 = 425.0;
