//! The agent's control socket, typed.
//!
//! A small HTTP/1.1 client of the laboratory's own, so that the agent's answers are read by
//! other code than the agent's.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use router_userspace::agent::api::{
    CidConfiguration, CidConfigurations, Cluster, Counters, DecodedCid, ExplainRequest, Explanation, Failure, Flows,
    Reloaded, Status, UpgradeRequest, Upgraded, Workers,
};
use serde::de::DeserializeOwned;

/// A client of a control socket. Each call is one connection.
#[derive(Clone, Debug)]
pub struct Control {
    path: PathBuf,
}

impl Control {
    /// The control socket at `path`.
    pub fn at(path: &Path) -> Self {
        Self { path: path.into() }
    }

    /// The process that listens there, if one does.
    pub fn process(&self) -> Option<i32> {
        let stream = UnixStream::connect(&self.path).ok()?;
        Some(getsockopt(&stream, PeerCredentials).ok()?.pid())
    }

    /// `GET /v1/status`
    pub fn status(&self) -> Result<Status> {
        self.get("/v1/status")
    }

    /// `GET /v1/workers`
    pub fn workers(&self) -> Result<Workers> {
        self.get("/v1/workers")
    }

    /// `GET /v1/flows`: all of them.
    pub fn flows(&self) -> Result<Flows> {
        self.get("/v1/flows?limit=1000000")
    }

    /// `GET /v1/counters`
    pub fn counters(&self) -> Result<Counters> {
        self.get("/v1/counters")
    }

    /// `GET /v1/cluster`
    pub fn cluster(&self) -> Result<Cluster> {
        self.get("/v1/cluster")
    }

    /// `GET /v1/connection-id-configurations`: the issued one first.
    pub fn cid_configurations(&self) -> Result<Vec<CidConfiguration>> {
        Ok(self.get::<CidConfigurations>("/v1/connection-id-configurations")?.configurations)
    }

    /// `POST /v1/connection-id-configurations`: a new one, which is issued from now on.
    pub fn rotate(&self) -> Result<CidConfiguration> {
        let all: CidConfigurations = self.call("POST", "/v1/connection-id-configurations", "")?;
        all.configurations.into_iter().next().context("no configuration is issued")
    }

    /// `GET /v1/connection-id/CID`, of a connection ID in hex.
    pub fn decode(&self, cid: &str) -> Result<DecodedCid> {
        self.get(&format!("/v1/connection-id/{cid}"))
    }

    /// `POST /v1/connection-id?slot=N`
    pub fn generate(&self, slot: u8) -> Result<DecodedCid> {
        self.call("POST", &format!("/v1/connection-id?slot={slot}"), "")
    }

    /// `POST /v1/workers/SLOT/drain`
    pub fn drain(&self, slot: u8) -> Result<Workers> {
        self.call("POST", &format!("/v1/workers/{slot}/drain"), "")
    }

    /// `POST /v1/workers/SLOT/undrain`
    pub fn undrain(&self, slot: u8) -> Result<Workers> {
        self.call("POST", &format!("/v1/workers/{slot}/undrain"), "")
    }

    /// `POST /v1/workers/SLOT/panic`, of a debug build
    pub fn panic(&self, slot: u8) -> Result<Workers> {
        self.call("POST", &format!("/v1/workers/{slot}/panic"), "")
    }

    /// `POST /v1/reload`: what has changed, one sentence each.
    pub fn reload(&self) -> Result<Vec<String>> {
        Ok(self.call::<Reloaded>("POST", "/v1/reload", "")?.changes)
    }

    /// `POST /v1/upgrade`, with the agent's binary or another one.
    pub fn upgrade(&self, binary: Option<&Path>) -> Result<Upgraded> {
        self.upgrade_within(UPGRADE, binary)
    }

    /// The same, given up after `patience`.
    pub fn upgrade_within(&self, patience: Duration, binary: Option<&Path>) -> Result<Upgraded> {
        let timeout_ms = Some(u64::try_from(patience.as_millis())?);
        let request = UpgradeRequest { binary: binary.map(Path::to_owned), timeout_ms };
        self.call("POST", "/v1/upgrade", &serde_json::to_string(&request)?)
    }

    /// `POST /v1/explain`
    pub fn explain(&self, frame: &[u8]) -> Result<Explanation> {
        let frame = frame.iter().map(|octet| format!("{octet:02x}")).collect();
        self.call("POST", "/v1/explain", &serde_json::to_string(&ExplainRequest { frame })?)
    }

    fn get<T: DeserializeOwned>(&self, target: &str) -> Result<T> {
        self.call("GET", target, "")
    }

    fn call<T: DeserializeOwned>(&self, method: &str, target: &str, body: &str) -> Result<T> {
        let (status, answer) = self.exchange(method, target, body).with_context(|| format!("{method} {target}"))?;
        if status >= 400 {
            let failure: Failure = serde_json::from_slice(&answer).with_context(|| {
                format!("{method} {target}: {status} without an explanation: {}", String::from_utf8_lossy(&answer))
            })?;
            bail!("{method} {target}: {status}: {}", failure.error);
        }
        serde_json::from_slice(&answer)
            .with_context(|| format!("{method} {target}: not as promised: {}", String::from_utf8_lossy(&answer)))
    }

    fn exchange(&self, method: &str, target: &str, body: &str) -> Result<(u16, Vec<u8>)> {
        let mut stream =
            UnixStream::connect(&self.path).with_context(|| format!("no agent at {}", self.path.display()))?;
        stream.set_read_timeout(Some(PATIENCE + UPGRADE))?;
        write!(
            stream,
            "{method} {target} HTTP/1.1\r\nhost: router\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        parse(&answer)
    }
}

/// Status and body of a response that ended with its connection.
fn parse(answer: &[u8]) -> Result<(u16, Vec<u8>)> {
    let head_end = answer.windows(4).position(|window| window == b"\r\n\r\n").context("no HTTP response")?;
    let (head, body) = (std::str::from_utf8(&answer[..head_end])?, &answer[head_end + 4..]);
    let status = head.split(' ').nth(1).context("no HTTP status")?.parse()?;
    let chunked = head.to_ascii_lowercase().contains("\r\ntransfer-encoding: chunked");
    Ok((status, if chunked { unchunk(body)? } else { body.to_vec() }))
}

/// RFC 9112 section 7.1.
fn unchunk(mut body: &[u8]) -> Result<Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let line_end = body.windows(2).position(|window| window == b"\r\n").context("a chunk without a size")?;
        let size = usize::from_str_radix(std::str::from_utf8(&body[..line_end])?.trim(), 16)?;
        if size == 0 {
            return Ok(whole);
        }
        body = &body[line_end + 2..];
        whole.extend(body.get(..size).context("a chunk cut short")?);
        body = body.get(size + 2..).context("a chunk cut short")?;
    }
}

/// How long an answer may take, beyond what an upgrade may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long an upgrade may take.
const UPGRADE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_framings() {
        let plain = b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(parse(plain).expect("a response"), (404, b"{}".to_vec()));
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n";
        assert_eq!(parse(chunked).expect("a response"), (200, b"abcd".to_vec()));
        assert!(parse(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nabc").is_err());
    }
}
