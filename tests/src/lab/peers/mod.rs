//! Third-party QUIC clients, from `$QUIC_ROUTER_PEERS/bin`, where `cargo xtask` puts them.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use serde::Deserialize;

use super::Program;

mod aioquic;
pub mod chromium;
mod curl;
mod ngtcp2;
pub mod openssl;
mod quic_go;
mod rude;
mod s2n;

pub use self::{
    aioquic::Aioquic,
    curl::Curl,
    ngtcp2::Ngtcp2,
    quic_go::QuicGo,
    rude::{Cancel, Rude, Whole},
    s2n::S2n,
};

/// What became of the connections of one run of `goq`, `aioq` or `s2nq`.
#[derive(Clone, Debug, Deserialize)]
pub struct Summary {
    /// Connections whose handshake succeeded.
    pub connections_ok: u64,
    /// Connections whose handshake failed.
    pub connections_failed: u64,
    /// Requests, or streams, that got the right octets.
    pub requests_ok: u64,
    /// Requests, or streams, that did not.
    pub requests_failed: u64,
    /// Connections that changed their address.
    pub moved: u64,
    /// Connections that took up a session of before; of `goq` only.
    #[serde(default)]
    pub resumed: u64,
    /// Those whose 0-RTT the server took; of `goq` only.
    #[serde(default)]
    pub zero_rtt: u64,
    /// Octets of answers.
    pub bytes: u64,
    /// What went wrong, and how often.
    pub errors: BTreeMap<String, u64>,
    /// Short answers, and how often each came, if that was asked for.
    pub bodies: BTreeMap<String, u64>,
    /// How long handshakes took; not of `aioq`.
    #[serde(default)]
    pub handshakes: Latency,
    /// How long requests, or streams, took; not of `aioq`.
    #[serde(default)]
    pub requests: Latency,
    /// How long each handshake took in microseconds, the shortest first: of `s2nq`, and of `goq` if it was asked for.
    #[serde(default)]
    pub handshake_times: Vec<u64>,
}

/// How long something took, in microseconds.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct Latency {
    /// The median.
    pub p50: u64,
    /// 99 of 100 took no longer.
    pub p99: u64,
    /// The longest.
    pub worst: u64,
}

impl Summary {
    /// Connections that were ended by a stateless reset (RFC 9000 section 10.3).
    pub fn stateless_resets(&self) -> u64 {
        self.errors.iter().filter(|(error, _)| error.contains("stateless reset")).map(|(_, count)| count).sum()
    }
}

/// A run of clients in progress; killed on drop.
#[derive(Debug)]
pub struct Clients {
    program: Program,
    load: Load,
    patience: Duration,
}

/// How many connections there will be, how many requests (or streams) on each, whether each
/// changes its address, and whether they go on until they are told.
#[derive(Clone, Copy, Debug)]
struct Load {
    connections: u64,
    per_connection: u64,
    moving: bool,
    until_told: bool,
}

impl Clients {
    /// Waits until they have ended, at most for `patience`, and says whether they have.
    pub fn ends_within(&self, patience: Duration) -> bool {
        self.program.ends_within(patience)
    }

    /// Waits until they have ended because the router ended their connections, long before a timeout of theirs; what
    /// became of them.
    pub fn ended_by_router(self) -> Result<Summary> {
        ensure!(self.ends_within(TOLD), "the clients were not told: {}", self.said());
        self.finish()
    }

    /// What they have said and complained so far.
    pub fn said(&self) -> String {
        self.program.said()
    }

    /// Waits until they have printed a line that begins with `beginning`.
    pub fn await_line(&self, beginning: &str, patience: Duration) -> Result<String> {
        self.program.await_line(beginning, patience)
    }

    /// Tells those that go on until told to end, and waits until they have ended.
    pub fn finish(self) -> Result<Summary> {
        if self.load.until_told {
            self.program.signal(Signal::SIGUSR1)?;
        }
        let finished = self.program.finish(self.patience)?;
        let last = finished.stdout.lines().rev().find(|line| line.starts_with('{'));
        let json =
            last.with_context(|| format!("{}: no summary: {}{}", finished.name, finished.stdout, finished.stderr))?;
        serde_json::from_str(json).with_context(|| format!("{}: {json}", finished.name))
    }

    /// Waits until they have ended, like [`finish`](Self::finish); anything that did not succeed is
    /// an error.
    pub fn succeed(self) -> Result<Summary> {
        let Load { connections, per_connection, moving, until_told } = self.load;
        let summary = self.finish()?;
        let all = summary.connections_ok == connections
            && (summary.requests_ok == connections * per_connection
                || until_told && summary.requests_ok > connections * per_connection)
            && summary.moved == if moving { connections } else { 0 };
        ensure!(
            all && summary.errors.is_empty(),
            "{connections} connections, {per_connection} requests each: {summary:?}"
        );
        Ok(summary)
    }
}

/// How soon clients learn that the router has ended their connections. Shorter than idle timeouts, which are thirty
/// seconds.
const TOLD: Duration = Duration::from_secs(20);

/// The program `name` of a peer.
pub fn find(name: &str) -> Result<PathBuf> {
    let folder = std::env::var_os("QUIC_ROUTER_PEERS")
        .context("QUIC_ROUTER_PEERS does not say where the QUIC clients are; try: cargo xtask test")?;
    let path = PathBuf::from(folder).join("bin").join(name);
    if !path.exists() {
        bail!("no {}; try: cargo xtask setup", path.display());
    }
    Ok(path)
}
