//! What the programs of the package `router-tests` are built and run with.
//!
//! The rule this file keeps: a program sees the peers that it has declared and no others, so that one it
//! has not declared is missed on every machine and not only on an empty one.

use std::process::Command;

use anyhow::Result;

use crate::{
    build::{FEATURES, Profile},
    peers::{self, Peer},
    plan::{Part, Plan, Step},
    profile_guided, setup,
    shell::{is_root, require_sudo, run as run_command},
    workspace,
};

/// A program of the laboratory.
#[derive(Clone, Copy)]
pub(crate) struct Program {
    /// Cargo's name of it.
    pub(crate) name: &'static str,
    /// Programs of others that it starts.
    pub(crate) peers: &'static [Peer],
    /// A feature of the package that it takes.
    pub(crate) feature: Option<&'static str>,
}

impl Program {
    /// A program without features.
    pub(crate) const fn new(name: &'static str, peers: &'static [Peer]) -> Self {
        Self { name, peers, feature: None }
    }
}

/// Builds a program and the router that it starts, and runs it as root.
pub(crate) fn run(program: Program, router: Profile, arguments: Vec<String>) -> Plan {
    let Program { name, peers, .. } = program;
    let words = [vec![name.to_owned()], arguments.clone()].concat().join(" ");
    let step = Step::new(format!("run {words}"), move || {
        let mut command = command(&workspace::binary(router, name), name, peers)?;
        command.env("QUIC_ROUTER_BIN", router.router()?);
        run_command(command.args(arguments))
    });
    let step = step.detail(format!("as root: {words}"));
    let step = step.needs([Part::Tools, Part::Router(router), Part::Program(name)]);
    let step = step.needs(peers.iter().copied().map(Part::Peer));
    setup::tools().and(peers::plan(peers)).and(built(program, router)).then(step)
}

/// Builds a program, the server that laboratories start, and the router, with one cargo: two would settle
/// on different features of what they share, and compile it twice.
fn built(program: Program, router: Profile) -> Plan {
    let name = program.name;
    let feature = program.feature;
    match router {
        Profile::Measuring | Profile::Guided => {
            let step = cargo_build(router, &[name, SERVER], feature).gives([Part::Program(name)]);
            let before = if router == Profile::Guided { profile_guided::plan() } else { Plan::default() };
            before.then(step)
        }
        Profile::Dev | Profile::Lab | Profile::Release => {
            let step = cargo_build(router, &["quic-router", name, SERVER], feature);
            Plan::default().then(step.gives([Part::Router(router), Part::Program(name)]))
        }
    }
}

/// A step that compiles binaries of the router's package and of the laboratory's.
pub(crate) fn cargo_build(profile: Profile, binaries: &[&'static str], feature: Option<&'static str>) -> Step {
    let mut words = vec!["build", "--profile", profile.name()];
    words.extend(PACKAGES.iter().flat_map(|package| ["--package", package]));
    words.extend(binaries.iter().flat_map(|binary| ["--bin", binary]));
    words.extend(["--features", FEATURES]);
    words.extend(feature.iter().flat_map(|feature| ["--features", feature]));
    let line = format!("cargo {}", words.join(" "));
    let step = Step::new(format!("build {} ({})", binaries.join(", "), profile.name()), move || {
        run_command(workspace::cargo().args(words))
    });
    step.detail(line).needs([Part::Tools])
}

/// Runs a built program as root, with the peers it may start. `view` names the folder through which it
/// sees them.
pub(crate) fn command(program: &std::path::Path, view: &str, peers: &[Peer]) -> Result<Command> {
    let mut command = if is_root() {
        Command::new(program)
    } else {
        let mut sudo = Command::new(require_sudo("network namespaces and eBPF need root")?);
        sudo.arg("--preserve-env").arg(program);
        sudo
    };
    command.current_dir(workspace::root()).env("QUIC_ROUTER_PEERS", peers::view(view, peers)?);
    Ok(command)
}

/// What is compiled together.
pub(crate) const PACKAGES: [&str; 2] = ["router-userspace", "router-tests"];

/// The HTTP and echo server that laboratories start.
const SERVER: &str = "router-test-upstream";
