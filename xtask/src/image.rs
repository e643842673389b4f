//! `cargo xtask image`: a container image that has the program and what it reads, and nothing else: no shell,
//! no package manager, no libraries. Made without docker and, once the tools are here, without a network.
//!
//! The rule this file keeps: an image follows from the commit. Files have the commit's time, nothing carries
//! the time or the machine on which it was made, so that two builds have one digest.

mod layout;
mod root;
mod tools;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use crate::{
    build::{FEATURES, Profile},
    lab::{self, Program},
    peers::Peer,
    plan::{Part, Plan, Step},
    setup,
    shell::{capture, run},
    workspace,
};

/// Makes the container image, as an OCI layout and a docker-archive in target/image
#[derive(Args)]
pub(crate) struct Image {
    /// The endpoint for quic-interop-runner in place of the router: a test build, under another name
    #[arg(long)]
    interop: bool,
    /// Also make it a second time, compare, and run it with the capabilities it lists (needs root)
    #[arg(long, conflicts_with = "interop")]
    verify: bool,
}

impl Image {
    pub(crate) fn plan(self) -> Plan {
        let kind = if self.interop { &INTEROP } else { &PRODUCTION };
        let plan = setup::tools().then(tools::step()).then(program(kind)).then(image(kind));
        if self.verify { plan.then(again(kind)).then(tools::crun()).and(verify(kind)) } else { plan }
    }
}

/// What an image is of.
struct Kind {
    /// Of the image and of its program.
    name: &'static str,
    /// The cargo feature that the program takes.
    feature: Option<&'static str>,
    /// Words behind the program, unless the container is given others.
    command: &'static [&'static str],
    title: &'static str,
    /// What it is for, in a label, so that one is not run in place of the other.
    purpose: &'static str,
    /// What the program needs, beyond an ordinary container.
    capabilities: &'static [&'static str],
    /// What answers whether it is healthy, by its exit code. Runtimes do not read it from the image.
    health_check: Option<&'static str>,
}

static PRODUCTION: Kind = Kind {
    name: "quic-router",
    feature: None,
    command: &["run"],
    title: "QUIC connection router",
    purpose: "production",
    capabilities: &["BPF", "NET_ADMIN", "NET_BIND_SERVICE", "NET_RAW", "PERFMON"],
    health_check: Some("/usr/bin/quic-router status --quiet"),
};

static INTEROP: Kind = Kind {
    name: "quic-router-interop",
    feature: Some("interop"),
    command: &[],
    title: "endpoint of quic-router for quic-interop-runner: a test build, not for production",
    purpose: "interop test",
    capabilities: &["NET_ADMIN", "NET_BIND_SERVICE"],
    health_check: None,
};

impl Kind {
    /// The program without shared libraries. The flag is given for the program alone: the crates below are
    /// those of the ordinary release, and procedural macros stay shared.
    fn cargo_words(&self) -> Vec<&'static str> {
        let mut words = vec!["rustc", "--release", "--package", "router-userspace", "--bin", self.name];
        words.extend(["--features", FEATURES]);
        words.extend(self.feature.iter().flat_map(|feature| ["--features", feature]));
        words.extend(["--", "-C", "target-feature=+crt-static"]);
        words
    }

    fn folder(&self) -> PathBuf {
        workspace::target().join("image").join(self.name)
    }

    fn program(&self) -> PathBuf {
        self.folder().join("program")
    }
}

fn program(kind: &'static Kind) -> Step {
    let step = Step::new(format!("build {} without shared libraries", kind.name), || {
        run(workspace::cargo().args(kind.cargo_words())).with_context(|| match kind.feature {
            Some(feature) => format!("{} is a program of the feature `{feature}`", kind.name),
            None => format!("{} does not build without shared libraries", kind.name),
        })?;
        fs::create_dir_all(kind.folder())?;
        // Kept apart: the next `cargo build --release` puts the ordinary program in its place.
        let built = workspace::binary(Profile::Release, kind.name);
        run(Command::new("strip").arg("-o").arg(kind.program()).arg(built))?;
        let headers = capture(Command::new("readelf").arg("--program-headers").arg(kind.program()))?;
        ensure!(!headers.contains("INTERP"), "{} wants shared libraries", kind.program().display());
        Ok(())
    });
    let step = step.detail(format!("cargo {}", kind.cargo_words().join(" ")));
    step.needs([Part::Tools]).gives([Part::StaticProgram])
}

fn image(kind: &'static Kind) -> Step {
    let step = Step::new(format!("the image {}", kind.name), || {
        let digest = make(kind, &kind.folder())?;
        let layout = kind.folder().join(layout::NAME);
        println!("{}:{} {digest}", layout.display(), env!("CARGO_PKG_VERSION"));
        println!("{}", kind.folder().join(layout::ARCHIVE).display());
        Ok(())
    });
    let step = step.detail("umoci: one layer, /usr/bin and /etc; skopeo: the docker-archive");
    step.needs([Part::StaticProgram, Part::ImageTools]).gives([Part::Image])
}

/// Makes it in `folder`; answers its digest.
fn make(kind: &Kind, folder: &Path) -> Result<String> {
    let root = folder.join("root");
    root::write(&root, kind.name, &kind.program())?;
    let octets = root::size(&root)?;
    ensure!(octets <= LIMIT, "{} has {octets} octets, more than the {LIMIT} that it may have", root.display());
    layout::write(kind, &root, folder)
}

/// The same once more, elsewhere and later.
fn again(kind: &'static Kind) -> Step {
    let step = Step::new("the same image again", || {
        let first = layout::digest(&kind.folder().join(layout::NAME))?;
        let second = make(kind, &kind.folder().join("again"))?;
        ensure!(first == second, "two builds have two digests: {first} and {second}");
        println!("both have {first}");
        Ok(())
    });
    step.detail("in another folder; the digests are compared").needs([Part::Image])
}

fn verify(kind: &Kind) -> Plan {
    let arguments = [kind.folder().join(layout::NAME).display().to_string(), kind.capabilities.join(",")];
    lab::run(VERIFY, Profile::Lab, arguments.to_vec())
}

/// Runs the image by crun.
const VERIFY: Program = Program::new("verify-image", &[Peer::QuicGo]);

/// Octets of all files, before they are compressed.
const LIMIT: u64 = 25 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    /// The unit, the image's label and the manifest for Kubernetes grant the same.
    #[test]
    fn capabilities_are_the_same_everywhere() {
        let read = |file: &str| fs::read_to_string(workspace::root().join(file)).expect("the file can be read");
        let unit = read("packaging/quic-router.service");
        let bounding = unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).expect("it is set");
        let bounding: Vec<_> = bounding.split(' ').map(|name| name.trim_start_matches("CAP_")).collect();
        assert_eq!(bounding, PRODUCTION.capabilities);
        let manifest = read("packaging/kubernetes/daemonset.yaml");
        let added = manifest.lines().find_map(|line| line.trim().strip_prefix("add: ")).expect("some are added");
        let mut added: Vec<String> = serde_json::from_str(added).expect("a list in quotes");
        added.sort();
        assert_eq!(added, PRODUCTION.capabilities);
        assert!(manifest.contains(r#"drop: ["ALL"]"#));
    }
}
