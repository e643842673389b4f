//! `cargo xtask bench`: what a packet, a takeover, a flood, a request, an idle connection and cryptography cost.

use clap::{Args, Subcommand};

use crate::{
    build::Profile,
    lab::{self, Program},
    peers::Peer,
    plan::Plan,
};

/// Measures what we claim about speed, beside a baseline in the same run (needs root)
#[derive(Args)]
pub(crate) struct Bench {
    /// The profile-guided build in place of the usual one
    #[arg(long, global = true)]
    profile_guided: bool,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Nanoseconds per packet of the kernel programs
    Datapath,
    /// Packets for each CPU second by the four engines; `sending`: downloads by AF_XDP beside UDP sockets
    Engines {
        #[arg(value_parser = ["sending"])]
        part: Option<String>,
    },
    /// Memory for each connection that says nothing, beside other proxies
    Idle {
        /// Options of its own: --connections N, --proxies NAME,NAME
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<String>,
    },
    /// What clients notice of reloads and upgrades, beside nginx
    Takeover,
    /// What a flood of Initials from forged addresses does to clients, with the challenge on and off
    Flood {
        /// Options of its own: --rounds N, --seconds N, --record
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<String>,
    },
    /// A handshake and a packet with aws-lc-rs, beside ring
    Crypto,
    /// Requests, new connections and bulk beside other proxies
    Http {
        /// Options of its own, such as --engine NAME, --rounds N, --proxies NAME,NAME, --scenarios NAME,NAME, --record
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<String>,
    },
}

impl Bench {
    pub(crate) fn plan(self) -> Plan {
        let profile = if self.profile_guided { Profile::Guided } else { Profile::Release };
        let (name, peers, rest): (_, &'static [Peer], _) = match self.what {
            // In one process, with a feature of its own.
            What::Crypto => {
                let program = Program { feature: Some("ring"), ..Program::new("bench-crypto", &[]) };
                return lab::run(program, Profile::Release, Vec::new());
            }
            What::Datapath => ("datapath", &[], Vec::new()),
            What::Engines { part } => ("engines", &[Peer::QuicGo], part.into_iter().collect()),
            What::Takeover => ("takeover", &[Peer::QuicGo, Peer::Nginx], Vec::new()),
            What::Flood { options } => ("flood", &[Peer::QuicGo], options),
            What::Idle { options } => ("idle", &Peer::OF_BENCH_HTTP, options),
            What::Http { options } => ("http", &Peer::OF_BENCH_HTTP, options),
        };
        lab::run(Program::new("bench", peers), profile, [vec![name.to_owned()], rest].concat())
    }
}
