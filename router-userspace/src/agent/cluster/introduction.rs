//! Whether the others know that this node is there again, after a start.
//!
//! Others may count it as gone from before: then they answer packets of its connections with stateless resets, those of
//! connections that it has just taken among them. A new record ends that, or a hello. So until each node that is up says
//! that this node's hellos count there, new connections are for these nodes; a client notices nothing of it. The others
//! answer hellos of a new run at once, so it takes milliseconds; where one that is up does not answer, three seconds.
//!
//! With a list of nodes it is the operator who says that a node is gone, and that it is not: nothing is waited for. Nor is
//! where a node starts while its engine is away: the others may have newer keys, and packets under these it could not place.

use std::time::{Duration, Instant};

/// How long new connections are for others, at most.
#[derive(Debug)]
pub(super) struct Introduction {
    /// None once it is over.
    until: Option<Instant>,
}

impl Introduction {
    /// The others know: this generation takes over from another one, or has nothing to wait for.
    pub(super) fn over() -> Self {
        Self { until: None }
    }

    /// They have yet to be told, from `now` on.
    pub(super) fn begin(now: Instant) -> Self {
        Self { until: Some(now + LONGEST) }
    }

    /// Whether new connections are for others yet.
    pub(super) fn goes_on(&self) -> bool {
        self.until.is_some()
    }

    /// Looks whether it is over at `now`, where `all_know` says whether the others do. Whether it has ended just now.
    pub(super) fn look(&mut self, now: Instant, all_know: impl FnOnce() -> bool) -> bool {
        let ends = self.until.is_some_and(|until| now >= until || all_know());
        if ends {
            self.until = None;
        }
        ends
    }
}

/// By then each node that lives has said hello, be it that two in a row were lost.
const LONGEST: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lasts_until_all_know_or_three_seconds() {
        let now = Instant::now();
        let unasked = || unreachable!("there is nothing to know");
        let mut over = Introduction::over();
        assert!(!over.goes_on() && !over.look(now, unasked));
        let mut introduction = Introduction::begin(now);
        assert!(!introduction.look(now + LONGEST - Duration::from_nanos(1), || false) && introduction.goes_on());
        assert!(introduction.look(now + Duration::from_millis(5), || true), "it is said once");
        assert!(!introduction.goes_on() && !introduction.look(now, unasked));
        let mut unanswered = Introduction::begin(now);
        assert!(unanswered.look(now + LONGEST, || false) && !unanswered.goes_on());
    }
}
