//! Is each error at the start reported in one line with the right exit code, and is nothing left half-started?

use std::{
    fs::{self, Permissions},
    net::{SocketAddrV4, UdpSocket},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::PermissionsExt,
    },
};

use anyhow::{Context, Result};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, setsockopt, socket, sockopt::ReusePort};
use router_tests::lab::{AgentConfig, Finished, Home, Lab};

/// The answer is no: the configuration is invalid.
const INVALID: i32 = 1;
/// The kernel refused.
const KERNEL: i32 = 4;

#[test]
fn invalid_configurations() -> Result<()> {
    let lab = Lab::new().build()?;
    lab.home().write_certificate("mixed", &["mixed.test"])?;
    fs::copy(lab.home().path("certificate.key"), lab.home().path("mixed.key"))?;
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
        lab.expect_nothing_left().with_context(|| name.to_owned())?;
    }
    Ok(())
}

#[test]
fn invalid_connection_id_settings() -> Result<()> {
    let lab = Lab::new().build()?;
    let secret = "6b65792d6b65792d6b65792d6b65792d";
    for (name, content, mode) in [
        ("short.key", "0102", 0o600),
        ("long.key", "000102030405060708090a0b0c0d0e0f10", 0o600),
        ("text.key", "my secret key!", 0o600),
        ("open.key", secret, 0o640),
        ("closed.key", secret, 0o600),
    ] {
        lab.home().write_with_mode(name, content, mode)?;
    }
    let file = |name: &str| format!("\"file:{}\"", lab.home().path(name).display());
    let key = |c: &mut AgentConfig, name: &str| c.set_connection_id("encryption", &file(name));
    let id = |c: &mut AgentConfig, id: &str| c.set_connection_id("server_id", &format!("\"{id}\""));
    let cases: [(&str, Spoil<'_>, &[&str]); 15] = [
        ("no such file", &|c| key(c, "no.key"), &["no.key", "cannot be read"]),
        ("a folder", &|c| key(c, "."), &["not a regular file"]),
        ("too short a key", &|c| key(c, "short.key"), &["short.key", "2 octets, not 16"]),
        ("too long a key", &|c| key(c, "long.key"), &["long.key", "17 octets, not 16"]),
        ("text for a key", &|c| key(c, "text.key"), &["text.key", "neither hex nor base64"]),
        ("a key that others can read", &|c| key(c, "open.key"), &["open.key", "mode 640", "chmod 600"]),
        ("an unknown word", &|c| c.set_connection_id("encryption", "\"aes\""), &["connection_id.encryption", "aes"]),
        ("no room for a nonce", &|c| c.set_connection_id("length", "7"), &["connection_id.length", "7"]),
        ("over 20", &|c| c.set_connection_id("length", "21"), &["connection_id.length", "21"]),
        ("a server ID of 16 octets", &|c| id(c, "000102030405060708090a0b0c0d0e0f"), &["server_id", "1 to 15"]),
        ("a server ID of no octets", &|c| id(c, ""), &["server_id"]),
        ("a server ID of what?", &|c| id(c, "a-b-c"), &["server_id", "neither hex nor base64"]),
        ("a variable that is not set", &|c| id(c, "env:NO_SUCH_VARIABLE"), &["NO_SUCH_VARIABLE"]),
        (
            "a server ID that leaves no room",
            &|c| {
                id(c, "0102030405060708");
                c.set_connection_id("length", "12");
            },
            &["connection_id.length", "12", "13"],
        ),
        ("too short a life", &|c| c.set_connection_id("lifetime", "\"10ms\""), &["connection_id.lifetime", "10ms"]),
    ];
    for (name, spoil, says) in cases {
        let refused = lab.refuse(spoil)?;
        expect_refusal(&refused, INVALID, says).with_context(|| name.to_owned())?;
        lab.expect_nothing_left().with_context(|| name.to_owned())?;
        anyhow::ensure!(!refused.stderr.contains(secret), "{name}: the key is shown: {refused:?}");
        anyhow::ensure!(!lab.home().path("state").exists(), "{name}: a state folder was made");
    }
    Ok(())
}

/// What an earlier run left in the state folder cannot be used: said, and left as it is.
#[test]
fn a_connection_id_state_file_that_is_unusable() -> Result<()> {
    let mut lab = Lab::new().start()?;
    lab.take_agent()?.terminate()?;
    let path = lab.home().path("state/connection-ids.json");
    let good = fs::read_to_string(&path)?;
    for (bad, mode, says) in [
        (good.replacen('{', "", 1), 0o600, "not as this version writes it"),
        (good.replacen("\"version\": 1", "\"version\": 9", 1), 0o600, "of version 9"),
        (good.replacen("\"rotation\": 0", "\"rotation\": 8", 1), 0o600, "rotations 0 to 6"),
        (good.clone(), 0o644, "others can read it"),
    ] {
        fs::write(&path, &bad)?;
        fs::set_permissions(&path, Permissions::from_mode(mode))?;
        expect_refusal(&lab.refuse(|_| ())?, INVALID, &["connection-ids.json", says, "try: "])?;
        lab.expect_nothing_left()?;
        assert_eq!(fs::read_to_string(&path)?, bad);
    }
    Ok(())
}

#[test]
fn a_file_that_is_no_toml() -> Result<()> {
    let lab = Lab::new().build()?;
    let refused = lab.refuse_text("[router]\nworkers = = 4\n")?;
    expect_refusal(&refused, INVALID, &["config.toml:2"])?;
    lab.expect_nothing_left()
}

#[test]
fn no_such_interface() -> Result<()> {
    let lab = Lab::new().build()?;
    let refused = lab.refuse(|config| config.set_router("interfaces", "[\"clients0\", \"eth7\"]"))?;
    expect_refusal(&refused, KERNEL, &["eth7"])?;
    lab.expect_nothing_left()
}

#[test]
fn port_in_use() -> Result<()> {
    let lab = Lab::new().build()?;
    let _taken = lab.network().router().enter(|| Ok(UdpSocket::bind("0.0.0.0:443")?))?;
    expect_refusal(&lab.refuse(|_| ())?, KERNEL, &["0.0.0.0:443", "in use"])?;
    lab.expect_nothing_left()
}

#[test]
fn a_foreign_socket_in_the_reuseport_group() -> Result<()> {
    let lab = Lab::new().build()?;
    let _foreign = lab.network().router().enter(|| reuseport_socket("0.0.0.0:443".parse()?))?;
    let ourselves = std::process::id().to_string();
    expect_refusal(&lab.refuse(|_| ())?, KERNEL, &["0.0.0.0:443", "foreign", &ourselves])?;
    lab.expect_nothing_left()
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
fn another_agent_is_running() -> Result<()> {
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
    lab.expect_nothing_left()
}

/// honk#136: what others have pinned is not ours to remove, nor is their folder ours to close.
#[test]
fn foreign_pins_are_left_alone() -> Result<()> {
    let lab = Lab::new().build()?;
    let (folder, theirs) = (lab.home().pins(), lab.home().pins().join("theirs"));
    fs::create_dir_all(&theirs)?;
    fs::set_permissions(folder, Permissions::from_mode(0o755))?;
    for engine in ["auto", "xdp"] {
        let refused = lab.refuse(|config| config.set_router("engine", &format!("\"{engine}\"")))?;
        expect_refusal(&refused, KERNEL, &[&folder.display().to_string(), "theirs", "bpf_dir"])?;
    }
    let detached = lab.cli(&["detach", "--bpf-dir", &folder.display().to_string()])?;
    assert!(!detached.status.success(), "{detached:?}");
    assert!(theirs.exists());
    assert_eq!(fs::metadata(folder)?.permissions().mode() & 0o777, 0o755);
    Ok(fs::remove_dir(theirs)?)
}

#[test]
fn missing_capabilities() -> Result<()> {
    let lab = Lab::new().config(|config| config.listeners = vec!["0.0.0.0:4433".into()]).build()?;
    let without = ["setpriv", "--inh-caps=-all", "--bounding-set=-all", "--"];
    let refused = lab.refuse_text_under(&without, &lab.config_text())?;
    expect_refusal(&refused, KERNEL, &["BPF", "CAP_BPF"])?;
    lab.expect_nothing_left()
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
