//! The files of one laboratory: configuration, state, certificate, log, control socket, and
//! the folder of pins on bpffs. All gone on drop.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use aws_lc_rs::digest;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use rcgen::{CertifiedKey, PublicKeyData as _, generate_simple_self_signed};

use super::netns;

/// A folder of the laboratory's own, and one for pins.
#[derive(Debug)]
pub struct Home {
    folder: PathBuf,
    pins: PathBuf,
}

impl Home {
    /// Makes the folder and puts a certificate for `localhost`, `router.test` and its subdomains there.
    pub fn new(prefix: &str) -> Result<Self> {
        let home = Self { folder: std::env::temp_dir().join(prefix), pins: Path::new(netns::BPFFS).join(prefix) };
        fs::create_dir_all(&home.folder).with_context(|| format!("cannot make {}", home.folder.display()))?;
        home.write_certificate("certificate", &["localhost", HOST, &format!("*.{HOST}")])?;
        Ok(home)
    }

    /// What the names of all that is this laboratory's begin with.
    pub fn prefix(&self) -> String {
        self.pins.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Where `name` is, whether or not it exists.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes the file `name`.
    pub fn write(&self, name: &str, content: &str) -> Result<PathBuf> {
        let path = self.path(name);
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// Writes the file `name`, which then has the permissions `mode`.
    pub fn write_with_mode(&self, name: &str, content: &str, mode: u32) -> Result<PathBuf> {
        let path = self.write(name, content)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        Ok(path)
    }

    /// Puts `binary` where this laboratory's agent is started from, at once, as an operator installs a version: who runs the
    /// one before goes on with it, and who looks there from now on finds this one. Where it is.
    pub fn install(&self, binary: &Path) -> Result<PathBuf> {
        let [installed, next] = [INSTALLED, "quic-router.next"].map(|name| self.path(name));
        fs::copy(binary, &next).with_context(|| format!("cannot copy {}", binary.display()))?;
        fs::rename(&next, &installed).with_context(|| format!("cannot write {}", installed.display()))?;
        Ok(installed)
    }

    /// Makes a self-signed certificate for `names`, in `NAME.pem` and `NAME.key`.
    pub fn write_certificate(&self, name: &str, names: &[&str]) -> Result<()> {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names)?;
        self.write(&format!("{name}.pem"), &cert.pem())?;
        self.write(&format!("{name}.key"), &signing_key.serialize_pem())?;
        let digest = digest::digest(&digest::SHA256, &signing_key.subject_public_key_info());
        self.write(&format!("{name}.digest"), &BASE64_STANDARD.encode(digest))?;
        Ok(())
    }

    /// SHA-256 of a certificate's public key, in base64, as browsers name keys.
    pub fn key_digest(&self, name: &str) -> Result<String> {
        Ok(fs::read_to_string(self.path(&format!("{name}.digest")))?)
    }

    /// The agent's `bpf_dir`; the agent makes it.
    pub fn pins(&self) -> &Path {
        &self.pins
    }

    /// What is pinned now.
    pub fn pinned(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.pins).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// The control socket; the agent makes it.
    pub fn control(&self) -> PathBuf {
        self.path("control.sock")
    }

    /// Where the agent's output goes.
    pub fn log_path(&self) -> PathBuf {
        self.path("agent.log")
    }

    /// What the agent has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.pins);
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Where a version is installed.
const INSTALLED: &str = "quic-router";
/// A name that the certificate is for.
pub(super) const HOST: &str = "router.test";
