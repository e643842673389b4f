//! Network namespaces: made for one lab, gone with it.
//!
//! Names carry the process ID of the laboratory (`qr-1234-0-router`), so that what a killed
//! one left behind can be told from what is in use, and removed.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::Once,
    thread,
};

use anyhow::{Context, Result, bail};
use nix::{
    sched::{CloneFlags, setns},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// A network namespace with its loopback up; on drop it is deleted, with what still runs in it.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes the namespace `name`, which must be new.
    ///
    /// It is quiet: no router solicitations, no duplicate address detection, no link-local
    /// addresses, so that counters move by what a test sends and by nothing else.
    pub fn new(name: String) -> Result<Self> {
        run(Command::new("ip").args(["netns", "add", &name]))?;
        let namespace = Self { name };
        QUIET.iter().try_for_each(|(key, value)| namespace.set(key, value))?;
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command to run `program` in it, which dies with the thread that starts it.
    ///
    /// By `nsenter`, because `ip netns exec` would mount another /sys and so hide bpffs.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display())).args(["--", "setpriv", "--pdeathsig", "KILL", "--"]);
        command.arg(program);
        command
    }

    /// Does `work` on a thread of its own that is in this namespace. Sockets made there
    /// stay in it.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                let path = self.path();
                let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
                setns(file, CloneFlags::CLONE_NEWNET).with_context(|| format!("cannot enter {}", self.name))?;
                work()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs `lines` of `ip` commands in it, one a line, in one go.
    pub fn ip(&self, lines: &str) -> Result<()> {
        batch(&["-n", &self.name], lines)
    }

    /// Sets offload features of its interface `link`, such as `["tx", "off"]`.
    pub fn offload(&self, link: &str, features: &[&str]) -> Result<()> {
        run(self.command("ethtool").args(["-K", link]).args(features)).map(drop)
    }

    /// Whether an XDP program is on its interface `link`.
    pub fn has_xdp(&self, link: &str) -> Result<bool> {
        Ok(self.xdp_program(link)?.is_some())
    }

    /// The ID of the XDP program on its interface `link`.
    pub fn xdp_program(&self, link: &str) -> Result<Option<u32>> {
        let shown = run(Command::new("ip").args(["-n", &self.name, "-details", "link", "show", link]))?;
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        let id = shown.split_once("prog/xdp id ").and_then(|(_, rest)| rest.split_whitespace().next());
        id.map(|id| id.parse().context("an ID of a program is a number")).transpose()
    }

    /// Sets `net.KEY`, whose parts are written with slashes: `ipv4/tcp_migrate_req`.
    pub fn set(&self, key: &str, value: &str) -> Result<()> {
        let path = format!("/proc/sys/net/{key}");
        self.enter(|| fs::write(&path, value).with_context(|| format!("cannot set {path}")))
    }

    fn path(&self) -> PathBuf {
        Path::new(RUN_NETNS).join(&self.name)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// Ends what still runs in the namespace `name`, such as a generation of an agent that outlived the one before it, and
/// removes it. An error cannot be reported; the next laboratory sweeps what is left.
fn remove(name: &str) {
    for process in processes(name) {
        let _ = kill(process, Signal::SIGKILL);
    }
    let _ = run(Command::new("ip").args(["netns", "del", name]));
}

/// The processes in the namespace `name`, without this one.
fn processes(name: &str) -> Vec<Pid> {
    let listed = run(Command::new("ip").args(["netns", "pids", name]));
    let listed = listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let processes = listed.lines().filter_map(|line| line.trim().parse().ok()).map(Pid::from_raw);
    processes.filter(|process| *process != Pid::this()).collect()
}

/// Runs `lines` of `ip` commands, one a line, in one go.
pub(super) fn batch(options: &[&str], lines: &str) -> Result<()> {
    let mut child = Command::new("ip")
        .args(options)
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run ip (Debian: iproute2)")?;
    child.stdin.take().context("ip has no standard input")?.write_all(lines.as_bytes())?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("ip {}: {}\nin:\n{lines}", options.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// Runs a short program to its end; its failure is an error with what it said.
pub fn run(command: &mut Command) -> Result<Output> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output)
}

/// The name that everything of laboratory `number` of this process begins with.
pub(super) fn prefix(number: u32) -> String {
    format!("{PREFIX}-{}-{number}", std::process::id())
}

/// Removes what laboratories of dead processes left: namespaces with what runs in them, pins and folders. Once per process.
pub(super) fn sweep() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        orphans(RUN_NETNS).iter().for_each(|name| remove(name));
        for folder in [BPFFS.into(), std::env::temp_dir()] {
            for name in orphans(&folder) {
                let _ = fs::remove_dir_all(folder.join(name));
            }
        }
    });
}

/// Where a laboratory pins its maps and links: a bpffs.
pub(super) const BPFFS: &str = "/sys/fs/bpf";

/// Names in `folder` that a laboratory of a dead process made.
fn orphans(folder: impl AsRef<Path>) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| {
            let mut words = name.split('-');
            words.next() == Some(PREFIX)
                && words.next().is_some_and(|pid| pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists())
        })
        .collect()
}

const PREFIX: &str = "qr";
const RUN_NETNS: &str = "/run/netns";

/// Written before any link exists, so that links begin with it.
const QUIET: &[(&str, &str)] = &[
    ("ipv6/conf/default/accept_dad", "0"),
    ("ipv6/conf/default/accept_ra", "0"),
    ("ipv6/conf/default/router_solicitations", "0"),
    ("ipv6/conf/default/addr_gen_mode", "1"),
];
