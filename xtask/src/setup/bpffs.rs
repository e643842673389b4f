//! The file system in which programs, links and maps are pinned.

use std::fs;

use anyhow::{Context as _, Result};

use crate::shell::{as_root, run};

/// Mounts bpffs at its usual place if it is not there.
pub(super) fn ready() -> Result<()> {
    if lacking().is_none() {
        return Ok(());
    }
    eprintln!("setup: mounting bpffs at {PLACE}");
    run(&mut as_root("mount", ["-t", "bpf", "bpf", PLACE])?)
        .context("no bpffs: a container needs the privilege to mount it, or to have it mounted from outside")
}

/// What [`ready`] would do, if anything.
pub(super) fn lacking() -> Option<String> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    (!is_mounted(&mounts)).then(|| format!("mount -t bpf bpf {PLACE}"))
}

/// Whether the list of mounts, in the form of `/proc/self/mounts`, has bpffs at its place.
fn is_mounted(mounts: &str) -> bool {
    mounts.lines().any(|mount| {
        let mut fields = mount.split(' ').skip(1);
        (fields.next(), fields.next()) == (Some(PLACE), Some("bpf"))
    })
}

const PLACE: &str = "/sys/fs/bpf";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bpffs_at_its_place_counts() {
        assert!(is_mounted("proc /proc proc rw 0 0\nbpf /sys/fs/bpf bpf rw,relatime 0 0\n"));
        assert!(is_mounted("none /sys/fs/bpf bpf rw 0 0"));
        assert!(!is_mounted("bpf /sys/fs/bpf/other bpf rw 0 0\nsysfs /sys sysfs rw 0 0\n"));
        assert!(!is_mounted("tmpfs /sys/fs/bpf tmpfs rw 0 0"));
    }
}
