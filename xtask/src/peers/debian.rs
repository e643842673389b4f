//! A newer Debian's packages beside the machine's own, whatever its release: fetched by apt with
//! folders of its own, unpacked, never installed.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{
    setup,
    shell::{capture, run},
};

/// What is taken of one release.
pub(super) struct Release {
    /// The folder in which it is unpacked.
    pub(super) name: &'static str,
    /// Of the mirror.
    suites: &'static [&'static str],
    packages: &'static [&'static str],
    /// Packages without what they depend on.
    libraries: &'static [&'static str],
    /// Packages of which what their authors released is put into `usr/src`.
    sources: &'static [&'static str],
}

impl Release {
    /// Where the packages are unpacked: it has a `usr`.
    pub(super) fn root(&self) -> PathBuf {
        super::folder().join(self.name)
    }

    /// Fetches and unpacks the packages.
    pub(super) fn ready(&'static self) -> Result<()> {
        super::once(self.name, &self.recipe(), || {
            let apt = Apt { release: self, folder: super::folder().join(format!("apt-{}", self.name)) };
            apt.prepare(&mirror()?)?;
            apt.download()?;
            let unpacked = super::folder().join(format!("{}.new", self.name));
            remove(&unpacked)?;
            apt.unpack(&unpacked)?;
            apt.download_sources(&unpacked.join("usr/src"))?;
            remove(&self.root())?;
            fs::rename(&unpacked, self.root())?;
            remove(&apt.folder)
        })
    }

    /// For people: the packages by name.
    pub(super) fn contents(&self) -> String {
        format!(
            "of Debian {}: {}",
            self.suites.join(", "),
            [self.packages, self.libraries, self.sources].concat().join(" ")
        )
    }

    /// Its contents; of a release that rolls on, as they were on the day.
    pub(super) fn recipe(&self) -> String {
        [self.packages, self.libraries, self.sources].concat().join("\n")
    }
}

/// The mirror that the machine's own apt uses, in apt's words.
pub(super) fn mirror() -> Result<String> {
    if let Ok(mirror) = env::var("QUIC_ROUTER_DEBIAN_MIRROR") {
        return Ok(mirror);
    }
    let ask = || capture(Command::new("apt-get").args(["indextargets", "--format", TARGET, "Created-By: Packages"]));
    let mut targets = ask()?;
    if main_archive(&targets).is_none() {
        // Apt knows its sources' origin only from their lists.
        setup::update_lists()?;
        targets = ask()?;
    }
    let uri = main_archive(&targets).context(
        "apt has no Debian archive among its sources, from which the tests' QUIC clients come; \
         try: QUIC_ROUTER_DEBIAN_MIRROR=URL cargo xtask setup --peers",
    )?;
    Ok(uri.to_owned())
}

/// The URI of Debian's own archive, not that of its security updates or of others.
fn main_archive(targets: &str) -> Option<&str> {
    targets.lines().find_map(|target| target.strip_prefix("Debian|Debian|"))
}

/// Apt with lists, cache and status of its own: it sees an empty machine of the newer release.
struct Apt {
    release: &'static Release,
    folder: PathBuf,
}

impl Apt {
    /// Makes the folders and fetches the lists. What an interrupted run downloaded stays.
    fn prepare(&self, mirror: &str) -> Result<()> {
        for folder in ["lists/partial", "cache/archives/partial", "none"] {
            fs::create_dir_all(self.folder.join(folder))?;
        }
        fs::write(self.folder.join("status"), "")?;
        fs::write(self.folder.join("config"), self.config())?;
        let line = |suite, kind| format!("{kind} [signed-by={KEYRING}] {mirror} {suite} main\n");
        // The lists of sources are large.
        let kinds: &[&str] = if self.release.sources.is_empty() { &["deb"] } else { &["deb", "deb-src"] };
        let lines = self.release.suites.iter().flat_map(|suite| kinds.iter().map(move |kind| line(suite, kind)));
        fs::write(self.folder.join("sources"), lines.collect::<String>())?;
        run(self.get().arg("update"))
    }

    /// The packages with all they depend on, and the libraries alone: theirs would bring gigabytes
    /// of sources that nothing here imports.
    fn download(&self) -> Result<()> {
        let Release { packages, libraries, .. } = self.release;
        if !packages.is_empty() {
            run(self.get().args(["--yes", "--download-only", "install"]).args(*packages))?;
        }
        if libraries.is_empty() {
            return Ok(());
        }
        run(self.get().arg("download").args(*libraries).current_dir(self.archives()))
    }

    /// Without Debian's own patches and what it says of the build.
    fn download_sources(&self, into: &Path) -> Result<()> {
        if self.release.sources.is_empty() {
            return Ok(());
        }
        fs::create_dir_all(into)?;
        let options = ["source", "--download-only", "--tar-only"];
        run(self.get().args(options).args(self.release.sources).current_dir(into))
    }

    fn unpack(&self, into: &Path) -> Result<()> {
        fs::create_dir_all(into)?;
        let archives = fs::read_dir(self.archives())?.collect::<Result<Vec<_>, _>>()?;
        for archive in
            archives.iter().map(fs::DirEntry::path).filter(|path| path.extension().is_some_and(|e| e == "deb"))
        {
            capture(Command::new("dpkg-deb").arg("--extract").arg(archive).arg(into))?;
        }
        Ok(())
    }

    fn archives(&self) -> PathBuf {
        self.folder.join("cache/archives")
    }

    fn get(&self) -> Command {
        let mut command = Command::new("apt-get");
        command.arg("-q").arg(format!("--config-file={}", self.folder.join("config").display()));
        command
    }

    /// Every folder of apt's within our own; the rest as the machine has it, such as a proxy.
    fn config(&self) -> String {
        let folder = self.folder.display();
        let places = [
            ("Dir::State", ""),
            ("Dir::State::status", "status"),
            ("Dir::State::lists", "lists"),
            ("Dir::Cache", "cache"),
            ("Dir::Etc::sourcelist", "sources"),
            ("Dir::Etc::sourceparts", "none"),
            ("Dir::Etc::preferences", "none/none"),
            ("Dir::Etc::preferencesparts", "none"),
        ];
        let places = places.map(|(option, value)| format!("{option} \"{folder}/{value}\";\n"));
        // Root's apt would otherwise drop to a user who may not write here.
        places.concat() + "APT::Sandbox::User \"root\";\nAPT::Install-Recommends false;\nAcquire::Languages \"none\";\n"
    }
}

fn remove(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    Ok(())
}

/// The oldest release whose curl and ngtcp2 speak HTTP/3.
pub(super) static TRIXIE: Release = Release {
    name: "trixie",
    suites: &["trixie"],
    packages: &["curl", "openssl", "ngtcp2-client", "nginx"],
    libraries: &[],
    sources: &[],
};

/// The browser of the same release, apart because of its size.
pub(super) static CHROMIUM: Release = Release {
    name: "chromium",
    suites: &["trixie"],
    packages: &["chromium-headless-shell"],
    libraries: &[],
    sources: &[],
};

/// What `goq` is built with. quic-go migrates actively from 0.51 on: not yet in the release itself.
pub(super) static GO: Release = Release {
    name: "go",
    suites: &["trixie", "trixie-backports"],
    packages: &["golang-1.24-go"],
    libraries: &[
        "golang-github-lucas-clemente-quic-go-dev/trixie-backports",
        "golang-github-marten-seemann-qpack-dev/trixie-backports",
        "golang-golang-x-crypto-dev",
        "golang-golang-x-net-dev",
        "golang-golang-x-sync-dev",
        "golang-golang-x-sys-dev",
        "golang-golang-x-text-dev",
    ],
    sources: &[],
};

/// A Python that is new enough for picoquic's package.
pub(super) static PYTHON: Release =
    Release { name: "python", suites: &["trixie"], packages: &["python3.13"], libraries: &[], sources: &[] };

/// The oldest etcd that the engine of membership promises to work with, without the C library of its release: any newer
/// one does.
pub(super) static BOOKWORM: Release = Release {
    name: "bookworm",
    suites: &["bookworm"],
    packages: &[],
    libraries: &["etcd-server", "etcd-client"],
    sources: &[],
};

/// The oldest release whose `xdp-trafficgen` runs on Linux 6.18 and later, which have lost a tracepoint
/// that it used to want.
pub(super) static FORKY: Release =
    Release { name: "forky", suites: &["forky"], packages: &["xdp-tools"], libraries: &[], sources: &[] };

/// A routing daemon and the libraries that it loads, without what its package's scripts need beside: a quarter of the
/// packages.
pub(super) static BIRD: Release = Release {
    name: "bird",
    suites: &["trixie"],
    packages: &[],
    libraries: &[
        "bird2",
        "libc6",
        "libcom-err2",
        "libgssapi-krb5-2",
        "libk5crypto3",
        "libkeyutils1",
        "libkrb5-3",
        "libkrb5support0",
        "libssh-4",
        "libssl3t64",
        "libzstd1",
        "zlib1g",
    ],
    sources: &[],
};

/// The newest proxies, and what h2load is built with: its package is built without HTTP/3.
pub(super) static SID: Release = Release {
    name: "sid",
    suites: &["sid"],
    packages: &[
        "nginx",
        "haproxy",
        "caddy",
        "base-files",
        "dash",
        "coreutils",
        "tar",
        "gzip",
        "g++",
        "cmake",
        "ninja-build",
        "pkgconf",
        "libc-ares-dev",
        "libev-dev",
        "libnghttp3-dev",
        "libngtcp2-crypto-ossl-dev",
        "libngtcp2-dev",
        "libssl-dev",
        "zlib1g-dev",
    ],
    libraries: &[],
    sources: &["nghttp2"],
};

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

const TARGET: &str = "$(ORIGIN)|$(LABEL)|$(REPO_URI)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_debians_main_archive() {
        let targets =
            "Other|Other|http://a.test/\nDebian|Debian-Security|http://b.test/\nDebian|Debian|http://c.test/\n";
        assert_eq!(main_archive(targets), Some("http://c.test/"));
        assert_eq!(main_archive("Ubuntu|Ubuntu|http://d.test/\n"), None);
    }
}
