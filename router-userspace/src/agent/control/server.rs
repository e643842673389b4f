//! Who answers on the control socket.

use std::rc::Rc;

use bytes::Bytes;
use http::{
    HeaderValue, Request, Response, StatusCode,
    header::{CONNECTION, CONTENT_TYPE, UPGRADE},
};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::UnixStream, task::AbortHandle};

use super::{handlers, protocol, socket::ControlSocket};
use crate::{
    agent::{
        api::Failure,
        node::Node,
        takeover::{HANDOVER, PROTOCOL, hand_over, refuse_other_versions},
        turns,
    },
    telemetry::shortage,
};

/// The control socket is answered while this lives.
pub(in crate::agent) struct Answering(AbortHandle);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Answers for `node` until the result is dropped.
pub(in crate::agent) fn serve(control: Rc<ControlSocket>, node: Rc<Node>) -> Answering {
    Answering(turns::spawn("control socket", accept(control, node)).abort_handle())
}

async fn accept(control: Rc<ControlSocket>, node: Rc<Node>) {
    loop {
        match control.accept().await {
            Ok(stream) => {
                turns::spawn("request on the control socket", converse(stream, Rc::clone(&node)));
            }
            Err(error) => shortage::after_accept("control socket", &error).await,
        }
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
    turns::spawn("takeover", async move {
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

/// More than the largest frame in hex: 64 KiB, as a host's own clients send it (GSO).
const BODY_LIMIT: usize = 256 << 10;
