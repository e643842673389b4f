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
    /// Several nodes with one address, one of which is killed and one is added, in place of one node
    #[arg(long)]
    cluster: bool,
    /// Leave it running and say how to look around
    #[arg(long)]
    keep: bool,
}

impl Demo {
    pub(crate) fn plan(self) -> Plan {
        let flags = [(self.cluster, "--cluster"), (self.keep, "--keep")];
        let arguments = flags.iter().filter(|(is_given, _)| *is_given).map(|(_, flag)| (*flag).to_owned()).collect();
        lab::run(DEMO, Profile::Lab, arguments)
    }
}

const DEMO: Program = Program::new("demo", &[Peer::QuicGo, Peer::Etcd, Peer::Etcdctl]);
