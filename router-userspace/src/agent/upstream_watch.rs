//! Keeps what is known of upstreams' servers up to date: names resolved, health asked after.
//!
//! It has a thread of its own. Requests depend on it, and it must not wait while the agent walks a map or answers a
//! client.

use std::{io, sync::Arc, thread};

use tokio::{runtime, sync::watch};

use super::error::{ErrorKind, RoomError};
use crate::edge::upstream::Upstreams;

/// The watch over the upstreams in force. Dropping it ends it.
pub(super) struct UpstreamWatch {
    upstreams: watch::Sender<Option<Arc<Upstreams>>>,
}

impl UpstreamWatch {
    /// Begins, with nothing to watch yet.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(super) fn start() -> Result<Self, WatchError> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(WatchError::NotStarted)?;
        let (upstreams, changed) = watch::channel(None);
        let run = move || runtime.block_on(watch_each(changed));
        thread::Builder::new().name("upstreams".to_owned()).spawn(run).map_err(WatchError::NotStarted)?;
        Ok(Self { upstreams })
    }

    /// Watches these from now on, and no others.
    pub(super) fn set(&self, upstreams: Arc<Upstreams>) {
        self.upstreams.send_replace(Some(upstreams));
    }
}

/// Watches what is in force, until the agent has dropped its end.
async fn watch_each(mut changed: watch::Receiver<Option<Arc<Upstreams>>>) {
    loop {
        let now = changed.borrow_and_update().clone();
        let watching = async {
            match now {
                Some(upstreams) => upstreams.watch().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            ended = changed.changed() => if ended.is_err() { return },
            () = watching => {}
        }
    }
}

/// Why upstreams are not watched.
#[derive(Debug, thiserror::Error)]
pub(super) enum WatchError {
    /// The system gives no thread, or no runtime for it.
    #[error("upstreams cannot be watched: {0}")]
    NotStarted(io::Error),
}

impl RoomError for WatchError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Kernel
    }

    fn hint(&self) -> Option<String> {
        None
    }
}
