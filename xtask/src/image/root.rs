//! The files of an image.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{
    shell::{capture, run},
    workspace,
};

/// Writes them below `root`, all with the time of the commit.
pub(super) fn write(root: &Path, name: &str, program: &Path) -> Result<()> {
    if root.exists() {
        fs::remove_dir_all(root).with_context(|| format!("cannot remove {}", root.display()))?;
    }
    for folder in FOLDERS {
        fs::create_dir_all(root.join(folder))?;
    }
    let authorities = fs::read(AUTHORITIES).with_context(|| format!("cannot read {AUTHORITIES}"))?;
    put(&root.join(AUTHORITIES.trim_start_matches('/')), &authorities, 0o644)?;
    for (file, text) in TEXTS {
        put(&root.join(file), text.as_bytes(), 0o644)?;
    }
    let octets = fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    put(&root.join("usr/bin").join(name), &octets, 0o755)?;
    let mut all = Command::new("find");
    all.arg(root).args(["-type", "d", "-exec", "chmod", "0755", "{}", "+"]);
    run(&mut all)?;
    let date = format!("@{}", workspace::commit_time()?);
    run(Command::new("find").arg(root).args(["-exec", "touch", "--no-dereference", "--date", &date, "{}", "+"]))
}

/// Octets of all files below it.
pub(super) fn size(root: &Path) -> Result<u64> {
    let said = capture(Command::new("du").args(["--summarize", "--bytes"]).arg(root))?;
    said.split_whitespace().next().and_then(|octets| octets.parse().ok()).context("du says no number")
}

fn put(path: &PathBuf, octets: &[u8], mode: u32) -> Result<()> {
    let folder = path.parent().context("a file is in a folder")?;
    fs::create_dir_all(folder)?;
    fs::write(path, octets).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(mode))?)
}

/// Where the agent and the container's runtime expect folders; runtimes cannot make them in a root that is
/// read-only.
const FOLDERS: &[&str] =
    &["dev", "etc/quic-router", "proc", "run/quic-router", "sys", "tmp", "usr/bin", "var/lib/quic-router"];

/// The certificates of authorities, where rustls looks for them; of the package ca-certificates.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The C library, linked in, reads the last one where /etc/resolv.conf is unusable and it resolves names.
const TEXTS: &[(&str, &str)] = &[
    ("etc/passwd", "root:x:0:0:root:/:/sbin/nologin\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n"),
    ("etc/group", "root:x:0:\nnogroup:x:65534:\n"),
    ("etc/nsswitch.conf", "hosts: files dns\n"),
];
