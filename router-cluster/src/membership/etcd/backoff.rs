//! Pauses between attempts: each twice as long as the one before, and none the same on two nodes, so that etcd is not
//! asked by all at once when it comes back.

use std::time::Duration;

#[derive(Debug)]
pub(super) struct Backoff {
    longest: Duration,
    next: Duration,
}

impl Backoff {
    pub(super) fn new(longest: Duration) -> Self {
        Self { longest, next: SHORTEST.min(longest) }
    }

    /// The next pause: between half of its step and all of it.
    pub(super) fn pause(&mut self) -> Duration {
        let step = self.next;
        self.next = (step * 2).min(self.longest);
        step.mul_f64(rand::random_range(0.5..=1.0))
    }

    /// What was attempted has succeeded.
    pub(super) fn reset(&mut self) {
        self.next = SHORTEST.min(self.longest);
    }
}

const SHORTEST: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_the_longest() {
        let longest = Duration::from_secs(1);
        let mut backoff = Backoff::new(longest);
        for step in [100, 200, 400, 800, 1_000, 1_000] {
            let pause = backoff.pause().as_millis();
            assert!((step / 2..=step).contains(&pause), "{pause} of {step}");
        }
        backoff.reset();
        assert!(backoff.pause() <= SHORTEST);
    }
}
