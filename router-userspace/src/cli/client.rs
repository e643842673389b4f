//! The agent's control socket, from the other side.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{net::UnixStream, time::timeout};

use super::{
    Places,
    fail::{Exit, Failed},
};
use crate::{
    agent::api,
    config::{Config, StartFlags},
};

/// An agent, by its control socket.
pub(super) struct Agent {
    socket: PathBuf,
}

impl Agent {
    /// The agent that `--control` names, else the configuration, else the default.
    pub(super) fn at(places: &Places) -> Self {
        let configured = || Config::load(&places.config, &StartFlags::default(), None).ok().map(|c| c.router.control);
        let socket = places.control.clone().or_else(configured).unwrap_or_else(|| DEFAULT_SOCKET.into());
        Self { socket }
    }

    /// Asks for `path`.
    pub(super) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failed> {
        self.ask(Method::GET, path, Bytes::new())
    }

    /// Sends `body` to `path`.
    pub(super) fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Failed> {
        let body = serde_json::to_vec(body).map_err(|e| Failed::new(Exit::Usage, e))?;
        self.ask(Method::POST, path, body.into())
    }

    fn ask<T: DeserializeOwned>(&self, method: Method, path: &str, body: Bytes) -> Result<T, Failed> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| Failed::new(Exit::Kernel, format!("runtime: {e}")))?;
        let asking = converse(&self.socket, method, path, body);
        let (status, body) = runtime
            .block_on(async { timeout(PATIENCE, asking).await })
            .map_err(|_| self.unreachable("it does not answer"))?
            .map_err(|e| self.unreachable(&e.to_string()))?;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|e| self.unreachable(&format!("its answer: {e}")));
        }
        let failure = serde_json::from_slice::<api::Failure>(&body)
            .unwrap_or_else(|_| api::Failure { error: format!("the agent answers {status}"), hint: None });
        Err(Failed::new(Exit::No, failure.error).with_hint(failure.hint))
    }

    fn unreachable(&self, why: &str) -> Failed {
        Failed::new(Exit::NoAgent, format!("no agent is reachable at {}: {why}", self.socket.display()))
            .with_hint(Some("quic-router run, or --control with the socket of the agent that runs"))
    }
}

async fn converse(socket: &Path, method: Method, path: &str, body: Bytes) -> io::Result<(StatusCode, Bytes)> {
    let stream = UnixStream::connect(socket).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    tokio::spawn(connection);
    let request = Request::builder().method(method).uri(path).header(http::header::HOST, "agent").body(Full::new(body));
    let response = sender.send_request(request.map_err(io::Error::other)?).await.map_err(io::Error::other)?;
    let status = response.status();
    let body = response.into_body().collect().await.map_err(io::Error::other)?;
    Ok((status, body.to_bytes()))
}

const DEFAULT_SOCKET: &str = "/run/quic-router/control.sock";
const PATIENCE: Duration = Duration::from_secs(10);
