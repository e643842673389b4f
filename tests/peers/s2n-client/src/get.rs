//! `get`: connections, and HTTP/3 requests on each.

use std::{
    process::ExitCode,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use aws_lc_rs::digest::{self, SHA256};
use bytes::{Buf as _, Bytes};
use h3::client::SendRequest;
use http::Request;
use s2n_quic::{Client, client::Connect};
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    endpoint::{self, Offer, Tls},
    options::{Options, Url},
    tally::Tally,
    transport::{self, Opener},
};

/// What all connections of a run have in common.
struct Run {
    options: Options,
    tls: Tls,
    tally: Mutex<Tally>,
}

/// Makes all connections and prints what became of them.
pub(crate) async fn run(options: Options) -> Result<ExitCode> {
    let offer = Offer { alpn: "h3", ca: options.ca.as_deref(), is_hybrid: options.is_hybrid, ..Offer::default() };
    let tls = Tls::new(offer)?;
    let slots = Arc::new(Semaphore::new(options.at_once.max(1)));
    let run = Arc::new(Run { options, tls, tally: Mutex::new(Tally::new()) });
    let mut all = JoinSet::new();
    for _ in 0..run.options.connections {
        let slot = slots.clone().acquire_owned().await?;
        let run = run.clone();
        all.spawn(async move {
            let _slot = slot;
            if let Err(error) = run.connect().await {
                run.tally().failed(&error);
            }
        });
    }
    while let Some(ended) = all.join_next().await {
        ended?;
    }
    Ok(if run.tally().print(&run.options) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Run {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes one connection, all requests on it, and closes it.
    async fn connect(&self) -> Result<()> {
        let Options { url, sni, timeout: patience, .. } = &self.options;
        let mut client = self.endpoint()?;
        let begun = Instant::now();
        let attempt = client.connect(Connect::new(url.server).with_server_name(sni.as_str()));
        let connected = timeout(*patience, attempt)
            .await
            .context("handshake: timed out")
            .and_then(|done| done.context("handshake"));
        let mut connection = connected.inspect_err(|_| self.tally().refused())?;
        self.tally().connected(begun.elapsed());
        connection.keep_alive(!self.options.keep_alive.is_zero())?;
        let handle = connection.handle();
        let left = patience.saturating_sub(begun.elapsed());
        let done = timeout(left, self.converse(connection)).await.context("timed out").flatten();
        handle.close(transport::error(h3::error::Code::H3_NO_ERROR.value()));
        // The close is sent meanwhile.
        let _ = timeout(LEAVING, client.wait_idle()).await;
        done
    }

    fn endpoint(&self) -> Result<Client> {
        let Options { url, timeout, keep_alive, .. } = &self.options;
        let mut limits = endpoint::limits(*timeout)?;
        if !keep_alive.is_zero() {
            limits = limits.with_max_keep_alive_period(*keep_alive).map_err(|error| anyhow!("{error}"))?;
        }
        self.tls.endpoint(url.server, limits)
    }

    async fn converse(&self, connection: s2n_quic::Connection) -> Result<()> {
        let (mut connection, mut sender) = h3::client::new(transport::Connection::new(connection)).await?;
        let driven = tokio::spawn(async move { connection.wait_idle().await });
        for _ in 0..self.options.requests {
            let begun = Instant::now();
            match self.request(&mut sender).await {
                Ok(octets) => self.tally().answered(octets, begun.elapsed()),
                Err(error) => {
                    self.tally().unanswered();
                    return Err(error);
                }
            }
            sleep(self.options.pause).await;
        }
        driven.abort();
        Ok(())
    }

    /// One request; the octets of its answer, which is compared with what is known of it: its status, its size, the
    /// digest that the tests' upstream sends along.
    async fn request(&self, sender: &mut SendRequest<Opener, Bytes>) -> Result<u64> {
        let mut stream = sender.send_request(request(&self.options.url)?).await?;
        stream.finish().await?;
        let response = stream.recv_response().await?;
        let (mut digest, mut size, mut short) = (digest::Context::new(&SHA256), 0_u64, Vec::new());
        while let Some(mut data) =
            stream.recv_data().await.with_context(|| format!("after {size} octets of the answer"))?
        {
            let data = data.copy_to_bytes(data.remaining());
            digest.update(&data);
            size += data.len() as u64;
            short.extend_from_slice(&data[..data.len().min(SHORT + 1 - short.len())]);
        }
        ensure!(response.status() == 200, "status {}", response.status().as_u16());
        let field = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let digest: String = digest.finish().as_ref().iter().map(|octet| format!("{octet:02x}")).collect();
        match (field("content-length"), field("x-sha256")) {
            (Some(promised), _) if promised != size.to_string() => bail!("{size} octets, not {promised}"),
            (_, Some(promised)) if promised != digest => bail!("wrong octets: SHA-256 {digest}, not {promised}"),
            _ => {}
        }
        if self.options.counts_bodies && short.len() <= SHORT {
            self.tally().body(String::from_utf8_lossy(&short).into_owned());
        }
        Ok(size)
    }
}

/// `GET` of a URL.
pub(crate) fn request(url: &Url) -> Result<Request<()>> {
    let Url { server, path } = url;
    Ok(Request::get(format!("https://{server}{path}")).header("user-agent", "s2nq").body(())?)
}

/// An answer may have so many octets to be counted by its text.
const SHORT: usize = 200;

/// A connection's end may take so long, in which it is told to the server.
pub(crate) const LEAVING: Duration = Duration::from_secs(2);
