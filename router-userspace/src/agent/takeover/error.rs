//! Why one generation does not take over from another.

use std::{io, net::SocketAddr, path::PathBuf, time::Duration};

use router_common::identifiers::SlotId;

use super::protocol::{PROTOCOL, Told};
use crate::agent::error::{ErrorKind, RoomError};

/// Why a takeover does not take place. The generation that serves goes on.
#[derive(Debug, thiserror::Error)]
pub(in crate::agent) enum TakeoverError {
    /// Another generation gets ready.
    #[error("another generation is taking over")]
    UnderWay,
    /// Another generation is in charge.
    #[error("another generation has taken over; this one drains")]
    Retired,
    /// Another upgrade was asked for.
    #[error("an upgrade is under way")]
    UpgradeUnderWay,
    /// The new generation would end with this process.
    #[error("this agent is process 1 of its container, which ends with it: no other generation would be left")]
    FirstProcess,
    /// The engine has no kernel program.
    #[error("the engine is userspace: nothing steers packets between two processes")]
    NothingSteers,
    /// The same, of the generation that would take over.
    #[error("takeover: router.engine is userspace: nothing steers between two processes")]
    WouldNotSteer,
    /// The new one is of another kind: the difference.
    #[error("{version} cannot take over: {difference}")]
    OtherKind { version: String, difference: String },
    /// The new one asks for another protocol.
    #[error("this agent hands over by {PROTOCOL}, not by {0}")]
    OtherProtocol(String),
    /// The old one has none.
    #[error("takeover: the running agent: it does not know of takeovers")]
    NoProtocol,
    /// The old one says no.
    #[error("the running agent refuses: {}", .0.error)]
    Refused(Told),
    /// The old one is not heard, or not understood.
    #[error("takeover: the running agent: {0}")]
    RunningLost(String),
    /// The old one says what has no place there.
    #[error("takeover: unexpected message from the running agent")]
    RunningOutOfTurn,
    /// The new one says that it cannot.
    #[error("the new generation: {}", .0.error)]
    NewFailed(Told),
    /// The new one is not heard any more.
    #[error("the new generation: {0}")]
    NewLost(io::Error),
    /// The new one says what has no place there.
    #[error("takeover: unexpected message from the new generation")]
    NewOutOfTurn,
    /// The new one was not heard at all.
    #[error("takeover: {0}")]
    NotGreeted(io::Error),
    /// The new one begins with something else.
    #[error("takeover: it does not begin with a greeting")]
    NoGreeting,
    /// A worker of the new one does not serve.
    #[error("the probe of slot {slot} on {listener} was not served: {why}")]
    NotServed { slot: SlotId, listener: SocketAddr, why: String },
    /// The control socket cannot be asked.
    #[error("control socket {}: {source}", path.display())]
    ControlSocket { path: PathBuf, source: io::Error },
    /// The agent answers nowhere yet.
    #[error("not yet")]
    NotYet,
    /// This agent's own binary is not known.
    #[error("the agent's own binary: {0}")]
    OwnBinary(io::Error),
    /// The new binary cannot be started.
    #[error("{}: {source}", binary.display())]
    NotStarted { binary: PathBuf, source: io::Error },
    /// The new one ended: how.
    #[error("{} ended before it took over: {how}", binary.display())]
    Ended { binary: PathBuf, how: String },
    /// The new one takes too long.
    #[error("{} has not taken over after {patience:?}", binary.display())]
    Late { binary: PathBuf, patience: Duration },
    /// This agent ends meanwhile.
    #[error("the agent stops")]
    Stopping,
}

impl RoomError for TakeoverError {
    /// What the other generation says keeps its kind.
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Refused(told) | Self::NewFailed(told) => told.kind,
            Self::NotServed { .. } | Self::ControlSocket { .. } | Self::OwnBinary(_) => ErrorKind::Kernel,
            _ => ErrorKind::Refused,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Refused(told) | Self::NewFailed(told) => return told.hint.clone(),
            Self::UnderWay | Self::UpgradeUnderWay => "again in a few seconds",
            Self::Retired => "asking that one: its control socket is the configured one",
            Self::FirstProcess => {
                "an init as process 1 (`docker run --init`, tini), or another container beside this one"
            }
            Self::NothingSteers => "a restart; or an engine with BPF",
            Self::WouldNotSteer | Self::OtherKind { .. } => "stop and start the agent",
            Self::OtherProtocol(_) | Self::NoProtocol => {
                "stop and start the agent: an upgrade in place is not possible between these versions"
            }
            Self::Ended { .. } => "what it said is in the log",
            Self::Late { .. } => "--timeout, if it only needs longer",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::error::AgentError;

    /// An upgrade that failed because the kernel refused had ended with the exit code of a no.
    #[test]
    fn what_the_other_generation_says_keeps_kind_and_hint() {
        let theirs = AgentError::kernel("no BPF").with_hint("another kernel");
        let line = serde_json::to_string(&Told::from(&theirs)).unwrap();
        let ours = AgentError::from(TakeoverError::NewFailed(serde_json::from_str(&line).unwrap()));
        assert_eq!(ours.to_string(), "the new generation: no BPF");
        assert_eq!((ours.hint(), ours.kind()), (Some("another kernel"), ErrorKind::Kernel));
    }

    #[test]
    fn a_version_that_says_no_kind_refuses() {
        let told: Told = serde_json::from_str(r#"{"error":"no","hint":null}"#).unwrap();
        assert_eq!(TakeoverError::Refused(told).kind(), ErrorKind::Refused);
    }
}
