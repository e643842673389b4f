//! Scripts that run the peers from outside of where they were unpacked. They start no chroot and
//! mount nothing, so they work in any network namespace.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::debian::{FORKY, Release, SID, TRIXIE};

/// Writes the scripts of what the tests are made with.
pub(super) fn ready() -> Result<()> {
    let unpacked =
        [("curl", "bin/curl"), ("openssl", "bin/openssl"), ("gtlsclient", "bin/gtlsclient"), ("nginx", "sbin/nginx")]
            .map(|(name, program)| Ok((name, Unpacked::of(&TRIXIE)?.script(program)?)));
    let others = [
        Unpacked::of(&FORKY)?.script("sbin/xdp-trafficgen").map(|script| ("xdp-trafficgen", script)),
        Unpacked::of(&TRIXIE)?.browser().map(|script| ("chromium", script)),
        Ok(("aioq", in_python("aioquic-client.py"))),
        Ok(("rude", in_python("rude-client.py"))),
    ];
    write("scripts", unpacked.into_iter().chain(others))
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
    write("bench-scripts", scripts.into_iter().map(|(name, program)| Ok((name, Unpacked::of(&SID)?.script(program)?))))
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

/// What makes an unpacked program run, with nothing of the machine's own C library.
struct Unpacked {
    root: PathBuf,
    libraries: PathBuf,
    loader: PathBuf,
}

impl Unpacked {
    fn of(release: &Release) -> Result<Self> {
        let root = release.root();
        let libraries = entry(&root.join("usr/lib"), |name| name.ends_with("-linux-gnu"))?;
        let loader = entry(&libraries, |name| name.starts_with("ld-linux"))?;
        Ok(Self { root, libraries, loader })
    }

    /// A script that has the unpacked loader load a program below `usr` with the unpacked libraries.
    fn script(&self, program: &str) -> Result<String> {
        let (loader, libraries) = (from_peers(&self.loader)?, from_peers(&self.libraries)?);
        let program = from_peers(&self.root.join("usr").join(program))?;
        Ok(format!("{HEAD}exec {loader} --library-path {libraries} {program} \"$@\"\n"))
    }

    /// The same for Chromium, which finds its files beside what the kernel runs, the loader, and
    /// runs itself again for each of its parts.
    fn browser(&self) -> Result<String> {
        let home = self.root.join("usr/lib/chromium");
        let loader = home.join("loader");
        if !loader.exists() {
            fs::copy(&self.loader, &loader).with_context(|| format!("cannot write {}", loader.display()))?;
        }
        let (loader, program) = (from_peers(&loader)?, from_peers(&home.join("chromium-headless-shell"))?);
        let libraries = from_peers(&self.libraries)?;
        Ok(format!(
            "{HEAD}exec {loader} --library-path {libraries}:{libraries}/pulseaudio {program} --no-zygote \\\n\
             \x20 --browser-subprocess-path=\"$(readlink -f \"$0\")\" \"$@\"\n"
        ))
    }
}

/// A path as the scripts find it.
fn from_peers(path: &Path) -> Result<String> {
    Ok(format!("\"$peers\"/{}", path.strip_prefix(super::folder())?.display()))
}

/// A script that runs a client of ours around aioquic.
fn in_python(client: &str) -> String {
    format!("{HEAD}exec \"$peers/aioquic/bin/python\" \"$peers/../../tests/peers/{client}\" \"$@\"\n")
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
