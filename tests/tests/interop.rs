//! Does the endpoint keep quic-interop-runner's contract, and is it told from a router in production?
//!
//! The whole matrix is `cargo xtask interop`; here is a small part of it.

use std::{env, fs, process::Command, time::Duration};

use anyhow::{Context as _, Result};
use router_tests::{
    content,
    interop::{Case, Cell, Client, Outcome, endpoint, refused},
    lab::{Finished, Program, binary, peers},
};

#[test]
fn an_unknown_case_exits_with_127() -> Result<()> {
    if !is_built() {
        return Ok(());
    }
    for case in ["zt8r1q", "v2", "connectionmigration", ""] {
        let refused = refused(&[("ROLE", "server"), ("TESTCASE", case), ("QUIC_ROUTER_INTEROP", "1")])?;
        assert_eq!(refused.status.code(), Some(127), "{case}: {refused:?}");
    }
    let client = refused(&[("ROLE", "client"), ("TESTCASE", "handshake"), ("QUIC_ROUTER_INTEROP", "1")])?;
    assert_eq!(client.status.code(), Some(127), "{client:?}");
    Ok(())
}

// The image of haproxy#2823 was one for tests, and ran as if it were for production.
#[test]
fn the_endpoint_serves_only_in_a_test() -> Result<()> {
    if !is_built() {
        return Ok(());
    }
    let refused = refused(&[("ROLE", "server"), ("TESTCASE", "handshake")])?;
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    for word in ["quic-router-interop: refused", "QUIC_ROUTER_INTEROP=1"] {
        assert!(refused.stderr.contains(word), "does not say {word}: {}", refused.stderr);
    }
    let run = cli(&["run", "--listen", "127.0.0.1:4433"])?;
    assert_eq!(run.status.code(), Some(1), "{run:?}");
    assert!(run.stderr.contains("no router for production"), "{}", run.stderr);
    Ok(())
}

#[test]
fn version_tells_the_endpoint_from_a_router() -> Result<()> {
    if !is_built() {
        return Ok(());
    }
    let said = cli(&["version", "--build"])?.succeeded()?.stdout;
    assert!(said.contains("features          interop\n"), "{said}");
    assert!(said.contains("for production    no: "), "{said}");
    let mut router = Command::new(binary()?);
    let router = Program::start("quic-router", router.args(["version", "--build"]))?.finish(PATIENCE)?.succeeded()?;
    assert!(router.stdout.contains("features          none\n"), "{}", router.stdout);
    Ok(())
}

#[test]
fn quic_go_and_aioquic_pass_handshake_transfer_retry_and_zerortt() -> Result<()> {
    if !is_built() {
        return Ok(());
    }
    for client in ["quic-go", "aioquic"] {
        let client = Client::named(client).context("a client")?;
        for case in ["handshake", "transfer", "retry", "zerortt"] {
            let case = Case::named(case).context("a case")?;
            let row = Cell { case, client, engine: "userspace", seed: 1, keep: None }.run();
            assert_eq!(row.outcome, Outcome::Passed, "{} {}", row.case, row.client);
        }
    }
    Ok(())
}

/// What the runner judges by: its key log has to open all that the server sent, and the file has to be in it.
#[test]
fn the_key_log_decrypts_what_was_sent() -> Result<()> {
    if !is_built() {
        return Ok(());
    }
    let folder = env::temp_dir().join(format!("router-keylog-{}", std::process::id()));
    let row = Cell {
        case: Case::named("handshake").context("a case")?,
        client: Client::named("quic-go").context("a client")?,
        engine: "userspace",
        seed: 1,
        keep: Some(&folder),
    }
    .run();
    assert_eq!(row.outcome, Outcome::Passed);
    fs::write(folder.join("served"), content::pattern(0, 1_000))?;
    let mut unlock = Command::new(peers::find("unlock")?);
    let arguments = ["trace_node_left.pcap", "keys.log", "served"].map(|name| folder.join(name));
    let opened = Program::start("unlock", unlock.args(arguments))?.finish(PATIENCE)?;
    fs::remove_dir_all(&folder)?;
    let opened = opened.succeeded()?.stdout;
    let opened: serde_json::Value = serde_json::from_str(&opened)?;
    assert_eq!((&opened["failed"], &opened["file"]), (&0.into(), &true.into()), "{opened}");
    for kind in ["initial", "handshake", "one_rtt"] {
        assert!(opened["decrypted"][kind].as_u64() > Some(0), "{kind}: {opened}");
    }
    Ok(())
}

fn cli(arguments: &[&str]) -> Result<Finished> {
    Program::start("quic-router-interop", Command::new(endpoint()?).args(arguments))?.finish(PATIENCE)
}

/// Whether there is an endpoint to test.
fn is_built() -> bool {
    let is_built = env::var_os("QUIC_ROUTER_INTEROP_BIN").is_some();
    if !is_built {
        eprintln!("not tested: QUIC_ROUTER_INTEROP_BIN does not say where the endpoint is; cargo xtask test does");
    }
    is_built
}

const PATIENCE: Duration = Duration::from_secs(10);
