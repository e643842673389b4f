//! Scripts over HTTP/1.1, octet for octet.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpStream},
    sync::Arc,
};

use nix::{
    libc,
    sys::socket::{setsockopt, sockopt},
};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::{Act, Entry, GOOD, GOOD_BODY, Log, POURED, Script, script};

pub(super) fn converse(stream: TcpStream, scripts: &[Script], log: &Log) {
    let Ok(tcp) = stream.try_clone() else { return };
    Server { stream: BufReader::new(stream), tcp, says_goodbye: |_| {} }.converse(scripts, log);
}

pub(super) fn converse_in_tls(stream: TcpStream, config: Arc<ServerConfig>, scripts: &[Script], log: &Log) {
    let (Ok(tcp), Ok(tls)) = (stream.try_clone(), ServerConnection::new(config)) else { return };
    let says_goodbye = |tls: &mut StreamOwned<ServerConnection, TcpStream>| {
        tls.conn.send_close_notify();
        let _ = tls.flush();
    };
    Server { stream: BufReader::new(StreamOwned::new(tls, stream)), tcp, says_goodbye }.converse(scripts, log);
}

/// One connection.
struct Server<S> {
    stream: BufReader<S>,
    /// What is below it.
    tcp: TcpStream,
    /// What the layer in between says before the connection's end.
    says_goodbye: fn(&mut S),
}

/// What the server is in the middle of.
struct Request {
    entry: Entry,
    /// What is left of its body.
    body: Body,
}

enum Body {
    Octets(usize),
    Chunks,
}

/// The connection is over.
struct Over;

impl<S: Read + Write> Server<S> {
    fn converse(mut self, scripts: &[Script], log: &Log) {
        for number in 1.. {
            let Some((target, body)) = self.read_head() else { return };
            let (name, acts) = script(scripts, &target).unwrap_or((GOOD, &[Act::Say(WELL)]));
            let mut request = Request { entry: log.begin(name, number), body };
            for act in acts {
                if self.act(*act, &mut request, number).is_err() {
                    return;
                }
            }
            if self.take(&mut request, usize::MAX).is_err() {
                return;
            }
        }
    }

    fn act(&mut self, act: Act, request: &mut Request, number: usize) -> Result<(), Over> {
        match act {
            Act::Say(text) => self.say(text.as_bytes()),
            Act::Fields(count, octets) => {
                let lines = (0..count).map(|number| format!("x-{number}: {}\r\n", "x".repeat(octets)));
                self.say(lines.collect::<String>().as_bytes())
            }
            Act::Take => self.take(request, usize::MAX),
            Act::TakeSome(octets) => self.take(request, octets),
            Act::Pour => {
                while self.say(POURED).is_ok() {
                    request.entry.note(|exchange| exchange.poured += POURED.len());
                }
                request.entry.ended("closed".into());
                Err(Over)
            }
            Act::Wait => {
                self.wait(&request.entry);
                Err(Over)
            }
            Act::HalfClose => {
                (self.says_goodbye)(self.stream.get_mut());
                let _ = self.tcp.shutdown(Shutdown::Write);
                self.wait(&request.entry);
                Err(Over)
            }
            Act::AfterOthers => {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(|_| Over)?;
                runtime.block_on(request.entry.others_ended()).then_some(()).ok_or(Over)
            }
            Act::Close => self.close(),
            Act::CloseUnlessFirst if number > 1 => self.close(),
            Act::CloseUnlessFirst => Ok(()),
            Act::Cut => Err(Over),
            Act::Reset(_) => {
                let at_once = libc::linger { l_onoff: 1, l_linger: 0 };
                let _ = setsockopt(&self.tcp, sockopt::Linger, &at_once);
                Err(Over)
            }
            Act::Head(..) | Act::Data(_) | Act::Trailers(_) | Act::End | Act::GoAway => {
                unreachable!("{act:?} is for HTTP/2")
            }
        }
    }

    fn close(&mut self) -> Result<(), Over> {
        (self.says_goodbye)(self.stream.get_mut());
        Err(Over)
    }

    fn say(&mut self, octets: &[u8]) -> Result<(), Over> {
        let stream = self.stream.get_mut();
        stream.write_all(octets).and_then(|()| stream.flush()).map_err(|_gone| Over)
    }

    /// Reads until the router has closed, whatever comes.
    fn wait(&mut self, entry: &Entry) {
        let mut octets = [0; 4096];
        while let Ok(1..) = self.stream.read(&mut octets) {}
        entry.ended("closed".into());
    }

    /// Reads the body until all of it, or `most` octets of it, are there.
    fn take(&mut self, request: &mut Request, most: usize) -> Result<(), Over> {
        let mut left = most;
        while left > 0 {
            let chunk = match &mut request.body {
                Body::Octets(0) => return Ok(()),
                Body::Octets(of) => *of,
                Body::Chunks => match self.chunk_size() {
                    Some(0) => return self.read_trailers(request),
                    Some(size) => size,
                    None => return self.broke_off(request),
                },
            };
            let chunks = matches!(request.body, Body::Chunks);
            // A chunk is read to its end.
            let wanted = if chunks { chunk } else { chunk.min(left) };
            let mut taken = 0;
            while taken < wanted {
                let mut octets = [0; 4096];
                let room = octets.len().min(wanted - taken);
                match self.stream.read(&mut octets[..room]) {
                    Ok(read @ 1..) => {
                        taken += read;
                        request.entry.note(|exchange| exchange.received += read);
                    }
                    _ => return self.broke_off(request),
                }
            }
            match &mut request.body {
                Body::Octets(of) => *of -= taken,
                Body::Chunks => drop(self.read_line()),
            }
            left = left.saturating_sub(taken);
        }
        Ok(())
    }

    fn broke_off(&self, request: &Request) -> Result<(), Over> {
        request.entry.ended("closed".into());
        Err(Over)
    }

    fn read_trailers(&mut self, request: &mut Request) -> Result<(), Over> {
        request.body = Body::Octets(0);
        loop {
            match self.read_line().ok_or(Over)? {
                end if end.is_empty() => return Ok(()),
                line => request.entry.note(|exchange| exchange.trailers.push(line)),
            }
        }
    }

    fn chunk_size(&mut self) -> Option<usize> {
        usize::from_str_radix(&self.read_line()?, 16).ok()
    }

    /// The target of a request, and its body to be; none at the connection's end.
    fn read_head(&mut self) -> Option<(String, Body)> {
        let line = self.read_line()?;
        let target = line.split(' ').nth(1)?.to_owned();
        let mut body = Body::Octets(0);
        loop {
            let line = self.read_line()?.to_ascii_lowercase();
            match line.split_once(": ") {
                None => return Some((target, body)),
                Some(("content-length", length)) => body = Body::Octets(length.parse().ok()?),
                Some(("transfer-encoding", _)) => body = Body::Chunks,
                Some(_) => {}
            }
        }
    }

    fn read_line(&mut self) -> Option<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line).ok()?;
        Some(line.strip_suffix("\r\n")?.to_owned())
    }
}

/// [`GOOD_BODY`]
const WELL: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 4\r\n\r\nwell";
const _: () = assert!(GOOD_BODY.len() == 4);
