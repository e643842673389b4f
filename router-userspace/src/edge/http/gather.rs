//! A server's response, read whole before the client takes any of it, where it is short: then the place on the server is
//! free at once, and a client that does not read holds up no other.
//!
//! What is there already is always taken. A response whose length is known, and small, is waited for, for a moment: it
//! is on its way. One whose length is not known may be an event stream: where some of it is there the rest is given the
//! blink of an eye, and then it is passed on as it comes.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::poll_immediate;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use crate::edge::{
    memory::{Held, Memory, REQUEST},
    upstream::{ResponseBody, ResponseError},
};

/// Octets that are read ahead of the client at most.
const MOST: u64 = 64 * 1024;

/// How long the rest of a short response is waited for.
const MOMENT: Duration = Duration::from_millis(200);

/// How long the rest of a response that has begun to come is waited for where it may be anything.
const BLINK: Duration = Duration::from_millis(10);

/// What was read of a response, and what was not.
pub(in crate::edge) struct Gathered {
    read: VecDeque<Result<Frame<Bytes>, ResponseError>>,
    /// None at the end.
    rest: Option<ResponseBody>,
    /// Counts what was read.
    _held: Option<Held>,
}

/// Whether something may be gained by reading `body` ahead of its client.
pub(in crate::edge) fn may_gain(body: &ResponseBody) -> bool {
    !body.is_end_stream() && body.size_hint().exact().is_none_or(|length| length <= MOST)
}

/// Reads what it may of `body`, of which something [may be gained](may_gain); gives it back where there is no memory.
pub(in crate::edge) async fn gather(body: ResponseBody, memory: &Arc<Memory>) -> Result<Gathered, ResponseBody> {
    let length = body.size_hint().exact();
    let held = match length.unwrap_or(MOST) {
        // The request's own part is enough.
        0..=REQUEST => None,
        more => match memory.hold(more) {
            None => return Err(body),
            held => held,
        },
    };
    let mut gathered = Gathered { read: VecDeque::with_capacity(1), rest: Some(body), _held: held };
    // It can be cut short anywhere: what was read is kept.
    if poll_immediate(gathered.read_ahead()).await.is_none() {
        let more = match length {
            Some(_) => MOMENT,
            None if gathered.read.is_empty() => Duration::ZERO,
            None => BLINK,
        };
        if !more.is_zero() {
            // Either it is all there now, or it is passed on as it comes.
            let _ = timeout(more, gathered.read_ahead()).await;
        }
    }
    Ok(gathered)
}

impl Gathered {
    async fn read_ahead(&mut self) {
        let octets = |frame: &Frame<Bytes>| frame.data_ref().map_or(0, |data| data.len() as u64);
        let mut read: u64 = self.read.iter().flatten().map(octets).sum();
        while let Some(rest) = &mut self.rest {
            let next = if rest.is_end_stream() { None } else { rest.frame().await };
            match next {
                Some(Ok(frame)) => {
                    read += octets(&frame);
                    self.read.push_back(Ok(frame));
                    if read >= MOST {
                        return;
                    }
                }
                Some(Err(error)) => {
                    self.read.push_back(Err(error));
                    self.rest = None;
                }
                None => self.rest = None,
            }
        }
    }
}

impl Body for Gathered {
    type Data = Bytes;
    type Error = ResponseError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ResponseError>>> {
        let this = self.get_mut();
        if let Some(read) = this.read.pop_front() {
            return Poll::Ready(Some(read));
        }
        let Some(rest) = &mut this.rest else { return Poll::Ready(None) };
        let next = ready!(Pin::new(rest).poll_frame(cx));
        if next.is_none() {
            this.rest = None;
        }
        Poll::Ready(next)
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_empty() && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let mut read = 0;
        for next in &self.read {
            match next.as_ref().ok().and_then(Frame::data_ref) {
                Some(data) => read += data.len() as u64,
                // Trailers, or a response that is not whole: no length may be made of what is here.
                None => return SizeHint::default(),
            }
        }
        match self.rest.as_ref().map(|rest| rest.size_hint().exact()) {
            None => SizeHint::with_exact(read),
            Some(Some(rest)) => SizeHint::with_exact(read + rest),
            Some(None) => SizeHint::default(),
        }
    }
}
