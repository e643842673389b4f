//! Are the capabilities of the systemd unit enough for the agent, and does it send systemd the right notifications?

use std::{fs, os::unix::net::UnixDatagram, path::Path, time::Duration};

use anyhow::{Context, Result};
use router_tests::lab::{AgentConfig, Lab};
use router_userspace::agent::api::XdpMode;

/// The capabilities of the unit, and no more, are enough to start, serve, reload, and upgrade.
#[test]
fn the_capabilities_of_the_unit_are_enough() -> Result<()> {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/quic-router.service");
    let unit = fs::read_to_string(&unit).with_context(|| unit.display().to_string())?;
    let set = unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).context("a set")?;
    let set: Vec<_> =
        set.split(' ').map(|name| format!("+{}", name.trim_start_matches("CAP_").to_lowercase())).collect();
    let confined = |config: &mut AgentConfig| {
        config.under =
            vec!["setpriv".to_owned(), "--no-new-privs".to_owned(), format!("--bounding-set=-all,{}", set.join(","))];
        // The unit lifts the limit of locked memory, too. Here it may be as low as 8 MiB, for both generations.
        config.rest.push_str("[af_xdp]\nmemory = \"2 MiB\"\n");
    };
    let mut lab = Lab::new().config(confined).start()?;
    let status = fs::read_to_string(format!("/proc/{}/status", lab.agent()?.pid()?))?;
    let held = status.lines().find_map(|line| line.strip_prefix("CapEff:\t")).context("capabilities")?;
    assert_eq!(u64::from_str_radix(held, 16)?.count_ones() as usize, set.len(), "{held}");
    lab.quic_go().get("/bytes/20000").connections(50).rebinding_at(10_000).succeed()?;
    lab.reload(|config| {
        config.listeners.push("0.0.0.0:8443".into());
        config.set_router("workers", "5");
    })?;
    lab.agent()?.upgrade(None)?;
    lab.quic_go().get("/bytes/20000").connections(50).rebinding_at(10_000).succeed()?;
    let status = lab.control().status()?;
    assert!(status.healthy, "{:?}", status.problems);
    assert_eq!(status.interfaces[0].mode, Some(XdpMode::Native));
    lab.expect_no_packet_astray()?;
    lab.take_agent()?.terminate().map(drop)
}

/// READY, RELOADING, WATCHDOG, MAINPID and STOPPING, in that order and from the right process.
#[test]
fn notifications_in_their_order() -> Result<()> {
    let mut lab = Lab::new().build()?;
    let path = lab.home().path("notify.sock");
    let systemd = UnixDatagram::bind(&path)?;
    systemd.set_read_timeout(Some(Duration::from_secs(60)))?;
    lab.reconfigure(|config| {
        config.environment.push(("NOTIFY_SOCKET".into(), path.display().to_string()));
        config.environment.push(("WATCHDOG_USEC".into(), "300000".into()));
    });
    let next = || -> Result<String> {
        let mut octets = [0; 4_096];
        let length = systemd.recv(&mut octets).context("nothing was told")?;
        Ok(String::from_utf8_lossy(&octets[..length]).into_owned())
    };
    // The next one that is not about the watchdog.
    let word = || -> Result<String> {
        loop {
            let message = next()?;
            if message.trim() != "WATCHDOG=1" {
                return Ok(message);
            }
        }
    };
    lab.start_agent()?;
    let first = lab.agent()?.pid()?;
    assert_eq!(word()?, format!("READY=1\nMAINPID={first}\nSTATUS=generation 1, 4 workers\n"));
    assert_eq!(next()?, "WATCHDOG=1\n");
    assert_eq!(next()?, "WATCHDOG=1\n");

    lab.rewrite(|config| config.set_router("workers", "3"))?;
    lab.agent()?.hang_up()?;
    let reloading = word()?;
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert!(word()?.starts_with(&format!("READY=1\nMAINPID={first}\n")));
    lab.rewrite(|config| config.set_router("node_id", "7"))?;
    lab.agent()?.hang_up()?;
    assert!(word()?.starts_with("RELOADING=1\n"));
    let refused = word()?;
    assert!(refused.contains("reload refused: router.node_id cannot change"), "{refused}");
    lab.rewrite(|config| config.set_router("node_id", "1"))?;

    let second = lab.agent()?.upgrade(None)?.pid;
    let taken_over = word()?;
    assert_eq!(taken_over, format!("READY=1\nMAINPID={second}\nSTATUS=generation 2, 3 workers\n"));
    // The watchdog of the one that was started goes on for the new one.
    assert_eq!(next()?, "WATCHDOG=1\n");
    lab.take_agent()?.terminate()?;
    assert_eq!(word()?, "STOPPING=1\n");
    Ok(())
}
