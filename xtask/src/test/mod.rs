//! `cargo xtask test`: everything, including the kernel programs in network namespaces.
//!
//! All tests are built by one cargo, then each function of a test program of the laboratory runs as a
//! process of its own, several at a time: laboratories have nothing in common, and mostly wait.

mod earlier;
mod programs;
mod schedule;

use std::{collections::BTreeSet, path::Path};

use anyhow::Result;
use clap::Args;

use self::{
    programs::Programs,
    schedule::{Case, Load},
};
use crate::{
    build::Profile,
    interop, lab,
    peers::{self, Peer},
    plan::{Part, Plan, Step},
    setup,
    shell::run,
    workspace,
};

/// Runs all tests, those of the kernel programs in network namespaces included (needs root)
#[derive(Args, Default, Clone)]
pub(crate) struct Test {
    /// Only this test program of tests/tests, or else the tests whose names contain this
    filter: Option<String>,
    /// The engine of laboratory tests that do not name one, in place of xdp and then the others where it
    /// matters: af_xdp, xdp, reuseport or userspace
    #[arg(long)]
    engine: Option<String>,
    /// How many laboratories run at a time; half as many again as there are CPUs if not given
    #[arg(long)]
    jobs: Option<usize>,
    /// Only the tests of upgrades, from the router of this revision of git to the present one: what to run before a
    /// release, with the release before
    #[arg(long, value_name = "REVISION", conflicts_with = "filter")]
    upgrade_from: Option<String>,
}

impl Test {
    pub(crate) fn plan(self) -> Plan {
        let earlier = self.upgrade_from.as_deref().map(earlier::step);
        let needed: Vec<_> = earlier.iter().map(|_| Part::EarlierRouter).collect();
        let router = lab::cargo_build(Profile::Lab, &["quic-router"], None).gives([Part::Router(Profile::Lab)]);
        let only = self.programs();
        let line = format!("cargo {}", programs::words(&only).join(" "));
        let build = Step::new("build the tests, and the debug build that must refuse to serve", move || {
            Programs::build(&only).map(drop)
        });
        let build = build.detail(line).needs([Part::Tools]).needs(needed.clone());
        let build = build.gives([Part::TestPrograms, Part::Router(Profile::Dev)]);
        let test = self.clone();
        let tests = Step::new("tests", move || test.run()).detail("as root: each test of the laboratory by itself");
        let tests = tests.needs([Part::TestPrograms, Part::Router(Profile::Lab), Part::Router(Profile::Dev)]);
        let tests = tests.needs(Peer::OF_TESTS.map(Part::Peer)).needs(needed.clone());
        // A revision that is not there is found out first, and nothing is built without it.
        let plan = earlier.into_iter().fold(setup::tools(), Plan::then).and(peers::plan(&Peer::OF_TESTS));
        let plan = plan.then(router.needs(needed));
        if self.upgrade_from.is_some() {
            return plan.then(build).then(tests);
        }
        let plan = plan.then(interop::endpoint()).then(build).then(tests.needs([Part::Endpoint]));
        if self.filter.is_some() {
            return plan;
        }
        let examples = Step::new("examples in the documentation", examples);
        plan.then(examples.detail("cargo test --doc").needs([Part::TestPrograms]))
    }

    /// The test programs that are wanted by their names; all if there are none.
    fn programs(&self) -> Vec<String> {
        if self.upgrade_from.is_some() {
            let programs: BTreeSet<_> = OF_VERSIONS.iter().map(|(program, _)| (*program).to_owned()).collect();
            return programs.into_iter().collect();
        }
        let is_program = |name: &&String| workspace::root().join(format!("tests/tests/{name}.rs")).exists();
        self.filter.iter().filter(is_program).cloned().collect()
    }

    fn run(self) -> Result<()> {
        // Nothing is compiled here: it asks cargo where the programs are.
        let programs = Programs::build(&self.programs())?;
        let cases = match &self.upgrade_from {
            Some(revision) => self.from(&earlier::router(revision)?, &programs)?,
            None => self.of_one_version(&programs)?,
        };
        schedule::run(cases, self.jobs.unwrap_or_else(schedule::usual_jobs))
    }

    fn of_one_version(&self, programs: &Programs) -> Result<Vec<Case>> {
        let mut cases = programs.of_crates()?;
        cases.extend(programs.of_laboratory(self.engine.as_deref(), |_| true)?);
        for (engine, more) in OTHER_ENGINES.iter().filter(|_| self.engine.is_none()) {
            let is_repeated = |program: &str| WITH_EVERY_ENGINE.contains(&program) || more.contains(&program);
            cases.extend(programs.of_laboratory(Some(engine), is_repeated)?);
        }
        if let (Some(filter), true) = (&self.filter, self.programs().is_empty()) {
            cases.retain_mut(|case| case.narrow(filter));
        }
        Ok(cases)
    }

    /// The tests of upgrades from an earlier router.
    fn from(&self, router: &Path, programs: &Programs) -> Result<Vec<Case>> {
        let mut cases = programs.of_laboratory(self.engine.as_deref(), |_| true)?;
        let names: Vec<_> = OF_VERSIONS.iter().map(|(program, test)| format!("{program}::{test}")).collect();
        cases.retain(|case| names.iter().any(|name| case.is_named(name)));
        Ok(cases.into_iter().map(|case| case.with_environment("QUIC_ROUTER_BIN_BEFORE", router)).collect())
    }
}

fn examples() -> Result<()> {
    let mut cargo = workspace::cargo();
    cargo.args(["test", "--doc"]);
    // A program without a library has none.
    let libraries = programs::PACKAGES.iter().filter(|package| **package != "xtask");
    run(cargo.args(libraries.flat_map(|package| ["--package", package])))
}

/// Besides `xdp`, and what is run with each but those for all. Without programs in the kernel nothing
/// steers packets between two processes, so there is no upgrade.
const OTHER_ENGINES: [(&str, &[&str]); 3] = [("af_xdp", &["upgrade"]), ("reuseport", &["upgrade"]), ("userspace", &[])];

/// What is run with them, too: how packets get to their workers, and that they do so while workers,
/// configurations and generations come and go.
const WITH_EVERY_ENGINE: &[&str] = &[
    "many_clients",
    "connection_migration",
    "steering_pitfalls",
    "graceful_drain",
    "stop_and_restart",
    "worker_panic",
    "stateless_reset",
    "reload",
];

/// The tests that begin with an earlier version, if there is one.
const OF_VERSIONS: &[(&str, &str)] = &[
    ("upgrade", "connections_stay_and_new_ones_go_to_the_new_generation"),
    ("cluster_changes", "upgrades_node_by_node_lose_no_connection"),
    ("cluster_changes", "keys_are_rotated_and_nodes_drained_while_they_are_upgraded"),
];

/// Test programs that measure time, memory or the machine as a whole: each of their tests runs while no
/// other does.
const ALONE: &[&str] = &["flood", "memory_bounds", "handshake_latency"];

/// Tests that keep the CPUs busy for their whole time, and count what clients lose meanwhile.
const FULL_LOAD: &[(&str, &str)] = &[
    ("abuse", "ordinary_clients_are_served_beside_hostile_ones"),
    ("reload", "fifty_reloads_under_load_lose_nothing"),
    ("upgrade", "twenty_upgrades_under_load_lose_nothing"),
    ("upgrade", "upgrades_during_handshakes_that_lose_initials"),
    ("worker_panic", "a_panic_under_load_ends_the_workers_own_connections_only"),
    ("connection_id_rotation", "thirty_rotations_under_load_lose_nothing"),
    ("kernel_vs_userspace_verdicts", "a_million_random_packets"),
    ("cluster_traffic", "three_hundred_connections_close_the_sums"),
    ("cluster_traffic", "a_hundred_changes_of_the_route_lose_no_connection"),
    ("cluster_traffic", "rebindings_across_engines_lose_no_connection"),
    ("cluster_tunnel", "a_million_forged_packets_harm_no_connection"),
];

fn load(program: &str, test: &str) -> Load {
    if ALONE.contains(&program) {
        Load::Alone
    } else if FULL_LOAD.contains(&(program, test)) {
        Load::Full
    } else {
        Load::Light
    }
}

impl Case {
    /// Keeps what the filter names; answers whether anything is left.
    fn narrow(&mut self, filter: &str) -> bool {
        if self.is_whole_program() {
            self.only(filter);
            return true;
        }
        self.name().contains(filter)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A list that names a test which is not there puts it nowhere, and says nothing.
    #[test]
    fn lists_name_tests_that_are_there() {
        let source = |program: &str| {
            let file = workspace::root().join(format!("tests/tests/{program}.rs"));
            fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
        };
        let of_engines = OTHER_ENGINES.iter().flat_map(|(_, more)| *more).chain(WITH_EVERY_ENGINE);
        of_engines.chain(ALONE).for_each(|program| drop(source(program)));
        for (program, test) in FULL_LOAD.iter().chain(OF_VERSIONS) {
            assert!(source(program).contains(&format!("\nfn {test}() ")), "{program} has no test {test}");
        }
    }
}
