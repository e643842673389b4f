//! `cargo xtask demo`: a laboratory of network namespaces, clients through the router, and what
//! happened, shown.

use anyhow::Result;
use clap::Args;

use crate::lab;

/// Shows the router at work in network namespaces, from an empty machine (needs root)
#[derive(Args)]
pub(crate) struct Demo {
    /// Leave it running and say how to look around
    #[arg(long)]
    keep: bool,
}

impl Demo {
    pub(crate) fn run(self) -> Result<()> {
        let arguments: &[String] = if self.keep { &["--keep".to_owned()] } else { &[] };
        lab::program("demo", arguments)
    }
}
