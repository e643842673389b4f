//! `verify-image`: runs the container image by crun, in a laboratory's network namespace, with the
//! capabilities it lists and with each of them missing.
//!
//! `verify-image LAYOUT CAPABILITIES`: the OCI layout, and the capabilities without `CAP_`, with commas.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use router_tests::lab::{AgentConfig, Finished, Lab, Program, Running, run};
use router_userspace::agent::api::{RunningEngine, XdpMode};
use serde_json::{Value, json};

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [layout, capabilities] = arguments.as_slice() else {
        bail!("arguments {arguments:?}; try: cargo xtask image --verify");
    };
    let capabilities: Vec<_> = capabilities.split(',').map(|name| format!("CAP_{name}")).collect();
    let image = Image::unpack(layout)?;
    has_one_program(&image)?;
    serves(&image, &capabilities)?;
    for missing in &capabilities {
        let rest: Vec<_> = capabilities.iter().filter(|&other| other != missing).cloned().collect();
        says_what_is_missing(&image, &rest, missing)?;
    }
    say("all is as it should be");
    Ok(())
}

/// Nothing in it can be executed but the program.
fn has_one_program(image: &Image) -> Result<()> {
    say("looking for programs in it");
    let (mut folders, mut found) = (vec![image.bundle.join("rootfs")], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let (entry, path) = (entry.as_ref().map(fs::DirEntry::file_type), entry.as_ref().map(fs::DirEntry::path));
            let (Ok(Ok(kind)), Ok(path)) = (entry, path) else { bail!("{} cannot be read", folder.display()) };
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_symlink() || fs::metadata(&path)?.permissions().mode() & 0o111 != 0 {
                found.push(path);
            }
        }
    }
    ensure!(found == [image.bundle.join("rootfs/usr/bin/quic-router")], "{found:?}");
    Ok(())
}

/// XDP is attached, clients are served, the health check works, and a stop leaves nothing.
fn serves(image: &Image, capabilities: &[String]) -> Result<()> {
    say("running it with the capabilities it lists");
    let lab = Lab::new().queues(4).workers(4).engine("xdp").build()?;
    let container = Container::start(image, &lab, capabilities)?;
    container.await_healthy()?;
    let status = lab.control().status()?;
    let interface = status.interfaces.first().context("no interface")?;
    ensure!((interface.engine, interface.mode) == (RunningEngine::Xdp, Some(XdpMode::Native)), "{interface:?}");
    ensure!(lab.network().router().has_xdp(&lab.wire().router_interface())?, "no XDP program is on the interface");
    let held = container.capabilities()?;
    ensure!(held.count_ones() as usize == capabilities.len(), "it has capabilities {held:x}");
    for connections in [5, 200] {
        let summary = lab.quic_go().get("/bytes/100000").connections(connections).succeed()?;
        println!("  {} connections, {} requests, none lost", summary.connections_ok, summary.requests_ok);
    }
    lab.expect_no_packet_lost()?;
    container.refuses_to_upgrade()?;
    container.stop()?;
    ensure!(!lab.home().pins().exists(), "pins are left: {:?}", lab.home().pinned());
    ensure!(!lab.network().router().has_xdp(&lab.wire().router_interface())?, "an XDP program is left");
    Ok(())
}

/// One sentence that names the capability, and at most one with the way out. The engine is the one that needs
/// all of them.
fn says_what_is_missing(image: &Image, rest: &[String], missing: &str) -> Result<()> {
    say(&format!("running it without {missing}"));
    let within_limits = |config: &mut AgentConfig| config.rest.push_str("[af_xdp]\nmemory = \"2 MiB\"\n");
    let lab = Lab::new().workers(2).engine("af_xdp").config(within_limits).build()?;
    let said = Container::start(image, &lab, rest)?.ended()?;
    let lines: Vec<_> =
        said.stderr.lines().filter(|line| !line.contains(" INFO ") && !line.contains(" WARN ")).collect();
    lines.iter().for_each(|line| println!("  {line}"));
    ensure!(said.status.code().is_some_and(|code| code > 0), "{said:?}");
    ensure!(lines.len() <= 2 && lines[0].starts_with("quic-router: "), "{lines:?}");
    ensure!(lines.iter().any(|line| line.contains(missing)), "{missing} is not named: {lines:?}");
    ensure!(!lab.home().pins().exists(), "pins are left: {:?}", lab.home().pinned());
    Ok(())
}

/// An unpacked image.
struct Image {
    bundle: PathBuf,
    /// Gone with the image.
    _folder: Folder,
}

impl Image {
    fn unpack(layout: &str) -> Result<Self> {
        let folder = Folder::new()?;
        let bundle = folder.0.join("bundle");
        let image = format!("{layout}:{}", env!("CARGO_PKG_VERSION"));
        run(Command::new("umoci").args(["unpack", "--image", &image]).arg(&bundle))?;
        Ok(Self { bundle, _folder: folder })
    }
}

/// A folder, removed on drop.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("qr-{}-image", std::process::id()));
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The image, run; removed on drop.
struct Container<'lab> {
    lab: &'lab Running,
    name: String,
    program: Option<Program>,
}

impl<'lab> Container<'lab> {
    fn start(image: &Image, lab: &'lab Running, capabilities: &[String]) -> Result<Self> {
        let config = lab.home().write("config.toml", &lab.config_text())?;
        let name = lab.home().prefix();
        let spec = spec(&image.bundle.join("config.json"), lab, &config, capabilities)?;
        fs::write(image.bundle.join("config.json"), spec.to_string())?;
        let mut container = Self { lab, name, program: None };
        let mut command = container.crun(&["run", "--bundle"]);
        command.arg(&image.bundle).arg(&container.name);
        container.program = Some(Program::start_logged("the container", &mut command, &lab.home().log_path())?);
        Ok(container)
    }

    fn crun(&self, words: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", IN_CGROUP2, "crun", "--cgroup-manager=disabled", "--root"]);
        command.arg(self.lab.home().path("crun")).args(words);
        command
    }

    /// By the health check that the image names.
    fn await_healthy(&self) -> Result<()> {
        let socket = self.lab.home().control();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut command =
                self.crun(&["exec", &self.name, "/usr/bin/quic-router", "status", "--quiet", "--control"]);
            let checked = command.arg(&socket).output()?;
            if checked.status.success() {
                ensure!(checked.stdout.is_empty() && checked.stderr.is_empty(), "{checked:?}");
                return Ok(());
            }
            let log = || self.lab.home().log();
            ensure!(!self.program()?.ends_within(Duration::ZERO), "it has ended: {}", log());
            ensure!(Instant::now() < deadline, "not healthy after {PATIENCE:?}: {checked:?}: {}", log());
        }
    }

    /// The set of its process's effective capabilities.
    fn capabilities(&self) -> Result<u64> {
        let state: Value = serde_json::from_slice(&run(&mut self.crun(&["state", &self.name]))?.stdout)?;
        let status = fs::read_to_string(format!("/proc/{}/status", state["pid"]))?;
        let set = status.lines().find_map(|line| line.strip_prefix("CapEff:\t")).context("no capabilities")?;
        Ok(u64::from_str_radix(set, 16)?)
    }

    /// The agent is process 1 there: with it everything in the container would end, the next generation too.
    fn refuses_to_upgrade(&self) -> Result<()> {
        let socket = self.lab.home().control();
        let mut command = self.crun(&["exec", &self.name, "/usr/bin/quic-router", "upgrade", "--control"]);
        let refused = command.arg(socket).output()?;
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        ensure!(refused.status.code() == Some(1), "{refused:?}");
        ensure!(said.starts_with("quic-router: this agent is process 1 of its container"), "{said}");
        print!("  {said}");
        self.await_healthy()
    }

    /// By the signal that the image names.
    fn stop(mut self) -> Result<()> {
        run(&mut self.crun(&["kill", &self.name, "SIGTERM"]))?;
        self.program.take().context("it runs")?.finish(PATIENCE)?.succeeded().map(drop)
    }

    fn ended(mut self) -> Result<Finished> {
        self.program.take().context("it runs")?.finish(PATIENCE)
    }

    fn program(&self) -> Result<&Program> {
        self.program.as_ref().context("it runs")
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        // Fails where it has ended by itself.
        let _ = self.crun(&["delete", "--force", &self.name]).output();
    }
}

/// What crun is to do: the image's own program, a root that is read-only, the bpffs of the host, the
/// laboratory's network namespace and folder, and these capabilities alone.
fn spec(unpacked: &Path, lab: &Running, config: &Path, capabilities: &[String]) -> Result<Value> {
    let mut spec: Value = serde_json::from_slice(&fs::read(unpacked)?)?;
    let program = spec["process"]["args"][0].clone();
    spec["process"]["terminal"] = false.into();
    spec["process"]["args"] = json!([program, "run", "--config", config]);
    spec["process"]["capabilities"] =
        json!({ "bounding": capabilities, "effective": capabilities, "permitted": capabilities });
    // Those of the user who runs this: a container without CAP_SYS_RESOURCE can have no more.
    spec["process"]["rlimits"] = json!([]);
    spec["root"]["readonly"] = true.into();
    let bind = |path: &Path| json!({ "destination": path, "source": path, "type": "bind", "options": ["rbind", "rw"] });
    spec["mounts"] = json!([
        { "destination": "/proc", "source": "proc", "type": "proc" },
        { "destination": "/dev", "source": "tmpfs", "type": "tmpfs", "options": ["nosuid", "mode=755"] },
        { "destination": "/sys", "source": "sysfs", "type": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"] },
        { "destination": "/tmp", "source": "tmpfs", "type": "tmpfs", "options": ["nosuid", "nodev"] },
        bind(Path::new("/sys/fs/bpf")),
        bind(&lab.home().path("")),
    ]);
    let network = format!("/run/netns/{}", lab.network().router().name());
    let fresh = ["pid", "ipc", "uts", "mount"].map(|kind| json!({ "type": kind }));
    let mut namespaces = vec![json!({ "type": "network", "path": network })];
    namespaces.extend(fresh);
    spec["linux"] = json!({ "namespaces": namespaces });
    Ok(spec)
}

fn say(what: &str) {
    println!("== {what}");
}

/// crun refuses a host that has both versions of cgroups, even to make none: it sees the second alone.
const IN_CGROUP2: &str =
    r#"[ -e /sys/fs/cgroup/cgroup.controllers ] || mount -t cgroup2 none /sys/fs/cgroup && exec crun "$@""#;
const PATIENCE: Duration = Duration::from_secs(30);
