//! `bench training`: measures nothing, but does all that workers do on a busy day, for a build that takes
//! note of it (`cargo xtask build --profile-guided`).
//!
//! Small requests have the most of it, then new connections, then bulk both ways, raw streams, and the
//! TCP companion; with third-party clients, as everywhere.

use anyhow::Result;
use router_tests::lab::{Lab, peers::Curl};

pub(super) fn run() -> Result<()> {
    let lab = Lab::new().workers(2).set("debug_headers", "false").limit("max_connections_per_ip", "10_000");
    let mut lab = lab.config(|config| config.listener_keys = "tcp = true\n".into()).start()?;
    let get = |path| lab.quic_go().get(path);
    for (what, clients) in [
        ("small requests", get("/bytes/1000").connections(100).requests(300)),
        ("more on few connections", get("/bytes/1000").connections(10).requests(3_000)),
        ("new connections", get("/bytes/1000").connections(3_000).at_once(50)),
        ("downloads", get("/bytes/30000000").connections(8)),
        ("uploads", lab.quic_go().post("/sink", 20_000_000).connections(8)),
        ("raw streams", lab.quic_go().echo(1_000_000).connections(16)),
        ("clients that move", get("/bytes/2000000").connections(50).rebinding_at(1_000_000)),
    ] {
        eprintln!("training: {what}");
        clients.succeed()?;
    }
    eprintln!("training: over TCP");
    for version in ["--http1.1", "--http2"] {
        for path in ["/bytes/1000", "/bytes/1000000"] {
            let curl = Curl::over(version, lab.wire().namespace(), &lab.url(path)).option("--fail");
            (0..30).try_for_each(|_| curl.succeed().map(drop))?;
        }
    }
    lab.take_agent()?.terminate()?;
    Ok(())
}
