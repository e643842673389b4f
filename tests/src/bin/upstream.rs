//! `router-test-upstream`: the servers behind the router in the laboratory.
//!
//! HTTP/1.1 on each `--http ADDRESS`:
//!
//! | request | answer |
//! |---|---|
//! | `GET /whoami` | what reached it: method, path and header, as text |
//! | `GET /field/NAME` | what that header field said, or `none` |
//! | `GET /bytes/N` | N octets of the pattern, up to 100 million of them with `x-sha256` |
//! | `POST /echo` | the body, as it comes |
//! | `POST /sink` | `OCTETS SHA256` of the body, as text |
//! | `POST /early` | `early`, before the body is read; it is read all the same |
//! | `GET /slow/MS` | `slow`, after so many milliseconds |
//!
//! and TCP that sends back what it gets on each `--echo ADDRESS`. It prints READY when it
//! listens, and ends when it is killed.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use aws_lc_rs::digest;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    Method, Request, Response, StatusCode, body::Frame, body::Incoming, server::conn::http1, service::service_fn,
};
use hyper_util::rt::TokioIo;
use router_tests::content;
use tokio::{
    io,
    net::{TcpListener, TcpStream},
};

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(std::env::args().skip(1)))
}

async fn serve(mut arguments: impl Iterator<Item = String>) -> Result<()> {
    while let Some(kind) = arguments.next() {
        let address: SocketAddr = arguments.next().context("an address follows each option")?.parse()?;
        let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
        match kind.as_str() {
            "--http" => tokio::spawn(accept(listener, http)),
            "--echo" => tokio::spawn(accept(listener, echo)),
            _ => bail!("unknown option {kind}"),
        };
    }
    println!("READY");
    std::future::pending().await
}

async fn accept<F: Future<Output = ()> + Send + 'static>(listener: TcpListener, serve: fn(TcpStream) -> F) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream));
    }
}

async fn echo(mut stream: TcpStream) {
    let (mut from, mut to) = stream.split();
    // A client that goes away in the middle is the router's business, not ours.
    let _ = io::copy(&mut from, &mut to).await;
    let _ = io::AsyncWriteExt::shutdown(&mut to).await;
}

async fn http(stream: TcpStream) {
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)).await;
}

type Body = BoxBody<Bytes, hyper::Error>;

async fn answer(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    let mut words = path.trim_start_matches('/').split('/');
    let response = match (request.method(), words.next(), words.next().map(str::parse::<u64>)) {
        (_, Some("whoami"), None) => text(whoami(&request)),
        (&Method::GET, Some("field"), Some(_)) => text(field(&request, path.rsplit('/').next().unwrap_or_default())),
        (&Method::GET, Some("bytes"), Some(Ok(length))) => bytes(length),
        (&Method::POST, Some("echo"), None) => Response::new(request.into_body().boxed()),
        (&Method::POST, Some("sink"), None) => sink(request.into_body()).await,
        (&Method::POST, Some("early"), None) => {
            tokio::spawn(sink(request.into_body()));
            text("early".into())
        }
        (&Method::GET, Some("slow"), Some(Ok(milliseconds))) => {
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            text("slow".into())
        }
        _ => with_status(text(format!("nothing at {path}\n")), StatusCode::NOT_FOUND),
    };
    Ok(response)
}

fn whoami(request: &Request<Incoming>) -> String {
    let header = request
        .headers()
        .iter()
        .map(|(name, value)| format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
    format!("{} {}\n", request.method(), request.uri()) + &header.collect::<String>()
}

fn field(request: &Request<Incoming>, name: &str) -> String {
    let said = request.headers().get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    said.unwrap_or_else(|| "none".to_owned())
}

/// The pattern, made as it is sent: a big body costs no memory.
fn bytes(length: u64) -> Response<Body> {
    let frames = stream::iter(chunks(length).map(|chunk| Ok(Frame::data(chunk.into()))));
    let mut builder = Response::builder().header("content-length", length);
    if length <= DIGESTED_MAX {
        builder = builder.header("x-sha256", sha256(length));
    }
    let response = builder.body(StreamBody::new(frames).boxed());
    response.unwrap_or_else(|error| with_status(text(error.to_string()), StatusCode::INTERNAL_SERVER_ERROR))
}

/// The pattern's digest, worked out once for each length.
fn sha256(length: u64) -> String {
    static KNOWN: Mutex<BTreeMap<u64, String>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let digest = known.entry(length).or_insert_with(|| {
        let mut digest = digest::Context::new(&digest::SHA256);
        chunks(length).for_each(|chunk| digest.update(&chunk));
        content::hex(digest.finish().as_ref())
    });
    digest.clone()
}

fn chunks(length: u64) -> impl Iterator<Item = Vec<u8>> + Send + Sync {
    (0..length.div_ceil(CHUNK)).map(move |i| content::pattern(i * CHUNK, length.min((i + 1) * CHUNK)))
}

async fn sink(mut body: Incoming) -> Response<Body> {
    let mut digest = digest::Context::new(&digest::SHA256);
    let mut octets = 0;
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => {
                let data = frame.into_data().unwrap_or_default();
                octets += data.len();
                digest.update(&data);
            }
            Err(error) => return with_status(text(error.to_string()), StatusCode::BAD_REQUEST),
        }
    }
    text(format!("{octets} {}\n", content::hex(digest.finish().as_ref())))
}

fn text(content: String) -> Response<Body> {
    Response::new(Full::from(content).map_err(|never: Infallible| match never {}).boxed())
}

fn with_status(mut response: Response<Body>, status: StatusCode) -> Response<Body> {
    *response.status_mut() = status;
    response
}

const CHUNK: u64 = 64 * 1024;
/// Of more, the digest would take longer than the transfer.
const DIGESTED_MAX: u64 = 100_000_000;
