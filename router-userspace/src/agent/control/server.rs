//! The bound socket, and who answers on it.

use std::{
    cell::RefCell,
    fs, io,
    os::unix::{
        fs::{DirBuilderExt as _, PermissionsExt as _},
        net::UnixStream as StdUnixStream,
    },
    path::{Path, PathBuf},
    rc::Rc,
};

use bytes::Bytes;
use http::{
    HeaderValue, Request, Response, StatusCode,
    header::{CONNECTION, CONTENT_TYPE, UPGRADE},
};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{UnixListener, UnixStream},
    task::{AbortHandle, spawn_local},
};

use super::{handlers, protocol};
use crate::{
    agent::{
        api::Failure,
        error::StartError,
        node::Node,
        takeover::{HANDOVER, PROTOCOL, hand_over, refuse_other_versions},
    },
    telemetry::shortage,
};

/// The bound socket; dropping it removes its file.
pub(in crate::agent) struct ControlSocket {
    /// As configured.
    path: PathBuf,
    /// Where it is, if not there: another generation has that.
    elsewhere: RefCell<Option<PathBuf>>,
    listener: UnixListener,
}

impl ControlSocket {
    /// Binds the socket, in place of one that a crashed run left.
    ///
    /// # Errors
    /// If an agent answers on it.
    pub(in crate::agent) fn bind(path: &Path) -> Result<Self, StartError> {
        refuse_if_answered(path)?;
        if let Some(parent) = path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o755).create(parent).map_err(|e| failed(path, e))?;
        }
        Self::listen(path, path)
    }

    /// Binds the socket of a generation that gets ready beside the one that answers at `path`.
    pub(in crate::agent) fn bind_beside(path: &Path) -> Result<Self, StartError> {
        Self::listen(path, &beside(path, &format!("new-{}", std::process::id())))
    }

    fn listen(path: &Path, here: &Path) -> Result<Self, StartError> {
        match fs::remove_file(here) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(here, e)),
            _ => {}
        }
        let listener = UnixListener::bind(here).map_err(|e| failed(here, e))?;
        let elsewhere = RefCell::new((here != path).then(|| here.to_owned()));
        let socket = Self { path: path.to_owned(), elsewhere, listener };
        fs::set_permissions(here, fs::Permissions::from_mode(0o600)).map_err(|e| failed(here, e))?;
        Ok(socket)
    }

    /// Takes the configured name by a rename, so that there is never a moment without a socket of that name.
    pub(in crate::agent) fn take_place(&self) -> Result<(), StartError> {
        match self.elsewhere.take() {
            Some(here) => fs::rename(here, &self.path).map_err(|e| failed(&self.path, e)),
            None => Ok(()),
        }
    }

    /// Takes another name beside the configured one, which the next generation is about to take.
    pub(in crate::agent) fn step_aside(&self, generation: u64) -> Result<(), StartError> {
        let here = aside(&self.path, generation);
        // What a run of that number left, long ago.
        let _ = fs::remove_file(&here);
        fs::hard_link(&self.path, &here).map_err(|e| failed(&here, e))?;
        *self.elsewhere.borrow_mut() = Some(here);
        Ok(())
    }

    /// Takes the configured name back.
    pub(in crate::agent) fn step_back(&self) -> Result<(), StartError> {
        let Some(here) = self.elsewhere.borrow().clone() else { return Ok(()) };
        self.take_place()?;
        // Where both names were this socket's, a rename has changed nothing.
        let _ = fs::remove_file(here);
        Ok(())
    }

    /// Answers for `node` until the result is dropped.
    pub(in crate::agent) fn answer(self: Rc<Self>, node: Rc<Node>) -> Answering {
        Answering(spawn_local(async move { self.accept(node).await }).abort_handle())
    }

    async fn accept(&self, node: Rc<Node>) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    spawn_local(converse(stream, Rc::clone(&node)));
                }
                Err(error) => shortage::after_accept("control socket", &error).await,
            }
        }
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let here = self.elsewhere.borrow();
        // It may have been removed by hand.
        let _ = fs::remove_file(here.as_ref().unwrap_or(&self.path));
    }
}

/// The control socket is answered while this lives.
pub(in crate::agent) struct Answering(AbortHandle);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Where the control socket of a generation is that has handed over.
pub(in crate::agent) fn aside(path: &Path, generation: u64) -> PathBuf {
    beside(path, &generation.to_string())
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

fn failed(path: &Path, error: io::Error) -> StartError {
    StartError::kernel(format!("control socket {}: {error}", path.display()))
}

/// Refuses to go on if an agent answers at `path`.
pub(in crate::agent) fn refuse_if_answered(path: &Path) -> Result<(), StartError> {
    match StdUnixStream::connect(path) {
        Ok(_) => Err(StartError::refused(format!("an agent is running: it answers on {}", path.display()))
            .with_hint("quic-router status")),
        Err(_) => Ok(()),
    }
}

async fn converse(stream: UnixStream, node: Rc<Node>) {
    let service = service_fn(move |request| answer(request, Rc::clone(&node)));
    let conversation = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(e) = conversation {
        tracing::debug!("control socket: {e}");
    }
}

async fn answer(request: Request<Incoming>, node: Rc<Node>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    if request.uri().path() == HANDOVER {
        return Ok(match refuse_other_versions(request.headers()) {
            Ok(()) => begin_handover(request, node),
            Err(e) => response(Err(e.into())),
        });
    }
    let (head, body) = request.into_parts();
    let answer = match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(body) => match protocol::Request::from_http(&head.method, &head.uri, &body.to_bytes()) {
            Ok(request) => handlers::handle(&node, request).await,
            Err(e) => Err(e.into()),
        },
        Err(_) => Err(handlers::ApiError::bad_request(format!("the body is larger than {BODY_LIMIT} octets"))),
    };
    Ok(response(answer))
}

/// From here on the two generations speak another protocol on this connection.
fn begin_handover(request: Request<Incoming>, node: Rc<Node>) -> Response<Full<Bytes>> {
    spawn_local(async move {
        let stream = hyper::upgrade::on(request).await.map(|upgraded| upgraded.downcast::<TokioIo<UnixStream>>());
        match stream {
            Ok(Ok(parts)) => hand_over(node, parts.io.into_inner()).await,
            Ok(Err(_)) => tracing::warn!("takeover: not over a Unix socket"),
            Err(e) => tracing::warn!("takeover: {e}"),
        }
    });
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    response.headers_mut().insert(UPGRADE, HeaderValue::from_static(PROTOCOL));
    response
}

fn response(answer: Result<Vec<u8>, handlers::ApiError>) -> Response<Full<Bytes>> {
    let (status, json) = match answer {
        Ok(json) => (StatusCode::OK, json),
        Err(refusal) => {
            let failure = Failure { error: refusal.error, hint: refusal.hint };
            (refusal.status, serde_json::to_vec(&failure).unwrap_or_default())
        }
    };
    let mut response = Response::new(Full::from(json));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// More than a jumbo frame in hex.
const BODY_LIMIT: usize = 64 << 10;
