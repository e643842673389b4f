//! `cargo xtask ci`: what must hold before a change is taken.

use anyhow::Result;
use clap::Args;

use crate::{
    phases::Phases,
    setup::{self, Toolchain},
    shell::run,
    test::Test,
    workspace,
};

/// Format, lints of all crates with warnings as errors, then all tests
#[derive(Args)]
pub(crate) struct Ci {
    /// Format and lints only
    #[arg(long)]
    lints: bool,
}

impl Ci {
    pub(crate) fn run(self) -> Result<()> {
        let mut phases = Phases::default();
        let outcome = self.all(&mut phases);
        phases.print();
        outcome
    }

    fn all(self, phases: &mut Phases) -> Result<()> {
        let toolchain = phases.run("setup", || {
            let toolchain = setup::ready()?;
            setup::linters(&toolchain).map(|()| toolchain)
        })?;
        // Each runs, also after a failure: one run shows all that is wrong.
        let format = phases.run("format", || run(workspace::cargo().args(["fmt", "--all", "--check"])));
        let lints = phases.run("lints", userspace_lints);
        let kernel = phases.run("lints of the kernel's part", || kernel_lints(&toolchain));
        format.and(lints).and(kernel)?;
        if self.lints { Ok(()) } else { phases.run("tests", || Test::default().run()) }
    }
}

fn userspace_lints() -> Result<()> {
    let mut cargo = workspace::cargo();
    run(cargo.args(["clippy", "--workspace", "--exclude", "router-ebpf", "--all-targets", "--", "--deny", "warnings"]))
}

/// The eBPF crate, for the kernel's target and by the toolchain that builds it; once without and
/// once with its diagnostics.
fn kernel_lints(toolchain: &Toolchain) -> Result<()> {
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
