//! Certificates whose files change are taken up by themselves: those that are presented, and those of
//! the authorities that sign clients' certificates.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::config::{Certificates, Config};

/// The certificates' files as they were when last read.
#[derive(Clone)]
pub(super) struct CertificateFiles {
    looked: Instant,
    files: BTreeMap<PathBuf, Option<Stamp>>,
}

/// What changes when a file does: device and inode, size, and times of change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stamp([i64; 7]);

impl CertificateFiles {
    /// Those of `config`, as they are now.
    pub(super) fn of(config: &Config) -> Self {
        let pairs = config.listeners.iter().flat_map(|listener| match &listener.certificates {
            Certificates::Files(files) => &files[..],
            Certificates::SelfSigned => &[],
        });
        let authorities = config.listeners.iter().flat_map(|listener| &listener.client_certificates);
        let paths = pairs.flat_map(|pair| [&pair.cert, &pair.key]).chain(authorities.map(|wanted| &wanted.ca));
        Self { looked: Instant::now(), files: paths.map(|path| (path.clone(), stamp(path))).collect() }
    }

    /// Whether any has changed since; looks at most every second.
    pub(super) fn have_changed(&mut self) -> bool {
        if self.looked.elapsed() < BETWEEN_LOOKS {
            return false;
        }
        self.looked = Instant::now();
        let mut changed = false;
        for (path, known) in &mut self.files {
            let now = stamp(path);
            changed |= now != *known;
            *known = now;
        }
        changed
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let at = fs::metadata(path).ok()?;
    let numbers = [at.dev() as i64, at.ino() as i64, at.size() as i64];
    let [device, inode, size] = numbers;
    Some(Stamp([device, inode, size, at.mtime(), at.mtime_nsec(), at.ctime(), at.ctime_nsec()]))
}

const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_replaced_or_rewritten_has_changed() {
        let path = std::env::temp_dir().join(format!("quic-router-stamp-{}", std::process::id()));
        let other = path.with_extension("new");
        assert_eq!(stamp(&path), None);
        fs::write(&path, "one").unwrap();
        let first = stamp(&path);
        assert!(first.is_some() && first == stamp(&path));
        fs::write(&other, "two").unwrap();
        fs::rename(&other, &path).unwrap();
        assert_ne!(stamp(&path), first);
        fs::remove_file(&path).unwrap();
    }
}
