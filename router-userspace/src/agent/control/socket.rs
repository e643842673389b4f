//! The control socket's file: bound, and its name handed from one generation to the next.

use std::{
    cell::RefCell,
    fs, io,
    os::unix::{
        fs::{DirBuilderExt as _, PermissionsExt as _},
        net::UnixStream as StdUnixStream,
    },
    path::{Path, PathBuf},
};

use router_common::identifiers::GenerationId;
use tokio::net::{UnixListener, UnixStream};

use crate::agent::error::{ErrorKind, RoomError};

/// The bound socket; dropping it removes its file.
pub(in crate::agent) struct ControlSocket {
    /// As configured.
    path: PathBuf,
    /// Where it is, if not there: another generation has that.
    elsewhere: RefCell<Option<PathBuf>>,
    listener: UnixListener,
}

impl ControlSocket {
    /// Binds the socket, in place of one that a crashed run left.
    ///
    /// # Errors
    /// If an agent answers on it.
    pub(in crate::agent) fn bind(path: &Path) -> Result<Self, ControlError> {
        refuse_if_answered(path)?;
        if let Some(parent) = path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o755).create(parent).map_err(|e| failed(path, e))?;
        }
        Self::listen(path, path)
    }

    /// Binds the socket of a generation that gets ready beside the one that answers at `path`.
    pub(in crate::agent) fn bind_beside(path: &Path) -> Result<Self, ControlError> {
        Self::listen(path, &beside(path, &format!("new-{}", std::process::id())))
    }

    fn listen(path: &Path, here: &Path) -> Result<Self, ControlError> {
        match fs::remove_file(here) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(here, e)),
            _ => {}
        }
        let listener = UnixListener::bind(here).map_err(|e| failed(here, e))?;
        let elsewhere = RefCell::new((here != path).then(|| here.to_owned()));
        let socket = Self { path: path.to_owned(), elsewhere, listener };
        fs::set_permissions(here, fs::Permissions::from_mode(0o600)).map_err(|e| failed(here, e))?;
        Ok(socket)
    }

    /// The next client.
    ///
    /// # Errors
    /// If the system is short of something; the next call may succeed.
    pub(super) async fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().await.map(|(stream, _)| stream)
    }

    /// Takes the configured name by a rename, so that there is never a moment without a socket of that name.
    pub(in crate::agent) fn take_place(&self) -> Result<(), ControlError> {
        match self.elsewhere.take() {
            Some(here) => fs::rename(here, &self.path).map_err(|e| failed(&self.path, e)),
            None => Ok(()),
        }
    }

    /// Takes another name beside the configured one, which the next generation is about to take.
    pub(in crate::agent) fn step_aside(&self, generation: GenerationId) -> Result<(), ControlError> {
        let here = aside(&self.path, generation);
        // What a run of that number left, long ago.
        let _ = fs::remove_file(&here);
        fs::hard_link(&self.path, &here).map_err(|e| failed(&here, e))?;
        *self.elsewhere.borrow_mut() = Some(here);
        Ok(())
    }

    /// Takes the configured name back.
    pub(in crate::agent) fn step_back(&self) -> Result<(), ControlError> {
        let Some(here) = self.elsewhere.borrow().clone() else { return Ok(()) };
        self.take_place()?;
        // Where both names were this socket's, a rename has changed nothing.
        let _ = fs::remove_file(here);
        Ok(())
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let here = self.elsewhere.borrow();
        // It may have been removed by hand.
        let _ = fs::remove_file(here.as_ref().unwrap_or(&self.path));
    }
}

/// Where the control socket of a generation is that has handed over.
pub(in crate::agent) fn aside(path: &Path, generation: GenerationId) -> PathBuf {
    beside(path, &generation.to_string())
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

fn failed(path: &Path, source: io::Error) -> ControlError {
    ControlError::System { path: path.to_owned(), source }
}

/// Why the agent does not answer on its control socket.
#[derive(Debug, thiserror::Error)]
pub(in crate::agent) enum ControlError {
    /// Another agent does.
    #[error("an agent is running: it answers on {}", .0.display())]
    Answered(PathBuf),
    /// The system refuses the socket, or its folder.
    #[error("control socket {}: {source}", path.display())]
    System {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl RoomError for ControlError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Answered(_) => ErrorKind::Refused,
            Self::System { .. } => ErrorKind::Kernel,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Answered(_) => Some("quic-router status".to_owned()),
            Self::System { .. } => None,
        }
    }
}

/// Refuses to go on if an agent answers at `path`.
pub(in crate::agent) fn refuse_if_answered(path: &Path) -> Result<(), ControlError> {
    match StdUnixStream::connect(path) {
        Ok(_) => Err(ControlError::Answered(path.to_owned())),
        Err(_) => Ok(()),
    }
}
