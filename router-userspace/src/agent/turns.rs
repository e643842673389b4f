//! How long the agent's thread is busy at a stretch.
//!
//! All that the agent does is one thread's work: who asks for `status` waits for a reload to end, and the service
//! manager's watchdog for both. So no turn of a task takes longer than about ten milliseconds of the processor's time:
//! what takes longer (long tables of the kernel's, waiting for threads) is done on others. Tasks are spawned here, and
//! each of their turns is measured.

use std::{
    cell::Cell,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use nix::time::{ClockId, clock_gettime};
use tokio::task::{JoinHandle, spawn_local};

thread_local! {
    static LONGEST: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// The longest turn of any task of this thread, in the processor's time: other processes do not count.
pub(super) fn longest() -> Duration {
    LONGEST.get()
}

/// Spawns a task on this thread, whose turns are measured.
pub(super) fn spawn<F>(task: &'static str, future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    spawn_local(Measured { task, future: Box::pin(future) })
}

struct Measured<F> {
    task: &'static str,
    future: Pin<Box<F>>,
}

impl<F: Future> Future for Measured<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let begun = spent();
        let polled = self.future.as_mut().poll(cx);
        let took = spent().saturating_sub(begun);
        if took > LONGEST.get() {
            LONGEST.set(took);
        }
        if took > LONG {
            tracing::debug!("{}: the agent's thread was busy for {took:?}", self.task);
        }
        polled
    }
}

/// The processor's time that this thread has had.
fn spent() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).unwrap_or_default()
}

/// Worth a line in the log.
const LONG: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use tokio::{runtime, task::LocalSet};

    use super::*;

    #[test]
    fn the_longest_turn_is_kept() {
        let runtime = runtime::Builder::new_current_thread().build().unwrap();
        LocalSet::new().block_on(&runtime, async {
            let busy = |time: Duration| async move {
                let begun = spent();
                while spent() - begun < time {}
            };
            spawn("busy", busy(Duration::from_millis(20))).await.unwrap();
            assert!(longest() >= Duration::from_millis(20));
            let before = longest();
            spawn("idle", busy(Duration::ZERO)).await.unwrap();
            assert_eq!(longest(), before);
        });
    }
}
