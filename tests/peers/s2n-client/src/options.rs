//! The flags of `get`, under the names that goq gives them.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, bail};

/// What `get` is to do.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) url: Url,
    /// TLS server name.
    pub(crate) sni: String,
    /// Verify the server with the certificates of this file.
    pub(crate) ca: Option<PathBuf>,
    /// Connections in all.
    pub(crate) connections: usize,
    /// Connections at once.
    pub(crate) at_once: usize,
    /// Requests on each connection, one after the other.
    pub(crate) requests: usize,
    /// How long a connection may take in all.
    pub(crate) timeout: Duration,
    /// Between the requests of a connection.
    pub(crate) pause: Duration,
    /// Send a PING after so long a silence; none if it is zero.
    pub(crate) keep_alive: Duration,
    /// Begin with a post-quantum key share: the ClientHello takes two Initials.
    pub(crate) is_hybrid: bool,
    /// Count the different short answers.
    pub(crate) counts_bodies: bool,
    /// End with the summary as one line of JSON.
    pub(crate) has_json: bool,
}

/// `https://ADDRESS/PATH`.
#[derive(Clone, Debug)]
pub(crate) struct Url {
    pub(crate) server: SocketAddr,
    pub(crate) path: String,
}

/// Parses what follows the verb.
pub(crate) fn parse(arguments: &[String]) -> Result<Options> {
    let mut options = Options {
        url: Url::parse("https://127.0.0.1:8443/")?,
        sni: "localhost".into(),
        ca: None,
        connections: 5,
        at_once: 5,
        requests: 10,
        timeout: Duration::from_secs(10),
        pause: Duration::ZERO,
        keep_alive: Duration::ZERO,
        is_hybrid: false,
        counts_bodies: false,
        has_json: false,
    };
    let mut rest = arguments.iter();
    while let Some(flag) = rest.next() {
        let mut value = || rest.next().with_context(|| format!("{flag} wants a value"));
        match flag.as_str() {
            "-url" => options.url = Url::parse(value()?)?,
            "-sni" => options.sni.clone_from(value()?),
            "-ca" => options.ca = Some(value()?.into()),
            "-n" => options.connections = number(value()?)?,
            "-c" => options.at_once = number(value()?)?,
            "-r" => options.requests = number(value()?)?,
            "-timeout" => options.timeout = duration(value()?)?,
            "-pause" => options.pause = duration(value()?)?,
            "-keepalive" => options.keep_alive = duration(value()?)?,
            "-hybrid" => options.is_hybrid = true,
            "-bodies" => options.counts_bodies = true,
            "-json" => options.has_json = true,
            _ => bail!("no such flag: {flag}"),
        }
    }
    Ok(options)
}

impl Url {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let rest = text.strip_prefix("https://").with_context(|| format!("not https: {text}"))?;
        let at = rest.find('/').unwrap_or(rest.len());
        let (server, path) = rest.split_at(at);
        let server = server.parse().with_context(|| format!("not an address and a port: {server}"))?;
        Ok(Self { server, path: if path.is_empty() { "/".into() } else { path.into() } })
    }
}

fn number(text: &str) -> Result<usize> {
    text.parse().with_context(|| format!("not a number: {text}"))
}

/// `20s`, `20ms` or `20us`.
fn duration(text: &str) -> Result<Duration> {
    let at = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let count = text[..at].parse().with_context(|| format!("not a duration: {text}"))?;
    match &text[at..] {
        "s" => Ok(Duration::from_secs(count)),
        "ms" => Ok(Duration::from_millis(count)),
        "us" => Ok(Duration::from_micros(count)),
        _ => bail!("not a duration in s, ms or us: {text}"),
    }
}
