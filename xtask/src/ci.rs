//! `cargo xtask ci`: what must hold before a change is taken.

use anyhow::Result;
use clap::Args;

use crate::{
    deny::Deny,
    plan::{Part, Plan, Step},
    setup,
    shell::run,
    test::Test,
    workspace,
};

/// Format, lints of all crates with warnings as errors, dependencies by deny.toml, then all tests
#[derive(Args)]
pub(crate) struct Ci {
    /// Format and lints only
    #[arg(long)]
    lints: bool,
}

impl Ci {
    pub(crate) fn plan(self) -> Plan {
        let format = Step::new("format", || run(workspace::cargo().args(["fmt", "--all", "--check"])));
        let lints = Step::new("lints", userspace_lints).detail("cargo clippy, for everything but the kernel programs");
        let kernel = Step::new("lints of the kernel programs", kernel_lints);
        let kernel = kernel.detail("cargo clippy --package router-ebpf, by the toolchain that builds it");
        let steps = [format.detail("cargo fmt --all --check"), lints, kernel];
        let plan = setup::tools().then(setup::linters());
        let plan = steps.into_iter().fold(plan, |plan, step| plan.then(step.needs([Part::Tools, Part::Linters])));
        if self.lints { plan } else { plan.and(Deny::in_ci()).and(Test::default().plan()) }
    }
}

fn userspace_lints() -> Result<()> {
    let mut cargo = workspace::cargo();
    cargo.args(["clippy", "--workspace", "--exclude", "router-ebpf", "--all-targets", "--all-features"]);
    run(cargo.args(["--", "--deny", "warnings"]))
}

/// The eBPF crate, for the kernel's target and by the toolchain that builds it; once without and
/// once with its diagnostics.
fn kernel_lints() -> Result<()> {
    let toolchain = setup::ready()?;
    for features in ["", "log"] {
        let mut cargo = toolchain.command("cargo");
        cargo.current_dir(workspace::root());
        // The same folder as in router-userspace/build.rs: most is compiled there already.
        cargo.env("CARGO_BUILD_BUILD_DIR", workspace::target().join("ebpf"));
        let architecture = format!("--cfg=bpf_target_arch=\"{}\"", std::env::consts::ARCH);
        cargo.env("CARGO_ENCODED_RUSTFLAGS", format!("{architecture}\x1f-Cdebuginfo=2\x1f-Clink-arg=--btf"));
        cargo.args(["clippy", "--package", "router-ebpf", "--bins", "--release", "-Zbuild-std=core"]);
        cargo.args(["--target", setup::KERNEL, "--target-dir"]).arg(workspace::target().join("ebpf"));
        run(cargo.args(["--features", features, "--", "--deny", "warnings"]))?;
    }
    Ok(())
}
