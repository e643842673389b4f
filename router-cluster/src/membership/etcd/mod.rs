//! The engine `etcd`: the cluster's state below `/quic-router/NAME/` in an etcd of version 3.4 or newer.
//!
//! ```text
//! connect ─► full range ─► repair what was lost ─► watch from the next revision ─► live
//!    ▲                                                   │ events; full range every minute; lease
//!    └──── backoff ◄── silence, errors, compaction ◄─────┘
//! ```
//!
//! - It runs on a thread of its own, so nothing that the agent does delays a lease, and nothing here delays the agent.
//! - A view is live from a full range on, for as long as the watch stands. A watch can hang without an error, so HTTP/2
//!   pings, the lease's renewal and a full range every minute each notice that in their own way.
//! - Records that vanish within a lease's time after the view became live are kept that long: their nodes may not have come
//!   back yet from what this node has just come back from.
//! - While etcd is away the last known state holds. What it has lost when it comes back (its data directory was wiped, or is
//!   an older backup) is put back from there; entries are sealed, so any node can do that.
//!
//! # What it costs
//!
//! The client is the crate `etcd-client`, on tonic and prost. Building it takes `protoc` and the protocols that every other
//! includes (Debian: `protobuf-compiler`, `libprotobuf-dev`). Measured on two cores, with an optimised build from nothing:
//!
//! | | without `etcd` | with it |
//! |---|---|---|
//! | crates compiled, for this crate alone | 45 | 131 |
//! | CPU time of the compiler | 93 s | 175 s |
//! | a program with this crate, stripped | 0.7 MB | 6.6 MB |
//!
//! Much of that is in the router anyway (hyper, h2, rustls, tokio): the workspace has 33 packages more by it.

mod backoff;
mod command;
mod connection;
mod engine;
mod known;
mod own;
mod settings;
mod snapshot;

use std::{fmt, io, sync::Arc, thread};

use tokio::{
    runtime,
    sync::{mpsc, oneshot, watch},
};

pub use self::settings::{EtcdIdentity, EtcdSettings, EtcdStartError, EtcdTiming, EtcdTls};
use self::{command::Command, engine::Engine, settings::NAME};
use super::{Answer, Change, Claim, EngineInfo, Membership, MembershipError, NodeNumber, NodeRecord, View};
use crate::secret::ClusterSecret;

/// The engine `etcd`.
pub struct Etcd {
    commands: mpsc::UnboundedSender<Command>,
    view: watch::Receiver<Arc<View>>,
}

impl Etcd {
    /// Starts it. The view is that of the snapshot at first, if there is one.
    ///
    /// # Errors
    /// If the settings make no sense, or there is no thread for it.
    pub fn start(settings: EtcdSettings, secret: &ClusterSecret) -> Result<Self, EtcdStartError> {
        settings.check()?;
        let (commands, receiver) = mpsc::unbounded_channel();
        let (engine, view) = Engine::new(settings, secret, receiver);
        let (started, outcome) = std::sync::mpsc::channel();
        // The runtime belongs to the thread: one that is dropped where another runs panics.
        let run = move || match runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => {
                let _ = started.send(Ok(()));
                runtime.block_on(engine.run());
            }
            Err(error) => drop(started.send(Err(error))),
        };
        thread::Builder::new().name(NAME.to_owned()).spawn(run)?;
        outcome.recv().unwrap_or_else(|_| Err(io::Error::other("it has ended at once")))?;
        Ok(Self { commands, view })
    }

    /// Has the engine do something, and waits for its answer.
    fn ask<T: Send + 'static>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, MembershipError>>) -> Command,
    ) -> Answer<'_, T> {
        let (reply, answer) = oneshot::channel();
        // If the engine has ended, the reply is dropped with the command.
        let _ = self.commands.send(command(reply));
        Box::pin(async {
            let ended = || MembershipError::Away { engine: NAME, why: "its thread has ended".to_owned() };
            answer.await.unwrap_or_else(|_| Err(ended()))
        })
    }
}

impl Membership for Etcd {
    fn engine(&self) -> EngineInfo {
        EngineInfo { name: NAME, has_leases: true }
    }

    fn watch(&self) -> watch::Receiver<Arc<View>> {
        self.view.clone()
    }

    fn register(&self, claim: Claim) -> Answer<'_, NodeNumber> {
        self.ask(|reply| Command::Register(claim, reply))
    }

    fn publish(&self, record: NodeRecord) -> Answer<'_, ()> {
        self.ask(|reply| Command::Publish(record, reply))
    }

    fn withdraw(&self) -> Answer<'_, ()> {
        self.ask(Command::Withdraw)
    }

    fn commit(&self, change: Change) -> Answer<'_, u64> {
        self.ask(|reply| Command::Commit(change, reply))
    }
}

impl fmt::Debug for Etcd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Etcd")
    }
}
