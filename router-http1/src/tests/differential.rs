//! The same octets for hyper's client: what is taken here is taken there, and read alike. Seeds are changed in ways that
//! are known to part parsers, by numbers that are the same in each run.

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
};

use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::{body::Bytes, client::conn::http1, rt};

use super::*;

const SEEDS: &[&str] = &[
    "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2;a=b\r\nhe\r\n003\r\nllo\r\n0\r\nx-sum: 7\r\nx-b: 8\r\n\r\n",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\n\r\nhello",
    "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 5\r\n\r\nhello",
    "HTTP/1.1 204 No Content\r\nx: 1\r\n\r\n",
    "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n",
    "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
    "HTTP/1.1 200 OK\ncontent-length: 5\n\nhello",
    "HTTP/1.1 404 Not Found\r\nset-cookie: a=1\r\nset-cookie: b=2\r\nx-e: \u{e9}\r\ncontent-length: 5\r\n\r\nhello",
];

/// What is put in, in place of something or between.
const SPLICES: &[&str] = &[
    "\r\n",
    "\n",
    "\r",
    "\r\n\r\n",
    "\n\n",
    " ",
    "\t",
    "\0",
    ":",
    ";",
    ",",
    "0",
    "5",
    "0\r\n\r\n",
    "-",
    "+",
    "0x",
    "f",
    "content-length: 4\r\n",
    "Content-Length: 5\r\n",
    "transfer-encoding: chunked\r\n",
    "transfer-encoding: identity\r\n",
    "Transfer-Encoding:\u{b}chunked\r\n",
    "HTTP/1.1 200 OK\r\n\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n",
    " chunked",
    "gzip, ",
    "\u{85}",
    "99999999999999999999",
    "ffffffffffffffff",
    "1\r\nx\r\n",
    "connection: close\r\n",
    " \r\n x: y",
];

/// Octets for a client, once it has asked; then the connection's end.
struct Scripted {
    octets: Bytes,
    size: usize,
    asked: bool,
    waiting: Option<Waker>,
}

impl rt::Read for Scripted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: rt::ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        if !self.asked {
            self.waiting = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let length = self.size.min(self.octets.len()).min(buffer.remaining());
        buffer.put_slice(&self.octets.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl rt::Write for Scripted {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, data: &[u8]) -> Poll<std::io::Result<usize>> {
        self.asked = true;
        self.waiting.take().into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

type Whole = (u16, Vec<(String, Vec<u8>)>, Vec<u8>, Vec<(String, Vec<u8>)>);

fn list(fields: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    fields.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect()
}

/// Fields without those that say how long a message is, which are put in order here.
fn settled(mut fields: HeaderMap) -> Vec<(String, Vec<u8>)> {
    fields.remove("content-length");
    list(&fields)
}

/// A response that hyper reads to its end.
async fn hyper_reads(octets: &[u8], size: usize, method: &Method) -> Option<Whole> {
    let io = Scripted { octets: Bytes::copy_from_slice(octets), size, asked: false, waiting: None };
    let (mut sender, connection) = http1::Builder::new().max_headers(1_986).handshake(io).await.ok()?;
    let asked = async {
        let request = Request::builder().method(method).uri("/").header("host", "a.test").body(Empty::<Bytes>::new());
        let response = sender.send_request(request.unwrap()).await.ok()?;
        let (head, body) = response.into_parts();
        let collected = body.collect().await.ok()?;
        let trailers = collected.trailers().map(list).unwrap_or_default();
        Some((head.status.as_u16(), settled(head.headers), collected.to_bytes().to_vec(), trailers))
    };
    tokio::join!(connection, asked).1
}

fn we_read(octets: &[u8], size: usize, method: &Method) -> Option<Whole> {
    let read = read(octets, size, method).ok()??;
    read.end.ok()?;
    Some((read.head.status.as_u16(), settled(read.head.fields), read.content, list(&read.trailers)))
}

/// Marsaglia's xorshift.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % most as u64).unwrap()
    }
}

fn changed(seed: &str, numbers: &mut Numbers) -> Vec<u8> {
    let mut octets = seed.as_bytes().to_vec();
    for _ in 0..=numbers.below(3) {
        let at = numbers.below(octets.len() + 1);
        let end = (at + [0, 0, 1, 2, 8][numbers.below(5)]).min(octets.len());
        let splice = SPLICES[numbers.below(SPLICES.len())].as_bytes();
        match numbers.below(4) {
            0 => drop(octets.splice(at..end, [])),
            1 if at < octets.len() => octets[at] = u8::try_from(numbers.below(256)).unwrap(),
            _ => drop(octets.splice(at..end, splice.iter().copied())),
        }
    }
    octets
}

#[tokio::test]
async fn what_is_taken_here_is_read_alike_by_hyper() {
    let (mut numbers, mut taken, mut refused) = (Numbers(0x9e37_79b9_7f4a_7c15), 0, 0);
    for round in 0..12_000 {
        let seed = SEEDS[round % SEEDS.len()];
        let octets = if round < SEEDS.len() { seed.as_bytes().to_vec() } else { changed(seed, &mut numbers) };
        let method = if numbers.below(8) == 0 { Method::HEAD } else { Method::GET };
        let size = [1, 2, 5, 10_000][numbers.below(4)];
        let ours = we_read(&octets, size, &method);
        assert_eq!(ours, we_read(&octets, octets.len(), &method), "in pieces of {size}: {:?}", shown(&octets));
        let theirs = hyper_reads(&octets, size, &method).await;
        match ours {
            Some(ours) => {
                taken += 1;
                assert_eq!(Some(ours), theirs, "{method} {:?}", shown(&octets));
            }
            None => refused += 1,
        }
        assert!(round + 1 != SEEDS.len() || refused == 0, "each seed is sound");
    }
    // Neither side of it is empty.
    assert!(taken > 2_000 && refused > 2_000, "{taken} {refused}");
}

fn shown(octets: &[u8]) -> String {
    octets.escape_ascii().to_string()
}
