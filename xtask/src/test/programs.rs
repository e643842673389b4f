//! The test programs, as cargo builds them, and the tests that each has.

use std::{path::PathBuf, process::Command};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{load, schedule::Case};
use crate::{
    build::{self, Profile},
    interop, lab,
    peers::{self, Peer},
    shell::{capture, describe},
    workspace,
};

/// What cargo has built.
pub(super) struct Programs {
    all: Vec<Program>,
}

struct Program {
    package: String,
    name: String,
    path: PathBuf,
}

impl Programs {
    /// Has cargo build them, all or those named: at once, because of two cargos each would settle on
    /// features of its own for what both use.
    pub(super) fn build(only: &[String]) -> Result<Self> {
        let mut cargo = workspace::cargo();
        cargo.args(words(only)).stderr(std::process::Stdio::inherit());
        eprintln!("+ {}", describe(&cargo));
        let output = cargo.output().context("cannot run cargo")?;
        ensure!(output.status.success(), "the tests do not build");
        let messages = String::from_utf8(output.stdout).context("cargo's messages are not UTF-8")?;
        let all = messages.lines().filter_map(program).collect();
        Ok(Self { all })
    }

    /// The crates' own tests, which need no root: a case for each program.
    pub(super) fn of_crates(&self) -> Result<Vec<Case>> {
        let peers = peers::view("crates", &Peer::OF_CRATES)?;
        let programs = self.all.iter().filter(|program| program.package != LABORATORY);
        let case = |program: &Program| {
            let mut command = Command::new(&program.path);
            command.current_dir(workspace::root().join(&program.package)).env("QUIC_ROUTER_PEERS", &peers);
            Case::program(format!("{}::{}", program.package, program.name), command)
        };
        Ok(programs.map(case).collect())
    }

    /// The tests of the laboratory's programs that are `wanted`, with an engine in place of their usual.
    pub(super) fn of_laboratory(&self, engine: Option<&str>, wanted: impl Fn(&str) -> bool) -> Result<Vec<Case>> {
        let mut cases = Vec::new();
        for program in self.all.iter().filter(|program| program.package == LABORATORY && wanted(&program.name)) {
            let listed = capture(Command::new(&program.path).args(["--list", "--format", "terse"]))?;
            for test in listed.lines().filter_map(|line| line.strip_suffix(": test")) {
                let mut command = lab::command(&program.path, "tests", &Peer::OF_TESTS)?;
                command.args(["--exact", test, "--test-threads=1"]).current_dir(workspace::root().join("tests"));
                command.env("QUIC_ROUTER_BIN", Profile::Lab.router()?);
                command.env("QUIC_ROUTER_DEV_BIN", Profile::Dev.router()?);
                interop::tell(&mut command);
                command.envs(engine.map(|engine| ("QUIC_ROUTER_TEST_ENGINE", engine)));
                let with = engine.map(|engine| format!(" ({engine})")).unwrap_or_default();
                let case = Case::test(format!("{}::{test}{with}", program.name), command);
                cases.push(case.with_load(load(&program.name, test)));
            }
        }
        Ok(cases)
    }
}

/// Cargo's words for it.
pub(super) fn words(only: &[String]) -> Vec<String> {
    let mut words = vec!["build", "--bins", "--message-format", "json-render-diagnostics"];
    match only {
        [] => words.push("--tests"),
        programs => words.extend(programs.iter().flat_map(|program| ["--test", program])),
    }
    words.extend(PACKAGES.iter().flat_map(|package| ["--package", package]));
    words.extend(["--features", FEATURES, "--features", build::FEATURES]);
    words.into_iter().map(str::to_owned).collect()
}

/// A message of cargo's, if it is about a test program.
fn program(message: &str) -> Option<Program> {
    let message: Value = serde_json::from_str(message).ok()?;
    let is_test = message["reason"] == "compiler-artifact" && message["profile"]["test"] == true;
    let path = PathBuf::from(message["executable"].as_str().filter(|_| is_test)?);
    // The path of the package's manifest ends in PACKAGE/Cargo.toml.
    let manifest = PathBuf::from(message["manifest_path"].as_str()?);
    let package = manifest.parent()?.file_name()?.to_str()?.to_owned();
    Some(Program { package, name: message["target"]["name"].as_str()?.to_owned(), path })
}

/// The folder of the laboratory's package.
const LABORATORY: &str = "tests";

/// What they are tested with beside what is on by itself.
const FEATURES: &str = "router-cluster/etcd";

/// The packages that have tests.
pub(super) const PACKAGES: [&str; 7] =
    ["router-cluster", "router-common", "router-http1", "router-http3", "router-userspace", "router-tests", "xtask"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_program_is_told_from_what_else_cargo_builds() {
        let of = |test: bool, executable: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","manifest_path":"/a/tests/Cargo.toml","target":{{"name":"crash"}},
                    "profile":{{"test":{test}}},"executable":{executable}}}"#
            )
        };
        let found = program(&of(true, "\"/t/crash-1\"")).expect("a test program");
        assert_eq!((found.package.as_str(), found.name.as_str()), (LABORATORY, "crash"));
        assert!(program(&of(false, "\"/t/crash-1\"")).is_none() && program(&of(true, "null")).is_none());
        assert!(program("   Compiling").is_none());
    }
}
