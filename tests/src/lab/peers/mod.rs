//! Third-party QUIC clients, from `$QUIC_ROUTER_PEERS/bin`, where `cargo xtask` puts them.

use std::path::PathBuf;

use anyhow::{Context, Result};

mod aioquic;
mod curl;
mod ngtcp2;
mod quic_go;

pub use self::{
    aioquic::Aioquic,
    curl::Curl,
    ngtcp2::Ngtcp2,
    quic_go::{QuicGo, Summary},
};

/// The program `name` of a peer.
pub fn find(name: &str) -> Result<PathBuf> {
    let folder = std::env::var_os("QUIC_ROUTER_PEERS")
        .context("QUIC_ROUTER_PEERS does not say where the QUIC clients are; try: cargo xtask test")?;
    let path = PathBuf::from(folder).join("bin").join(name);
    if path.exists() { Ok(path) } else { Err(anyhow::anyhow!("no {}; try: cargo xtask setup", path.display())) }
}
