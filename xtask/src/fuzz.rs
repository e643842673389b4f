//! `cargo xtask fuzz`: parsers of what peers send, under input that a fuzzer chooses.

use std::fs;

use anyhow::{Context as _, Result};
use clap::Args;

use crate::{
    plan::{Part, Plan, Step},
    setup::{self, CargoTool},
    shell::{find, run},
    workspace,
};

/// Runs each fuzz target for some seconds; what fails stays in target/fuzz
#[derive(Args)]
pub(crate) struct Fuzz {
    /// Only these targets
    target: Vec<String>,
    /// How long each runs
    #[arg(long, default_value_t = 10, value_name = "N")]
    seconds: u32,
}

impl Fuzz {
    pub(crate) fn plan(self) -> Plan {
        let install = Step::new("cargo-fuzz, and a compiler for libFuzzer", || {
            setup::install(if find("c++").is_none() { &["g++"] } else { &[] })?;
            CARGO_FUZZ.ready()
        });
        let install = install.detail("apt-get install g++, if there is no c++").detail(CARGO_FUZZ.line());
        let plan = setup::tools().then(install.needs([Part::Tools]).gives([Part::Fuzzer]));
        let targets = if self.target.is_empty() { targets() } else { self.target };
        let seconds = self.seconds;
        targets.into_iter().fold(plan, |plan, target| {
            let line = format!("cargo fuzz run {target}, for {seconds} s");
            let step = Step::new(format!("fuzz {target}"), move || fuzz(&target, seconds));
            plan.then(step.detail(line).needs([Part::Tools, Part::Fuzzer]))
        })
    }
}

/// Runs a target: new inputs are kept below `target`, the seeds in `fuzz/seeds` are only read.
fn fuzz(target: &str, seconds: u32) -> Result<()> {
    let kept = workspace::target().join("fuzz");
    let (corpus, failures) = (kept.join("corpus").join(target), kept.join("failures").join(target));
    for folder in [&corpus, &failures] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let mut cargo = setup::ready()?.command(&CARGO_FUZZ.path().to_string_lossy());
    // Our crates have no unsafe code, so there is nothing that a sanitizer would find.
    cargo.current_dir(workspace::root()).args(["fuzz", "run", "--sanitizer", "none", "--target-dir"]);
    cargo.arg(kept.join("build")).arg(target).arg(&corpus);
    let seeds = workspace::root().join("fuzz/seeds").join(target);
    if seeds.is_dir() {
        cargo.arg(seeds);
    }
    cargo.arg("--").arg(format!("-max_total_time={seconds}")).args(LIMITS);
    run(cargo.arg(format!("-artifact_prefix={}/", failures.display())))
        .with_context(|| format!("an input that fails may be in {}", failures.display()))
}

/// All targets, in their order.
fn targets() -> Vec<String> {
    let files = fs::read_dir(workspace::root().join("fuzz/fuzz_targets")).into_iter().flatten().flatten();
    let name = |file: fs::DirEntry| file.file_name().to_str()?.strip_suffix(".rs").map(str::to_owned);
    let mut targets: Vec<_> = files.filter_map(name).collect();
    targets.sort();
    targets
}

const CARGO_FUZZ: CargoTool = CargoTool { name: "cargo-fuzz", version: "0.13.2", options: &[] };
/// An input that takes ten seconds, or more than a gigabyte, has failed.
const LIMITS: [&str; 3] = ["-timeout=10", "-rss_limit_mb=1024", "-print_final_stats=1"];
