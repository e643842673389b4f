//! Why a node counts as what it does, in words.

use std::{fmt, time::Duration};

use super::evidence::Engine;

/// Why a node counts as what it does; `nodes list` shows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// It is heard.
    Heard {
        /// How long ago it was heard.
        ago: Duration,
    },
    /// It is heard, but says that it does not hear this node.
    HeardOneWay {
        /// How long ago it was heard.
        ago: Duration,
    },
    /// It is heard, but has no record any more.
    HeardWithoutRecord {
        /// How long ago it was heard.
        ago: Duration,
        /// Where it would have to have one.
        engine: Engine,
    },
    /// It has not been heard yet, and is taken for up at first.
    NotHeardYet {
        /// For how long.
        since: Duration,
        /// How long it still counts as up without a hello.
        left: Duration,
    },
    /// It does not say hello to this node, and those that it does say hello to do not say that it is silent.
    HeardByOthers,
    /// It is silent, and packets are still forwarded to it.
    Silent {
        /// For how long it has been silent.
        silent: Duration,
        /// How long packets are still forwarded.
        left: Duration,
    },
    /// It is silent, packets to it are dropped, and the second witness that it is gone is missing.
    SilentForLong {
        /// For how long it has been silent.
        silent: Duration,
        /// What the other witness says.
        second: SecondWitness,
    },
    /// It is gone, by two witnesses.
    RecordEnded {
        /// Where its record was.
        engine: Engine,
        /// For how long it had been silent then.
        silent: Duration,
    },
    /// It is gone, by an operator's word.
    Forgotten,
    /// It is gone by an operator's word, and alive.
    ForgottenButHeard {
        /// How long ago it was heard.
        ago: Duration,
    },
    /// It was gone, by two witnesses, and was heard after that.
    BackWithoutRecord {
        /// How long ago it was heard.
        ago: Duration,
        /// Where it has to have a new record.
        engine: Engine,
    },
}

/// Why the membership engine is no second witness for a silent node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SecondWitness {
    /// The node's record is there.
    HasRecord(Engine),
    /// The engine cannot be reached or read, so what it said last is no evidence.
    NotLive(Engine),
    /// Its record had ended before this agent began. Where it was last may be wrong, so its silence says nothing.
    NeverKnown,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Heard { ago } => write!(f, "heard {} ago", Seconds(ago)),
            Self::HeardOneWay { ago } => write!(
                f,
                "heard {} ago, but it does not hear this node: a firewall may drop the tunnel's UDP port on the way there",
                Seconds(ago)
            ),
            Self::HeardWithoutRecord { ago, engine } => {
                write!(f, "heard {} ago, although {}", Seconds(ago), engine.ended())
            }
            Self::NotHeardYet { since, left } => {
                write!(f, "not heard yet after {}; counts as up for {} more", Seconds(since), Seconds(left))
            }
            Self::HeardByOthers => f.write_str("says hello to other nodes, and they do not say that it is silent"),
            Self::Silent { silent, left } => {
                write!(f, "no hello for {}; packets are forwarded for {} more", Seconds(silent), Seconds(left))
            }
            Self::SilentForLong { silent, second } => {
                write!(f, "no hello for {}; packets are dropped; not gone, because {second}", Seconds(silent))
            }
            Self::RecordEnded { engine, silent } => {
                write!(f, "{}, and there was no hello for {}", engine.ended(), Seconds(silent))
            }
            Self::Forgotten => f.write_str("an operator said `forget`"),
            Self::ForgottenButHeard { ago } => {
                write!(f, "an operator said `forget`, but it was heard {} ago: stop it", Seconds(ago))
            }
            Self::BackWithoutRecord { ago, engine } => {
                write!(
                    f,
                    "heard {} ago, after it was gone; gets nothing new until {}",
                    Seconds(ago),
                    engine.begins_anew()
                )
            }
        }
    }
}

impl fmt::Display for SecondWitness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HasRecord(Engine::Leased) => "its lease is alive",
            Self::HasRecord(Engine::File) => "the members' file names it (`nodes forget` says that it is gone)",
            Self::NotLive(Engine::Leased) => "the membership engine is away and its last known state holds",
            Self::NeverKnown => {
                "its record had ended before this agent began, so it may be elsewhere (`nodes forget` says that it is gone)"
            }
            Self::NotLive(Engine::File) => "the members' file cannot be read and its last known state holds",
        })
    }
}

impl Engine {
    fn ended(self) -> &'static str {
        match self {
            Self::Leased => "its lease has ended",
            Self::File => "the members' file does not name it any more",
        }
    }

    fn begins_anew(self) -> &'static str {
        match self {
            Self::Leased => "it has a new record under a new lease",
            Self::File => "the members' file names it again",
        }
    }
}

/// A duration in seconds, with one decimal.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} s", self.0.as_secs_f64())
    }
}
