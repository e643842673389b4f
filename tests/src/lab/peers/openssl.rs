//! OpenSSL's `s_client`: one handshake, over TCP or QUIC, and what came of it.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};

use crate::lab::{Namespace, Program};

/// What was agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// `TLSv1.3`, `TLSv1.2` or `QUICv1`.
    pub version: String,
    /// Such as `X25519MLKEM768`, or `ECDH, prime256v1, 256 bits`. Over QUIC it names no hybrid ones.
    pub group: Option<String>,
}

/// Shakes hands with `router` by these options, such as `["-quic", "-alpn", "h3"]`.
pub fn agree(namespace: &Namespace, router: SocketAddr, options: &[&str]) -> Result<Agreed> {
    let mut command = namespace.command(super::find("openssl")?);
    // Its own configuration is not where it was built for.
    command.env("OPENSSL_CONF", "/dev/null");
    command.args(["s_client", "-brief", "-servername", "localhost", "-connect", &router.to_string()]).args(options);
    let finished = Program::start("openssl", &mut command)?.finish(PATIENCE)?;
    let said = finished.stdout + &finished.stderr;
    ensure!(said.contains("CONNECTION ESTABLISHED"), "openssl: {said}");
    let after = |words: &str| said.lines().find_map(|line| Some(line.strip_prefix(words)?.trim().to_owned()));
    Ok(Agreed {
        version: after("Protocol version:").with_context(|| format!("no version: {said}"))?,
        group: after("Negotiated TLS1.3 group:").or_else(|| after("Peer Temp Key:")),
    })
}

const PATIENCE: Duration = Duration::from_secs(20);
