//! A server that writes down what reaches it, as it was on the wire, and answers `ok` to each.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    os::fd::AsRawFd,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result};
use nix::sys::socket::{Shutdown, shutdown};

use super::{netns::Namespace, topology::UPSTREAM4};

/// A request in HTTP/1.1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The request line.
    pub line: String,
    /// The field lines, in their order.
    pub fields: Vec<String>,
    /// The body, its chunks put together.
    pub body: String,
}

/// A server in the upstream's namespace; ended on drop.
#[derive(Debug)]
pub struct Recorder {
    listener: TcpListener,
    heard: Arc<Mutex<Vec<Message>>>,
    accepting: Option<JoinHandle<()>>,
}

impl Recorder {
    /// Listens in `namespace`, on the upstream's address.
    pub fn start(namespace: &Namespace, port: u16) -> Result<Self> {
        let bind = || TcpListener::bind((UPSTREAM4, port)).with_context(|| format!("cannot listen on {port}"));
        let listener = namespace.enter(bind)?;
        let heard = Arc::<Mutex<Vec<_>>>::default();
        let accepting = thread::spawn({
            let (listener, heard) = (listener.try_clone()?, Arc::clone(&heard));
            move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    let heard = Arc::clone(&heard);
                    // It ends with the router's connection.
                    thread::spawn(move || converse(&stream, &heard));
                }
            }
        });
        Ok(Self { listener, heard, accepting: Some(accepting) })
    }

    /// Takes what has reached it so far.
    pub fn take(&self) -> Vec<Message> {
        std::mem::take(&mut *self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = shutdown(self.listener.as_raw_fd(), Shutdown::Both);
        let _ = self.accepting.take().map(JoinHandle::join);
    }
}

impl Message {
    /// What a field says, if it is there once.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter_map(|field| {
            let (given, value) = field.split_once(": ")?;
            given.eq_ignore_ascii_case(name).then_some(value)
        });
        values.next().filter(|_| values.next().is_none())
    }
}

fn converse(mut stream: &TcpStream, heard: &Mutex<Vec<Message>>) {
    let mut reader = BufReader::new(stream);
    while let Some(message) = read(&mut reader) {
        let body = if message.line.starts_with("HEAD ") { "" } else { "ok" };
        heard.lock().unwrap_or_else(PoisonError::into_inner).push(message);
        if write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{body}").is_err() {
            return;
        }
    }
}

/// None at the end of the connection, or where it breaks off.
fn read(reader: &mut impl BufRead) -> Option<Message> {
    let mut message = Message { line: line(reader)?, ..Message::default() };
    loop {
        match line(reader)? {
            end if end.is_empty() => break,
            field => message.fields.push(field),
        }
    }
    if message.field("transfer-encoding") == Some("chunked") {
        loop {
            let size = usize::from_str_radix(&line(reader)?, 16).ok()?;
            message.body += &octets(reader, size)?;
            let end = line(reader)?;
            match (size, end.is_empty()) {
                (0, true) => break,
                (0, false) => {
                    message.fields.push(format!("trailer {end}"));
                    line(reader)?;
                    break;
                }
                _ => {}
            }
        }
    } else if let Some(length) = message.field("content-length") {
        message.body = octets(reader, length.parse().ok()?)?;
    }
    Some(message)
}

/// A line without its CR LF; any other octet in it is a character.
fn line(reader: &mut impl BufRead) -> Option<String> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line).ok()?;
    let line = line.strip_suffix(b"\r\n")?;
    Some(line.iter().copied().map(char::from).collect())
}

fn octets(reader: &mut impl Read, count: usize) -> Option<String> {
    let mut octets = vec![0; count];
    reader.read_exact(&mut octets).ok()?;
    Some(octets.into_iter().map(char::from).collect())
}
