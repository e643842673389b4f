//! An image as an OCI layout and as a docker-archive.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::Kind;
use crate::{
    shell::{capture, run},
    workspace,
};

/// The layout's folder.
pub(super) const NAME: &str = "layout";
/// What `docker load` and `podman load` read.
pub(super) const ARCHIVE: &str = "image.tar";

/// Writes both into `folder`, with one layer: the files below `root`. Answers the image's digest.
pub(super) fn write(kind: &Kind, root: &Path, folder: &Path) -> Result<String> {
    let (layout, archive) = (folder.join(NAME), folder.join(ARCHIVE));
    if layout.exists() {
        fs::remove_dir_all(&layout).with_context(|| format!("cannot remove {}", layout.display()))?;
    }
    let image = format!("{}:{}", layout.display(), env!("CARGO_PKG_VERSION"));
    let created = created()?;
    let umoci = |verb: &str| {
        let mut umoci = Command::new("umoci");
        umoci.args([verb, "--image", &image]);
        umoci
    };
    run(Command::new("umoci").args(["init", "--layout"]).arg(&layout))?;
    run(&mut umoci("new"))?;
    // Files are root's in the image, whichever user makes it.
    let mut insert = umoci("insert");
    if !crate::shell::is_root() {
        insert.arg("--rootless");
    }
    insert.args(["--history.created", &created, "--history.created_by", "cargo xtask image"]);
    run(insert.arg(root).arg("/"))?;
    let mut config = umoci("config");
    config.args(["--no-history", "--created", &created]);
    config.args(["--config.entrypoint", &format!("/usr/bin/{}", kind.name), "--config.workingdir", "/"]);
    config.args(kind.command.iter().flat_map(|word| ["--config.cmd", word]));
    config.args(["--config.user", "0:0", "--config.stopsignal", "SIGTERM"]);
    for (name, value) in labels(kind, &created)? {
        config.args(["--config.label", &format!("{name}={value}")]);
    }
    run(&mut config)?;
    run(Command::new("umoci").args(["gc", "--layout"]).arg(&layout))?;
    if archive.exists() {
        fs::remove_file(&archive)?;
    }
    let named = format!("docker-archive:{}:{}:{}", archive.display(), kind.name, env!("CARGO_PKG_VERSION"));
    run(Command::new("skopeo").args(["--insecure-policy", "copy", "--quiet", &format!("oci:{image}"), &named]))?;
    digest(&layout)
}

/// Of the manifest, which names everything else by digest.
pub(super) fn digest(layout: &Path) -> Result<String> {
    let path = layout.join("index.json");
    let index = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let index: Value = serde_json::from_slice(&index).with_context(|| format!("{} is not JSON", path.display()))?;
    let digest = index["manifests"][0]["digest"].as_str();
    Ok(digest.with_context(|| format!("{} names no image", path.display()))?.to_owned())
}

/// The commit's time, by RFC 3339.
fn created() -> Result<String> {
    let seconds = format!("@{}", workspace::commit_time()?);
    let date = capture(Command::new("date").args(["--utc", "--date", &seconds, "+%Y-%m-%dT%H:%M:%SZ"]))?;
    Ok(date.trim_end().to_owned())
}

fn labels(kind: &Kind, created: &str) -> Result<Vec<(&'static str, String)>> {
    let mut labels = vec![
        ("org.opencontainers.image.title", kind.name.to_owned()),
        ("org.opencontainers.image.description", kind.title.to_owned()),
        ("org.opencontainers.image.version", env!("CARGO_PKG_VERSION").to_owned()),
        ("org.opencontainers.image.revision", workspace::git(&["rev-parse", "HEAD"])?),
        ("org.opencontainers.image.created", created.to_owned()),
        ("org.opencontainers.image.licenses", "MIT OR Apache-2.0".to_owned()),
        ("quic-router.purpose", kind.purpose.to_owned()),
        ("quic-router.capabilities", kind.capabilities.join(" ")),
    ];
    labels.extend(kind.health_check.map(|command| ("quic-router.healthcheck", command.to_owned())));
    Ok(labels)
}
