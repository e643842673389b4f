//! `cargo xtask demo`: a laboratory of network namespaces, clients through the router, and what
//! happened, shown.

use clap::Args;

use crate::{
    build::Profile,
    lab::{self, Program},
    peers::Peer,
    plan::Plan,
};

/// Shows the router at work in network namespaces, from an empty machine (needs root)
#[derive(Args)]
pub(crate) struct Demo {
    /// Leave it running and say how to look around
    #[arg(long)]
    keep: bool,
}

impl Demo {
    pub(crate) fn plan(self) -> Plan {
        let arguments = if self.keep { vec!["--keep".to_owned()] } else { Vec::new() };
        lab::run(DEMO, Profile::Lab, arguments)
    }
}

const DEMO: Program = Program::new("demo", &[Peer::QuicGo]);
