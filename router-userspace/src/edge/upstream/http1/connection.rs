//! A connection to an HTTP/1.1 server: what it is written to and read from, one request at a time.

use std::{
    io, mem,
    pin::{Pin, pin},
    task::{Context, Poll, Waker, ready},
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncReadExt, ReadBuf, ReadHalf, WriteHalf},
    time::{Instant, Sleep, sleep_until},
};

use crate::edge::upstream::connect::Io;

/// A connection, with what was read of it and not looked at.
pub(in crate::edge::upstream) struct Connection {
    pub(super) way: Way,
    pub(super) read: BytesMut,
    /// Where heads are written.
    pub(super) write: BytesMut,
    /// Octets that are read at once, as far as there are any: [`READ_MIN`] to [`READ_MAX`].
    at_once: usize,
    pub(super) timer: Timer,
}

/// What octets go over, whole or without the writing half.
pub(super) enum Way {
    Whole(Io),
    Reading(ReadHalf<Io>),
    /// Only while it is taken apart or put together.
    Nothing,
}

/// A timer that one request after another uses. A request that ends in time leaves it as it is: it is set again when
/// it fires too early, and not for each request.
#[derive(Default)]
pub(super) struct Timer(Option<Pin<Box<Sleep>>>);

impl Connection {
    pub(in crate::edge::upstream) fn new(io: Io) -> Self {
        Self {
            way: Way::Whole(io),
            read: BytesMut::new(),
            write: BytesMut::new(),
            at_once: READ_MIN,
            timer: Timer::default(),
        }
    }

    /// Reads more; none at the connection's end.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.read.capacity() - self.read.len() < READ_MIN / 4 {
            self.read.reserve(self.at_once);
        }
        let room = self.read.capacity() - self.read.len();
        let read = ready!(match &mut self.way {
            Way::Whole(io) => pin!(io.read_buf(&mut self.read)).poll(cx),
            Way::Reading(half) => pin!(half.read_buf(&mut self.read)).poll(cx),
            Way::Nothing => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        })?;
        if read == room {
            self.at_once = (self.at_once * 2).min(READ_MAX);
        }
        Poll::Ready(Ok(read))
    }

    /// Nothing has come unasked, and the server has not closed the connection. From then on `waker` is
    /// woken when that changes.
    pub(in crate::edge::upstream) fn is_quiet(&mut self, waker: &Waker) -> bool {
        let Way::Whole(io) = &mut self.way else { return false };
        let mut octet = [0];
        let mut octet = ReadBuf::new(&mut octet);
        self.read.is_empty() && Pin::new(io).poll_read(&mut Context::from_waker(waker), &mut octet).is_pending()
    }

    /// Gives back the memory that bulk has taken.
    pub(in crate::edge::upstream) fn rest(&mut self) {
        if self.at_once > READ_MIN {
            self.at_once = READ_MIN;
            self.read = BytesMut::new();
        }
    }

    /// Takes the writing half out of it.
    pub(super) fn part(&mut self) -> Option<WriteHalf<Io>> {
        match mem::replace(&mut self.way, Way::Nothing) {
            Way::Whole(io) => {
                let (reader, writer) = tokio::io::split(io);
                self.way = Way::Reading(reader);
                Some(writer)
            }
            other => {
                self.way = other;
                None
            }
        }
    }

    /// Puts it back.
    pub(super) fn join(&mut self, writer: WriteHalf<Io>) {
        self.way = match mem::replace(&mut self.way, Way::Nothing) {
            Way::Reading(reader) => Way::Whole(reader.unsplit(writer)),
            other => other,
        };
    }
}

impl Timer {
    /// Ready at `due`.
    pub(super) fn poll(&mut self, due: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if sleep.deadline() > due {
            sleep.as_mut().reset(due);
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() == due {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(due);
        }
    }
}

/// Octets that are read at once, at first and of bulk. The latter is also what is read ahead of the client.
const READ_MIN: usize = 8 * 1024;
const READ_MAX: usize = 128 * 1024;
