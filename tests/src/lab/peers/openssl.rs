//! OpenSSL's `s_client`: one handshake, over TCP or QUIC, and what came of it.

use std::{
    fs,
    io::{self, Write as _},
    net::SocketAddr,
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use crate::lab::{Namespace, Program, until};

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
    let mut command = s_client(namespace, router)?;
    command.arg("-brief").args(options);
    let finished = Program::start("openssl", &mut command)?.finish(PATIENCE)?;
    let said = finished.stdout + &finished.stderr;
    ensure!(said.contains("CONNECTION ESTABLISHED"), "openssl: {said}");
    let after = |words: &str| said.lines().find_map(|line| Some(line.strip_prefix(words)?.trim().to_owned()));
    Ok(Agreed {
        version: after("Protocol version:").with_context(|| format!("no version: {said}"))?,
        group: after("Negotiated TLS1.3 group:").or_else(|| after("Peer Temp Key:")),
    })
}

/// What became of a question to `router`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It was answered; whether the session was one of before.
    Answer {
        /// It was.
        resumed: bool,
        /// All that `s_client` has printed.
        said: String,
    },
    /// The connection was ended, and what `s_client` says of it.
    Refusal(String),
}

/// What to ask by which protocol, and what an answer has in it.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Such as `["-quic", "-alpn", "echo"]`.
    pub options: &'a [&'a str],
    /// What is sent as soon as the client's side of the handshake is complete.
    pub text: &'a str,
    /// What is in any answer, and not in what `s_client` says itself.
    pub answer: &'a str,
}

/// Asks `router`. With `keep` the session is written to that file, after an answer.
pub fn ask(namespace: &Namespace, router: SocketAddr, question: Question<'_>, keep: Option<&Path>) -> Result<Heard> {
    let mut command = s_client(namespace, router)?;
    command.arg("-nocommands").args(question.options);
    if let Some(file) = keep {
        command.arg("-sess_out").arg(file);
    }
    let (reader, mut writer) = io::pipe()?;
    writer.write_all(question.text.as_bytes())?;
    let client = Program::start_fed("openssl", &mut command, reader)?;
    let is_answered = || client.said().contains(question.answer);
    until(|| Ok(is_answered() || client.ends_within(Duration::ZERO)), |&settled| settled)?;
    let said = client.said();
    if !is_answered() {
        return Ok(Heard::Refusal(said));
    }
    if let Some(file) = keep {
        // With TLS 1.3 it comes after the handshake.
        until(|| Ok(fs::read_to_string(file).unwrap_or_default()), |text| text.contains("END SSL SESSION"))?;
    }
    // It ends when it is dropped, before the writer: the end of its input would be a reason to leave.
    drop(client);
    Ok(Heard::Answer { resumed: said.contains("Reused, TLSv1"), said })
}

fn s_client(namespace: &Namespace, router: SocketAddr) -> Result<Command> {
    let mut command = namespace.command(super::find("openssl")?);
    // Its own configuration is not where it was built for.
    command.env("OPENSSL_CONF", "/dev/null");
    command.args(["s_client", "-servername", "localhost", "-connect", &router.to_string()]);
    Ok(command)
}

const PATIENCE: Duration = Duration::from_secs(60);
