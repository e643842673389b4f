//! `quic-router upgrade`: starts the next generation, and waits until it has taken over.

use std::{
    env,
    path::{Path, PathBuf},
    process::Stdio,
    rc::Rc,
    time::Duration,
};

use tokio::{
    process::{Child, Command},
    sync::oneshot,
    task::spawn_local,
    time::timeout,
};

use super::{error::TakeoverError, protocol::Neighbour};
use crate::agent::{error::AgentError, node::Node};

/// Starts `binary`, or what is where this agent's own binary was, and waits until it has taken
/// over, at most for `patience`.
///
/// # Errors
/// If it does not; then it is gone, and this generation serves on.
pub(in crate::agent) async fn upgrade(
    node: &Rc<Node>,
    binary: Option<PathBuf>,
    patience: Duration,
) -> Result<Neighbour, AgentError> {
    node.generations.require_charge()?;
    refuse_first_process(std::process::id())?;
    if node.generations.is_upgrading() {
        return Err(TakeoverError::UpgradeUnderWay.into());
    }
    let binary = match binary {
        Some(binary) => binary,
        None => own_binary()?,
    };
    let (asked, mut outcome) = oneshot::channel();
    let mut child = start(&binary)?;
    node.generations.await_upgrade(Some(asked));
    let waited = timeout(patience, async {
        tokio::select! {
            biased;
            outcome = &mut outcome => outcome.unwrap_or_else(|_| Err(TakeoverError::Stopping.into())),
            ended = child.wait() => {
                let how = ended.map_or_else(|e| e.to_string(), |status| status.to_string());
                // What it said before it ended says more.
                match timeout(STDERR_GRACE, outcome).await {
                    Ok(Ok(Err(e))) => Err(e),
                    _ => Err(TakeoverError::Ended { binary: binary.clone(), how }.into()),
                }
            }
        }
    });
    let result = waited.await.unwrap_or_else(|_| Err(TakeoverError::Late { binary: binary.clone(), patience }.into()));
    node.generations.await_upgrade(None);
    match result {
        Ok(successor) => {
            spawn_local(async move { child.wait().await });
            Ok(successor)
        }
        Err(e) => {
            end(&mut child).await;
            Err(e)
        }
    }
}

/// When process 1 of a PID namespace ends, the kernel ends all others there: also the new generation.
pub(super) fn refuse_first_process(pid: u32) -> Result<(), TakeoverError> {
    match pid {
        1 => Err(TakeoverError::FirstProcess),
        _ => Ok(()),
    }
}

/// A child that failed is not left behind.
async fn end(child: &mut Child) {
    if let Err(e) = child.kill().await {
        tracing::debug!("the new generation had ended: {e}");
    }
}

fn start(binary: &Path) -> Result<Child, TakeoverError> {
    let mut arguments: Vec<_> = env::args_os().skip(1).collect();
    if !arguments.iter().any(|argument| argument == "--takeover") {
        arguments.push("--takeover".into());
    }
    Command::new(binary)
        .args(arguments)
        .stdin(Stdio::null())
        .spawn()
        .map_err(|source| TakeoverError::NotStarted { binary: binary.to_owned(), source })
}

/// Where this program was started from: a new version of it lies there by now, or the same.
fn own_binary() -> Result<PathBuf, TakeoverError> {
    let path = env::current_exe().map_err(TakeoverError::OwnBinary)?;
    // As the kernel names a file that was replaced.
    match path.to_str().and_then(|path| path.strip_suffix(" (deleted)")) {
        Some(path) => Ok(path.into()),
        None => Ok(path),
    }
}

const STDERR_GRACE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::error::RoomError as _;

    /// An upgrade had said that it took place, and then everything ended with the old generation.
    #[test]
    fn process_1_cannot_be_replaced() {
        let refused = refuse_first_process(1).unwrap_err();
        assert!(refused.to_string().starts_with("this agent is process 1 of its container"), "{refused}");
        assert!(refused.hint().is_some_and(|hint| hint.contains("docker run --init")));
        assert!(refuse_first_process(2).is_ok());
    }
}
