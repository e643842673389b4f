//! What the engine's thread is asked to do.

use tokio::sync::oneshot;

use crate::membership::{Change, Claim, MembershipError, NodeNumber, NodeRecord};

/// Where an answer goes. One that nobody waits for any more is dropped.
pub(super) type Reply<T> = oneshot::Sender<Result<T, MembershipError>>;

/// One request of [`Membership`](crate::membership::Membership).
#[derive(Debug)]
pub(super) enum Command {
    Register(Claim, Reply<NodeNumber>),
    Publish(NodeRecord, Reply<()>),
    Withdraw(Reply<()>),
    Commit(Change, Reply<u64>),
}
