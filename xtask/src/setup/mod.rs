//! `cargo xtask setup`: finds what this machine lacks, says what it installs, installs it.
//!
//! The rule this folder keeps: looking costs no process and no network, so that each verb can
//! begin with it; whatever is changed on the machine is said first.

mod bpffs;
mod ebpf;
mod linker;
mod packages;
mod profiles;
mod toolchain;

use anyhow::Result;
use clap::Args;

pub(crate) use self::{
    ebpf::KERNEL,
    packages::{install, update_lists},
    toolchain::{Toolchain, linters},
};
use crate::{peers, workspace};

/// Finds what this machine lacks, says what it installs, installs it
#[derive(Args)]
pub(crate) struct Setup {
    /// Also the QUIC clients of others that the tests use
    #[arg(long)]
    peers: bool,
}

impl Setup {
    pub(crate) fn run(self) -> Result<()> {
        let toolchain = ready()?;
        linters(&toolchain)?;
        if self.peers {
            let folder = peers::ready()?;
            println!("the tests' QUIC clients: {}", folder.join("bin").display());
        }
        println!("nothing is missing; eBPF is compiled by toolchain `{}`", toolchain.name());
        Ok(())
    }
}

/// The program that merges the profiles of what `toolchain` compiles.
pub(crate) fn profile_merger(toolchain: &Toolchain) -> Result<std::path::PathBuf> {
    profiles::merger(toolchain)
}

/// Sees to it that this machine can build the router and load it; answers with the toolchain for
/// the eBPF crate.
pub(crate) fn ready() -> Result<Toolchain> {
    std::fs::create_dir_all(workspace::cache(""))?;
    packages::ready()?;
    let toolchain = ebpf::ready()?;
    bpffs::ready()?;
    Ok(toolchain)
}
