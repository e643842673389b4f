//! What is known of one node, and what follows.

use std::time::Duration;

use super::{
    evidence::{Engine, SILENT_AFTER, Word},
    judgement::{Judgement, NodeHealth},
    reason::{Reason, SecondWitness},
};
use crate::membership::{Member, NodeState, Presence};

/// What is the same for all nodes when they are judged. Times are those that this node has listened
/// ([`Listening`](super::listening::Listening)).
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) at: Duration,
    /// Whether the view of the membership is live.
    pub(super) is_live: bool,
    pub(super) engine: Engine,
    pub(super) dead_after: Duration,
}

/// Whose silence is evidence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Listener {
    /// The node says hello to this one.
    Us,
    /// It says hello to others, and this node has their word.
    Others {
        /// Since when most of them have said that it is silent.
        silent_since: Option<Duration>,
    },
}

/// One other node.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Since when this node has listened for it.
    since: Duration,
    heard: Option<LastWord>,
    record: Option<Record>,
    listener: Listener,
    gone: Option<Gone>,
    /// Whether it was heard after it was gone, and has had no record since.
    is_back: bool,
    /// Whether this node has seen a record of it, or has heard it. Without, it says hello to no address, or to where the other was
    /// last, which may be wrong; and so the other's hellos prove nothing: that none counts is no silence.
    is_known: bool,
}

#[derive(Clone, Copy, Debug)]
struct LastWord {
    at: Duration,
    word: Word,
}

/// What is needed of a node's record.
#[derive(Clone, Copy, Debug)]
struct Record {
    is_draining: bool,
}

impl Record {
    fn of(member: &Member) -> Option<Self> {
        member.state().map(|state| Self { is_draining: state == NodeState::Draining })
    }
}

#[derive(Clone, Copy, Debug)]
enum Gone {
    RecordEnded { silent: Duration },
    Forgotten,
}

impl Node {
    pub(super) fn new(at: Duration) -> Self {
        Self {
            since: at,
            heard: None,
            record: None,
            listener: Listener::Us,
            gone: None,
            is_back: false,
            is_known: false,
        }
    }

    /// It is alive: that its record has ended is no reason any more to answer in its place.
    pub(super) fn heard(&mut self, at: Duration, word: Word) {
        self.heard = Some(LastWord { at, word });
        self.is_known = true;
        if let Some(Gone::RecordEnded { .. }) = self.gone {
            (self.gone, self.is_back) = (None, true);
        }
    }

    /// What a live view says of it. Where it counts as gone, a record is a new one: it had none, or was forgotten. With the
    /// first record, listening begins.
    pub(super) fn seen(&mut self, at: Duration, member: &Member) {
        if member.presence() == Presence::Present {
            self.is_back = false;
            if self.gone.is_some() || !self.is_known {
                *self = Self { listener: self.listener, ..Self::new(at) };
            }
        }
        self.remembered(member);
    }

    /// What a view says of it that is the first to name it.
    pub(super) fn remembered(&mut self, member: &Member) {
        self.record = Record::of(member);
        self.is_known |= self.record.is_some();
        if member.presence() == Presence::Forgotten {
            self.gone = Some(Gone::Forgotten);
        }
    }

    /// It says hello to this node, or from now on to others. Where that changes, listening begins anew: that it said
    /// nothing to this node as long as it had no cause to is not silence.
    pub(super) fn listened_to_by(&mut self, at: Duration, listener: Listener) {
        if self.listener != listener && listener == Listener::Us {
            (self.since, self.heard) = (at, None);
        }
        self.listener = match (self.listener, listener) {
            // They have said so before, and still do.
            (before @ Listener::Others { silent_since: Some(_) }, Listener::Others { silent_since: Some(_) }) => before,
            (_, listener) => listener,
        };
    }

    pub(super) fn is_heard_by_us(&self) -> bool {
        self.listener == Listener::Us
    }

    /// What it counts as now. That it is gone is kept until it is heard or has a new record.
    pub(super) fn judge(&mut self, now: &Now) -> Judgement {
        let silence = self.silence(now);
        let is_witnessed = now.is_live && self.record.is_none() && self.is_known;
        if let Some(silent) = silence.filter(|&silence| silence >= now.dead_after)
            && self.gone.is_none()
            && is_witnessed
        {
            self.gone = Some(Gone::RecordEnded { silent });
        }
        if let Some(gone) = self.gone {
            return self.gone(now, gone);
        }
        match silence {
            Some(silence) if silence >= self.patience(now) => self.silent(now, silence),
            _ => self.alive(now),
        }
    }

    /// How long it takes until this judgement may change if nothing is heard.
    pub(super) fn changes_in(&self, now: &Now) -> Option<Duration> {
        let silence = self.silence(now)?;
        let thresholds = [self.patience(now), now.dead_after];
        thresholds.into_iter().filter(|&threshold| threshold > silence).map(|threshold| threshold - silence).min()
    }

    /// How long no hello may come before it counts as silent: one that was never heard is given the time that packets are
    /// forwarded anyway, because whoever has just been started has heard nobody.
    fn patience(&self, now: &Now) -> Duration {
        let is_new = self.heard.is_none() && now.at.saturating_sub(self.since) < now.dead_after;
        if is_new { now.dead_after } else { SILENT_AFTER }
    }

    /// For how long it has been silent, as far as that is evidence; none where nobody has a right to hear from it.
    fn silence(&self, now: &Now) -> Option<Duration> {
        let since = self.heard.map_or(self.since, |last| last.at.max(self.since));
        let ours = now.at.saturating_sub(since);
        let continues = self.heard.is_none_or(|last| last.word.continues);
        match self.listener {
            Listener::Us if continues => Some(ours),
            Listener::Us => Some(ours).filter(|&ours| ours < SILENT_AFTER),
            Listener::Others { .. } if ours < SILENT_AFTER => Some(ours),
            Listener::Others { silent_since } => {
                // They say so after they have waited themselves.
                let others = silent_since.map(|since| now.at.saturating_sub(since) + SILENT_AFTER);
                others.map(|others| others.min(ours))
            }
        }
    }

    fn alive(&self, now: &Now) -> Judgement {
        let announced = self.heard.map(|last| last.word.announcement);
        let is_draining = announced.is_some_and(|said| said.state == NodeState::Draining)
            || self.record.as_ref().is_some_and(|record| record.is_draining);
        let takes_new_connections = !is_draining && announced.is_none_or(|said| said.takes_new_connections);
        if let Some(last) = self.heard.filter(|_| self.is_back) {
            let reason = Reason::BackWithoutRecord { ago: now.at.saturating_sub(last.at), engine: now.engine };
            return Judgement { state: NodeHealth::Silent, takes_new_connections: false, reason };
        }
        let state = if is_draining { NodeHealth::Draining } else { NodeHealth::Up };
        Judgement { state, takes_new_connections, reason: self.why_alive(now) }
    }

    fn why_alive(&self, now: &Now) -> Reason {
        let has_ended = self.record.is_none() && now.is_live;
        let Some(LastWord { at, word }) = self.heard else {
            let since = now.at.saturating_sub(self.since);
            return match self.silence(now) {
                Some(silence) => Reason::NotHeardYet { since, left: now.dead_after.saturating_sub(silence) },
                None => Reason::HeardByOthers,
            };
        };
        let ago = now.at.saturating_sub(at);
        match self.silence(now) {
            None => Reason::HeardByOthers,
            Some(_) if has_ended => Reason::HeardWithoutRecord { ago, engine: now.engine },
            Some(_) if !word.hears_us => Reason::HeardOneWay { ago },
            Some(_) => Reason::Heard { ago },
        }
    }

    fn silent(&self, now: &Now, silent: Duration) -> Judgement {
        let (state, reason) = if silent < now.dead_after {
            (NodeHealth::Silent, Reason::Silent { silent, left: now.dead_after - silent })
        } else {
            let second = match (now.is_live, self.is_known) {
                (false, _) => SecondWitness::NotLive(now.engine),
                (true, true) => SecondWitness::HasRecord(now.engine),
                (true, false) => SecondWitness::NeverKnown,
            };
            (NodeHealth::Unreachable, Reason::SilentForLong { silent, second })
        };
        Judgement { state, takes_new_connections: false, reason }
    }

    fn gone(&self, now: &Now, gone: Gone) -> Judgement {
        let ago = self.heard.map(|last| now.at.saturating_sub(last.at)).filter(|&ago| ago < SILENT_AFTER);
        let reason = match (ago, gone) {
            (_, Gone::RecordEnded { silent }) => Reason::RecordEnded { engine: now.engine, silent },
            (Some(ago), Gone::Forgotten) => Reason::ForgottenButHeard { ago },
            (None, Gone::Forgotten) => Reason::Forgotten,
        };
        Judgement { state: NodeHealth::Gone, takes_new_connections: false, reason }
    }
}
