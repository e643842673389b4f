//! A response of an HTTP/1.1 server in arbitrary pieces: the same comes of it as if it came at once, and what is taken
//! here is taken by hyper's client, and read alike.
//!
//! `cargo +nightly fuzz run http1_response` (from this folder's parent).

#![no_main]

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Empty};
use hyper::{client::conn::http1, rt};
use libfuzzer_sys::fuzz_target;
use router_http1::{BodyDecoder, HeadDecoder, Piece};

/// Status, fields but for Content-Length, content, trailers.
type Response = (u16, HeaderMap, Vec<u8>, HeaderMap);

fn ours(octets: &[u8], size: usize, method: &Method) -> Option<Response> {
    let mut pieces = octets.chunks(size);
    let (mut buffer, mut decoder) = (BytesMut::new(), HeadDecoder::new(64 * 1024));
    let mut head = loop {
        match decoder.decode(&mut buffer).ok()? {
            Some(head) if head.is_interim() => {}
            Some(head) => break head,
            None => buffer.extend_from_slice(pieces.next()?),
        }
    };
    let mut body = BodyDecoder::new(head.framing(method).ok()?.length);
    let (mut content, mut trailers) = (Vec::new(), HeaderMap::new());
    loop {
        match body.decode(&mut buffer).ok()? {
            Some(Piece::Data(data)) => content.extend_from_slice(&data),
            Some(Piece::Trailers(all)) => trailers = all,
            None if body.is_ended() => break,
            None => match pieces.next() {
                Some(piece) => buffer.extend_from_slice(piece),
                None => body.close().ok()?,
            },
        }
    }
    head.fields.remove("content-length");
    Some((head.status.as_u16(), head.fields, content, trailers))
}

/// Octets for a client, once it has asked; then the connection's end.
struct Scripted {
    octets: Bytes,
    asked: bool,
    waiting: Option<Waker>,
}

impl rt::Read for Scripted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.asked {
            self.waiting = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let length = self.octets.len().min(buffer.remaining());
        buffer.put_slice(&self.octets.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl rt::Write for Scripted {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.asked = true;
        self.waiting.take().into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

async fn hypers(octets: &[u8], method: &Method) -> Option<Response> {
    let io = Scripted { octets: Bytes::copy_from_slice(octets), asked: false, waiting: None };
    let (mut sender, connection) = http1::Builder::new().max_headers(1_986).handshake(io).await.ok()?;
    let asked = async {
        let request = Request::builder().method(method).uri("/").header("host", "a.test");
        let response = sender.send_request(request.body(Empty::<Bytes>::new()).ok()?).await.ok()?;
        let (mut head, body) = response.into_parts();
        let collected = body.collect().await.ok()?;
        let trailers = collected.trailers().cloned().unwrap_or_default();
        head.headers.remove("content-length");
        Some((head.status.as_u16(), head.headers, collected.to_bytes().to_vec(), trailers))
    };
    tokio::join!(connection, asked).1
}

fuzz_target!(|input: &[u8]| {
    let [size, octets @ ..] = input else { return };
    let method = if size % 2 == 0 { Method::GET } else { Method::HEAD };
    let whole = ours(octets, octets.len().max(1), &method);
    assert_eq!(ours(octets, usize::from(*size).max(1), &method), whole);
    if whole.is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        assert_eq!(runtime.block_on(hypers(octets, &method)), whole);
    }
});
