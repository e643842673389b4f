//! Runs other programs: says which, and when one fails, which and why.
//!
//! The rule this file keeps: commands are echoed to standard error, so that standard output
//! carries nothing but what the programs themselves print.

use std::{
    env,
    ffi::OsStr,
    fs,
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

/// Runs a command after echoing it; its output is the caller's.
///
/// # Errors
/// If it can't be started, or ends with a status other than 0.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = describe(command);
    eprintln!("+ {line}");
    let status = command.status().with_context(|| format!("cannot run `{line}`"))?;
    succeed(&line, status, "")
}

/// Runs a command without a word; answers its standard output. What it wrote to standard error is
/// part of the error if it fails.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let line = describe(command);
    let answer = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run `{line}`"))?;
    succeed(&line, answer.status, &String::from_utf8_lossy(&answer.stderr))?;
    String::from_utf8(answer.stdout).with_context(|| format!("`{line}` answered something that is not UTF-8"))
}

/// Runs a command that may hang, such as one that waits for a server which does not answer; kills
/// it when the time is up.
pub(crate) fn run_within(limit: Duration, command: &mut Command) -> Result<()> {
    let line = describe(command);
    eprintln!("+ {line}    (at most {} s)", limit.as_secs());
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot run `{line}`"))?;
    let errors = child.stderr.take();
    let reader = thread::spawn(move || {
        let mut text = String::new();
        errors.map(|mut pipe| pipe.read_to_string(&mut text));
        text
    });
    let Some(status) = wait_until(&mut child, Instant::now() + limit)? else {
        child.kill()?;
        child.wait()?;
        bail!("`{line}` did not end within {} s", limit.as_secs());
    };
    succeed(&line, status, &reader.join().unwrap_or_default())
}

/// A command that needs root: as it is for root, through sudo for others.
///
/// # Errors
/// Without root and without sudo; the error says what to run by hand.
pub(crate) fn as_root<S: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = S>) -> Result<Command> {
    let mut command = Command::new(program);
    command.args(arguments);
    if is_root() {
        return Ok(command);
    }
    let mut through = Command::new(require_sudo(&format!("this needs root: {}", describe(&command)))?);
    through.arg(program).args(command.get_args());
    Ok(through)
}

/// Where sudo is.
///
/// # Errors
/// If it is not there: `why` it is needed, and the way out.
pub(crate) fn require_sudo(why: &str) -> Result<PathBuf> {
    find("sudo").with_context(|| format!("{why}, and there is no sudo; run this as root"))
}

/// Whether this process runs as root: its own entry in `/proc` belongs to its effective user.
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|entry| entry.uid() == 0)
}

/// Where a program lies: in `PATH`, in the folders for administrators that a user's `PATH` often
/// lacks, or where cargo installs.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = env::split_paths(&path).collect();
    folders.extend(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from));
    folders.extend(cargo_home().map(|home| home.join("bin")));
    folders.into_iter().map(|folder| folder.join(program)).find(|file| is_executable(file))
}

/// Where cargo keeps what it installs.
fn cargo_home() -> Option<PathBuf> {
    let home = || env::home_dir().map(|home| home.join(".cargo"));
    env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home)
}

fn is_executable(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// The command as one would type it.
pub(crate) fn describe(command: &Command) -> String {
    let variables = command.get_envs().filter_map(|(name, value)| {
        let value = value?.to_string_lossy().replace('\x1f', " ");
        Some(format!("{}={}", name.to_string_lossy(), quoted(&value)))
    });
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words = words.map(|word| quoted(&word.to_string_lossy()));
    variables.chain(words).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_./=:,+@%~^".contains(character);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

fn succeed(line: &str, status: ExitStatus, errors: &str) -> Result<()> {
    if status.success() {
        return Ok(());
    }
    let errors = errors.trim_end();
    let separator = if errors.is_empty() { "" } else { ":\n" };
    bail!("`{line}` failed with {status}{separator}{errors}")
}

/// The child's status, or nothing if it still runs at the deadline.
fn wait_until(child: &mut Child, deadline: Instant) -> io::Result<Option<ExitStatus>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(50));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_described_as_one_would_type_them() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo it's me", ""]).env("A", "b c");
        assert_eq!(describe(&command), r"A='b c' sh -c 'echo it'\''s me' ''");
    }

    #[test]
    fn a_failure_names_the_command_its_status_and_its_words() {
        let error = capture(Command::new("sh").args(["-c", "echo no such luck >&2; exit 3"])).expect_err("it exits 3");
        let text = error.to_string();
        assert!(text.contains("exit status: 3") && text.ends_with("no such luck"), "{text}");
    }

    #[test]
    fn a_command_that_hangs_is_ended() {
        let begun = Instant::now();
        let error = run_within(Duration::from_millis(200), Command::new("sleep").arg("60")).expect_err("it hangs");
        assert!(error.to_string().contains("did not end"), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn programs_are_found_where_they_are() {
        assert_eq!(find("no-such-program-anywhere"), None);
        assert!(find("sh").is_some_and(|shell| shell.is_absolute()));
    }
}
