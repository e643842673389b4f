//! Programs that come from Debian's packages.

use std::{
    path::Path,
    process::{Command, Stdio},
    sync::Once,
};

use anyhow::{Context as _, Result, bail};

use crate::shell::{as_root, capture, find, run};

/// Installs the packages of the programs that are not here.
pub(super) fn ready() -> Result<()> {
    install(&missing())?;
    if let Some((program, package)) = PROGRAMS.iter().find(|(program, _)| !is_here(program)) {
        bail!("{package} is installed, and still there is no {program}");
    }
    Ok(())
}

/// What [`ready`] would install, if anything.
pub(super) fn lacking() -> Option<String> {
    let packages = missing();
    (!packages.is_empty()).then(|| format!("apt-get install {}", packages.join(" ")))
}

fn missing() -> Vec<&'static str> {
    PROGRAMS.iter().filter(|(program, _)| !is_here(program)).map(|(_, package)| *package).collect()
}

/// Whether there is such a program, or such a file.
fn is_here(program: &str) -> bool {
    let file = Path::new(program);
    if file.is_absolute() { file.exists() } else { find(program).is_some() }
}

/// Installs Debian packages; does nothing for none.
///
/// # Errors
/// On a machine without apt, naming the packages; without the right to install; if apt fails.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let names = packages.join(" ");
    find("apt-get")
        .with_context(|| format!("missing on this machine, and there is no apt-get to install it: {names}"))?;
    fresh_lists();
    eprintln!("setup: installing {names}");
    run(&mut apt_get(&[INSTALL, packages].concat())?)
}

/// Has apt fetch its lists, once: those of a new machine, or of one that was not updated for a while, do not
/// know the packages that are wanted, or know only older ones. What is wrong with that, the installation says.
fn fresh_lists() {
    static DONE: Once = Once::new();
    DONE.call_once(|| {
        if let Err(error) = update_lists() {
            eprintln!("setup: apt's lists stay as they are: {error:#}");
        }
    });
}

/// Has apt fetch its lists of packages.
pub(crate) fn update_lists() -> Result<()> {
    run(&mut apt_get(&["update"])?)
}

/// Whether apt knows a package of this name that it could install.
pub(super) fn is_offered(package: &str) -> bool {
    let Some(apt_cache) = find("apt-cache") else { return false };
    fresh_lists();
    let policy = capture(Command::new(apt_cache).env("LC_ALL", "C").args(["policy", package]));
    policy.is_ok_and(|text| text.contains("Candidate:") && !text.contains("Candidate: (none)"))
}

fn apt_get(arguments: &[&str]) -> Result<Command> {
    let wait = ["DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-o", "DPkg::Lock::Timeout=300"];
    let mut command = as_root("env", wait.iter().chain(arguments))?;
    command.stdin(Stdio::null());
    Ok(command)
}

const INSTALL: &[&str] = &["install", "--yes", "--no-install-recommends"];

/// A program that the build or the tests run, or a file that they need, and the package that brings it.
const PROGRAMS: &[(&str, &str)] = &[
    ("bpftool", "bpftool"),
    ("ip", "iproute2"),
    ("ethtool", "ethtool"),
    ("iptables", "iptables"),
    ("nsenter", "util-linux"),
    ("cc", "build-essential"),
    // etcd's client is generated from its protocol; the package of the compiler has it, and this one what it includes.
    ("protoc", "protobuf-compiler"),
    ("/usr/include/google/protobuf/descriptor.proto", "libprotobuf-dev"),
];
