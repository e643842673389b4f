//! What the programs and tests of the package `router-tests` are run with.

use std::{path::Path, process::Command};

use anyhow::Result;

use crate::{
    build::{self, Profile},
    peers, setup,
    shell::{find, is_root, run},
    workspace,
};

/// Sees to what the laboratory needs and builds both binaries of the router: the release, which is
/// the one under test, and the dev build, which must refuse to be taken for it.
pub(crate) fn ready() -> Result<()> {
    setup::ready()?;
    peers::ready()?;
    build::router(Profile::Release)?;
    build::router(Profile::Dev)?;
    Ok(())
}

/// Runs a program of the laboratory's, in release.
pub(crate) fn program(name: &str, arguments: &[String]) -> Result<()> {
    program_with(&workspace::binary(Profile::Release, "quic-router"), name, arguments)
}

/// The same, with another build of the router.
pub(crate) fn program_with(router: &Path, name: &str, arguments: &[String]) -> Result<()> {
    ready()?;
    let mut cargo = cargo()?;
    cargo.env("QUIC_ROUTER_BIN", router);
    run(cargo.args(["run", "--quiet", "--release", "--package", "router-tests", "--bin", name, "--"]).args(arguments))
}

/// A cargo that runs what it builds as root, and tells it where the router and its peers are.
pub(crate) fn cargo() -> Result<Command> {
    let mut cargo = workspace::cargo();
    cargo.env("QUIC_ROUTER_BIN", workspace::binary(Profile::Release, "quic-router"));
    cargo.env("QUIC_ROUTER_DEV_BIN", workspace::binary(Profile::Dev, "quic-router"));
    cargo.env("QUIC_ROUTER_PEERS", workspace::cache("peers"));
    if !is_root() {
        if find("sudo").is_none() {
            anyhow::bail!("network namespaces and eBPF need root, and there is no sudo; run this as root");
        }
        cargo.args(["--config", r#"target."cfg(all())".runner = ["sudo", "--preserve-env"]"#]);
    }
    Ok(cargo)
}
