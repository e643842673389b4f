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

/// Where the packages are unpacked: it has a `usr`.
pub(super) fn root() -> PathBuf {
    super::folder().join(RELEASE)
}

/// Fetches and unpacks the packages.
pub(super) fn ready() -> Result<()> {
    let recipe = [PACKAGES, LIBRARIES].concat().join("\n");
    super::once(RELEASE, &recipe, || {
        let apt = Apt { folder: super::folder().join("apt") };
        apt.prepare(&mirror()?)?;
        apt.download()?;
        let unpacked = super::folder().join("unpacked");
        remove(&unpacked)?;
        apt.unpack(&unpacked)?;
        remove(&root())?;
        fs::rename(&unpacked, root())?;
        remove(&apt.folder)
    })
}

/// The mirror that the machine's own apt uses, in apt's words.
fn mirror() -> Result<String> {
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
        let source = |suite| format!("deb [signed-by={KEYRING}] {mirror} {suite} main\n");
        fs::write(self.folder.join("sources"), source(RELEASE) + &source(&backports()))?;
        run(self.get().arg("update"))
    }

    /// The packages with all they depend on, and the libraries alone: theirs would bring gigabytes
    /// of sources that nothing here imports.
    fn download(&self) -> Result<()> {
        run(self.get().args(["--yes", "--download-only", "install"]).args(PACKAGES))?;
        run(self.get().arg("download").args(LIBRARIES).current_dir(self.archives()))
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
        command.arg("-qq").arg(format!("--config-file={}", self.folder.join("config").display()));
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

fn backports() -> String {
    format!("{RELEASE}-backports")
}

fn remove(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    Ok(())
}

/// The oldest release whose curl and ngtcp2 speak HTTP/3.
const RELEASE: &str = "trixie";

const PACKAGES: &[&str] = &["curl", "ngtcp2-client", "nginx", "golang-1.24-go"];

/// The sources that `goq` is built from. quic-go migrates actively from 0.51 on: not yet in the
/// release itself.
const LIBRARIES: &[&str] = &[
    "golang-github-lucas-clemente-quic-go-dev/trixie-backports",
    "golang-github-marten-seemann-qpack-dev/trixie-backports",
    "golang-golang-x-crypto-dev",
    "golang-golang-x-net-dev",
    "golang-golang-x-sync-dev",
    "golang-golang-x-sys-dev",
    "golang-golang-x-text-dev",
];

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
