//! What `quic-router doctor cluster` says of a cluster that is well, and of a pair whose hellos get lost.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use anyhow::{Context, Result, ensure};
use router_tests::lab::{
    Towards,
    cluster::{Cluster, Running, TUNNEL_PORT},
    datagram::{Datagram, End},
    until,
};
use serde_json::Value;

#[test]
fn a_pair_that_hears_each_other_no_more_is_named() -> Result<()> {
    let is_cut = Arc::new(AtomicBool::new(false));
    let cut = is_cut.clone();
    let cluster = Cluster::new().relay(1, move |_: Towards, frame| {
        if cut.load(Ordering::Relaxed) && is_tunnelled(frame) { Vec::new() } else { vec![frame.to_vec()] }
    });
    let cluster = cluster.start()?;
    // What the nodes' network carries is known with the first long hello.
    let are_well = |findings: &Vec<Value>| findings.iter().all(|finding| finding["level"] == "ok");
    let well = until(|| findings(&cluster), are_well)?;
    for theme in ["node 2", "node 3", "mtu", "clock", "listeners", "rp_filter", "address", "tunnel", "file"] {
        ensure!(well.iter().any(|finding| finding["theme"] == theme), "nothing about {theme}: {well:?}");
    }
    let text = cluster.node(0).cli_by_config(&["doctor", "cluster"])?.succeeded()?.stdout;
    ensure!(text.ends_with("0 failures, 0 warnings\n"), "{text}");

    is_cut.store(true, Ordering::Relaxed);
    // Other findings have times of their own.
    let warned = |findings: &Vec<Value>| {
        findings.iter().any(|finding| finding["theme"] == "node 2" && finding["level"] == "warn")
    };
    let ill = until(|| findings(&cluster), warned)?;
    let about = |theme: &str| ill.iter().find(|finding| finding["theme"] == theme).context(theme.to_owned());
    let (pair, other) = (about("node 2")?, about("node 3")?);
    let sentence = pair["finding"].as_str().context("a sentence")?;
    ensure!(pair["level"] == "warn" && sentence.starts_with("node 1 does not hear node 2 ("), "{pair}");
    let way_out = pair["try"].as_str().context("a way out")?;
    ensure!(way_out.contains(&format!("UDP port {TUNNEL_PORT} from")), "{way_out}");
    ensure!(other["level"] == "ok", "{other}");
    Ok(())
}

/// What the doctor of node 1 finds.
fn findings(cluster: &Running) -> Result<Vec<Value>> {
    let said = cluster.node(0).cli_by_config(&["doctor", "cluster", "--json"])?.succeeded()?;
    let said: Value = serde_json::from_str(&said.stdout)?;
    said["findings"].as_array().cloned().with_context(|| format!("no findings: {said}"))
}

fn is_tunnelled(frame: &[u8]) -> bool {
    let mut frame = frame.to_vec();
    Datagram::of(&mut frame).is_some_and(|datagram| datagram.port(End::Destination) == TUNNEL_PORT)
}
