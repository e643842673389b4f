//! Does a debug build refuse to serve the public, and does `version` tell builds apart?

use std::{
    net::SocketAddrV4,
    os::fd::{AsRawFd as _, OwnedFd},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context, Result};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, getsockname, setsockopt, socket, sockopt};
use router_tests::lab::{Finished, Home, Program, binary};

#[test]
fn a_debug_build_refuses_to_listen_beyond_loopback() -> Result<()> {
    let Some(debug_build) = debug_build() else { return Ok(()) };
    let refused = listen(&debug_build, &[])?;
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    for word in ["quic-router: ", UNASSIGNED, "--allow-test-build"] {
        assert!(refused.stderr.contains(word), "does not say {word}: {}", refused.stderr);
    }
    Ok(())
}

#[test]
fn a_debug_build_listens_with_allow_test_build() -> Result<()> {
    let Some(debug_build) = debug_build() else { return Ok(()) };
    // It gets as far as asking the kernel for the port, which is taken.
    let refused = listen(&debug_build, &["--allow-test-build"])?;
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");
    assert!(!refused.stderr.contains("--allow-test-build"), "{}", refused.stderr);
    Ok(())
}

#[test]
fn a_release_build_listens_without_a_flag() -> Result<()> {
    let refused = listen(&binary()?, &[])?;
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");
    assert!(!refused.stderr.contains("--allow-test-build"), "{}", refused.stderr);
    Ok(())
}

#[test]
fn version_names_the_build() -> Result<()> {
    assert!(version(&binary()?)?.contains("release"), "{}", version(&binary()?)?);
    if let Some(debug_build) = debug_build() {
        assert!(version(&debug_build)?.contains("debug"), "{}", version(&debug_build)?);
    }
    Ok(())
}

/// Runs a build outside of any laboratory, on an address that no host has (RFC 5737) and a port of it that is taken.
fn listen(binary: &Path, flags: &[&str]) -> Result<Finished> {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    let home = Home::new(&format!("qr-{}-build{}", std::process::id(), RUNS.fetch_add(1, Ordering::Relaxed)))?;
    home.write_certificate("unreachable", &["unreachable.test"])?;
    let (_taken, port) = taken_port()?;
    let mut command = Command::new(binary);
    let address = format!("{UNASSIGNED}:{port}");
    command.args(["run", "--listen", &address, "--engine", "userspace", "--workers", "1"]).args(flags);
    command.arg("--cert").arg(home.path("unreachable.pem")).arg("--key").arg(home.path("unreachable.key"));
    command.arg("--state-dir").arg(home.path("state")).arg("--control").arg(home.control());
    Program::start("quic-router run", &mut command)?.finish(Duration::from_secs(10))
}

/// A socket on a port of the address, which no client can reach.
fn taken_port() -> Result<(OwnedFd, u16)> {
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, sockopt::IpFreebind, &true)?;
    let address: SocketAddrV4 = format!("{UNASSIGNED}:0").parse()?;
    bind(socket.as_raw_fd(), &SockaddrIn::from(address))?;
    let bound: SockaddrIn = getsockname(socket.as_raw_fd())?;
    Ok((socket, bound.port()))
}

fn version(binary: &Path) -> Result<String> {
    let said = Program::start("quic-router version", Command::new(binary).args(["version", "--build"]))?;
    Ok(said.finish(Duration::from_secs(10))?.succeeded().context("version --build")?.stdout)
}

/// The debug build, where there is one to test.
fn debug_build() -> Option<PathBuf> {
    let path = std::env::var_os("QUIC_ROUTER_DEV_BIN");
    if path.is_none() {
        eprintln!("not tested: QUIC_ROUTER_DEV_BIN does not say where the debug build is; cargo xtask test does");
    }
    path.map(PathBuf::from)
}

const UNASSIGNED: &str = "192.0.2.1";
