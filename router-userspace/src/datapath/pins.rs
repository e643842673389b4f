//! The pin directory: one running agent's, found and cleaned if that agent is gone.
//!
//! An agent holds an exclusive lock on the directory for as long as it runs. Whatever lies
//! in a directory that nobody holds is what a crashed run left behind.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use aya::Ebpf;
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    sys::statfs::{FsType, statfs},
};

use super::error::{DatapathError, Result};

/// A pin directory that this process holds. It goes with everything in it when this is dropped.
#[derive(Debug)]
pub struct Pins {
    directory: PathBuf,
    _lock: Flock<File>,
}

impl Pins {
    /// Makes `directory` (mode 0700), takes it, and removes what a crashed run left in it.
    ///
    /// Returns the names of what was removed.
    ///
    /// # Errors
    /// If it is not on a bpffs, or if an agent that runs holds it.
    pub fn take(directory: &Path) -> Result<(Self, Vec<String>)> {
        let at = |source| DatapathError::Directory { path: directory.to_owned(), source };
        require_bpffs(directory)?;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(at)?;
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).map_err(at)?;
        let lock = lock(directory)?;
        let stale = remove_all(directory).map_err(at)?;
        Ok((Self { directory: directory.to_owned(), _lock: lock }, stale))
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where the map `name` is pinned.
    pub(super) fn map(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Where the link of `interface` is pinned.
    pub(super) fn link(&self, interface: &str) -> PathBuf {
        self.directory.join(format!("{LINK_PREFIX}{interface}"))
    }

    pub(super) fn pin_map(&self, ebpf: &Ebpf, name: &'static str) -> Result<()> {
        Ok(ebpf.map(name).ok_or(DatapathError::MissingMap(name))?.pin(self.map(name))?)
    }
}

impl Drop for Pins {
    /// Removes every pin, and the directory: also when a start fails halfway.
    fn drop(&mut self) {
        let removed = remove_all(&self.directory).and_then(|_| fs::remove_dir(&self.directory));
        if let Err(e) = removed {
            tracing::warn!("{}: cannot be removed: {e}", self.directory.display());
        }
    }
}

/// Removes the pins of an instance that no longer runs; what was removed.
///
/// # Errors
/// If an agent that runs holds the directory.
pub fn remove_stale(directory: &Path) -> Result<Vec<String>> {
    if !directory.exists() {
        return Ok(Vec::new());
    }
    let (_pins, removed) = Pins::take(directory)?;
    Ok(removed)
}

/// The kernel's account of a pinned map's memory, in bytes (`memlock` in its fdinfo).
pub(super) fn memory(pin: &Path) -> Option<u64> {
    let map = aya::maps::MapData::from_pin(pin).ok()?;
    let descriptor = std::os::fd::AsRawFd::as_raw_fd(&std::os::fd::AsFd::as_fd(map.fd()));
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{descriptor}")).ok()?;
    info.lines().find_map(|line| line.strip_prefix("memlock:")?.trim().parse().ok())
}

fn lock(directory: &Path) -> Result<Flock<File>> {
    let at = |source| DatapathError::Directory { path: directory.to_owned(), source };
    let file = File::open(directory).map_err(at)?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        Errno::EWOULDBLOCK => DatapathError::InUse(directory.to_owned()),
        other => at(other.into()),
    })
}

/// Removes the files in `directory`, links first: what is detached cannot look into a map that is gone.
fn remove_all(directory: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort_by_key(|name| (!name.starts_with(LINK_PREFIX), name.clone()));
    for name in &names {
        fs::remove_file(directory.join(name))?;
    }
    Ok(names)
}

/// The directory, or the nearest one above it that exists, has to be on a bpffs.
fn require_bpffs(directory: &Path) -> Result<()> {
    let existing = directory.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    match statfs(existing) {
        Ok(stat) if stat.filesystem_type() == FsType(BPF_FS_MAGIC) => Ok(()),
        Ok(_) => Err(DatapathError::NoBpffs(directory.to_owned())),
        Err(errno) => Err(DatapathError::Directory { path: existing.to_owned(), source: errno.into() }),
    }
}

const LINK_PREFIX: &str = "link-";
/// `linux/magic.h`
const BPF_FS_MAGIC: i64 = 0xcafe_4a11;
