//! What sends a flood.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use anyhow::{Context as _, Result};
use router_tests::lab::{Wire, wire::Sender};

use super::forged::Frames;

/// A thread that sends frames from the clients' end of their wire, as fast as its core lets it. On a veth that core
/// receives them at the other end, too, and runs the XDP program. It ends when it is dropped.
pub(super) struct Generator {
    goes_on: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Generator {
    pub(super) fn start(wire: &Wire, frames: Frames) -> Result<Self> {
        let sender = Sender::new(wire.namespace(), "router0")?;
        let goes_on = Arc::new(AtomicBool::new(true));
        let told = Arc::clone(&goes_on);
        let thread = thread::spawn(move || sender.flood(frames.parts().cycle(), || told.load(Ordering::Relaxed)));
        Ok(Self { goes_on, thread: Some(thread) })
    }

    /// Ends it; an error if it could not go on until now.
    pub(super) fn stop(mut self) -> Result<()> {
        self.goes_on.store(false, Ordering::Relaxed);
        let thread = self.thread.take().context("it runs")?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        self.goes_on.store(false, Ordering::Relaxed);
    }
}
