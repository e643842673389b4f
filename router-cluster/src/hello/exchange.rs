//! The hellos between this node and one other: which of them count, and what the two learn from them.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::{
    longest::LongestHeard,
    message::{Announcement, Echo, Hello, Run},
};

/// How old an own hello may be whose echo proves that the other node is alive: its way there, up to a second until the
/// other's next hello, the way back, and room for the loss of two hellos.
pub const ECHO_LIFETIME: Duration = Duration::from_secs(5);

/// How long a run that has not proven that it is alive keeps its place against one whose hello was sent earlier.
const CANDIDATE_LIFETIME: Duration = Duration::from_secs(3);

/// Own hellos that are remembered for their echoes: all of [`ECHO_LIFETIME`], and more where hellos are sent sooner.
const SENT_MAX: usize = 32;

/// A point in time, by both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The clock that never goes back. Everything is decided by it.
    pub now: Instant,
    /// The wall clock: nanoseconds since 1970.
    pub wall_clock: u64,
}

/// What became of a hello.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heard {
    /// It counts: the other node is alive and sent it just now.
    Counted,
    /// It is not newer than one of the same run that was heard before: a replay, or it was overtaken on its way.
    Replayed,
    /// It is of a run that has not echoed a recent hello of this node yet, so it may be a replay. The next hello to that
    /// node carries its echo; if the run is alive, its next hello proves it.
    Unproven,
}

/// What two nodes know of the way between them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WayReport {
    /// When the other node was heard last.
    pub heard_at: Option<Instant>,
    /// Whether the last hello that counted echoed a recent one of this node: whether the other hears this node.
    pub hears_us: bool,
    /// Whether that hello said that this run of this node has proven there that it is alive: whether this node's hellos count
    /// there.
    pub counts_us: bool,
    /// From a hello of this node to the hello that echoed it, without the time that the other held it.
    pub round_trip: Option<Duration>,
    /// How far the other's wall clock is ahead of this node's, in nanoseconds; below 0 if it is behind. It is right to
    /// within half a round trip.
    pub clock_ahead: Option<i64>,
    /// The longest hello of the other node that arrived here within the last one to two minutes: octets of UDP payload,
    /// 0 if none did.
    pub longest_heard: u16,
    /// The longest hello of this node that arrived there, as the other says.
    pub longest_heard_there: u16,
}

/// The state of the hellos with one other node.
#[derive(Debug)]
pub struct HelloExchange {
    run: Run,
    sequence: u64,
    sent: VecDeque<Sent>,
    /// The run that has proven to be alive.
    proven: Option<LastOfRun>,
    /// The one that had done so before.
    previous: Option<LastOfRun>,
    /// A run that may yet do so.
    candidate: Option<LastOfRun>,
    longest: LongestHeard,
    report: WayReport,
    /// Whether a hello at once tells the other what it has to know, or has it tell: a run is new to one of the two.
    is_answer_due: bool,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    sequence: u64,
    at: Instant,
}

/// The last hello of a run of the other node.
#[derive(Clone, Copy, Debug)]
struct LastOfRun {
    run: Run,
    sequence: u64,
    sent_at: u64,
    heard_at: Instant,
}

impl LastOfRun {
    fn echo(&self, now: Instant) -> Echo {
        let held = now.saturating_duration_since(self.heard_at);
        Echo { run: self.run, sequence: self.sequence, held: held.as_nanos().try_into().unwrap_or(u64::MAX) }
    }
}

impl HelloExchange {
    /// Nothing has been said yet. `run` is this node's, the same towards all others.
    pub fn new(run: Run) -> Self {
        Self {
            run,
            sequence: 0,
            sent: VecDeque::with_capacity(SENT_MAX),
            proven: None,
            previous: None,
            candidate: None,
            longest: LongestHeard::default(),
            report: WayReport::default(),
            is_answer_due: false,
        }
    }

    /// The next hello to the other node, which leaves at `at`. It [continues](Hello::continues); the caller changes that
    /// in the last ones.
    pub fn next(&mut self, at: Moment, announcement: Announcement) -> Hello {
        (self.sequence, self.is_answer_due) = (self.sequence + 1, false);
        if self.sent.len() == SENT_MAX {
            self.sent.pop_front();
        }
        self.sent.push_back(Sent { sequence: self.sequence, at: at.now });
        let candidate = self.candidate.filter(|candidate| candidate.is_recent(at.now));
        Hello {
            run: self.run,
            sequence: self.sequence,
            sent_at: at.wall_clock,
            announcement,
            continues: true,
            longest_heard: self.longest.at(at.now),
            echo: self.proven.map(|last| last.echo(at.now)),
            candidate_echo: candidate.map(|last| last.echo(at.now)),
        }
    }

    /// Takes a hello that was opened, and arrived at `at` in `octets` of UDP payload. Only one that counted says
    /// anything about the other node.
    pub fn hear(&mut self, hello: &Hello, octets: usize, at: Moment) -> Heard {
        let heard = LastOfRun { run: hello.run, sequence: hello.sequence, sent_at: hello.sent_at, heard_at: at.now };
        let known = [self.proven, self.previous, self.candidate];
        if known.iter().flatten().any(|last| last.run == hello.run && last.sequence >= hello.sequence) {
            return Heard::Replayed;
        }
        let echoed = self.echoed(hello, at.now);
        let is_proven = self.proven.is_some_and(|proven| proven.run == hello.run);
        if !is_proven && echoed.is_none() {
            self.consider(heard);
            self.is_answer_due |= self.candidate.is_some_and(|candidate| candidate.run == hello.run);
            return Heard::Unproven;
        }
        let is_new_there = |echo: Option<Echo>| echo.is_none_or(|echo| echo.run != self.run);
        self.is_answer_due |= !is_proven || echoed.is_some() && is_new_there(hello.echo);
        if !is_proven {
            self.previous = self.proven;
            self.candidate = None;
        }
        self.proven = Some(heard);
        self.longest.hear(octets, at.now);
        self.learn(hello, at, echoed);
        Heard::Counted
    }

    /// Whether the next hello should go at once, and not with those of the next second.
    pub fn is_answer_due(&self) -> bool {
        self.is_answer_due
    }

    /// What the hellos that counted say at `now` of the way between the two nodes.
    pub fn report(&self, now: Instant) -> WayReport {
        WayReport { longest_heard: self.longest.at(now), ..self.report }
    }

    /// A run has a place until another one proves that it is alive. A recording was sent before what is sent now, by the
    /// same node's clock, so replays do not keep a living run from the place.
    fn consider(&mut self, heard: LastOfRun) {
        let outranked = self.candidate.is_some_and(|candidate| {
            candidate.run != heard.run && candidate.sent_at > heard.sent_at && candidate.is_recent(heard.heard_at)
        });
        if !outranked {
            self.candidate = Some(heard);
        }
    }

    /// How long ago this node said what `hello` echoes, without the time that the other held it; none unless the echo is
    /// of this run and recent.
    fn echoed(&self, hello: &Hello, now: Instant) -> Option<Duration> {
        let mut echoes = [hello.echo, hello.candidate_echo].into_iter().flatten();
        let echo = echoes.find(|echo| echo.run == self.run)?;
        let sent = self.sent.iter().find(|sent| sent.sequence == echo.sequence)?;
        let age = now.saturating_duration_since(sent.at);
        (age <= ECHO_LIFETIME).then(|| age.saturating_sub(Duration::from_nanos(echo.held)))
    }

    fn learn(&mut self, hello: &Hello, at: Moment, echoed: Option<Duration>) {
        self.report.heard_at = Some(at.now);
        self.report.longest_heard_there = hello.longest_heard;
        self.report.hears_us = echoed.is_some();
        self.report.counts_us = hello.echo.is_some_and(|echo| echo.run == self.run);
        if let Some(round_trip) = echoed {
            let on_its_way = u64::try_from(round_trip.as_nanos() / 2).unwrap_or(u64::MAX);
            let there = i128::from(hello.sent_at) + i128::from(on_its_way);
            self.report.round_trip = Some(round_trip);
            self.report.clock_ahead = i64::try_from(there - i128::from(at.wall_clock)).ok();
        }
    }
}

impl LastOfRun {
    fn is_recent(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.heard_at) < CANDIDATE_LIFETIME
    }
}
