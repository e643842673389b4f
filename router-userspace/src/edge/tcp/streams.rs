//! The streams of an HTTP/2 connection: each has its request served in a task of its own, which ends, and with it the
//! stream, when its client does not take the response.
//!
//! hyper asks for the next piece of a body when the client has taken the last. So the time between is what a client
//! is waited for, and pieces are made small.

use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use hyper::rt::Executor;
use tokio::{
    task_local,
    time::{Duration, Instant, sleep},
};
use tracing::debug;

use crate::edge::pace::Pace;

/// Octets of a piece: those of a frame that every client takes (RFC 9113 section 4.2).
const PIECE: usize = 16 * 1024;

task_local! {
    static TAKING: Taking;
}

/// Where hyper has streams served.
#[derive(Clone)]
pub(super) struct Streams {
    pace: Pace,
}

/// What a client takes of the response on its stream.
#[derive(Clone, Debug)]
pub(in crate::edge) struct Taking(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    pace: Pace,
    /// A piece is on its way to the client, since then.
    on_its_way: Option<(Instant, usize)>,
}

impl Streams {
    pub(super) fn new(pace: Pace) -> Self {
        Self { pace }
    }
}

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let taking = Taking(Arc::new(Mutex::new(State { pace: self.pace, on_its_way: None })));
        let served = TAKING.scope(taking.clone(), stream);
        tokio::spawn(async move {
            tokio::select! {
                biased;
                _ = served => {}
                () = taking.late() => debug!("a client did not take its response within limits.send_timeout"),
            }
        });
    }
}

impl Taking {
    /// Of the stream that is served here, if it is one of HTTP/2.
    pub(in crate::edge) fn here() -> Option<Self> {
        TAKING.try_with(Self::clone).ok()
    }

    /// The client has taken what there was.
    pub(in crate::edge) fn asked(&self) {
        let mut state = self.lock();
        if let Some((since, octets)) = state.on_its_way.take() {
            state.pace.moved(octets, since.elapsed());
        }
    }

    /// The first part of `data` goes to the client; the rest is left.
    pub(in crate::edge) fn piece(&self, data: &mut Bytes) -> Bytes {
        let piece = data.split_to(data.len().min(PIECE));
        self.lock().on_its_way = Some((Instant::now(), piece.len()));
        piece
    }

    /// When its client has used up its time.
    async fn late(&self) {
        let mut nap = pin!(sleep(self.left()));
        loop {
            nap.as_mut().await;
            let left = self.left();
            if left.is_zero() {
                return;
            }
            nap.as_mut().reset(Instant::now() + left);
        }
    }

    /// How long it may still be waited for.
    fn left(&self) -> Duration {
        let state = self.lock();
        let left = state.pace.left();
        // Looked at often enough where no client is waited for now.
        state.on_its_way.map_or(left.max(state.pace.whole() / LOOKS), |(since, _)| left.saturating_sub(since.elapsed()))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream is looked at this many times in the time that a client has.
const LOOKS: u32 = 4;
