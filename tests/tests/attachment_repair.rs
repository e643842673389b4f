//! Does `status` say what is attached and pinned, and does the agent repair it when another program changes it?

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use router_common::{
    identifiers::GenerationId,
    maps::{Secrets, Settings},
};
use router_tests::lab::{Lab, Running, run, until};
use router_userspace::datapath::{Datapath, Initial, Pins, Size, possible_cpus};

/// xdp-tools#361, calico#11012: `bpftool link detach`. An upgrade after it had not attached either.
#[test]
fn a_detached_bpf_link_is_attached_again() -> Result<()> {
    let lab = Lab::new().by_xdp().start()?;
    let (router, ours) = (lab.network().router(), program(&lab)?);
    run(Command::new("bpftool").args(["link", "detach", "pinned"]).arg(lab.home().pins().join("link-clients0")))?;
    ensure!(!router.has_xdp("clients0")?, "it was not severed");
    until(|| router.xdp_program("clients0"), |there| *there == ours)?;
    lab.await_log("its XDP program was detached by another program")?;
    serve(&lab)?;
    lab.agent()?.upgrade(None)?;
    ensure!(router.xdp_program("clients0")?.is_some_and(|there| Some(there) != ours), "the new one's");
    serve(&lab)
}

/// xdp-firewall#10: another program stood in the way, and goes. `auto` had stayed with the
/// sockets, also after a reload, for a reason that was no longer true.
#[test]
fn auto_takes_af_xdp_when_another_xdp_program_goes() -> Result<()> {
    let mut lab = Lab::new().engine("auto").build()?;
    let obstacle = obstacle(&lab)?;
    lab.start_agent()?;
    let one = lab.control().status()?.interfaces.remove(0);
    ensure!(
        one.engine == "reuseport" && one.why.as_ref().is_some_and(|why| why.contains("another XDP program")),
        "{one:?}"
    );
    serve(&lab)?;
    drop(obstacle);
    let interfaces = || Ok(lab.control().status()?.interfaces);
    let one = until(interfaces, |interfaces| interfaces[0].engine == "af_xdp")?.remove(0);
    ensure!(one.program_id == lab.network().router().xdp_program("clients0")? && one.program_id.is_some(), "{one:?}");
    serve(&lab)
}

/// Unnoticed, and an upgrade that then failed had left XDP detached while `status` was content.
#[test]
fn removed_pins_are_put_back() -> Result<()> {
    let lab = Lab::new().by_xdp().start()?;
    let (pins, all) = (lab.home().pins().to_owned(), lab.home().pinned());
    for round in ["its pins", "the folder, too"] {
        for name in lab.home().pinned() {
            fs::remove_file(pins.join(name))?;
        }
        if round != "its pins" {
            fs::remove_dir(&pins)?;
        }
        until(|| Ok(lab.home().pinned()), |pinned| *pinned == all).context(round)?;
        ensure!(lab.network().router().xdp_program("clients0")? == program(&lab)?, "{round}: still attached");
        serve(&lab)?;
    }
    lab.await_log("pins were removed, and are there again")?;
    // Also at once: the new generation looks for them before the agent has looked around.
    for name in lab.home().pinned() {
        fs::remove_file(pins.join(name))?;
    }
    let broken = lab.home().write_with_mode("broken", "#!/bin/sh\nexit 7\n", 0o755)?;
    ensure!(lab.control().upgrade(Some(&broken)).is_err());
    lab.agent()?.upgrade(None)?;
    serve(&lab)
}

/// bpftool#89: no reload, no upgrade, and XDP had stayed attached after a stop.
#[test]
fn a_bpffs_mounted_over_the_pins_is_reported() -> Result<()> {
    let mut lab = Lab::new().by_xdp().build()?;
    // One of its own: others use the host's.
    let folder = lab.home().path("bpf");
    fs::create_dir(&folder)?;
    let own = Mount::on(&folder)?;
    let pins = folder.join("pins");
    lab.reconfigure(|config| config.set_router("bpf_dir", &format!("{pins:?}")));
    lab.start_agent()?;
    let over = Mount::on(&folder)?;
    let problems = || Ok(lab.control().status()?.problems);
    let is_said =
        |problems: &Vec<String>| problems.iter().any(|one| one.contains("another file system is mounted over it"));
    until(problems, is_said)?;
    lab.reload(|config| config.set_router("drain_timeout", "\"2s\""))?;
    serve(&lab)?;
    let refused = lab.control().upgrade(None).err().context("an upgrade took place")?;
    ensure!(format!("{refused:#}").contains("no upgrade is possible"), "{refused:#}");
    lab.take_agent()?.terminate()?;
    ensure!(!lab.network().router().has_xdp("clients0")?, "XDP is still attached");
    drop(over);
    ensure!(!pins.exists(), "the folder is still there");
    drop(own);
    Ok(())
}

fn serve(lab: &Running) -> Result<()> {
    lab.quic_go().get("/bytes/20000").connections(8).succeed()?;
    lab.expect_no_packet_astray()
}

/// The program on the interface, by `status`.
fn program(lab: &Running) -> Result<Option<u32>> {
    Ok(lab.control().status()?.interfaces[0].program_id)
}

/// Another XDP program on the first interface, until the result is dropped.
fn obstacle(lab: &Running) -> Result<Datapath> {
    let directory = Path::new("/sys/fs/bpf").join(lab.home().prefix() + "-obstacle");
    let (pins, _) = Pins::take(&directory)?;
    let (settings, secrets) = (Settings::new(9, 17, GenerationId::new(1)), Secrets::new([0; 2]));
    let initial = Initial { settings, secrets, cid_configs: Vec::new(), listeners: Vec::new() };
    let mut datapath = Datapath::load(pins, &Size { flows: 64, cpus: possible_cpus() }, &initial, None)?;
    lab.network().router().enter(|| Ok(datapath.attach("clients0").map(drop)?))?;
    Ok(datapath)
}

/// An empty bpffs on a folder.
struct Mount(PathBuf);

impl Mount {
    fn on(folder: &Path) -> Result<Self> {
        run(Command::new("mount").args(["-t", "bpf", "bpf"]).arg(folder))?;
        Ok(Self(folder.to_owned()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = run(Command::new("umount").arg(&self.0));
    }
}
