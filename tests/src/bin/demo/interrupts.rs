//! Ctrl-C and SIGTERM.

use std::{
    sync::mpsc::{self, Receiver},
    thread,
};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{SigSet, Signal};

/// Ctrl-C and SIGTERM, from now on: requests to take everything down, not the end.
pub(crate) struct Interrupts(Receiver<()>);

impl Interrupts {
    pub(crate) fn watch() -> Result<Self> {
        let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM]);
        // Before any other thread exists, so that they all block them.
        signals.thread_block().context("cannot block signals")?;
        let (tell, told) = mpsc::channel();
        thread::spawn(move || while signals.wait().is_ok() && tell.send(()).is_ok() {});
        Ok(Self(told))
    }

    pub(crate) fn check(&self) -> Result<()> {
        ensure!(self.0.try_recv().is_err(), "interrupted; everything is taken down");
        Ok(())
    }

    pub(crate) fn wait(&self) {
        let _ = self.0.recv();
    }
}
