//! How long what a client asked for may wait for the client.
//!
//! A response that the client does not take, and a body that it does not send, hold a place on a server, memory, and a
//! connection. So a client has a time in which it may keep its own exchange waiting ([`Pace::new`]). What it waits is
//! taken off that time, and every octet that it moves gives some of it back, never more than there was at first. A client
//! that stands still has all of the time; one that moves `rate` octets a second, on average, has it for ever; one that
//! moves an octet now and then runs out of it. What waits for a server costs a client nothing.

use std::{
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::poll_immediate;
use tokio::time::{Instant, Sleep, sleep, timeout};

/// What time a client has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    whole: Duration,
    left: Duration,
    rate: u32,
}

/// The client has used up its time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the client was waited for too long")]
pub(super) struct TooSlow;

impl Pace {
    /// `whole` for a client that moves nothing; given back by `rate` octets a second.
    pub(super) fn new(whole: Duration, rate: u32) -> Self {
        Self { whole, left: whole, rate: rate.max(1) }
    }

    /// How long a client may be waited for that has not been yet.
    pub(super) fn whole(&self) -> Duration {
        self.whole
    }

    /// How long it may be waited for now.
    pub(super) fn left(&self) -> Duration {
        self.left
    }

    /// It has moved `octets` after it was waited for.
    pub(super) fn moved(&mut self, octets: usize, waited: Duration) {
        if waited.is_zero() && self.left == self.whole {
            return;
        }
        let earned = Duration::from_nanos((octets as u64).saturating_mul(1_000_000_000) / u64::from(self.rate));
        self.left = (self.left.saturating_sub(waited) + earned).min(self.whole);
    }

    /// Waits for the client to move some of what is there, as many octets as `step` says.
    pub(super) async fn within<E>(
        &mut self,
        step: impl Future<Output = Result<usize, E>>,
    ) -> Result<Result<usize, E>, TooSlow> {
        let mut step = pin!(step);
        // Most have room at once, and need no clock.
        if let Some(done) = poll_immediate(&mut step).await {
            self.moved(*done.as_ref().unwrap_or(&0), Duration::ZERO);
            return Ok(done);
        }
        let since = Instant::now();
        // In a box: a timer is large, and those that need one wait anyway.
        let done = Box::pin(timeout(self.left, step)).await.map_err(|_elapsed| TooSlow)?;
        self.moved(*done.as_ref().unwrap_or(&0), since.elapsed());
        Ok(done)
    }
}

/// The same, for what is polled.
#[derive(Debug)]
pub(super) struct Waiting {
    pace: Pace,
    since: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Waiting {
    pub(super) fn new(pace: Pace) -> Self {
        Self { pace, since: None }
    }

    /// The client has moved `octets`.
    pub(super) fn moved(&mut self, octets: usize) {
        let waited = self.since.take().map_or(Duration::ZERO, |(since, _)| since.elapsed());
        self.pace.moved(octets, waited);
    }

    /// What is waited for is not the client's to move.
    pub(super) fn pause(&mut self) {
        self.since = None;
    }

    /// Ready when the client, which moves nothing now, has used up its time.
    pub(super) fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let left = self.pace.left();
        let (_, late) = self.since.get_or_insert_with(|| (Instant::now(), Box::pin(sleep(left))));
        late.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    /// GHSA-7ghq-v6jf-g56c: an octet now and then held a place for ever.
    #[test]
    fn an_octet_now_and_then_uses_the_time_up() {
        let mut pace = Pace::new(MINUTE, 500);
        let mut waited = 0;
        while pace.left() >= Duration::from_secs(2) {
            pace.moved(1, Duration::from_secs(2));
            waited += 2;
        }
        assert_eq!(waited, 60);
    }

    #[test]
    fn the_rate_keeps_the_time_whole() {
        let mut pace = Pace::new(MINUTE, 500);
        for _ in 0..1_000 {
            pace.moved(500, Duration::from_secs(1));
        }
        assert_eq!(pace.left(), MINUTE);
        // However fast it was before.
        pace.moved(1 << 30, Duration::ZERO);
        pace.moved(500, Duration::from_secs(31));
        assert_eq!(pace.left(), Duration::from_secs(30));
        pace.moved(5_000, Duration::ZERO);
        assert_eq!(pace.left(), Duration::from_secs(40));
    }

    #[tokio::test]
    async fn a_client_that_stands_still_has_all_of_it() {
        let whole = Duration::from_millis(50);
        let began = Instant::now();
        let mut pace = Pace::new(whole, 500);
        assert_eq!(pace.within(async { Ok::<_, TooSlow>(3) }).await, Ok(Ok(3)));
        let never = std::future::pending::<Result<usize, TooSlow>>();
        assert_eq!(pace.within(never).await, Err(TooSlow));
        assert!(began.elapsed() >= whole);
    }
}
