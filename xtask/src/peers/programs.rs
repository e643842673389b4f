//! Scripts that run the peers from outside of where they were unpacked. They start no chroot and
//! mount nothing, so they work in any network namespace.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::debian;

/// Writes the scripts.
pub(super) fn ready() -> Result<()> {
    let scripts = [("curl", "bin"), ("gtlsclient", "bin"), ("nginx", "sbin")]
        .map(|(name, folder)| loaded(folder, name).map(|script| (name, script)));
    let scripts = scripts.into_iter().chain([Ok(("aioq", AIOQ.to_owned()))]).collect::<Result<Vec<_>>>()?;
    let recipe: String = scripts.iter().map(|(_, script)| script.as_str()).collect();
    super::once("scripts", &recipe, || {
        for (name, script) in &scripts {
            let place = super::folder().join("bin").join(name);
            fs::write(&place, script)?;
            fs::set_permissions(&place, fs::Permissions::from_mode(0o755))?;
        }
        Ok(())
    })
}

/// A script that has the unpacked loader load a program with the unpacked libraries, and nothing
/// of the machine's own C library.
fn loaded(folder: &str, program: &str) -> Result<String> {
    let root = debian::root();
    let libraries = entry(&root.join("usr/lib"), |name| name.ends_with("-linux-gnu"))?;
    let loader = entry(&libraries, |name| name.starts_with("ld-linux"))?;
    let from_peers = |path: &Path| path.strip_prefix(super::folder()).map(|path| path.display().to_string());
    let (root, libraries, loader) = (from_peers(&root)?, from_peers(&libraries)?, from_peers(&loader)?);
    Ok(format!(
        "{HEAD}exec \"$peers/{loader}\" --library-path \"$peers/{libraries}\" \"$peers/{root}/usr/{folder}/{program}\" \"$@\"\n"
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
