//! `verify-package`: installs the Debian package in a minimal Debian, upgrades it under load, removes and
//! purges it, and looks at what is left.
//!
//! `verify-package DEBIAN BEFORE AFTER`: the folder of the minimal Debian, which is not written to, the package
//! of the version before, and the package. dpkg runs the maintainer scripts for real, and the agent runs in a
//! laboratory's network namespace; there is no systemd.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use router_tests::lab::{Control, Finished, Lab, Program, Running, peers::Summary, until};
use router_userspace::agent::api::Status;

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [debian, before, after] = arguments.as_slice() else {
        bail!("arguments {arguments:?}; try: cargo xtask package --verify");
    };
    let mut system = System::start(Path::new(debian))?;
    let packages = [("before.deb", before), ("after.deb", after)];
    for (name, package) in packages {
        fs::copy(package, system.path(name)).with_context(|| format!("cannot copy {package}"))?;
    }
    let pristine = system.files()?;
    installs(&system)?;
    upgrades_under_load(&mut system)?;
    survives_a_broken_configuration(&system)?;
    removes(&system)?;
    purges(&system, &pristine)?;
    say("all is as it should be");
    Ok(())
}

/// Installed, it does not run and will not at the next boot; what it installed is valid.
fn installs(system: &System) -> Result<()> {
    say("installing");
    system.run(&["dpkg", "--install", "/before.deb"])?.succeeded()?;
    ensure!(system.run(&["quic-router", "status", "--quiet"])?.status.code() == Some(3), "an agent runs");
    let link = system.path("etc/systemd/system/multi-user.target.wants/quic-router.service");
    ensure!(link.symlink_metadata().is_err(), "the unit is enabled");
    let checked = system.run(&["quic-router", "check"])?.succeeded()?;
    ensure!(checked.stdout.starts_with("/etc/quic-router/config.toml is valid\n"), "{}", checked.stdout);
    system
        .run(&["sh", "-c", "gzip -dc /usr/share/man/man1/quic-router.1.gz | grep -q '^.TH quic-router 1'"])?
        .succeeded()?;
    Ok(())
}

/// No client notices an upgrade: neither connections there are nor those that come meanwhile.
fn upgrades_under_load(system: &mut System) -> Result<()> {
    say("upgrading under load");
    write_configuration(system)?;
    system.start_agent()?;
    let lab = &system.lab;
    let first = system.control.status()?;
    let long = lab.quic_go().echo(20_000).connections(40).requests(40).until_told().pausing(SHORT);
    let long = long.rebinding_at(400_000).start()?;
    let came = |status: &Status, count| status.totals.accepted >= count;
    system.until("40 connections", |status| came(status, 40))?;
    let new = lab.quic_go().get("/bytes/20000").connections(1_000).at_once(20).within(LONG).start()?;
    system.until("connections that come", |status| came(status, 140))?;
    let upgraded = system.run(&["dpkg", "--install", "/after.deb"])?.succeeded()?;
    let second = system.control.status()?;
    ensure!(second.generation == first.generation + 1 && second.pid != first.pid, "{upgraded:?}: {second:?}");
    ensure!(!upgraded.stderr.contains("try:"), "{upgraded:?}");
    ensure!(!long.ends_within(Duration::ZERO), "the upgrade met no connection");
    tell("new connections", &new.succeed()?);
    tell("connections of before", &long.succeed()?);
    system.until("the first generation's end", |status| status.generations.len() == 1)?;
    Ok(())
}

/// The laboratory's, with its certificate where administrators put theirs.
fn write_configuration(system: &System) -> Result<()> {
    let lab = &system.lab;
    fs::create_dir_all(system.path("etc/ssl"))?;
    for kind in ["pem", "key"] {
        fs::copy(lab.home().path(&format!("certificate.{kind}")), system.path(&format!("etc/ssl/site.{kind}")))?;
    }
    let site = lab.home().path("certificate").display().to_string();
    let config = lab.config_text().replace(&site, "/etc/ssl/site");
    Ok(fs::write(system.path("etc/quic-router/config.toml"), config)?)
}

/// What the next generation refuses fails no installation, and the agent serves on.
fn survives_a_broken_configuration(system: &System) -> Result<()> {
    say("installing it again while the configuration is broken");
    let config = system.path("etc/quic-router/config.toml");
    let good = fs::read_to_string(&config)?;
    fs::write(&config, good.replace("[router]", "[router]\nnode = 1"))?;
    let pid = system.control.status()?.pid;
    let said = system.run(&["dpkg", "--install", "/after.deb"])?.succeeded()?;
    ensure!(said.stderr.contains("it serves on") && said.stderr.contains("try: "), "{said:?}");
    ensure!(system.control.status()?.pid == pid, "another agent serves");
    system.lab.quic_go().get("/bytes/1000").connections(20).succeed()?;
    Ok(fs::write(&config, good)?)
}

/// The agent is stopped, and neither program nor map is left in the kernel. Configuration and state stay.
fn removes(system: &System) -> Result<()> {
    say("removing");
    let said = system.run(&["dpkg", "--remove", "quic-router"])?.succeeded()?;
    ensure!(said.stdout.contains("stopping process"), "{said:?}");
    ensure!(system.control.status().is_err(), "the agent still answers");
    ensure!(!system.lab.network().router().has_xdp(&system.lab.wire().router_interface())?, "an XDP program is left");
    ensure!(!system.path("sys/fs/bpf/quic-router").exists(), "pins are left");
    ensure!(!system.path("usr/bin/quic-router").exists(), "the program is left");
    for kept in ["etc/quic-router/config.toml", "var/lib/quic-router"] {
        ensure!(system.path(kept).exists(), "{kept} is gone before the purge");
    }
    Ok(())
}

/// The system is as it was, but for what dpkg itself remembers and what the administrator made.
fn purges(system: &System, pristine: &BTreeSet<String>) -> Result<()> {
    say("purging");
    system.run(&["dpkg", "--purge", "quic-router"])?.succeeded()?;
    let left: Vec<_> = system.files()?.difference(pristine).cloned().collect();
    ensure!(left == ["etc/ssl", "etc/ssl/site.key", "etc/ssl/site.pem"], "left: {left:?}");
    ensure!(!system.path("run/quic-router").exists(), "the control socket's folder is left");
    Ok(())
}

/// A minimal Debian in a mount namespace of its own, over a folder that is not written to.
struct System {
    control: Control,
    /// Its first generation.
    agent: Option<Program>,
    holder: Program,
    lab: Running,
}

impl System {
    fn start(debian: &Path) -> Result<Self> {
        ensure!(debian.join("usr/bin/dpkg").exists(), "{} is no Debian", debian.display());
        let config = [("state_dir", "/var/lib/quic-router"), ("bpf_dir", "/sys/fs/bpf/quic-router")];
        let lab =
            config.iter().fold(Lab::new().workers(2).engine("xdp"), |lab, (key, path)| lab.set(key, &quoted(path)));
        let lab = lab.set("control", &quoted("/run/quic-router/control.sock")).set("drain_timeout", "\"30s\"");
        let lab = lab.limit("max_connections_per_ip", "10_000").build()?;
        let folder = lab.home().path("system");
        for name in ["upper", "work", "root"] {
            fs::create_dir_all(folder.join(name))?;
        }
        let mounts = MOUNTS.replace("FOLDER", &folder.display().to_string());
        let mounts = mounts.replace("DEBIAN", &debian.display().to_string());
        let mut command = lab.network().router().command("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-ec", &mounts]);
        let holder = Program::start("the minimal Debian", &mut command)?;
        holder.await_line("READY", Duration::from_secs(10))?;
        let root = root(&holder, &lab)?;
        Ok(Self { control: Control::at(&root.join("run/quic-router/control.sock")), agent: None, holder, lab })
    }

    /// Where a file of the system's is, as seen from outside.
    fn path(&self, name: &str) -> PathBuf {
        root(&self.holder, &self.lab).unwrap_or_default().join(name)
    }

    fn command(&self, words: &[&str]) -> Result<std::process::Command> {
        let mut command = self.lab.network().router().command("nsenter");
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.holder.pid()?)).args(["--", "chroot"]);
        command.arg(self.lab.home().path("system/root")).args(words);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("DEBIAN_FRONTEND", "noninteractive");
        Ok(command)
    }

    fn run(&self, words: &[&str]) -> Result<Finished> {
        Program::start(&words.join(" "), &mut self.command(words)?)?.finish(LONG)
    }

    /// As the unit would, in folders that systemd would have made.
    fn start_agent(&mut self) -> Result<()> {
        self.run(&["mkdir", "-p", "/run/quic-router", "/var/lib/quic-router", "/var/log/quic-router"])?.succeeded()?;
        let log = self.lab.home().log_path();
        self.agent = Some(Program::start_logged("quic-router run", &mut self.command(&["quic-router", "run"])?, &log)?);
        self.until("the agent", |_| true).map(drop)
    }

    fn until(&self, what: &str, holds: impl Fn(&Status) -> bool) -> Result<Status> {
        // While there is no agent, there is no status.
        let seen = until(|| Ok(self.control.status().ok()), |status| status.as_ref().is_some_and(&holds));
        let seen = seen.with_context(|| format!("{what}; the agent said:\n{}", self.lab.home().log()))?;
        seen.context("a status")
    }

    /// Every file, and the folders where packages put files, but for what dpkg remembers of itself.
    fn files(&self) -> Result<BTreeSet<String>> {
        let line = "find / -xdev ! -type d; find /etc /usr /var /run -xdev -type d";
        let found = self.run(&["sh", "-c", line])?.succeeded()?.stdout;
        let own = |path: &&str| !DPKG.iter().any(|beginning| path.starts_with(beginning));
        Ok(found.lines().filter_map(|line| line.strip_prefix('/')).filter(own).map(str::to_owned).collect())
    }
}

impl Drop for System {
    /// Generations after the first are children of no program here.
    fn drop(&mut self) {
        while let Ok(status) = self.control.status() {
            let killed = i32::try_from(status.pid).map(|pid| kill(Pid::from_raw(pid), Signal::SIGKILL));
            if !matches!(killed, Ok(Ok(()))) {
                return;
            }
        }
    }
}

/// The system's root as seen from outside: through a process in it.
fn root(holder: &Program, lab: &Running) -> Result<PathBuf> {
    let inside = lab.home().path("system/root");
    Ok(Path::new("/proc").join(holder.pid()?.to_string()).join("root").join(inside.strip_prefix("/")?))
}

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

fn say(what: &str) {
    println!("== {what}");
}

fn tell(what: &str, summary: &Summary) {
    let Summary { connections_ok, connections_failed, requests_ok, requests_failed, .. } = summary;
    println!("  {what}: {connections_ok} ({connections_failed} lost), {requests_ok} requests ({requests_failed} lost)");
}

/// In a mount namespace. FOLDER and DEBIAN stand for folders. The bpffs is a new one, so its pins are its own.
const MOUNTS: &str = "\
mount -t overlay overlay -o lowerdir=DEBIAN,upperdir=FOLDER/upper,workdir=FOLDER/work FOLDER/root
mount -t proc proc FOLDER/root/proc
mount -t sysfs sysfs FOLDER/root/sys
mount -t bpf bpf FOLDER/root/sys/fs/bpf
echo READY
exec sleep infinity";

/// What dpkg and the linker's cache write for themselves.
const DPKG: &[&str] = &["var/lib/dpkg/", "var/log/dpkg.log", "var/cache/ldconfig", "etc/ld.so.cache"];

const SHORT: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(90);
