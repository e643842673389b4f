//! Clients of all kinds at once, for what they must not notice: reloads, upgrades.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::{Running, peers::Clients};

/// How much a [`Mix`] does.
#[derive(Clone, Copy, Debug)]
pub struct MixSize {
    /// Short connections, one after the other, ten at a time.
    pub connections: u64,
    /// Downloads of 3 MB, and uploads of 1 MB, four at a time.
    pub transfers: u64,
    /// Requests, or streams, of each long connection.
    pub requests: u64,
}

/// Clients of all kinds, running.
#[derive(Debug)]
pub struct Mix(Vec<(&'static str, Clients)>);

impl Mix {
    /// Starts them. The HTTP/3 clients follow GOAWAY to other connections; raw streams are not asked to leave, so drains
    /// last as long as these.
    pub fn start(lab: &Running, size: MixSize) -> Result<Self> {
        let MixSize { connections, transfers, requests } = size;
        let get = |path| lab.quic_go().get(path).within(PATIENCE).following();
        let post = || lab.quic_go().post("/sink", 1_000_000).within(PATIENCE).following();
        let streams =
            || lab.quic_go().echo(20_000).connections(20).requests(requests).pausing(PAUSE * 20).within(PATIENCE);
        let long = get("/bytes/1000").connections(20).requests(requests).pausing(PAUSE * 20);
        let idle = get("/bytes/1000").connections(20).requests(3).pausing(Duration::from_secs(12));
        Ok(Self(vec![
            ("short connections", get("/bytes/20000").connections(connections).at_once(10).pausing(PAUSE).start()?),
            ("long connections", long.start()?),
            ("idle connections", idle.start()?),
            ("downloads", get("/bytes/3000000").connections(transfers).at_once(4).start()?),
            ("uploads", post().connections(transfers).at_once(4).start()?),
            ("raw streams", streams().start()?),
            ("raw streams over a NAT rebinding", streams().rebinding_at(200_000).start()?),
            ("aioquic", lab.aioquic("/bytes/1000").connections(10).requests(1).start()?),
            ("s2n-quic", lab.s2n("/bytes/1000").connections(10).requests(1).start()?),
        ]))
    }

    /// Waits until they have ended; anything that did not succeed is an error.
    pub fn succeed(self) -> Result<()> {
        self.0.into_iter().try_for_each(|(kind, clients)| clients.succeed().context(kind).map(drop))
    }
}

const PAUSE: Duration = Duration::from_millis(20);
/// However slow the machine.
const PATIENCE: Duration = Duration::from_secs(240);
