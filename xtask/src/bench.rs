//! `cargo xtask bench`: what a packet costs, what a takeover, what a request, and what cryptography.

use anyhow::Result;
use clap::Args;

use crate::{lab, peers, profile_guided};

/// Measures: `datapath`, the nanoseconds per packet of the kernel programs; `engines`, packets for each
/// CPU second by the four engines, and `engines sending`, downloads by AF_XDP beside UDP sockets;
/// `takeover`, what clients notice of reloads and upgrades; `crypto`, a handshake and a packet with the
/// two libraries; `http`, requests, new connections and bulk beside other proxies (needs root)
#[derive(Args)]
pub(crate) struct Bench {
    /// The build that `cargo xtask build --profile-guided` has made, in place of the usual one
    #[arg(long)]
    profile_guided: bool,
    /// What to measure, and its own options
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    what: Vec<String>,
}

impl Bench {
    pub(crate) fn run(self) -> Result<()> {
        if self.what.first().is_some_and(|what| what == "http") {
            peers::of_benchmarks_ready()?;
        }
        match self.profile_guided {
            true => lab::program_with(&profile_guided::binary()?, "bench", &self.what),
            false => lab::program("bench", &self.what),
        }
    }
}
