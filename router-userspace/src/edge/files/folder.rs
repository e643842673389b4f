//! The folder that is served, and the files below it.
//!
//! The kernel itself keeps each name below the folder, at the moment it is opened: symbolic links
//! may lead anywhere within, and nowhere else (openat2(2), RESOLVE_BENEATH).

use std::{
    fs::{File, Metadata},
    io,
    os::{fd::OwnedFd, unix::fs::MetadataExt as _},
    path::Path,
    time::{Duration, SystemTime},
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2},
    sys::stat::Mode,
};

use super::{conditions::Validators, fields::printed};

/// Open, but not for reading: it only says where names begin.
#[derive(Debug)]
pub(super) struct Folder(OwnedFd);

/// What has a name.
pub(super) enum Found {
    File(RegularFile),
    Folder,
    /// Nothing that is served, for whatever reason.
    Nothing,
}

impl Folder {
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        Ok(Self(open(dir, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?))
    }

    /// What has this name below the folder. An error is the machine's, not the name's.
    pub(super) fn find(&self, path: &str) -> io::Result<Found> {
        let file = match self.open_beneath(path) {
            Ok(file) => File::from(file),
            Err(
                Errno::ENOENT
                | Errno::ENOTDIR
                | Errno::ENAMETOOLONG
                | Errno::EACCES
                | Errno::EPERM
                // A symbolic link that leads out, or in a circle.
                | Errno::EXDEV
                | Errno::ELOOP
                // A socket, or a device without a driver.
                | Errno::ENXIO
                | Errno::ENODEV,
            ) => return Ok(Found::Nothing),
            Err(error) => return Err(error.into()),
        };
        let metadata = file.metadata()?;
        Ok(match metadata.file_type() {
            kind if kind.is_file() => Found::File(RegularFile::new(path, file, &metadata)),
            kind if kind.is_dir() => Found::Folder,
            _ => Found::Nothing,
        })
    }

    /// Does not wait for a pipe's other end, nor makes a terminal ours.
    fn open_beneath(&self, path: &str) -> nix::Result<OwnedFd> {
        let how = OpenHow::new()
            .flags(OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let mut attempts = 1..ATTEMPTS;
        loop {
            match openat2(&self.0, path, how) {
                // Something was renamed while a link's `..` was followed.
                Err(Errno::EAGAIN | Errno::EINTR) if attempts.next().is_some() => {}
                opened => return opened,
            }
        }
    }
}

/// A regular file as it was when it was opened.
pub(super) struct RegularFile {
    path: Box<str>,
    /// None once it was closed.
    file: Option<File>,
    inode: u64,
    length: u64,
    /// When it was last modified: since 1970, seconds and what is left of them in nanoseconds.
    modified: (i64, i64),
}

impl RegularFile {
    fn new(path: &str, file: File, metadata: &Metadata) -> Self {
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        Self { path: path.into(), file: Some(file), inode: metadata.ino(), length: metadata.len(), modified }
    }

    /// The name that it was found by.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The same without its descriptor.
    pub(super) fn closed(self) -> Self {
        Self { file: None, ..self }
    }

    /// To be read.
    pub(super) fn into_file(self) -> io::Result<File> {
        self.file.ok_or_else(|| io::Error::other("the file was closed"))
    }

    /// Whether nothing has changed between the two.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        (self.inode, self.length, self.modified) == (other.inode, other.length, other.modified)
    }

    /// In octets.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// What tells this content from others that have the same name, before or after.
    pub(super) fn validators(&self) -> Validators {
        let Self { inode, length, modified: (seconds, nanoseconds), .. } = self;
        let etag = format!("\"{inode:x}-{length:x}-{seconds:x}.{nanoseconds:08x}\"");
        // Never later than the response's own date (RFC 9110 section 8.8.2.1), and in whole
        // seconds. A file that was given a date before 1970 has none.
        let now = SystemTime::now();
        let modified = u64::try_from(*seconds).ok().and_then(|seconds| {
            let modified = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?;
            Some(modified.min(now))
        });
        Validators { etag: printed(etag), modified, now }
    }
}

/// How often a name is looked up that changes meanwhile.
const ATTEMPTS: u32 = 8;
