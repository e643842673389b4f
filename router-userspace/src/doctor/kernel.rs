//! The kernel: its version, its BPF and where BPF objects are pinned.

use std::{fs, path::Path};

use nix::sys::statfs::{FsType, statfs};

use super::{
    finding::Finding,
    wanted::{Need, Wanted},
};

/// What the kernel is and has.
#[derive(Debug)]
pub(super) struct Facts {
    /// As `uname -r` prints it.
    release: String,
    /// It describes its own types.
    btf: bool,
    /// `bpf_dir`, or where it would be made, is on a bpffs.
    bpffs: bool,
    /// BPF programs are compiled, not interpreted; none where it can't be seen.
    jit: Option<bool>,
}

/// Looks.
pub(super) fn facts(wanted: &Wanted) -> Facts {
    Facts {
        release: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
        btf: Path::new("/sys/kernel/btf/vmlinux").exists(),
        bpffs: on_bpffs(&wanted.bpf_dir),
        jit: fs::read_to_string("/proc/sys/net/core/bpf_jit_enable").ok().map(|text| text.trim() != "0"),
    }
}

/// Judges.
pub(super) fn judge(facts: &Facts, wanted: &Wanted) -> Vec<Finding> {
    let mut findings = vec![version(&facts.release, wanted.bpf())];
    if wanted.bpf() == Need::Unused {
        return findings;
    }
    findings.push(if facts.bpffs {
        Finding::ok("bpffs", format!("{} is on a bpffs", wanted.bpf_dir.display()))
    } else {
        let finding = format!("{} is not on a bpffs: maps and links cannot be pinned", wanted.bpf_dir.display());
        wanted.bpf().missing("bpffs", finding).hint("mount -t bpf bpf /sys/fs/bpf")
    });
    findings.push(if facts.btf {
        Finding::ok("btf", "the kernel describes its types (BTF)")
    } else {
        Finding::ok("btf", "the kernel does not describe its types (no BTF): the router's maps bring their own")
    });
    if facts.jit == Some(false) {
        findings.push(
            Finding::warn("jit", "BPF programs are interpreted: many times slower")
                .hint("sysctl -w net.core.bpf_jit_enable=1"),
        );
    }
    findings
}

fn version(release: &str, bpf: Need) -> Finding {
    let Some(version) = parse(release) else {
        return Finding::warn("kernel", format!("cannot read a Linux version from {release:?}"));
    };
    let (major, minor) = OLDEST;
    if version >= OLDEST {
        Finding::ok("kernel", format!("Linux {release} ({major}.{minor} or later is supported)"))
    } else {
        let why = "nothing older was tried, and XDP on multi-queue veth, BPF links and memory accounting came late";
        bpf.missing("kernel", format!("Linux {release} is older than {major}.{minor}, the oldest supported: {why}"))
            .hint("a newer kernel, or engine = \"userspace\", which needs no BPF")
    }
}

/// The first two numbers of `6.18.44-arch1`.
fn parse(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Whether `path`, or the nearest folder above it that exists, is on a bpffs.
fn on_bpffs(path: &Path) -> bool {
    let existing = path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    statfs(existing).is_ok_and(|stat| stat.filesystem_type() == FsType(BPF_FS_MAGIC))
}

/// The oldest kernel supported.
const OLDEST: (u32, u32) = (5, 15);

/// `linux/magic.h`
const BPF_FS_MAGIC: i64 = 0xcafe_4a11;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Engine;

    const FINE: fn() -> Facts =
        || Facts { release: "6.18.44-arch1".to_owned(), btf: true, bpffs: true, jit: Some(true) };

    #[test]
    fn a_kernel_that_has_it_all() {
        let expected = [
            Finding::ok("kernel", "Linux 6.18.44-arch1 (5.15 or later is supported)"),
            Finding::ok("bpffs", "/sys/fs/bpf/quic-router is on a bpffs"),
            Finding::ok("btf", "the kernel describes its types (BTF)"),
        ];
        assert_eq!(judge(&FINE(), &Wanted::sample(Engine::Xdp)), expected);
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(parse("5.9.1"), Some((5, 9)));
        assert_eq!(parse("6.1"), Some((6, 1)));
        assert_eq!(parse("unknown"), None);
        for (release, supported) in [("5.9.0", false), ("5.14.21", false), ("5.15.0-91-generic", true), ("6.1", true)] {
            let findings = judge(&Facts { release: release.to_owned(), ..FINE() }, &Wanted::sample(Engine::Xdp));
            assert_eq!(findings[0] == version(release, Need::Unused), supported, "{release}: {findings:?}");
        }
    }

    #[test]
    fn a_missing_bpffs_fails_what_needs_it() {
        let bare = Facts { bpffs: false, jit: Some(false), ..FINE() };
        let finding = "/sys/fs/bpf/quic-router is not on a bpffs: maps and links cannot be pinned";
        let mount = "mount -t bpf bpf /sys/fs/bpf";
        let findings = |engine| judge(&bare, &Wanted::sample(engine));
        assert_eq!(findings(Engine::Reuseport)[1], Finding::fail("bpffs", finding).hint(mount));
        assert_eq!(findings(Engine::Auto)[1], Finding::warn("bpffs", finding).hint(mount));
        assert_eq!(findings(Engine::Userspace).len(), 1, "the version alone matters");
    }
}
