//! What comes with the program and follows from it: manual pages, completions, the Debian changelog.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::{shell::capture, workspace};

/// Writes all of it into `folder`, where router-userspace/Cargo.toml expects it.
pub(super) fn write(program: &Path, folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    fs::create_dir_all(folder.join("man"))?;
    manual(program, &folder.join("man"))?;
    for (shell, file) in COMPLETIONS {
        fs::write(folder.join(file), capture(Command::new(program).args(["completions", shell]))?)?;
    }
    let changes = folder.join("changelog.Debian");
    fs::write(&changes, changelog()?)?;
    compress(&changes)
}

/// A page for the program, and for each verb.
fn manual(program: &Path, folder: &Path) -> Result<()> {
    let pages = pages(&workspace::root().join("router-userspace/src/cli/snapshots"))?;
    ensure!(pages.len() > 1, "no verb is known: there are no approved help texts");
    for page in pages {
        let text = capture(Command::new(program).arg("man").args(page.split('-').skip(2)))?;
        let file = folder.join(format!("{page}.1"));
        fs::write(&file, text)?;
        compress(&file)?;
    }
    Ok(())
}

/// As Debian wants documents, without the file's name and time: the package is the same whenever it is made.
fn compress(file: &Path) -> Result<()> {
    capture(Command::new("gzip").args(["--best", "--no-name"]).arg(file)).map(drop)
}

/// The pages' names. A test of the program's makes sure that each verb has an approved help text, named
/// like its page, and that no other has.
fn pages(approved: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(approved).with_context(|| format!("cannot read {}", approved.display()))?;
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<PathBuf>>>()?;
    Ok(paths.iter().filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect())
}

/// What Debian wants to read of a version, dated by the commit.
fn changelog() -> Result<String> {
    let seconds = workspace::commit_time()?;
    let date = capture(Command::new("date").args(["--utc", "--rfc-email", "--date"]).arg(format!("@{seconds}")))?;
    Ok(format!(
        "quic-router ({}) unstable; urgency=medium\n\n  * The changes are in changelog.gz.\n\n -- \
         {MAINTAINER}  {}\n",
        super::version(),
        date.trim_end()
    ))
}

/// As in router-userspace/Cargo.toml.
const MAINTAINER: &str = "quic-router maintainers <maintainers@quic-router.example>";

/// Each shell, and the file that it looks for.
const COMPLETIONS: [(&str, &str); 3] =
    [("bash", "quic-router.bash"), ("zsh", "_quic-router"), ("fish", "quic-router.fish")];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_verb_has_a_page() {
        let pages = pages(&workspace::root().join("router-userspace/src/cli/snapshots")).expect("they can be read");
        for wanted in ["quic-router", "quic-router-run", "quic-router-workers-drain"] {
            assert!(pages.iter().any(|page| page == wanted), "{wanted} is not among {pages:?}");
        }
    }

    #[test]
    fn the_maintainer_is_who_the_package_says() {
        let manifest = fs::read_to_string(workspace::root().join("router-userspace/Cargo.toml")).expect("it is there");
        assert!(manifest.contains(&format!("maintainer = \"{MAINTAINER}\"")));
    }
}
