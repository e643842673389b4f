//! The pin directory: one node's, found and cleaned if no agent of it runs.
//!
//! An agent holds a lock on the directory for as long as it runs: exclusive until everything
//! is in place, then shared with the generations before and after it. Whatever lies in a
//! directory that no agent holds is what a crashed run left behind.
//!
//! Pins are reached by the descriptor that is locked, not by the directory's path: a file system that is
//! mounted over it later hides the path, and neither the pins nor what they keep attached.
//!
//! The rule this file keeps: only names of ours are ever removed. A directory that holds anything else is
//! refused, and left as it is.

use std::{
    fs::{self, File},
    io,
    os::{
        fd::AsRawFd as _,
        unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
};

use aya::{
    Ebpf,
    maps::{Array, Map, MapData},
};
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    sys::statfs::{FsType, statfs},
};

use router_common::maps::{SCHEMA, Settings, names};

use super::{
    error::{DatapathError, Result},
    plain::Plain,
};

/// A pin directory that this process holds. It goes with everything in it when this is dropped,
/// unless it is another generation's.
#[derive(Debug)]
pub struct Pins {
    directory: PathBuf,
    lock: Flock<File>,
    /// What the directory is in, by which it is removed.
    parent: File,
    ours: bool,
}

impl Pins {
    /// Makes `directory` (mode 0700), takes it, and removes what a crashed run left in it.
    ///
    /// Returns the names of what was removed.
    ///
    /// # Errors
    /// If it is not on a bpffs, if it is shared with others, or if an agent that runs holds it.
    pub fn take(directory: &Path) -> Result<(Self, Vec<String>)> {
        let at = |source| DatapathError::Directory { path: directory.to_owned(), source };
        require_bpffs(directory)?;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(at)?;
        let lock = lock(directory, FlockArg::LockExclusiveNonblock)?;
        require_own(directory)?;
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).map_err(at)?;
        let stale = remove_all(directory).map_err(at)?;
        let parent = parent(directory)?;
        Ok((Self { directory: directory.to_owned(), lock, parent, ours: true }, stale))
    }

    /// Makes the directory again if it was removed; whether it was.
    ///
    /// # Errors
    /// If it cannot be made, or another program has made it.
    pub(super) fn restore_directory(&mut self) -> Result<bool> {
        let at = |source| DatapathError::Directory { path: self.directory.clone(), source };
        if self.lock.metadata().map_err(at)?.nlink() > 0 {
            return Ok(false);
        }
        require_bpffs(&self.directory)?;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.directory).map_err(at)?;
        require_own(&self.directory)?;
        self.lock = lock(&self.directory, FlockArg::LockSharedNonblock)?;
        self.parent = parent(&self.directory)?;
        Ok(true)
    }

    /// Whether something else is at the directory's path now: a file system that was mounted over it.
    pub fn is_hidden(&self) -> bool {
        let place = |found: io::Result<fs::Metadata>| found.map(|found| (found.dev(), found.ino()));
        match (place(self.lock.metadata()), place(fs::metadata(&self.directory))) {
            (Ok(held), Ok(there)) => held != there,
            (Ok(_), Err(_)) => true,
            (Err(_), _) => false,
        }
    }

    /// The directory as it is held, whatever is at its path.
    fn held(&self) -> PathBuf {
        by_descriptor(&self.lock)
    }

    /// Holds `directory` beside the agent that runs there. What is in it stays that agent's.
    ///
    /// # Errors
    /// If it is not there, or if an agent has it for itself, because it starts or takes it down.
    pub fn share(directory: &Path) -> Result<Self> {
        let lock = lock(directory, FlockArg::LockSharedNonblock)?;
        let parent = parent(directory)?;
        Ok(Self { directory: directory.to_owned(), lock, parent, ours: false })
    }

    /// Everything is in place: from now on other generations may hold the directory too.
    pub(super) fn settle(&self) -> Result<()> {
        self.lock.relock(FlockArg::LockSharedNonblock).map_err(|_| DatapathError::InUse(self.directory.clone()))
    }

    pub(super) fn are_ours(&self) -> bool {
        self.ours
    }

    /// Interfaces that links are pinned for.
    pub(super) fn links(&self) -> Vec<String> {
        let names = fs::read_dir(self.held()).into_iter().flatten().flatten();
        let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter_map(|name| name.strip_prefix(LINK_PREFIX).map(interface_of)).collect()
    }

    /// Refuses maps of another version of the contract.
    pub(super) fn require_schema(&self) -> Result<()> {
        let settings = Map::Array(MapData::from_pin(self.map(names::SETTINGS))?);
        // Read as what every version begins with, whatever follows.
        let found = match Array::<_, Plain<Settings>>::try_from(settings) {
            Ok(settings) => settings.get(&0, 0)?.0.schema(),
            Err(_) => 0,
        };
        match found == SCHEMA {
            true => Ok(()),
            false => Err(DatapathError::Schema { directory: self.directory.clone(), found, ours: SCHEMA }),
        }
    }

    /// Says whether what is in the directory goes with this.
    pub(super) fn set_ours(&mut self, ours: bool) {
        self.ours = ours;
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where the map `name` is pinned.
    pub(super) fn map(&self, name: &str) -> PathBuf {
        self.held().join(name)
    }

    /// Where the link of `interface` is pinned.
    pub(super) fn link(&self, interface: &str) -> PathBuf {
        link_pin(&self.held(), interface)
    }

    pub(super) fn pin_map(&self, ebpf: &Ebpf, name: &'static str) -> Result<()> {
        Ok(ebpf.map(name).ok_or(DatapathError::MissingMap(name))?.pin(self.map(name))?)
    }
}

impl Drop for Pins {
    /// Removes every pin, and the directory: also when a start fails halfway.
    fn drop(&mut self) {
        if !self.ours {
            return;
        }
        // At the path may be another.
        let own = by_descriptor(&self.parent).join(self.directory.file_name().unwrap_or_default());
        let removed = remove_all(&self.held()).and_then(|_| fs::remove_dir(own));
        if let Err(e) = removed {
            tracing::warn!("{}: cannot be removed: {e}", self.directory.display());
        }
    }
}

/// Where the link of `interface` is pinned in `directory`.
pub fn link_pin(directory: &Path, interface: &str) -> PathBuf {
    directory.join(format!("{LINK_PREFIX}{}", name_for(interface)))
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
    let map = MapData::from_pin(pin).ok()?;
    let descriptor = std::os::fd::AsRawFd::as_raw_fd(&std::os::fd::AsFd::as_fd(map.fd()));
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{descriptor}")).ok()?;
    info.lines().find_map(|line| line.strip_prefix("memlock:")?.trim().parse().ok())
}

/// An open directory, whatever has been mounted over it since.
fn by_descriptor(directory: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()))
}

fn parent(directory: &Path) -> Result<File> {
    let above = directory.parent().unwrap_or(directory);
    File::open(above).map_err(|source| DatapathError::Directory { path: above.to_owned(), source })
}

fn lock(directory: &Path, how: FlockArg) -> Result<Flock<File>> {
    let at = |source| DatapathError::Directory { path: directory.to_owned(), source };
    let file = File::open(directory).map_err(at)?;
    Flock::lock(file, how).map_err(|(_, errno)| match errno {
        Errno::EWOULDBLOCK => DatapathError::InUse(directory.to_owned()),
        other => at(other.into()),
    })
}

/// Removes our pins in `directory`, links first: what is detached cannot look into a map that is gone.
fn remove_all(directory: &Path) -> io::Result<Vec<String>> {
    let mut names = entries(directory)?;
    names.retain(|name| is_ours(name));
    names.sort_by_key(|name| (!name.starts_with(LINK_PREFIX), name.clone()));
    for name in &names {
        fs::remove_file(directory.join(name))?;
    }
    Ok(names)
}

/// A directory is ours if it holds nothing else than our pins, and is not the root of its file system,
/// which belongs to everybody.
fn require_own(directory: &Path) -> Result<()> {
    let at = |source| DatapathError::Directory { path: directory.to_owned(), source };
    let above = directory.parent().unwrap_or(directory);
    let device = |path: &Path| fs::metadata(path).map(|found| found.dev()).map_err(at);
    if device(directory)? != device(above)? {
        return Err(DatapathError::Shared { directory: directory.to_owned(), with: "the root of a bpffs".to_owned() });
    }
    match entries(directory).map_err(at)?.into_iter().find(|name| !is_ours(name)) {
        None => Ok(()),
        Some(name) => Err(DatapathError::Shared { directory: directory.to_owned(), with: format!("it holds {name}") }),
    }
}

fn entries(directory: &Path) -> io::Result<Vec<String>> {
    fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

/// Whether a pin of this name is one that an agent makes.
fn is_ours(name: &str) -> bool {
    names::ALL.contains(&name) || name.starts_with(LINK_PREFIX)
}

/// What stands for an interface in the name of a pin: bpffs reserves the dot, which VLAN interfaces have
/// in their names.
fn name_for(interface: &str) -> String {
    interface.replace('%', "%25").replace('.', "%2e")
}

fn interface_of(name: &str) -> String {
    name.replace("%2e", ".").replace("%25", "%")
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

#[cfg(test)]
mod tests {
    use super::*;

    /// ingress-node-firewall#686
    #[test]
    fn an_interface_is_found_again_by_the_name_of_its_pin() {
        for interface in ["eth0", "eth0.100", "a%2e.b", "%", "%25.%2e"] {
            let name = name_for(interface);
            assert!(!name.contains('.'), "bpffs refuses {name}");
            assert_eq!(interface_of(&name), interface);
        }
    }

    #[test]
    fn only_pins_that_an_agent_makes_are_ours() {
        assert!(is_ours("flows") && is_ours("link-eth0"));
        for other in ["cilium_calls", "flows2", "links", "tc"] {
            assert!(!is_ours(other), "{other}");
        }
    }
}
