//! What brings a changed value into force.

/// How a changed value comes into force, the mildest way first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TakenBy {
    /// In place: `quic-router reload`.
    Reload,
    /// By the new process of `quic-router upgrade`.
    Upgrade,
    /// By a stop and a start.
    Restart,
}
