//! A configuration from its file, from the flags, or from both.

use std::{fs, io, path::Path};

use super::{
    Config, ConfigError, DEFAULT_PATH, StartFlags, check,
    error::Findings,
    file::{self, RawConfig},
};

impl Config {
    /// Reads `path` and lays `overrides` and the global `--control` over it.
    ///
    /// A file that does not exist is no error at [`DEFAULT_PATH`] if `--listen` is given: the
    /// flags are then all there is.
    pub fn load(path: &Path, overrides: &StartFlags, control: Option<&Path>) -> Result<Self, ConfigError> {
        if path == Path::new(DEFAULT_PATH) {
            return Self::load_unless_absent(path, overrides, control);
        }
        Self::of_file(path, fs::read(path), overrides, control)
    }

    /// The flags are all there is if there is no file, and they say enough.
    pub(super) fn load_unless_absent(
        path: &Path,
        overrides: &StartFlags,
        control: Option<&Path>,
    ) -> Result<Self, ConfigError> {
        match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !overrides.listen.is_empty() => {
                Self::from_flags(overrides, control)
            }
            read => Self::of_file(path, read, overrides, control),
        }
    }

    /// What was read of a file.
    fn of_file(
        path: &Path,
        read: io::Result<Vec<u8>>,
        overrides: &StartFlags,
        control: Option<&Path>,
    ) -> Result<Self, ConfigError> {
        let name = path.display().to_string();
        let bytes = read.map_err(|error| ConfigError::unreadable(&name, &error))?;
        let text = String::from_utf8(bytes).map_err(|error| ConfigError::not_utf8(&name, &error))?;
        Self::build(&text, &name, |raw| overrides.overlay(raw, control))
    }

    /// A start without a file: one listener or more, and defaults for what no flag says.
    pub fn from_flags(flags: &StartFlags, control: Option<&Path>) -> Result<Self, ConfigError> {
        Self::build("", "command line", |raw| flags.overlay(raw, control))
    }

    /// Reads `text`; `name` stands for the file in errors, and relative paths of certificates and
    /// keys start from its folder.
    pub fn parse(text: &str, name: &str) -> Result<Self, ConfigError> {
        Self::build(text, name, |_| ())
    }

    fn build(text: &str, name: &str, overlay: impl FnOnce(&mut RawConfig)) -> Result<Self, ConfigError> {
        let mut findings = Findings::new(text, name);
        let mut raw = file::read(text, &mut findings)?;
        overlay(&mut raw);
        check::config(raw, findings)
    }
}
