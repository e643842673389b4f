//! QUIC clients that others wrote, for the tests: kept in `.cache/peers`, made once.
//!
//! | program | what it is |
//! |---|---|
//! | `goq` | quic-go, our program around it (`tests/peers/quic-go-client`) |
//! | `aioq` | aioquic, our program around it (`tests/peers/aioquic-client.py`) |
//! | `rude` | aioquic, h2 and plain TLS, told to send what they would not (`tests/peers/rude-client.py`) |
//! | `curl` | curl with OpenSSL's QUIC, whose first flight is two Initials |
//! | `openssl` | OpenSSL's `s_client`, over TCP and QUIC |
//! | `chromium` | Chromium without a screen |
//! | `gtlsclient` | ngtcp2's client |
//! | `nginx` | nginx with QUIC, to compare with in benchmarks |
//! | `xdp-trafficgen` | no client: it has the kernel send one frame again and again, as fast as it can |
//!
//! `bench http` needs more, of the newest there is:
//!
//! | program | what it is |
//! |---|---|
//! | `h2load` | the load, built with HTTP/3 from nghttp2's sources |
//! | `nginx-sid`, `haproxy`, `caddy`, `nghttpx` | proxies for HTTP/3 |
//!
//! The rule this folder keeps: each part is made under another name and renamed when it is whole,
//! and carries a stamp of its recipe. So an interrupted run is taken up again, a changed recipe is
//! seen, and looking costs no process. Nothing is installed on the machine itself, and nothing
//! needs root.

mod aioquic;
mod debian;
mod nghttp2;
mod programs;
mod quic_go;

use std::{fs, path::PathBuf};

use anyhow::Result;

use crate::workspace;

/// Makes what is missing; answers the folder whose `bin` has the programs.
pub(crate) fn ready() -> Result<PathBuf> {
    fs::create_dir_all(folder().join("bin"))?;
    debian::TRIXIE.ready()?;
    debian::FORKY.ready()?;
    quic_go::ready()?;
    aioquic::ready()?;
    programs::ready()?;
    Ok(folder())
}

/// Makes what is missing of the proxies to compare with, and the load for them.
pub(crate) fn of_benchmarks_ready() -> Result<()> {
    fs::create_dir_all(folder().join("bin"))?;
    debian::SID.ready()?;
    nghttp2::ready()?;
    programs::of_benchmarks_ready()
}

fn folder() -> PathBuf {
    workspace::cache("peers")
}

/// Makes a part by its recipe unless it was made by the same one before.
fn once(part: &str, recipe: &str, make: impl FnOnce() -> Result<()>) -> Result<()> {
    let stamp = folder().join(format!("{part}.stamp"));
    if fs::read_to_string(&stamp).is_ok_and(|made_by| made_by == recipe) {
        return Ok(());
    }
    eprintln!("setup: making the tests' {part}");
    make()?;
    fs::write(stamp, recipe)?;
    Ok(())
}
