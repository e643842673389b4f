//! The state folder: whose it is, the master secret in it, and the number of the run. What
//! else is kept there is written through it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use nix::fcntl::{Flock, FlockArg};
use router_common::identifiers::GenerationId;
use zeroize::Zeroizing;

use super::{secrets::Secrets, state_error::StateError};

/// The state folder, held by this process, and by the generations before and after it.
#[derive(Debug)]
pub(super) struct State {
    directory: PathBuf,
    lock: Flock<File>,
}

impl State {
    /// Makes the folder (mode 0700) and takes it.
    ///
    /// # Errors
    /// If an agent that runs has it.
    pub(super) fn take(directory: &Path) -> Result<Self, StateError> {
        let state = Self::lock(directory, FlockArg::LockExclusiveNonblock)?;
        // No other process had it. The next generation may have it too, if we let it.
        match state.lock.relock(FlockArg::LockSharedNonblock) {
            Ok(()) => Ok(state),
            Err(e) => Err(failed(directory, e.into())),
        }
    }

    /// Takes the folder beside the generation that runs.
    ///
    /// # Errors
    /// If an agent starts there just now.
    pub(super) fn share(directory: &Path) -> Result<Self, StateError> {
        Self::lock(directory, FlockArg::LockSharedNonblock)
    }

    fn lock(directory: &Path, how: FlockArg) -> Result<Self, StateError> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(|e| failed(directory, e))?;
        let path = directory.join("lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let file = file.map_err(|e| failed(&path, e))?;
        let lock = Flock::lock(file, how).map_err(|_| StateError::InUse(directory.to_owned()))?;
        Ok(Self { directory: directory.to_owned(), lock })
    }

    /// The number of this run: one more than that of the last one here.
    pub(super) fn next_generation(&self) -> Result<GenerationId, StateError> {
        let path = self.directory.join("generation");
        let last = match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse::<u64>().map_err(|why| StateError::NoNumber { path: path.clone(), why })?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => 0,
            Err(e) => return Err(failed(&path, e)),
        };
        let next = GenerationId::new(last + 1);
        self.replace("generation", format!("{next}\n").as_bytes())?;
        Ok(next)
    }

    /// The master secret, made at the first start.
    ///
    /// # Errors
    /// Also if others than its owner can read it.
    pub(super) fn secrets(&self) -> Result<Secrets, StateError> {
        let path = self.directory.join(MASTER_FILE);
        let master = match self.read_secret(MASTER_FILE)? {
            Some(master) => master,
            None => {
                let master = Zeroizing::new(rand::random::<[u8; 32]>().to_vec());
                self.replace(MASTER_FILE, &master)?;
                master
            }
        };
        let octets = master.len();
        let master = <&[u8; 32]>::try_from(master.as_slice()).map_err(|_| StateError::MasterLength { path, octets })?;
        Ok(Secrets::new(master))
    }

    /// Where the file `name` is.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// A file that only its owner may be able to read; none if it is not there.
    ///
    /// # Errors
    /// Also if others can read it.
    pub(super) fn read_secret(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StateError> {
        read_secret(&self.path(name))
    }

    fn replace(&self, name: &str, contents: &[u8]) -> Result<(), StateError> {
        let path = self.path(name);
        replace(&path, contents).map_err(|e| failed(&path, e))
    }
}

/// The random number that tells this node from others, also from a copy of it: as long as the folder is kept, it is the
/// same. It needs no secrecy, and is read before the folder is taken.
///
/// # Errors
/// If it cannot be read, or is none.
pub(super) fn incarnation(directory: &Path) -> Result<u128, StateError> {
    if let Some(known) = known_incarnation(directory)? {
        return Ok(known);
    }
    let path = directory.join(INCARNATION_FILE);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(|e| failed(directory, e))?;
    let number = rand::random::<u128>();
    replace(&path, format!("{number:032x}\n").as_bytes()).map_err(|e| failed(&path, e))?;
    Ok(number)
}

/// The same; none, and nothing is written, if there is none yet.
///
/// # Errors
/// If it cannot be read, or is none.
pub(super) fn known_incarnation(directory: &Path) -> Result<Option<u128>, StateError> {
    let path = directory.join(INCARNATION_FILE);
    match fs::read_to_string(&path) {
        Ok(text) => u128::from_str_radix(text.trim(), 16).map(Some).map_err(|why| StateError::NoNumber { path, why }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(failed(&path, e)),
    }
}

/// Notes the number of this node in its cluster, for a start while the engine of membership is away.
///
/// # Errors
/// If it cannot be written.
pub(super) fn remember_number(directory: &Path, number: u16) -> Result<(), StateError> {
    let path = directory.join(NUMBER_FILE);
    replace(&path, format!("{number}\n").as_bytes()).map_err(|e| failed(&path, e))
}

/// The number that was noted; none if none was.
///
/// # Errors
/// If it cannot be read, or is none.
pub(super) fn remembered_number(directory: &Path) -> Result<Option<u16>, StateError> {
    let path = directory.join(NUMBER_FILE);
    match fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().map(Some).map_err(|why| StateError::NoNumber { path, why }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(failed(&path, e)),
    }
}

/// A file that only its owner may be able to read; none if it is not there.
pub(super) fn read_secret(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, StateError> {
    let contents = match fs::read(path) {
        Ok(contents) => Zeroizing::new(contents),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed(path, e)),
    };
    let mode = fs::metadata(path).map_err(|e| failed(path, e))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(StateError::ReadableByOthers { path: path.to_owned(), mode: mode & 0o777 });
    }
    Ok(Some(contents))
}

/// Writes a file of mode 0600 so that it is there whole, or as it was; also after a power cut.
pub(super) fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    // What an interrupted run left, or another program put there, is not written through.
    match fs::remove_file(&new) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&new)?;
    file.write_all(contents)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    // The name is in the folder, and that has to reach the disk too.
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

fn failed(path: &Path, source: io::Error) -> StateError {
    StateError::System { path: path.to_owned(), source }
}

const INCARNATION_FILE: &str = "incarnation";
const NUMBER_FILE: &str = "node-number";
const MASTER_FILE: &str = "master.key";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::error::RoomError as _;

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("quic-router-state-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        path
    }

    #[test]
    fn secrets_stay_and_generations_count() {
        let path = folder("stay");
        let first = State::take(&path).unwrap();
        let seed = first.secrets().unwrap().hash_seed();
        assert_eq!(first.next_generation().unwrap(), GenerationId::new(1));
        drop(first);
        let second = State::take(&path).unwrap();
        assert_eq!(second.secrets().unwrap().hash_seed(), seed);
        assert_eq!(second.next_generation().unwrap(), GenerationId::new(2));
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_node_is_the_same_as_long_as_its_folder_is_kept() {
        let path = folder("incarnation");
        assert_eq!(known_incarnation(&path).unwrap(), None);
        assert!(!path.exists(), "a look makes nothing");
        let first = incarnation(&path).unwrap();
        assert_eq!(known_incarnation(&path).unwrap(), Some(first));
        assert_eq!(incarnation(&path).unwrap(), first);
        assert_eq!(remembered_number(&path).unwrap(), None);
        remember_number(&path, 65_535).unwrap();
        assert_eq!(remembered_number(&path).unwrap(), Some(65_535));
        fs::remove_dir_all(&path).unwrap();
        assert_ne!(incarnation(&path).unwrap(), first);
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn two_agents_cannot_share_it() {
        let path = folder("share");
        let _held = State::take(&path).unwrap();
        assert!(State::take(&path).unwrap_err().to_string().contains("another agent"));
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_secret_that_others_can_read_is_refused() {
        let path = folder("read");
        let state = State::take(&path).unwrap();
        state.secrets().unwrap();
        let file = path.join(MASTER_FILE);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        let error = state.secrets().err().unwrap();
        assert!(error.to_string().contains("mode 644"), "{error}");
        assert_eq!(error.hint(), Some(format!("chmod 600 {}", file.display())));
        fs::remove_dir_all(path).unwrap();
    }
}
