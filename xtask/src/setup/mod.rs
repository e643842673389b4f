//! `cargo xtask setup`: finds what this machine lacks, says what it installs, installs it.
//!
//! The rule this folder keeps: looking costs no process and no network, so that each verb can
//! begin with it; whatever is changed on the machine is said first.

mod bpffs;
mod cargo_tools;
mod ebpf;
mod linker;
mod packages;
mod profiles;
mod toolchain;

use anyhow::Result;
use clap::Args;

pub(crate) use self::{
    cargo_tools::{CargoTool, folder as tools_folder},
    ebpf::KERNEL,
    packages::{install, update_lists},
    toolchain::Toolchain,
};
use crate::{
    peers::{self, Peer},
    plan::{Part, Plan, Step},
    workspace,
};

/// Finds what this machine lacks, says what it installs, installs it
#[derive(Args)]
pub(crate) struct Setup {
    /// Also the QUIC clients of others that the tests use
    #[arg(long)]
    peers: bool,
}

impl Setup {
    pub(crate) fn plan(self) -> Plan {
        let plan = tools().then(linters());
        if self.peers { plan.and(peers::plan(&Peer::OF_TESTS)) } else { plan }
    }
}

/// What builds the router and loads its programs.
pub(crate) fn tools() -> Plan {
    let step = Step::new("tools that build and load the router", || {
        let toolchain = ready()?;
        eprintln!("setup: nothing is missing; eBPF is compiled by toolchain `{}`", toolchain.name());
        Ok(())
    });
    let lacking = [packages::lacking(), ebpf::lacking(), bpffs::lacking()].into_iter().flatten();
    Plan::default().then(lacking.fold(step, Step::detail).gives([Part::Tools]))
}

/// clippy and rustfmt.
pub(crate) fn linters() -> Step {
    let step = Step::new("clippy and rustfmt", || toolchain::linters(&ready()?));
    step.detail("rustup component add clippy rustfmt, where a toolchain lacks them")
        .needs([Part::Tools])
        .gives([Part::Linters])
}

/// The program that merges the profiles of what `toolchain` compiles.
pub(crate) fn profile_merger(toolchain: &Toolchain) -> Result<std::path::PathBuf> {
    profiles::merger(toolchain)
}

/// Makes sure that this machine can build the router and load it; answers with the toolchain for the
/// eBPF crate. Costs nothing once it has.
pub(crate) fn ready() -> Result<Toolchain> {
    std::fs::create_dir_all(workspace::cache(""))?;
    packages::ready()?;
    let toolchain = ebpf::ready()?;
    bpffs::ready()?;
    Ok(toolchain)
}
