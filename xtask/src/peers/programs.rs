//! Scripts that run the peers from outside of where they were unpacked. They start no chroot and
//! mount nothing, so they work in any network namespace.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::debian::{Release, SID, TRIXIE};

/// Writes the scripts of what the tests are made with.
pub(super) fn ready() -> Result<()> {
    let scripts = [("curl", "bin/curl"), ("gtlsclient", "bin/gtlsclient"), ("nginx", "sbin/nginx")]
        .map(|(name, program)| loaded(&TRIXIE, program).map(|script| (name, script)));
    write("scripts", scripts.into_iter().chain([Ok(("aioq", AIOQ.to_owned()))]))
}

/// Writes the scripts of what benchmarks need beyond that.
pub(super) fn of_benchmarks_ready() -> Result<()> {
    let scripts = [
        ("h2load", "bin/h2load"),
        ("nghttpx", "bin/nghttpx"),
        ("nginx-sid", "sbin/nginx"),
        ("haproxy", "sbin/haproxy"),
        ("caddy", "bin/caddy"),
    ];
    write("bench-scripts", scripts.into_iter().map(|(name, program)| Ok((name, loaded(&SID, program)?))))
}

fn write(part: &str, scripts: impl Iterator<Item = Result<(&'static str, String)>>) -> Result<()> {
    let scripts = scripts.collect::<Result<Vec<_>>>()?;
    let recipe: String = scripts.iter().map(|(_, script)| script.as_str()).collect();
    super::once(part, &recipe, || {
        for (name, script) in &scripts {
            let place = super::folder().join("bin").join(name);
            fs::write(&place, script)?;
            fs::set_permissions(&place, fs::Permissions::from_mode(0o755))?;
        }
        Ok(())
    })
}

/// A script that has the unpacked loader load a program below `usr` with the unpacked libraries,
/// and nothing of the machine's own C library.
fn loaded(release: &Release, program: &str) -> Result<String> {
    let root = release.root();
    let libraries = entry(&root.join("usr/lib"), |name| name.ends_with("-linux-gnu"))?;
    let loader = entry(&libraries, |name| name.starts_with("ld-linux"))?;
    let from_peers = |path: &Path| path.strip_prefix(super::folder()).map(|path| path.display().to_string());
    let (root, libraries, loader) = (from_peers(&root)?, from_peers(&libraries)?, from_peers(&loader)?);
    Ok(format!(
        "{HEAD}exec \"$peers/{loader}\" --library-path \"$peers/{libraries}\" \"$peers/{root}/usr/{program}\" \"$@\"\n"
    ))
}

/// The entry of a folder whose name is of the wanted form.
fn entry(folder: &Path, wanted: impl Fn(&str) -> bool) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut entries = entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(&wanted));
    let found =
        entries.next().with_context(|| format!("{} is not whole; try: rm -r .cache/peers", folder.display()))?;
    Ok(found.path())
}

const HEAD: &str = "#!/bin/sh\npeers=$(dirname \"$(readlink -f \"$0\")\")/..\n";

const AIOQ: &str = "#!/bin/sh
peers=$(dirname \"$(readlink -f \"$0\")\")/..
exec \"$peers/aioquic/bin/python\" \"$peers/../../tests/peers/aioquic-client.py\" \"$@\"
";
