//! Scripts that run the peers from outside of where they were unpacked. They start no chroot and
//! mount nothing, so they work in any network namespace.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::debian::{BIRD, BOOKWORM, CHROMIUM, FORKY, PYTHON, Release, SID, TRIXIE};

/// Writes the scripts of our programs around aioquic.
pub(super) fn of_aioquic() -> Result<()> {
    let programs = [
        ("aioq", "aioquic-client.py"),
        ("rude", "rude-client.py"),
        ("hqpy", "hq-client.py"),
        ("hostile", "hostile-client.py"),
        ("unlock", "unlock-capture.py"),
    ];
    write("aioquic", &programs.map(|(name, program)| (name, in_python(program))))
}

/// Writes that of picoquic, which runs in the newer Python of [`PYTHON`].
pub(super) fn of_picoquic() -> Result<()> {
    let python = Unpacked::of(&PYTHON)?.script("bin/python3.13")?;
    // It finds its own library by this, and the wheel beside it by that.
    let (home, wheel) = (from_peers(&PYTHON.root().join("usr"))?, from_peers(&super::picoquic::wheel())?);
    let exports = format!("export PYTHONHOME={home} PYTHONPATH={wheel} PYTHONDONTWRITEBYTECODE=1\nexec ");
    let script = python.replace("exec ", &exports);
    let script = script.replace("\"$@\"", "\"$peers/../../tests/peers/hq-client.py\" \"$@\"");
    write("picoquic", &[("hqpico", script)])
}

/// Writes those of [`TRIXIE`].
pub(super) fn of_trixie() -> Result<()> {
    let programs =
        [("curl", "bin/curl"), ("openssl", "bin/openssl"), ("gtlsclient", "bin/gtlsclient"), ("nginx", "sbin/nginx")];
    of_release(&TRIXIE, &programs)
}

/// Writes those of [`BOOKWORM`], which need nothing but a C library.
pub(super) fn of_bookworm() -> Result<()> {
    let bin = from_peers(&BOOKWORM.root().join("usr/bin"))?;
    let script = |program: &str| format!("{HEAD}exec {bin}/{program} \"$@\"\n");
    write(BOOKWORM.name, &["etcd", "etcdctl"].map(|program| (program, script(program))))
}

/// Writes that of [`FORKY`].
pub(super) fn of_forky() -> Result<()> {
    of_release(&FORKY, &[("xdp-trafficgen", "sbin/xdp-trafficgen")])
}

/// Writes that of [`BIRD`].
pub(super) fn of_bird() -> Result<()> {
    of_release(&BIRD, &[("bird", "sbin/bird")])
}

/// Writes that of [`CHROMIUM`].
pub(super) fn of_chromium() -> Result<()> {
    write(CHROMIUM.name, &[("chromium", Unpacked::of(&CHROMIUM)?.browser()?)])
}

/// Writes those of [`SID`].
pub(super) fn of_sid() -> Result<()> {
    let programs = [
        ("h2load", "bin/h2load"),
        ("nghttpx", "bin/nghttpx"),
        ("nginx-sid", "sbin/nginx"),
        ("haproxy", "sbin/haproxy"),
        ("caddy", "bin/caddy"),
    ];
    of_release(&SID, &programs)
}

/// Writes a script for each program, a name and a path below `usr`, of an unpacked release.
fn of_release(release: &Release, programs: &[(&'static str, &str)]) -> Result<()> {
    let unpacked = Unpacked::of(release)?;
    let scripts = programs.iter().map(|(name, program)| Ok((*name, unpacked.script(program)?)));
    write(release.name, &scripts.collect::<Result<Vec<_>>>()?)
}

fn write(part: &str, scripts: &[(&str, String)]) -> Result<()> {
    let recipe: String = scripts.iter().map(|(_, script)| script.as_str()).collect();
    super::once(&format!("{part}-scripts"), &recipe, || {
        for (name, script) in scripts {
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

/// A script that runs a program of ours around aioquic.
fn in_python(program: &str) -> String {
    format!("{HEAD}exec \"$peers/aioquic/bin/python\" \"$peers/../../tests/peers/{program}\" \"$@\"\n")
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
