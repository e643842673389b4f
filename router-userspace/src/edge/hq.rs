//! HTTP/0.9 over QUIC, as interoperability tests speak it (ALPN `hq-interop`): a bidirectional
//! stream carries `GET /path`, and back comes the file.
//!
//! What is not a GET of a file is answered with RESET_STREAM: the protocol has no status.

use std::{future::poll_fn, sync::Arc};

use http::{HeaderMap, Method, StatusCode};
use http_body::Body as _;
use quinn::{RecvStream, SendStream};
use tracing::debug;

use super::{bidirectional_stream::BidirectionalStream, files::Files, memory::Memory};

/// Serves streams until the connection ends. A GET may come in 0-RTT: it changes nothing.
pub(super) async fn serve(files: &Files, connection: &quinn::Connection, memory: &Arc<Memory>) {
    loop {
        match connection.accept_bi().await {
            Ok(stream) => drop(tokio::spawn(serve_stream(files.clone(), Arc::clone(memory), stream.into()))),
            Err(error) => return debug!(%error, "HTTP/0.9 connection ended"),
        }
    }
}

async fn serve_stream(files: Files, memory: Arc<Memory>, stream: BidirectionalStream) {
    let BidirectionalStream { mut send, mut recv } = stream;
    let Some(path) = request(&mut recv).await else { return refuse(&mut send) };
    let response = files.answer(&Method::GET, &path, &HeaderMap::new(), &memory).await;
    if response.status() != StatusCode::OK {
        debug!(path, status = %response.status(), "not served over HTTP/0.9");
        return refuse(&mut send);
    }
    let mut body = std::pin::pin!(response.into_body());
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let Some(data) = frame.ok().and_then(|frame| frame.into_data().ok()) else { return refuse(&mut send) };
        if send.write_chunk(data).await.is_err() {
            return;
        }
    }
    // Fails only if the client stopped the stream.
    let _ = send.finish();
    let _ = send.stopped().await;
}

/// The path of a request; its end is the end of the line or of the stream.
async fn request(recv: &mut RecvStream) -> Option<String> {
    let mut text = Vec::new();
    while !text.contains(&b'\n') {
        match recv.read_chunk(REQUEST_MAX, true).await.ok()? {
            Some(chunk) => text.extend_from_slice(&chunk.bytes),
            None => break,
        }
        if text.len() > REQUEST_MAX {
            return None;
        }
    }
    path(&text)
}

fn path(line: &[u8]) -> Option<String> {
    let line = line.split(|octet| *octet == b'\n').next()?.trim_ascii_end();
    let path = std::str::from_utf8(line.strip_prefix(b"GET ")?).ok()?.trim_ascii();
    path.starts_with('/').then(|| path.to_owned())
}

fn refuse(send: &mut SendStream) {
    // Fails only if the stream has ended.
    let _ = send.reset(REFUSED.into());
}

/// Octets of a request's line: the longest path of a case has some 250.
const REQUEST_MAX: usize = 4_096;
const REFUSED: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_line_with_or_without_its_end() {
        for line in ["GET /a/b\r\n", "GET /a/b\n", "GET /a/b", "GET /a/b \r\nrest"] {
            assert_eq!(path(line.as_bytes()).as_deref(), Some("/a/b"), "{line:?}");
        }
        for line in ["", "GET", "GET a\r\n", "POST /a\r\n", "get /a", "GET http://h/a"] {
            assert_eq!(path(line.as_bytes()), None, "{line:?}");
        }
    }
}
