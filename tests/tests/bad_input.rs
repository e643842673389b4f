//! Is whatever can be wrong at the start named in one line, with the right exit code, and is
//! nothing left half-started?

use std::{
    net::{SocketAddrV4, UdpSocket},
    os::fd::{AsRawFd, OwnedFd},
};

use anyhow::{Context, Result};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, setsockopt, socket, sockopt::ReusePort};
use router_tests::lab::{AgentConfig, Finished, Home, Lab, Running};

/// The answer is no: the configuration is invalid.
const INVALID: i32 = 1;
/// The kernel refused.
const KERNEL: i32 = 4;

#[test]
fn configurations_that_are_wrong() -> Result<()> {
    let lab = Lab::new().build()?;
    lab.home().write_certificate("mixed", &["mixed.test"])?;
    std::fs::copy(lab.home().path("certificate.key"), lab.home().path("mixed.key"))?;
    let cases: [(&str, Spoil<'_>, &[&str]); 14] = [
        (
            "unknown key",
            &|c| c.set_router("intefaces", "[]"),
            &["intefaces", "unknown key", "did you mean \"interfaces\""],
        ),
        ("unknown table", &|c| c.rest.push_str("[upstrem.x]\nservers = []\n"), &["upstrem", "did you mean"]),
        ("text for a number", &|c| c.set_router("workers", "\"four\""), &["workers", "four"]),
        ("number for a text", &|c| c.set_router("bpf_dir", "7"), &["bpf_dir", "7"]),
        ("no worker", &|c| c.set_router("workers", "0"), &["workers", "0"]),
        ("too many workers", &|c| c.set_router("workers", "256"), &["workers", "256"]),
        ("node beyond 16 bits", &|c| c.set_router("node_id", "65536"), &["node_id", "65536"]),
        ("unknown engine", &|c| c.set_router("engine", "\"xpd\""), &["engine", "xpd", "did you mean \"xdp\""]),
        ("no unit of time", &|c| c.set_limit("idle_timeout", "\"30\""), &["idle_timeout", "30"]),
        ("no listener", &|c| c.listeners.clear(), &["listener"]),
        ("no address", &|c| c.listeners = vec!["443".into()], &["443"]),
        ("route to nowhere", &|c| c.rest = "[[route]]\nupstream = \"web\"\n".into(), &["web"]),
        ("no certificate", &|c| c.certificates = vec!["nowhere".into()], &["nowhere.pem"]),
        (
            "another certificate's key",
            &|c| c.certificates = vec!["mixed".into()],
            &["mixed.key", "is not the key of", "mixed.pem"],
        ),
    ];
    for (name, spoil, says) in cases {
        let refused = lab.refuse(spoil)?;
        expect_refusal(&refused, INVALID, says).with_context(|| name.to_owned())?;
        expect_nothing_started(&lab).with_context(|| name.to_owned())?;
    }
    Ok(())
}

#[test]
fn no_toml_at_all() -> Result<()> {
    let lab = Lab::new().build()?;
    let refused = lab.refuse_text("[router]\nworkers = = 4\n")?;
    expect_refusal(&refused, INVALID, &["config.toml:2"])?;
    expect_nothing_started(&lab)
}

#[test]
fn no_such_interface() -> Result<()> {
    let lab = Lab::new().build()?;
    let refused = lab.refuse(|config| config.set_router("interfaces", "[\"clients0\", \"eth7\"]"))?;
    expect_refusal(&refused, KERNEL, &["eth7"])?;
    expect_nothing_started(&lab)
}

#[test]
fn port_in_use() -> Result<()> {
    let lab = Lab::new().build()?;
    let _taken = lab.network().router().enter(|| Ok(UdpSocket::bind("0.0.0.0:443")?))?;
    expect_refusal(&lab.refuse(|_| ())?, KERNEL, &["0.0.0.0:443", "in use"])?;
    expect_nothing_started(&lab)
}

#[test]
fn somebody_else_in_the_reuseport_group() -> Result<()> {
    let lab = Lab::new().build()?;
    let _foreign = lab.network().router().enter(|| reuseport_socket("0.0.0.0:443".parse()?))?;
    let ourselves = std::process::id().to_string();
    expect_refusal(&lab.refuse(|_| ())?, KERNEL, &["0.0.0.0:443", "foreign", &ourselves])?;
    expect_nothing_started(&lab)
}

#[test]
fn another_xdp_program_is_attached() -> Result<()> {
    // Another router's is as foreign as any other.
    let lab = Lab::new().start()?;
    let program = lab.control().status()?.interfaces[0].program_id.expect("its ID");
    let refused = lab.refuse(|config| {
        second(config, lab.home());
        config.listeners = vec!["0.0.0.0:444".into()];
    })?;
    expect_refusal(&refused, KERNEL, &["clients0", "another XDP program", &program.to_string(), "steer"])?;
    assert!(!second_pins(lab.home()).exists(), "pins of the second");
    lab.quic_go().get("/bytes/1000").connections(5).succeed()?;
    lab.expect_no_packet_astray()
}

#[test]
fn another_agent_runs_there() -> Result<()> {
    let lab = Lab::new().start()?;
    let pinned = lab.home().pinned();
    let refused = lab.refuse(|config| config.listeners = vec!["0.0.0.0:444".into()])?;
    expect_refusal(&refused, INVALID, &["an agent is running", "control.sock"])?;
    assert_eq!(lab.home().pinned(), pinned);
    lab.quic_go().get("/bytes/1000").connections(5).succeed()?;
    lab.expect_no_packet_astray()
}

#[test]
fn no_bpffs() -> Result<()> {
    let lab = Lab::new().build()?;
    let folder = lab.home().path("pins").display().to_string();
    let refused = lab.refuse(|config| config.set_router("bpf_dir", &format!("\"{folder}\"")))?;
    expect_refusal(&refused, KERNEL, &[&folder, "bpffs", "mount -t bpf"])?;
    assert!(!lab.home().path("pins").exists());
    expect_nothing_started(&lab)
}

#[test]
fn no_privileges() -> Result<()> {
    let lab = Lab::new().config(|config| config.listeners = vec!["0.0.0.0:4433".into()]).build()?;
    let without = ["setpriv", "--inh-caps=-all", "--bounding-set=-all", "--"];
    let refused = lab.refuse_text_under(&without, &lab.config_text())?;
    expect_refusal(&refused, KERNEL, &["BPF", "CAP_BPF"])?;
    expect_nothing_started(&lab)
}

type Spoil<'a> = &'a dyn Fn(&mut AgentConfig);

fn expect_refusal(refused: &Finished, exit: i32, says: &[&str]) -> Result<()> {
    let errors: Vec<_> = refused.stderr.lines().filter(|line| line.starts_with("quic-router: ")).collect();
    anyhow::ensure!(errors.len() == 1, "not one line of error: {refused:?}");
    anyhow::ensure!(refused.status.code() == Some(exit), "{}: {errors:?}", refused.status);
    let missing: Vec<_> = says.iter().filter(|word| !refused.stderr.contains(**word)).collect();
    anyhow::ensure!(missing.is_empty(), "does not say {missing:?}: {}", refused.stderr);
    Ok(())
}

fn expect_nothing_started(lab: &Running) -> Result<()> {
    anyhow::ensure!(!lab.home().pins().exists(), "pins are left: {:?}", lab.home().pinned());
    anyhow::ensure!(!lab.home().control().exists(), "the control socket is left");
    let attached = lab.network().router().has_xdp(&lab.wire().router_interface())?;
    anyhow::ensure!(!attached, "an XDP program is left");
    Ok(())
}

/// Makes `config` that of a second agent on the same host.
fn second(config: &mut AgentConfig, home: &Home) {
    config.set_router("bpf_dir", &format!("\"{}\"", second_pins(home).display()));
    config.set_router("state_dir", &format!("\"{}\"", home.path("second").display()));
    config.set_router("control", &format!("\"{}\"", home.path("second.sock").display()));
}

fn second_pins(home: &Home) -> std::path::PathBuf {
    home.pins().with_file_name(format!("{}-second", home.prefix()))
}

fn reuseport_socket(address: SocketAddrV4) -> Result<OwnedFd> {
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, ReusePort, &true)?;
    bind(socket.as_raw_fd(), &SockaddrIn::from(address))?;
    Ok(socket)
}
