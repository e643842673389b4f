//! What an engine of membership can be asked.

use std::{fmt, net::IpAddr, pin::Pin, sync::Arc};

use tokio::sync::watch;

use super::{
    change::Change,
    error::MembershipError,
    node::{Incarnation, NodeNumber, NodeRecord},
    state::View,
};

/// An answer that is waited for. It needs no runtime of a certain kind: engines that talk to others do so on a thread of
/// their own.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, MembershipError>> + Send + 'a>>;

/// An engine of membership.
///
/// Answers come within a few seconds, be it that the engine is away. Dropping an engine ends what it runs; its lease is
/// left to run out, as that of a node that died: [`withdraw`](Self::withdraw) is for a node that stops in order.
pub trait Membership: fmt::Debug + Send + Sync {
    /// Which engine it is, and what it can do.
    fn engine(&self) -> EngineInfo;

    /// What it knows now.
    fn view(&self) -> Arc<View> {
        Arc::clone(&self.watch().borrow())
    }

    /// Tells each change of what it knows, and of how far that can be relied on. Each carries the whole state, so a
    /// receiver that is slow misses steps and no outcome.
    fn watch(&self) -> watch::Receiver<Arc<View>>;

    /// The number of this node: the one that its incarnation was given before, or one that no node has had.
    ///
    /// # Errors
    /// If the engine is away, the cluster was not made yet, all numbers are used, or another running node has the same
    /// incarnation, as the clone of a virtual machine does.
    fn register(&self, claim: Claim) -> Answer<'_, NodeNumber>;

    /// Tells the others about this node, under its lease where the engine has leases; from then on the engine sees to it
    /// that the record stands, also after it was away. While it is away, the record is taken and told later: that is no
    /// error.
    ///
    /// # Errors
    /// If the record is for a number that this node was not given by [`register`](Self::register).
    fn publish(&self, record: NodeRecord) -> Answer<'_, ()>;

    /// Takes this node's record away: it stops. A generation that hands over to a next one on the same host withdraws
    /// after the next has published: the record is then the next one's, and stays.
    ///
    /// # Errors
    /// If the engine is away. The lease then runs out by itself.
    fn withdraw(&self) -> Answer<'_, ()>;

    /// Changes what the nodes share, all of it or nothing, if it is still as the change supposes: compare-and-swap. The
    /// answer is the new [`revision`](super::ClusterState::revision).
    ///
    /// # Errors
    /// [`Conflict`](MembershipError::Conflict) if something has changed meanwhile: look again, and decide anew.
    fn commit(&self, change: Change) -> Answer<'_, u64>;
}

/// What an engine is and can do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EngineInfo {
    /// Its name in the configuration.
    pub name: &'static str,
    /// Whether a node that dies loses its record by itself. Without, only silence and the operator tell that it is gone.
    pub has_leases: bool,
}

/// By what a node is told from others when it asks for its number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim {
    /// Its own address, for engines whose list names nodes by that.
    pub address: IpAddr,
    /// The random number in its state folder.
    pub incarnation: Incarnation,
    /// A number that every run on this host has and no other host: a hash of the kernel's boot ID, for one. Two runs with
    /// one incarnation are generations of one node if they have the same, and else a node and its copy.
    pub host: u64,
}
