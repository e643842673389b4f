//! The control socket: HTTP/1.1 with JSON bodies on a Unix socket that only root can open.

use std::{
    fs, io,
    os::unix::{
        fs::{DirBuilderExt as _, PermissionsExt as _},
        net::UnixStream as StdUnixStream,
    },
    path::{Path, PathBuf},
    rc::Rc,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{UnixListener, UnixStream},
    task::{AbortHandle, spawn_local},
};

use super::{answers, api::Failure, error::StartError, node::Node};

/// The bound socket; dropping it removes its file.
pub(super) struct ControlSocket {
    path: PathBuf,
    listener: UnixListener,
}

impl ControlSocket {
    /// Binds the socket, in place of one that a crashed run left.
    ///
    /// # Errors
    /// If an agent answers on it.
    pub(super) fn bind(path: &Path) -> Result<Self, StartError> {
        refuse_if_answered(path)?;
        let failed = |e: io::Error| StartError::kernel(format!("control socket {}: {e}", path.display()));
        if let Some(parent) = path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o755).create(parent).map_err(failed)?;
        }
        match fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(e)),
            _ => {}
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        let socket = Self { path: path.to_owned(), listener };
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        Ok(socket)
    }

    /// Answers for `node` until the result is dropped.
    pub(super) fn answer(self, node: Rc<Node>) -> Answering {
        Answering(spawn_local(async move { self.accept(node).await }).abort_handle())
    }

    async fn accept(&self, node: Rc<Node>) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    spawn_local(converse(stream, Rc::clone(&node)));
                }
                Err(e) => {
                    tracing::warn!("control socket: {e}");
                    tokio::task::yield_now().await;
                }
            }
        }
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // It may have been removed by hand.
        let _ = fs::remove_file(&self.path);
    }
}

/// The control socket is answered while this lives.
pub(super) struct Answering(AbortHandle);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Refuses to go on if an agent answers at `path`.
pub(super) fn refuse_if_answered(path: &Path) -> Result<(), StartError> {
    match StdUnixStream::connect(path) {
        Ok(_) => Err(StartError::refused(format!("an agent is running: it answers on {}", path.display()))
            .with_hint("quic-router status")),
        Err(_) => Ok(()),
    }
}

async fn converse(stream: UnixStream, node: Rc<Node>) {
    let service = service_fn(move |request| answer(request, Rc::clone(&node)));
    let conversation =
        http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
    if let Err(e) = conversation {
        tracing::debug!("control socket: {e}");
    }
}

async fn answer(request: Request<Incoming>, node: Rc<Node>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let answer = match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(body) => answers::answer(&node, &head, &body.to_bytes()),
        Err(_) => Err(answers::Refusal::bad_request(format!("the body is over {BODY_LIMIT} octets"))),
    };
    let (status, json) = match answer {
        Ok(json) => (StatusCode::OK, json),
        Err(refusal) => {
            let failure = Failure { error: refusal.error, hint: refusal.hint };
            (refusal.status, serde_json::to_vec(&failure).unwrap_or_default())
        }
    };
    let mut response = Response::new(Full::from(json));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    Ok(response)
}

/// More than a jumbo frame in hex.
const BODY_LIMIT: usize = 64 << 10;
