//! Whether another generation's process lives: told by the kernel, not asked for again and again.

use std::io;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::{Interest, unix::AsyncFd};

/// Waits until the process has ended; at once if there is none.
pub(super) async fn ended(pid: u32) {
    if let Err(e) = wait(pid).await {
        tracing::debug!(pid, "not there: {e}");
    }
}

async fn wait(pid: u32) -> io::Result<()> {
    let process = pidfd_open(id(pid)?, PidfdFlags::empty())?;
    #[expect(unsafe_code, reason = "tokio wants a promise about the file descriptor")]
    // SAFETY: the registration owns the descriptor, and nothing else closes or replaces it.
    let process = unsafe { AsyncFd::register_with_interest(process, Interest::READABLE) }?;
    process.readable().await.map(drop)
}

/// Ends the process, which may have been told to go on, and waits until it has.
pub(super) async fn make_sure_it_has_ended(pid: u32) {
    let killed = id(pid).and_then(|pid| Ok(pidfd_open(pid, PidfdFlags::empty())?));
    if let Err(e) = killed.and_then(|process| Ok(pidfd_send_signal(process, Signal::KILL)?)) {
        tracing::debug!(pid, "had ended: {e}");
    }
    ended(pid).await;
}

/// Asks the process to stop.
pub(super) fn terminate(pid: u32) -> io::Result<()> {
    let process = pidfd_open(id(pid)?, PidfdFlags::empty())?;
    Ok(pidfd_send_signal(process, Signal::TERM)?)
}

fn id(pid: u32) -> io::Result<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(|| io::Error::other("no process ID"))
}
