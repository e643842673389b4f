//! `cargo xtask interop`: quic-interop-runner's cases, with third-party clients, without its containers.

use std::process::Command;

use clap::Args;

use crate::{
    build::Profile,
    lab,
    peers::{self, Peer},
    plan::{Part, Plan, Step},
    setup,
    shell::run,
    workspace,
};

/// Runs the cases of quic-interop-runner with third-party clients, and prints the matrix (needs root)
#[derive(Args)]
pub(crate) struct Interop {
    /// Only this case of the runner's; may be given several times
    #[arg(long, value_name = "CASE")]
    case: Vec<String>,
    /// Only this client; may be given several times
    #[arg(long, value_name = "CLIENT")]
    client: Vec<String>,
    /// Only this engine, in place of userspace and af_xdp; may be given several times
    #[arg(long, value_name = "ENGINE")]
    engine: Vec<String>,
    /// The seed of losses and corruptions, as an earlier run has printed it
    #[arg(long)]
    seed: Option<u64>,
    /// The whole this many times; a cell that comes out otherwise than the first time is a failure
    #[arg(long, value_name = "N")]
    times: Option<u64>,
}

impl Interop {
    pub(crate) fn plan(self) -> Plan {
        let build = lab::cargo_build(PROFILE, &[PROGRAM, "router-test-upstream"], None);
        let line = format!("as root: {PROGRAM} {}", self.words().join(" "));
        let matrix = Step::new("the matrix", move || {
            let report = workspace::target().join("interop");
            let mut command = lab::command(&workspace::binary(PROFILE, PROGRAM), PROGRAM, &Peer::OF_INTEROP)?;
            tell(&mut command).args(self.words()).arg("--report").arg(&report);
            let outcome = run(&mut command);
            eprintln!("the matrix is in {}", report.display());
            outcome
        });
        let matrix = matrix.detail(line).needs([Part::Tools, Part::Endpoint, Part::Program(PROGRAM)]);
        let matrix = matrix.needs(Peer::OF_INTEROP.map(Part::Peer));
        let build = build.gives([Part::Program(PROGRAM)]);
        setup::tools().and(peers::plan(&Peer::OF_INTEROP)).then(endpoint()).then(build).then(matrix)
    }

    fn words(&self) -> Vec<String> {
        let each = |name: &str, values: &[String]| -> Vec<String> {
            values.iter().flat_map(|value| [name.to_owned(), value.clone()]).collect()
        };
        let number = |value: Option<u64>| -> Vec<String> { value.iter().map(u64::to_string).collect() };
        let parts = [
            ("--case", &self.case),
            ("--client", &self.client),
            ("--engine", &self.engine),
            ("--seed", &number(self.seed)),
            ("--times", &number(self.times)),
        ];
        parts.into_iter().flat_map(|(name, values)| each(name, values)).collect()
    }
}

/// Builds `quic-router-interop`. By itself: with its feature nothing else may be compiled.
pub(crate) fn endpoint() -> Step {
    lab::cargo_build(PROFILE, &[ENDPOINT], Some("router-userspace/interop")).gives([Part::Endpoint])
}

/// Tells a program of the laboratory where the endpoint is.
pub(crate) fn tell(command: &mut Command) -> &mut Command {
    command.env("QUIC_ROUTER_INTEROP_BIN", workspace::binary(PROFILE, ENDPOINT))
}

const PROFILE: Profile = Profile::Lab;
const ENDPOINT: &str = "quic-router-interop";
const PROGRAM: &str = "interop";
